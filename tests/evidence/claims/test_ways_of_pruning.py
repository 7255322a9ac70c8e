"""C7, C10 and C11: other ways of pruning than by magnitude while pre-training."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pytest

from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN
from bertprune.protocol import rows
from bertprune.protocol.rows import PRETRAINING, Rows

from ...made_up import made
from .altered import entry, is_accuracy, several, with_change


@pytest.mark.parametrize(("seeds", "berts"), [(1, 1), (4, 1), (8, 4)])
@pytest.mark.parametrize("key", ["C7", "C11"])
def test_with_enough_examples_the_papers_numbers_bear_its_claims_out(
    key: str, seeds: int, berts: int
) -> None:
    assert entry(key, several(seeds, berts=berts)).verdict == HOLDS


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize(
    ("key", "arm", "change", "where"),
    [
        ("C7", "prune_after_finetune", 0.05, lambda found: found.sparsity > 0),
        ("C11", "random_pruning", 0.15, lambda found: found.sparsity == 0.5),
        # No worse than by magnitude, and not better either.
        ("C11", "random_pruning", 0.0242, lambda found: found.sparsity == 0.2),
    ],
)
def test_altered_accuracies_refute(
    key: str, arm: str, change: float, where: Callable[[Rows], Any], seeds: int
) -> None:
    assert entry(key, several(seeds, with_change(arm, change, where))).verdict == FAILS


def test_that_late_pruning_is_worse_does_not_refute_c7() -> None:
    worse = with_change("prune_after_finetune", -0.05, lambda found: found.sparsity > 0)
    assert entry("C7", several(4, worse)).verdict == HOLDS


def test_c11_reads_the_pretraining_loss_too() -> None:
    found = paper.rows()
    at = (found.task == PRETRAINING) & (found.metric == "loss") & (found.sparsity == 0.5)
    found.loc[at & (found.arm == "random_pruning"), "value"] = 2.03
    got = entry("C11", several(4, found))
    assert got.verdict == FAILS and "the pre-training loss is higher by less than" in got.reason
    got = entry("C11", found[~at])
    assert got.verdict == OPEN and "pre-training loss is higher at 50" in got.reason


def test_on_the_floor_there_is_nothing_left_to_lose() -> None:
    """At 90 % both arms are where a model that was never pre-trained is."""
    found = paper.rows()
    at_random = is_accuracy(found, "random_pruning") & (found.sparsity == 0.9)
    floor = found[at_random].set_index("task").value
    magnitude = is_accuracy(found, "prune_pretrain") & (found.sparsity == 0.9)
    found.loc[magnitude, "value"] = found.task[magnitude].map(floor)
    got = entry("C11", several(6, found))
    assert got.verdict == HOLDS and "points (at the floor), pre-training loss" in got.statistic


def longer(gains: Mapping[float, float], alone: Mapping[float, float] = {}) -> Rows:
    """Four seeds of the paper's dense model, and of it pruned to 60 % after more and more epochs,
    with what is gained, and what is gained where nothing is pruned."""
    values = {
        (task, seed, sparsity, epochs): 0.7 - sparsity / 5 + gain + 0.001 * seed * (epochs > 3)
        for task in PAPER_TASKS
        for seed in range(4)
        for sparsity, of in ((0.6, gains), (0.0, alone))
        for epochs, gain in of.items()
    }
    fixed = {"arm": "epochs_before_pruning", "split": "dev", "metric": "accuracy"}
    found = made(values, "task seed sparsity position", **fixed)
    return pd.concat([several(4).drop(columns="bert"), found], ignore_index=True)


FLAT = {0.0: 0.0, 1.0: 0.0, 3.0: 0.0, 12.0: -0.01}


@pytest.mark.parametrize(
    ("gains", "alone", "verdict"),
    [
        (FLAT, FLAT, HOLDS),
        (FLAT, {}, HOLDS),
        # The whole range counts, not the longest alone.
        (FLAT | {3.0: 0.05}, FLAT, FAILS),
        # What longer training gains by itself is no matter of pruning.
        (FLAT | {12.0: 0.05}, FLAT | {12.0: 0.05}, HOLDS),
        (FLAT | {12.0: 0.05}, {}, OPEN),
    ],
)
def test_training_longer_before_pruning(
    gains: Mapping[float, float], alone: Mapping[float, float], verdict: str
) -> None:
    got = entry("C10", longer(gains, alone))
    assert got.verdict == verdict, got
    assert ("no control of equal training" in got.says) == (not alone)


def test_one_number_of_epochs_is_no_comparison() -> None:
    assert entry("C10", longer({3.0: 0.0})).reason.startswith("no rows of pruning")
    assert entry("C10", paper.rows()).reason.startswith("no rows of pruning")


def test_that_arm_is_in_no_other_claim() -> None:
    both = rows.join([paper.rows(), longer(FLAT).query("arm == 'epochs_before_pruning'")])
    for key in ("C1", "C4", "C7", "C11"):
        assert entry(key, both[both.seed == 0]) == entry(key, paper.rows().query("seed == 0"))
