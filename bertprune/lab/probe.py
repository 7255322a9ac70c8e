"""How many bits of a lab language a model recalls.

Each thing to know is asked as a cloze whose answers are a closed list, a person's town say, and
the model's scores for the listed words are turned into a distribution q at one temperature for
the sort. What the model knows of the sort is the share of its uncertainty that q removes,

    recalled = content * (1 - H / log2(answers)),    H = mean of -log2 q(true answer),

never less than 0. The temperature is fitted on the other half of the items, so that neither a
model that knows nothing nor one that is confidently wrong gains by it: the first reads 0, a model
that knows everything reads the language's content.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BertForPreTraining, PreTrainedTokenizerFast

from bertprune.lab.language import ATTRIBUTES, KINDS, MEASURES, Language
from bertprune.lab.text import FACTS, vocabulary

_BATCH_SIZE = 512
_GAP = "[MASK]"
_TEMPERATURES = np.exp2(np.arange(-3, 7.01, 0.25))


@dataclass(frozen=True)
class Cloze:
    """Several ways to ask for one thing; the true one among the answers is known."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    true: int


def clozes(spoken: Language) -> dict[str, list[Cloze]]:
    """All that there is to know in a language, by the sorts of `Language.content_bits`."""
    orders = tuple(KINDS)
    kinds = tuple(kind for some in KINDS.values() for kind in some)
    measures = tuple(MEASURES)
    plurals = tuple(MEASURES.values())
    nouns = tuple(spoken.nouns)
    found: dict[str, list[Cloze]] = {"facts": []}
    for person, known in spoken.facts.items():
        for attribute in ATTRIBUTES:
            asked = [
                named.format(who=person, value=_GAP, time="today")
                for named, _ in FACTS[attribute]
                if named.startswith("{who}")
            ]
            values = spoken.values[attribute]
            found["facts"].append(_cloze(asked, values, known[attribute]))
    verb_of = {order: spoken.verbs_of(order)[0] for order in orders}
    found["synonyms"] = [
        _cloze(
            [f"a {noun.word} is also called a {_GAP} ."],
            [word for word in nouns if word != noun.word],
            noun.synonym,
        )
        for noun in spoken.nouns.values()
    ]
    found["kinds"] = [
        _cloze([f"a {noun.word} is a {_GAP} ."], kinds, noun.kind) for noun in spoken.nouns.values()
    ]
    found["measures"] = [
        _cloze(
            [f"five {_GAP} of {noun.word} {verb_of[noun.order].plural} near the mill ."],
            plurals,
            plurals[measures.index(noun.measure)],
        )
        for noun in spoken.nouns.values()
    ]
    found["selection"] = [
        _cloze([f"the {_GAP} {verb.singular} near the mill ."], orders, verb.order)
        for verb in spoken.verbs.values()
    ]
    found["polarity"] = [
        _cloze(
            [f"people {_GAP} the {word} {order} ."],
            ("praise", "blame"),
            "praise" if praised else "blame",
        )
        for order, polarity in spoken.polarity.items()
        for word, praised in polarity.items()
    ]
    return found


def probe(
    model: BertForPreTraining, tokenizer: PreTrainedTokenizerFast, spoken: Language
) -> dict[str, float]:
    """Of each sort the bits recalled and the share of clozes whose best answer is the true one:
    `facts_bits`, `facts_recall` and so on, and `all_bits` together.

    Empty for a tokenizer that cuts words of the language into pieces, since no gap would fit them,
    and for a model that is too short for the longest question.
    """
    if set(vocabulary(spoken.seed)) - set(tokenizer.get_vocab()):
        return {}
    asked = clozes(spoken)
    questions = (q for items in asked.values() for item in items for q in item.questions)
    if max(len(q.split()) for q in questions) + 2 > model.config.max_position_embeddings:
        return {}
    content = spoken.content_bits()
    found, total = {}, 0.0
    for sort, items in asked.items():
        scores, true = _scores(model, tokenizer, items)
        bits = content[sort] * share_recalled(scores, true)
        found[f"{sort}_bits"] = bits
        found[f"{sort}_recall"] = float(np.mean(scores.argmax(axis=1) == true))
        total += bits
    return found | {"all_bits": total}


def share_recalled(scores: NDArray[np.float64], true: NDArray[np.int64]) -> float:
    """Share of the uncertainty that `scores` (items, answers) remove, in [0, 1]; see above."""
    items, answers = scores.shape
    half = np.random.default_rng(0).permutation(items) % 2 == 0
    surprise = np.stack([_surprise_bits(scores / t, true) for t in _TEMPERATURES])
    fitted = np.empty(items)
    for mine in (half, ~half):
        best = surprise[:, ~mine].mean(axis=1).argmin()
        fitted[mine] = surprise[best, mine]
    return max(0.0, 1 - float(fitted.mean()) / math.log2(answers))


def _surprise_bits(scores: NDArray[np.float64], true: NDArray[np.int64]) -> NDArray[np.float64]:
    """-log2 of the probability of the true answer, per item."""
    highest = scores.max(axis=1, keepdims=True)
    total = highest[:, 0] + np.log(np.exp(scores - highest).sum(axis=1))
    return np.asarray((total - scores[np.arange(len(true)), true]) / np.log(2))


def _cloze(questions: Sequence[str], answers: Sequence[str], true: str) -> Cloze:
    return Cloze(tuple(questions), tuple(answers), list(answers).index(true))


@torch.inference_mode()
def _scores(
    model: BertForPreTraining, tokenizer: PreTrainedTokenizerFast, items: Sequence[Cloze]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Log-probabilities (items, answers) at the gap, meaned over the questions of an item."""
    model.eval()
    questions = [question for item in items for question in item.questions]
    rows = []
    for start in range(0, len(questions), _BATCH_SIZE):
        rows.append(_at_gap(model, tokenizer, questions[start : start + _BATCH_SIZE]))
    logits = torch.cat(rows)
    numbers = {
        words: torch.tensor(tokenizer.convert_tokens_to_ids([word.lower() for word in words]))
        for words in {item.answers for item in items}
    }
    found, first = [], 0
    for item in items:
        own = logits[first : first + len(item.questions)]
        found.append(own[:, numbers[item.answers]].log_softmax(-1).mean(0))
        first += len(item.questions)
    return torch.stack(found).double().numpy(), np.array([item.true for item in items])


def _at_gap(
    model: BertForPreTraining, tokenizer: PreTrainedTokenizerFast, questions: Sequence[str]
) -> Tensor:
    """Scores of the whole vocabulary at the gap of each question (questions, vocabulary)."""
    batch = tokenizer(list(questions), padding=True, return_tensors="pt").to(model.device)
    hidden = model.bert(**batch).last_hidden_state[batch["input_ids"] == tokenizer.mask_token_id]
    return model.cls.predictions(hidden).float().cpu()
