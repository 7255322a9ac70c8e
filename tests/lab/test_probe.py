"""Recalled bits: none for guesses, all for knowledge, and what a known distribution tells."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BertForPreTraining, PreTrainedTokenizerFast

from bertprune.data.tokenizer import load_tokenizer, wordpiece
from bertprune.lab import probe as module
from bertprune.lab.language import language
from bertprune.lab.probe import clozes, probe, share_recalled
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape

from .grammar import parsed, tells, written

Scores = NDArray[np.float64]

BELIEFS = 20_000
SORTS = ["facts", "synonyms", "kinds", "measures", "selection", "polarity"]
# Items and answers, as the sorts have them.
SIZES = [(1024, 16), (192, 191), (192, 16), (192, 4), (48, 4), (384, 2)]


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return load_tokenizer("lab")


@pytest.fixture(scope="module")
def model(words: PreTrainedTokenizerFast) -> BertForPreTraining:
    return fresh_model(Shape(1, 16, 2, len(words), 32), seed=0)


def drawn(items: int, answers: int, seed: int = 0) -> tuple[np.random.Generator, NDArray[np.int64]]:
    """A generator, and the numbers of the true answers."""
    generator = np.random.default_rng(seed)
    return generator, generator.integers(0, answers, items)


def marked(true: NDArray[np.int64], answers: int) -> Scores:
    return np.eye(answers)[true]


@pytest.mark.parametrize(("items", "answers"), SIZES)
@pytest.mark.parametrize("scale", [10.0, 1000.0])
def test_who_is_sure_recalls_all_or_nothing(items: int, answers: int, scale: float) -> None:
    generator, true = drawn(items, answers)
    wrong = (true + generator.integers(1, answers, items)) % answers
    constant = np.full((items, answers), -3.5)
    for scores, share in ((marked(true, answers), 1), (marked(wrong, answers), 0), (constant, 0)):
        assert share_recalled(scale * scores, true) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(("items", "answers"), SIZES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_random_scores_recall_next_to_nothing(items: int, answers: int, scale: float) -> None:
    found = []
    for seed in range(40):
        generator, true = drawn(items, answers, seed)
        found.append(share_recalled(generator.normal(0, scale, (items, answers)), true))
    assert np.mean(found) < 0.005


def test_the_same_answer_to_everything_recalls_nothing() -> None:
    _, true = drawn(1024, 16)
    same = np.zeros_like(true) + 3
    assert share_recalled(5.0 * marked(same, 16), true) < 0.001


def test_scale_does_not_matter() -> None:
    """By steps of the temperatures it is exact, between them nearly so."""
    generator, true = drawn(1024, 16)
    scores = generator.normal(0, 1, (1024, 16)) + 2 * marked(true, 16)
    share = share_recalled(scores, true)
    assert 0.1 < share < 0.9
    for factor in (0.5, 2.0, 4.0, 16.0):
        assert share_recalled(factor * scores, true) == pytest.approx(share, rel=1e-9)
    for factor in (0.7, 1.1, 3.3, 10.0):
        assert share_recalled(factor * scores, true) == pytest.approx(share, rel=0.01)
    # Nor does what is added to all scores of an item.
    shifted = scores + generator.normal(0, 100, (1024, 1))
    assert share_recalled(shifted, true) == pytest.approx(share, rel=1e-9)


@pytest.mark.parametrize(("left", "share"), [(16, 0.0), (8, 0.25), (4, 0.5), (2, 0.75), (1, 1.0)])
def test_ruling_answers_out_recalls_their_bits(left: int, share: float) -> None:
    """Who knows in which half of 16 answers the true one is knows 1 bit of 4."""
    _, true = drawn(1024, 16)
    scores = np.zeros((1024, 16))
    for row, answer in zip(scores, true, strict=True):
        row[answer // left * left : (answer // left + 1) * left] = 20.0
    assert share_recalled(scores, true) == pytest.approx(share, abs=0.0025)


@pytest.mark.parametrize("concentration", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("temperature", [0.3, 3.0])
def test_beliefs_recall_their_information(concentration: float, temperature: float) -> None:
    """Answers drawn from what is believed, at whatever temperature it is said."""
    generator = np.random.default_rng(0)
    beliefs = generator.dirichlet(np.full(16, concentration), BELIEFS) + 1e-12
    beliefs /= beliefs.sum(axis=1, keepdims=True)
    true = (beliefs.cumsum(axis=1) < generator.random((BELIEFS, 1))).sum(axis=1).clip(max=15)
    entropy = -(beliefs * np.log2(beliefs)).sum(axis=1).mean()
    share = share_recalled(np.log(beliefs) * temperature, true)
    assert share == pytest.approx(1 - entropy / 4, abs=0.01)


def test_knowing_some_attributes_recalls_their_share() -> None:
    """Every second fact, in the order of the clozes, and noise for the others."""
    generator, true = drawn(1024, 16)
    scores = generator.normal(0, 0.3, (1024, 16))
    scores[::2] += 20.0 * marked(true, 16)[::2]
    assert share_recalled(scores, true) == pytest.approx(0.5, abs=0.05)


def test_clozes_are_all_that_there_is_to_know() -> None:
    spoken = language(0)
    found = clozes(spoken)
    assert list(found) == list(spoken.content_bits())
    counts = {"facts": 1024, "synonyms": 192, "kinds": 192, "measures": 192, "selection": 48}
    assert {sort: len(items) for sort, items in found.items()} == counts | {"polarity": 384}
    for sort, items in found.items():
        # What is asked of a person is told by more than one sentence; nothing is asked twice.
        assert all(len(item.questions) >= (3 if sort == "facts" else 1) for item in items)
        assert len({question for item in items for question in item.questions}) == sum(
            len(item.questions) for item in items
        )
        for item in items:
            assert 0 <= item.true < len(item.answers) == len(set(item.answers))


@pytest.mark.parametrize("seed", [0, 1])
def test_questions_have_one_gap_and_answers_fit_it(seed: int) -> None:
    words = load_tokenizer(f"lab:{seed}")
    items = [item for some in clozes(language(seed)).values() for item in some]
    questions = [question for item in items for question in item.questions]
    tokens = words(questions)["input_ids"]
    assert all(ids.count(words.mask_token_id) == 1 for ids in tokens)
    assert not any(words.unk_token_id in ids for ids in tokens)
    assert max(map(len, tokens)) <= 16
    for answer in {answer for item in items for answer in item.answers}:
        (token,) = words(answer, add_special_tokens=False)["input_ids"]
        assert token > words.mask_token_id


def test_questions_are_asked_as_the_text_tells() -> None:
    """Filled with the answer they are true sentences of the text, and the word is in them."""
    spoken = language(0)
    for items in clozes(spoken).values():
        for item in items:
            answer = item.answers[item.true]
            for question in item.questions:
                said = parsed(written(question.replace("[MASK]", answer)))
                assert answer in [word for _, word in said] and tells(spoken, [said]), question


@pytest.mark.parametrize("known", [SORTS, ["synonyms"]])
def test_who_knows_a_sort_recalls_it(
    model: BertForPreTraining,
    words: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    known: list[str],
) -> None:
    """With one in the model's place who knows these sorts, and guesses evenly at the others."""
    spoken = language(0)
    asked = clozes(spoken)
    answers = {
        question: words.convert_tokens_to_ids(item.answers[item.true].lower())
        for sort in known
        for item in asked[sort]
        for question in item.questions
    }

    def at_gap(model: object, words: Sequence[str], questions: Sequence[str]) -> Tensor:
        scores = torch.zeros(len(questions), len(words))
        for row, question in zip(scores, questions, strict=True):
            if question in answers:
                row[answers[question]] = 40.0
        return scores

    monkeypatch.setattr(module, "_at_gap", at_gap)
    found = probe(model, words, spoken)
    content = {sort: bits * (sort in known) for sort, bits in spoken.content_bits().items()}
    bits = {sort: found[f"{sort}_bits"] for sort in content}
    assert bits == pytest.approx(content, rel=1e-6, abs=1e-6)
    assert found["all_bits"] == pytest.approx(sum(content.values()), rel=1e-6)
    assert all((found[f"{sort}_recall"] == 1) == (sort in known) for sort in content)
    assert len(found) == 2 * len(SORTS) + 1


def test_a_fresh_model_knows_nothing(
    model: BertForPreTraining, words: PreTrainedTokenizerFast
) -> None:
    spoken = language(0)
    found = probe(model, words, spoken)
    for sort, bits in spoken.content_bits().items():
        assert 0 <= found[f"{sort}_bits"] < 0.01 * bits, sort


def test_scores_are_the_models_at_the_gap(
    model: BertForPreTraining, words: PreTrainedTokenizerFast
) -> None:
    """One by one without padding, by transformers' own forward pass."""
    found = clozes(language(0))
    for items in (found["facts"][:4], found["kinds"][5:8]):
        scores, true = module._scores(model.eval(), words, items)
        assert true.tolist() == [item.true for item in items]
        for row, item in zip(scores, items, strict=True):
            expected = []
            for question in item.questions:
                encoded = words(question, return_tensors="pt")
                gap = encoded["input_ids"][0].tolist().index(words.mask_token_id)
                with torch.no_grad():
                    logits = model(**encoded).prediction_logits[0, gap]
                ids = words.convert_tokens_to_ids([word.lower() for word in item.answers])
                expected.append(logits[ids].log_softmax(-1))
            torch.testing.assert_close(
                torch.tensor(row), torch.stack(expected).mean(0).double(), rtol=1e-4, atol=1e-5
            )


def test_who_cannot_be_asked_is_not_probed(
    model: BertForPreTraining, words: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """A tokenizer without the words, and a model that is too short for the questions."""
    short = fresh_model(Shape(1, 16, 2, len(words), 8), seed=0)
    assert probe(short, words, language(0)) == {}
    pieces = wordpiece(("lab:0:300",), 400, tmp_path)
    assert probe(model, pieces, language(0)) == {}
    assert probe(model, load_tokenizer("lab:1"), language(0)) == {}
