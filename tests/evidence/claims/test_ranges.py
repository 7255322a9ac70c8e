"""C1 to C4: up to where pruning costs nothing, and what information deletion explains."""

from collections.abc import Callable
from typing import Any

import pytest

from bertprune.evidence import paper
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN
from bertprune.protocol.rows import PRETRAINING, Rows

from .altered import entry, is_accuracy, several, with_change


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("key", "arm", "change", "where"),
    [
        ("C1", "prune_pretrain", -0.05, lambda found: found.sparsity == 0.2),
        ("C2", "information_deletion", 0.03, lambda found: found.sparsity.between(0.4, 0.6)),
        ("C2", "information_deletion", -0.03, lambda found: found.sparsity.between(0.4, 0.6)),
        ("C3", "information_deletion", -0.2, lambda found: found.sparsity >= 0.7),
        ("C3", "information_deletion", 0.2, lambda found: found.task.isin(["sst2", "cola"])),
        ("C4", "information_deletion", 0.2, lambda found: found.sparsity > 0),
    ],
)
def test_altered_accuracies_refute(
    key: str, arm: str, change: float, where: Callable[[Rows], Any], seeds: int
) -> None:
    assert entry(key, several(seeds, with_change(arm, change, where))).verdict == FAILS


def test_entries_say_what_was_sampled_where_sparsities_have_different_seeds() -> None:
    found = several(3)
    got = entry("C1", found[(found.seed == 0) | found.sparsity.isin([0.0, 0.3])])
    by_sparsity = dict(part.split(": accuracy ") for part in got.ours.split("; "))
    assert [name for name, said in by_sparsity.items() if "n = 3 seeds" in said] == ["30\u00a0%"]
    assert sum("(n = 5 tasks, one seed)" in said for said in by_sparsity.values()) == 3
    assert got.verdict == HOLDS and got.n in {f"lowest at {name}" for name in by_sparsity}


def test_a_rise_of_the_pretraining_loss_refutes_c1() -> None:
    found = paper.rows()
    loss = (found.task == PRETRAINING) & (found.metric == "loss") & (found.sparsity == 0.3)
    found.loc[loss, "value"] *= 1.1
    got = entry("C1", found)
    assert got.verdict == FAILS and "pre-training loss rises at 30" in got.reason
    missing = entry("C1", found[~loss])
    assert missing.verdict == OPEN and missing.reason.startswith("no rows of pre-training loss")


def test_a_loss_inside_the_margin_is_none_and_said() -> None:
    """Half a point, told from zero: inside the point that counts as none."""
    found = paper.rows()
    dense = found[is_accuracy(found, "prune_pretrain") & (found.sparsity == 0)]
    at = is_accuracy(found, "prune_pretrain") & (found.sparsity == 0.3)
    found.loc[at, "value"] = dense.value.to_numpy() - [0.004, 0.005, 0.006, 0.005, 0.005]
    got = entry("C1", found)
    assert got.verdict == HOLDS and "a loss inside the margin is told at 30" in got.reason


def test_without_a_loss_there_is_nothing_to_explain() -> None:
    got = entry("C2", with_change("prune_pretrain", 0.02, lambda found: found.sparsity > 0))
    assert got.verdict == OPEN and "no loss to explain" in got.reason


def test_c2_explains_the_loss_at_the_same_points() -> None:
    """All is lost at 60 %, where nobody took the masks off."""
    found = with_change("prune_pretrain", 0.02, lambda found: found.sparsity.between(0.1, 0.5))
    deleted = found.arm == "information_deletion"
    got = entry("C2", found[~deleted | (found.sparsity == 0.5)])
    assert got.verdict == OPEN and "no loss to explain" in got.reason
    assert got.ours.endswith("at 50\N{NO-BREAK SPACE}%")


def test_c3_names_the_part_that_is_not_told() -> None:
    def large(found: Rows) -> Any:
        return found.task.isin(["mnli", "qqp"]) & (found.sparsity >= 0.7)

    got = entry("C3", with_change("information_deletion", -0.02, large))
    assert got.verdict == OPEN and got.reason.endswith("more on large tasks")
    lacking = paper.rows()
    lacking = lacking[~lacking.task.isin(["mnli", "qqp"])]
    got = entry("C3", lacking)
    assert got.verdict == OPEN and "of a large and of a small task" in got.reason


@pytest.mark.parametrize(
    ("apart", "cells", "said"),
    [
        (1.0, "0 of 30 cells", "training loss not matched"),
        (-1.0, "30 of 30 cells", "training loss there -1.00 nats"),
        (None, "26 of 30 cells", "training loss there -"),
    ],
)
def test_c4_takes_the_training_loss_of_the_dense_model(
    apart: float | None, cells: str, said: str
) -> None:
    """As far apart from it on every task and sparsity, or as printed."""
    found = paper.rows()
    train = found[found.split == "train"]
    dense = train[(train.arm == "prune_pretrain") & (train.sparsity == 0)].set_index("task").value
    deleted = train[train.arm == "information_deletion"]
    if apart is not None:
        found.loc[deleted.index, "value"] = deleted.task.map(dense) + apart
    got = entry("C4", found)
    assert got.ours.startswith(cells) and said in got.ours + got.reason
    assert got.verdict == (OPEN if apart == 1 else HOLDS)
