"""C6, C8, C9 and C12 to C14: what pruning and fine-tuning make of weights and features."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN
from bertprune.protocol import rows
from bertprune.protocol.rows import Rows

from ...made_up import made
from .altered import entry


def features(by: Callable[[float], float], seeds: int) -> Rows:
    values = {
        (f"layer {layer}", sparsity, seed): 1 - by(sparsity) * (1 + 0.01 * seed) - 0.001 * layer
        for layer in range(3)
        for sparsity in (0.2, 0.4, 0.6, 0.9)
        for seed in range(seeds)
    }
    return made(values, "part sparsity seed", split="features", metric="cosine_similarity")


def test_features_that_bend_at_forty_percent() -> None:
    def bend(at: float) -> float:
        return 0.1 * at + max(at - 0.4, 0)

    got = entry("C6", features(bend, 3))
    assert got.verdict == HOLDS and got.n == "n = 3 seeds, each a mean over layers"
    slow = [(bend(0.4) * (1 + 0.01 * seed) + 0.001) / 0.4 for seed in range(3)]
    fast = [(bend(0.9) - bend(0.4)) * (1 + 0.01 * seed) / 0.5 for seed in range(3)]
    excess = np.array(fast) - 2 * np.array(slow)
    half = stats.sem(excess) * stats.t.ppf(0.95, 2)
    assert (got.lower, got.upper) == pytest.approx((excess.mean() - half, excess.mean() + half))
    assert entry("C6", features(lambda at: 0.3 * at, 3)).verdict == FAILS
    assert entry("C6", features(bend, 2)).verdict == OPEN
    below = features(bend, 3)
    assert entry("C6", below[below.sparsity < 0.5]).reason.startswith("no rows of features")


def masks(shares: Mapping[tuple[str, float, int], float]) -> Rows:
    fixed = {"arm": "prune_after_finetune", "split": "masks", "metric": "mask_difference"}
    return made(shares, "task sparsity seed", **fixed)


def test_masks_that_differ_little_and_much() -> None:
    one = {(task, sparsity, 0): 0.03 for task in PAPER_TASKS for sparsity in (0.5, 0.9)}
    assert entry("C8", masks(one)).verdict == HOLDS
    assert entry("C8", masks(one | {("qqp", 0.9, 0): 0.07})).verdict == FAILS
    assert entry("C8", masks({place: 0.03 for place in one if place[0] == "qqp"})).verdict == OPEN
    three = {("qqp", 0.5, seed): 0.03 + 0.001 * seed for seed in range(3)}
    assert entry("C8", masks(three)).verdict == HOLDS
    wide = {("qqp", 0.5, seed): 0.03 + 0.02 * seed for seed in range(3)}
    assert entry("C8", masks(wide)).verdict == OPEN
    much = {("qqp", 0.5, seed): 0.09 + 0.001 * seed for seed in range(3)}
    got = entry("C8", masks(three | {("cola", *place[1:]): v for place, v in much.items()}))
    assert got.verdict == FAILS and got.reason.endswith("on cola")


def moved() -> Rows:
    """Movement of three tasks that is like the paper's."""
    places = {("", math.nan, 1): 0.025, ("", math.nan, 3): 0.03}
    places |= {("starting position", 0.975, 3): 0.01, ("starting position", 0.025, 3): 0.05}
    values = {(task, *at): of for task in ("cola", "qqp", "mnli") for at, of in places.items()}
    names = "task part position epoch"
    return made(values, names, split="weights", metric="movement_mean")


def test_movement_like_the_papers_bears_c9_out() -> None:
    found = moved()
    got = entry("C9", found)
    assert got.verdict == HOLDS and got.reason == ""
    assert "83" in got.ours and "1.0\N{NO-BREAK SPACE}%" in got.ours
    assert "(3 tasks of 3 epochs or more)" in got.ours
    short = found[(found.task != "qqp") | (found.epoch == 1)]
    assert "(2 tasks of 3 epochs or more)" in entry("C9", short).ours
    assert entry("C9", found[found.task == "qqp"]).verdict == OPEN


@pytest.mark.parametrize(
    ("where", "times", "reason"),
    [
        (lambda found: found.epoch == 1, 0.4, "it does not settle in one epoch"),
        (lambda found: found.position > 0.9, 4, "high magnitudes move no less"),
        (lambda found: found.epoch > 0, 2, "moves more"),
    ],
)
def test_movement_that_is_otherwise_refutes_c9(
    where: Callable[[Rows], Any], times: float, reason: str
) -> None:
    found = moved()
    found.loc[where(found), "value"] *= times
    got = entry("C9", found)
    assert (got.verdict, got.reason) == (FAILS, reason)


def test_the_longer_run_of_figure_4_is_not_averaged_with_table_2() -> None:
    got = entry("C9", paper.rows())
    assert got.n == "n = 5 tasks, one seed"
    assert f"moved {paper.movement().mean_percent.mean():.1f}" in got.ours


def test_heads_that_are_pruned_much_more() -> None:
    def heads(most: float) -> Rows:
        values = {
            (f"layer 0 head {head}", sparsity, seed): sparsity + most * (head == 1) + 0.01 * seed
            for head in range(4)
            for sparsity in (0.5, 0.7)
            for seed in (-1, 0, 1)
        }
        return made(values, "part sparsity seed", split="heads", metric="pruned_share")

    assert entry("C12", heads(0.1)).verdict == HOLDS
    got = entry("C12", heads(0.2))
    assert got.verdict == FAILS and "layer 0 head 1" in got.ours
    half = 0.01 * math.sqrt(1 / 3) * stats.t.ppf(0.95, 2)
    assert (got.lower, got.upper) == pytest.approx((20 - 100 * half, 20 + 100 * half))


@pytest.mark.parametrize(
    ("metric", "change", "part"),
    [
        ("weight_mean", 0.02, "mean near 0"),
        ("weight_std", 0.03, "std in range"),
        ("weight_kurtosis", 5.0, "near normal"),
    ],
)
def test_weights_that_are_otherwise_refute_c13(metric: str, change: float, part: str) -> None:
    found = paper.rows()
    std = found[found.metric == "weight_std"]
    found = rows.join([found, std.assign(metric="weight_kurtosis", value=0.1)])
    assert entry("C13", found).verdict == HOLDS and entry("C13", found).reason == ""
    found.loc[found.metric == metric, "value"] += change
    got = entry("C13", found)
    assert got.verdict == FAILS and got.reason == f"too few: {part}"


def test_matrices_without_a_mean_are_not_tested() -> None:
    found = paper.rows()
    std = (found.metric == "weight_std") & found.part.str.contains("pooler")
    mean = (found.metric == "weight_mean") & ~found.part.str.contains("pooler")
    got = entry("C13", found[std | mean])
    assert got.verdict == OPEN and got.reason.startswith("no rows of means")


def test_c14_is_about_bert_base_whatever_the_study() -> None:
    values = {("word embeddings",): 800.0, ("attention",): 200.0}
    got = entry("C14", made(values, "part", split="weights", metric="memory_bytes"))
    assert got.verdict == HOLDS and "this study's model 80.0" in got.ours
    assert "BERT-Base's shape 21.3" in got.ours
