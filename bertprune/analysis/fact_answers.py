"""What BERTs answer to the facts of a lab language after pruning in one step, with no training
after it: which facts go first, and in which BERT."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from transformers import BertForPreTraining, PreTrainedTokenizerFast

from bertprune.base.errors import UserError
from bertprune.data.tokenizer import load_tokenizer
from bertprune.lab.language import ATTRIBUTES, Language, Source
from bertprune.lab.probe import Cloze, clozes
from bertprune.lab.text import documents, vocabulary
from bertprune.model.loading import load_pretraining_model
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices

SPARSITIES = tuple(tenths / 10 for tenths in range(10))


@dataclass(frozen=True, eq=False)
class FactAnswers:
    """The facts of a language, person after person, and what each BERT answers at each sparsity."""

    facts: Sequence[Cloze]
    given: NDArray[np.int64]
    """Which of a fact's answers (BERTs, sparsities, facts)."""
    mentions: NDArray[np.int64]
    """In how many documents of the language's text each fact's person is named (facts)."""
    sparsities: Sequence[float] = SPARSITIES

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether it is the true one (BERTs, sparsities, facts)."""
        return self.given == np.array([fact.true for fact in self.facts])

    @property
    def shares(self) -> pd.DataFrame:
        """The share of facts that each BERT gives, a line for each, a column for each sparsity."""
        return pd.DataFrame(self.is_right.mean(axis=2), columns=[*self.sparsities])

    @property
    def kept(self) -> NDArray[np.int64]:
        """At how many of the sparsities, from the first on, each BERT gives the true answer, until
        it fails for the first time: later it may be right by a guess (BERTs, facts)."""
        return np.asarray(np.logical_and.accumulate(self.is_right, axis=1).sum(axis=1))


def ask(models: Sequence[str], spoken: Language) -> FactAnswers:
    """What the BERTs `models`, folders or names as studies have them, answer to the facts of their
    language. Raises UserError for one whose tokenizer cuts the words of the language into pieces.
    """
    facts = clozes(spoken)["facts"]
    given = []
    for name in models:
        tokenizer = load_tokenizer(name)
        if set(vocabulary(spoken.seed)) - set(tokenizer.get_vocab()):
            raise UserError(f"the tokenizer of {name} cuts words of the lab language into pieces")
        given.append(pruned_answers(load_pretraining_model(name, seed=0), tokenizer, facts))
    return FactAnswers(facts, np.stack(given), mentions(spoken))


@torch.inference_mode()
def pruned_answers(
    model: BertForPreTraining,
    tokenizer: PreTrainedTokenizerFast,
    facts: Sequence[Cloze],
    sparsities: Sequence[float] = SPARSITIES,
) -> NDArray[np.int64]:
    """Which of its answers `model` finds likeliest at the gap of each fact's first question
    (sparsities, facts), pruned by magnitude to each of the ascending `sparsities`, each matrix
    for itself. All facts have as many answers. `model` stays pruned to the last sparsity.
    """
    model.eval()
    batch = tokenizer([fact.questions[0] for fact in facts], padding=True, return_tensors="pt")
    words = [[word.lower() for word in fact.answers] for fact in facts]
    answers = torch.tensor([tokenizer.convert_tokens_to_ids(of) for of in words])
    is_gap = batch["input_ids"] == tokenizer.mask_token_id
    weights = prunable_matrices(model)
    found = []
    for sparsity in sparsities:
        # What was pruned before is smallest, and so goes again.
        for name, mask in Criterion().masks(weights, sparsity).items():
            weights[name].mul_(mask)
        at_gap = model.bert(**batch).last_hidden_state[is_gap]
        scores = model.cls.predictions(at_gap).gather(1, answers)
        found.append(scores.argmax(dim=1).numpy())
    return np.stack(found)


def mentions(spoken: Language) -> NDArray[np.int64]:
    """In how many documents of the language's text each fact's person is named (facts)."""
    counts = dict.fromkeys(spoken.people, 0)
    for document in documents(Source(spoken.seed)):
        for word in set(re.findall(r"\w+", document)) & counts.keys():
            counts[word] += 1
    return np.repeat([*counts.values()], len(ATTRIBUTES))
