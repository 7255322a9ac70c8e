"""C1 to C4: up to where pruning costs nothing, and what information deletion explains."""

from collections.abc import Callable
from typing import Any

import pytest

from bertprune.evidence import paper
from bertprune.evidence.claims.claim import FAILS, HOLDS, NO_EFFECT, OPEN, UNTESTED
from bertprune.protocol import rows
from bertprune.protocol.rows import PRETRAINING, Rows

from .altered import MANY, entry, is_accuracy, several, with_change, without

TRANSFER = 0.2152
"""What the paper's dense model has above the one that was pruned at random to 90 %."""


@pytest.mark.parametrize(("seeds", "berts"), [(1, 1), (4, 1), (8, 4)])
@pytest.mark.parametrize("key", ["C1", "C2", "C3", "C4"])
def test_with_enough_examples_the_papers_numbers_bear_its_claims_out(
    key: str, seeds: int, berts: int
) -> None:
    got = entry(key, several(seeds, berts=berts))
    assert got.verdict == HOLDS, got
    assert ("one seed" in got.reason) == (seeds == 1)


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize(
    ("key", "arm", "change", "where"),
    [
        ("C1", "prune_pretrain", -0.05, lambda found: found.sparsity == 0.2),
        ("C2", "information_deletion", 0.008, lambda found: found.sparsity.between(0.4, 0.6)),
        ("C2", "information_deletion", -0.008, lambda found: found.sparsity.between(0.4, 0.6)),
        ("C3", "information_deletion", -0.03, lambda found: found.sparsity >= 0.7),
        (
            "C3",
            "information_deletion",
            0.2,
            lambda found: found.task.isin(["sst2", "cola"]) & (found.sparsity >= 0.7),
        ),
        ("C4", "information_deletion", 0.2, lambda found: found.sparsity > 0),
    ],
)
def test_altered_accuracies_refute(
    key: str, arm: str, change: float, where: Callable[[Rows], Any], seeds: int
) -> None:
    assert entry(key, several(seeds, with_change(arm, change, where))).verdict == FAILS


@pytest.mark.parametrize(("times", "verdict"), [(0.5, HOLDS), (1.0, OPEN), (1.5, FAILS)])
def test_c1_has_a_twentieth_of_the_transfer_as_its_margin(times: float, verdict: str) -> None:
    found = paper.rows()
    dense = found[is_accuracy(found, "prune_pretrain") & (found.sparsity == 0)]
    low = is_accuracy(found, "prune_pretrain") & found.sparsity.between(0.1, 0.3)
    lost = found.task[low].map(dense.set_index("task").value) - times * NO_EFFECT * TRANSFER
    found.loc[low, "value"] = lost
    assert entry("C1", several(6, found)).verdict == verdict


@pytest.mark.parametrize(("times", "verdict"), [(1.0, HOLDS), (10.0, FAILS)])
def test_a_rise_of_the_pretraining_loss_refutes_c1(times: float, verdict: str) -> None:
    found = paper.rows()
    loss = (found.task == PRETRAINING) & (found.metric == "loss") & (found.sparsity == 0.3)
    loss &= found.arm == "prune_pretrain"
    # It rises by 0.04 of the 5.55 nats that pre-training brings.
    found.loc[loss, "value"] += 0.04 * (times - 1)
    got = entry("C1", found)
    assert got.verdict == verdict
    missing = entry("C1", found[~loss])
    assert (
        missing.verdict == OPEN
        and "pre-training loss rises by less than a twentieth" in missing.reason
    )


def test_without_anything_to_compare_with_transfer_is_unknown() -> None:
    facts = MANY[["train examples", "dev examples"]]
    got = entry("C1", paper.rows(), facts)
    assert got.verdict == UNTESTED and got.reason.startswith(
        "no rows of what is as accurate without"
    )


def test_without_a_loss_there_is_nothing_to_explain() -> None:
    got = entry("C2", with_change("prune_pretrain", 0.02, lambda found: found.sparsity > 0))
    assert got.verdict == OPEN and "no loss to explain" in got.reason


def test_c2_explains_the_loss_at_the_same_points() -> None:
    """All is lost at 60 %, where nobody took the masks off."""
    found = with_change("prune_pretrain", 0.02, lambda found: found.sparsity.between(0.1, 0.5))
    deleted = (found.arm == "information_deletion") & ~found.sparsity.isin([0.0, 0.5])
    got = entry("C2", found[~deleted])
    assert got.verdict == OPEN and "no loss to explain" in got.reason
    assert got.statistic.endswith("at 50\N{NO-BREAK SPACE}%")


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize(
    ("key", "arm"),
    [
        ("C2", "information_deletion"),
        ("C3", "information_deletion"),
        ("C4", "information_deletion"),
        ("C7", "prune_after_finetune"),
    ],
)
def test_what_epochs_gain_alone_is_no_gain_of_the_arm(key: str, arm: str, seeds: int) -> None:
    """At sparsity 0, where nothing is pruned, the arm gains as much as elsewhere."""
    found = several(seeds)
    longer = found.copy()
    longer.loc[is_accuracy(found, arm), "value"] += 0.02
    before, after = entry(key, found), entry(key, longer)
    assert after.verdict == before.verdict and after.lower == pytest.approx(before.lower, abs=1e-3)
    # Without such runs what the epochs gain is unknown.
    pruned = found[(found.arm != arm) | (found.sparsity > 0)]
    assert entry(key, pruned).reason.startswith("no rows of")


def test_c3_names_the_part_that_is_not_told() -> None:
    def large(found: Rows) -> Any:
        return found.task.isin(["mnli", "qqp"]) & (found.sparsity >= 0.7)

    got = entry("C3", several(4, with_change("information_deletion", -0.04, large)))
    assert got.verdict == FAILS and got.reason.endswith("less than a twentieth of the transfer")
    sizes = MANY.assign(**{"train examples": 1000})
    got = entry("C3", paper.rows(), sizes)
    assert got.verdict == UNTESTED and "training examples of two tasks" in got.reason


def test_c3_goes_by_sizes_and_not_by_names() -> None:
    found = several(4)
    turned = MANY.copy()
    turned["train examples"] = MANY["train examples"].to_numpy()[::-1]
    assert entry("C3", found).verdict == HOLDS
    got = entry("C3", found, turned)
    assert got.verdict == FAILS and "cola (392,702)" in got.statistic


@pytest.mark.parametrize(
    ("apart", "cells", "said"),
    [
        (1.0, "0 of 30 cells", "training loss not matched"),
        (-1.0, "30 of 30 cells", "training loss there \N{MINUS SIGN}1.00 nats"),
        (None, "26 of 30 cells", "training loss there \N{MINUS SIGN}"),
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
    assert got.statistic.startswith(cells) and said in got.statistic + got.reason
    assert got.verdict == (OPEN if apart == 1 else HOLDS)


def test_seeds_that_lack_a_point_are_left_out() -> None:
    found = several(4)
    lacking = (found.seed == 3) & (found.sparsity == 0) & is_accuracy(found, "prune_pretrain")
    assert "n = 3 seeds" in entry("C2", found[~lacking]).n
    # At sparsities that not all seeds have, nothing is compared.
    few = (found.seed > 0) & (found.sparsity == 0.4)
    got = entry("C2", found[~few])
    assert "n = 4 seeds" in got.n and "40" not in got.says


def test_a_missing_arm_is_said_to_be_missing() -> None:
    for key in ("C2", "C3", "C4"):
        got = entry(key, without(paper.rows(), "information_deletion"))
        assert got.verdict == UNTESTED and got.reason.startswith("no rows of")
    assert entry("C1", rows.join([])).reason.startswith("no rows of")
