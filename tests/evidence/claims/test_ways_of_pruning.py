"""C7, C10 and C11: other ways of pruning than by magnitude while pre-training."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper
from bertprune.evidence.claims import ledger
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN
from bertprune.protocol import rows
from bertprune.protocol.rows import PRETRAINING, Rows

from ...made_up import made
from .altered import entries, entry, papers, several, with_change


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("key", "arm", "change", "where"),
    [
        ("C7", "prune_after_finetune", 0.05, lambda found: found.sparsity > 0),
        ("C11", "random_pruning", 0.05, lambda found: True),
        ("C11", "random_pruning", 0.15, lambda found: found.sparsity == 0.5),
    ],
)
def test_altered_accuracies_refute(
    key: str, arm: str, change: float, where: Callable[[Rows], Any], seeds: int
) -> None:
    assert entry(key, several(seeds, with_change(arm, change, where))).verdict == FAILS


def test_seeds_without_a_point_in_common_are_said_to_be_so() -> None:
    found = several(3)
    apart = dict(enumerate(["mnli", "qqp", "cola"]))
    found = found[(found.task == PRETRAINING) | (found.task == found.seed.map(apart))]
    got = entry("C7", found)
    assert got.verdict == OPEN and got.reason == "the seeds have no point in common"
    assert got.n == "3 seeds"
    assert "nan" not in ledger.text(ledger.ledger(found))


def test_too_few_runs_at_one_level_do_not_refute_c11() -> None:
    found = with_change("random_pruning", 0.3, lambda found: found.sparsity == 0.5)
    few = (found.arm == "random_pruning") & (found.sparsity == 0.5)
    few &= ~found.task.isin(["mnli", "qqp"])
    assert entry("C11", found).verdict == FAILS
    assert entry("C11", found[~few]).verdict == OPEN


def longer(gains: Mapping[float, float], seeds: int = 3) -> Rows:
    values = {
        (task, seed, epochs): 0.7 + gain + 0.001 * seed * (epochs > 3)
        for task in PAPER_TASKS
        for seed in range(seeds)
        for epochs, gain in gains.items()
    }
    fixed = {"arm": "epochs_before_pruning", "sparsity": 0.6, "split": "dev", "metric": "accuracy"}
    return made(values, "task seed position", **fixed)


def test_training_longer_before_pruning() -> None:
    flat = {0.0: -0.3, 1.0: 0.0, 3.0: 0.0, 12.0: -0.01}
    got = entry("C10", longer(flat))
    assert got.verdict == HOLDS and "after 12 epochs less after 3" in got.ours
    # The noise of the seeds is a tenth of a point on average, on each task and on all.
    assert "; by task " in got.ours and got.ours.count("-0.90") == 1 + len(PAPER_TASKS)
    assert entry("C10", longer(flat | {12.0: 0.02})).verdict == FAILS
    nearest = entry("C10", longer({0.0: 0.0, 2.0: 0.0, 6.0: -0.02}))
    assert "after 6 epochs less after 2" in nearest.ours
    alone = entry("C10", longer({0.0: 0.0, 3.0: 0.0}))
    assert alone.verdict == OPEN and alone.reason.startswith("no rows")
    same = entry("C10", longer({3.0: 0.0, 12.0: 0.0}, seeds=1))
    assert same.verdict == OPEN and "learned nothing" in same.reason


def test_one_value_has_no_bounds() -> None:
    got = entry("C10", longer({3.0: 0.0, 12.0: 0.02}, seeds=1).query("task == 'qqp'"))
    assert got.ours.startswith("+2.00 points after 12")
    assert math.isnan(got.lower) and math.isnan(got.upper)
    assert "inf" not in ledger.text([got]) + ledger.Ledger([got])._repr_html_()


def test_that_arm_is_in_no_other_claim() -> None:
    both = rows.join([paper.rows(), longer({3.0: 0.3, 12.0: 0.4}, seeds=1)])
    before, after = papers(), entries(both)
    assert {k: v for k, v in after.items() if k != "C10"} == {
        k: v for k, v in before.items() if k != "C10"
    }
