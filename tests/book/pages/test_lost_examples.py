"""Which examples are lost: pairs of models, what they flip, and where nothing is known of it."""

import numpy as np
import pandas as pd
import pytest

from bertprune.base.errors import UserError
from bertprune.base.words import SPACE, percent
from bertprune.book.figures.flipped import lost_and_gained
from bertprune.book.pages import lost_examples
from bertprune.book.pages.lost_examples import ANOTHER_BERT, ANOTHER_SEED, OUTCOMES, PRUNED, flips
from bertprune.evidence.answers import Answers
from bertprune.experiments import studies
from bertprune.lab.task_data import DEV_EXAMPLES, task
from bertprune.protocol.rows import where

LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 1], np.uint16)
LENGTHS = np.array([5, 6, 7, 8, 9, 10, 11, 12], np.uint16)
MODELS = [  # sparsity, seed, BERT, and which examples it gets wrong
    (0.0, 0, "a", [0]),
    (0.0, 1, "a", [1]),
    (0.0, 2, "b", [1, 2]),
    (0.5, 0, "a", [3, 4]),
    (0.5, 1, "a", [1, 3]),
    (0.9, 7, "a", [2]),  # of no dense model
]


def answers(models: list[tuple[float, int, str, list[int]]] = MODELS) -> Answers:
    predicted = np.tile(LABELS, (len(models), 1))
    for line, (_, _, _, wrong) in zip(predicted, models, strict=True):
        line[wrong] = 1 - line[wrong]
    table = pd.DataFrame(
        [(sparsity, seed, bert) for sparsity, seed, bert, _ in models],
        columns=["sparsity", "seed", "bert"],
    )
    return Answers(
        "cola", table.assign(arm="prune_pretrain", own=False), predicted, LABELS, LENGTHS
    )


def test_each_pruned_model_is_compared_with_the_dense_one_of_its_seed() -> None:
    pruned = where(flips(answers()), what=PRUNED).set_index("seed")
    assert list(pruned.index) == [0, 1]
    assert dict(8 * pruned.loc[0, [*OUTCOMES]]) == {
        "kept": 5, "lost": 2, "gained": 1, "both wrong": 0,
    }  # fmt: skip
    assert dict(8 * pruned.loc[1, [*OUTCOMES]]) == {
        "kept": 6, "lost": 1, "gained": 0, "both wrong": 1,
    }  # fmt: skip


def test_accuracy_falls_by_what_is_lost_less_what_is_gained() -> None:
    of = answers()
    accuracy = of.right.mean(axis=1)
    pruned = where(flips(of), what=PRUNED)
    assert list(pruned.gained - pruned.lost) == list(accuracy[[3, 4]] - accuracy[[0, 1]])
    assert np.allclose(flips(of)[[*OUTCOMES]].sum(axis=1), 1)


def test_dense_models_lose_as_many_as_they_gain() -> None:
    found = flips(answers())
    assert found.what.value_counts().to_dict() == {ANOTHER_BERT: 4, ANOTHER_SEED: 2, PRUNED: 2}
    for what in (ANOTHER_SEED, ANOTHER_BERT):
        pairs = where(found, what=what)
        assert pairs.lost.mean() == pairs.gained.mean() > 0


def test_groups_make_the_whole() -> None:
    of = answers()
    groups = ["short" if length < 8 else "long" for length in LENGTHS]
    parts, whole = flips(of, groups), flips(of)
    for outcome in OUTCOMES:
        counts = (parts[outcome] * parts.examples).to_numpy().reshape(-1, 2).sum(axis=1)
        assert np.allclose(counts, 8 * whole[outcome])
    table = lost_examples.by_class(studies.load("ci"), {"cola": of})
    assert [name for _, name in table.index] == ["acceptable", "unacceptable"]
    assert list(table.examples) == ["5", "3"]
    assert [name for _, name in lost_examples.by_length({"cola": of}).index] == [
        "5 to 6", "7 to 8", "9 to 10", "11 to 12",
    ]  # fmt: skip


def test_models_that_the_reader_added_do_not_count() -> None:
    of = answers()
    of.models.loc[3, "own"] = True
    assert list(where(flips(of), what=PRUNED).seed) == [1]


def test_the_page_says_so_where_nothing_is_stored() -> None:
    alone = answers(MODELS[:3])
    for nothing in ({"cola": None}, {"cola": alone}, {}):
        with pytest.raises(UserError, match="no predictions stored"):
            lost_examples.flips_table(nothing)
        with pytest.raises(UserError, match="no predictions stored"):
            lost_and_gained(nothing)


def test_in_short_are_the_means_of_the_table() -> None:
    said = lost_examples.in_short({"cola": answers(), "sst2": None}).replace(SPACE, " ")
    assert "flips 25.0 % of the answers: 18.8 % are lost and 6.2 % gained." in said
    assert (
        "on one BERT, of different seeds, differ in 25.0 % of theirs: the noise of seeds." in said
    )
    alone = lost_examples.in_short({"cola": answers([MODELS[0], MODELS[3]])})
    assert alone.count("not measured") == 1


def test_groups_in_short_are_their_ends() -> None:
    """Of 8 examples 3 are of the first class; one seed loses two of the other five, one another."""
    of = {"cola": answers()}
    said = lost_examples.classes_in_short(studies.load("ci"), of).replace(SPACE, " ")
    assert "Pruned to 50 %, models lose 30.0 % of the class that loses most, and 0.0 % of" in said
    said = lost_examples.lengths_in_short(of).replace(SPACE, " ")
    assert "lose 0.0 % of the shortest examples, and 0.0 % of the longest" in said
    of["cola"].lengths[:] = 9
    assert lost_examples.lengths_in_short(of) == ""


def test_texts_are_those_that_most_seeds_lose_and_of_the_lab_alone() -> None:
    labels = task("cola")[1].label.to_numpy(np.uint16)
    wrong = [17, 42]
    predicted = np.tile(labels, (2, 1))
    predicted[1, wrong] = 1 - labels[wrong]
    models = pd.DataFrame({"sparsity": [0.0, 0.5], "seed": 0, "bert": "a"})
    models = models.assign(arm="prune_pretrain", own=False)
    of = {"cola": Answers("cola", models, predicted, labels, np.full(DEV_EXAMPLES, 9, np.uint16))}
    table = lost_examples.lost_texts(studies.load("ci"), of, 0.5).table
    assert list(table.example) == list(task("cola")[1].sentence.iloc[wrong])
    assert set(table["dense: seeds right"]) == {"1 of 1"}
    assert set(table[f"pruned to {percent(0.5)}: seeds right"]) == {"0 of 1"}
    with pytest.raises(UserError, match="no predictions are stored at 70"):
        lost_examples.lost_texts(studies.load("ci"), of, 0.7)
    with pytest.raises(UserError, match="not about a lab language"):
        lost_examples.lost_texts(studies.load("glue-tiny"), of, 0.5)
