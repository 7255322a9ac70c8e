"""Verdicts recomputed from the published files by other code: pandas, numpy and scipy's tables."""

import json
import math
import re
from collections import defaultdict
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from bertprune.base import paths
from bertprune.evidence.claims import CLAIMS, ledger
from bertprune.evidence.claims.claim import Finding

Weights = list[tuple[float, str, float]]
"""A weighted sum of accuracies: factor, arm, sparsity."""

MASKED, OFF, LATE, RANDOM = (
    "prune_pretrain",
    "information_deletion",
    "prune_after_finetune",
    "random_pruning",
)


@cache
def rows(study: str) -> pd.DataFrame:
    return pd.read_parquet(paths.published(study))


LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
"""Of the lab."""


@cache
def tasks(study: str) -> pd.DataFrame:
    known = json.loads(paths.published(study).with_suffix(".json").read_text())["tasks"]
    return pd.DataFrame(known).T.sort_index()


@cache
def accuracy(study: str, arm: str, sparsity: float) -> pd.DataFrame:
    """Task × seed."""
    found = rows(study)
    found = found[(found.arm == arm) & (found.sparsity == sparsity) & (found.split == "dev")]
    found = found[(found.metric == "accuracy") & (found.task != "pretraining")]
    last = found.loc[found.groupby(["task", "learning_rate", "seed"]).epoch.idxmax()]
    return last.groupby(["task", "seed"]).value.max().unstack().astype(float)


def change(arm: str, sparsities: list[float], factor: float = 1.0) -> Weights:
    """From that arm where nothing is pruned."""
    each = [(factor / len(sparsities), arm, at) for at in sparsities]
    return [*each, (-factor, arm, 0.0)]


def by_seed(study: str, weights: Weights) -> NDArray[np.float64]:
    total: Any = sum(factor * accuracy(study, arm, at).mean() for factor, arm, at in weights)
    return np.asarray(total.dropna(), float)


def of_examples(study: str, weights: Weights) -> float:
    """The variance, at most, that other dev examples would add."""
    sizes, merged = tasks(study)["dev examples"], defaultdict[tuple[str, float], float](float)
    for factor, arm, at in weights:
        merged[arm, at] += factor
    total = 0.0
    for task, size in sizes.items():
        sides: dict[bool, float] = {True: 0.0, False: 0.0}
        for (arm, at), factor in merged.items():
            share = accuracy(study, arm, at).loc[str(task)].mean()
            sides[factor > 0] += abs(factor) * math.sqrt(share * (1 - share) / size)
        total += (sides[True] ** 2 + sides[False] ** 2) / len(sizes) ** 2
    return total


def bounds(
    values: NDArray[np.float64], examples: float, sem: float = math.nan, freedom: float = math.nan
) -> tuple[float, float]:
    """One-sided, of the mean over seeds and examples."""
    sem = stats.sem(values) if math.isnan(sem) else sem
    freedom = len(values) - 1 if math.isnan(freedom) else freedom
    half = math.hypot(stats.t.ppf(0.95, freedom) * sem, stats.norm.ppf(0.95) * math.sqrt(examples))
    return float(values.mean() - half), float(values.mean() + half)


def transfer(study: str) -> tuple[Weights, float]:
    """Of the dense model, and what is to be taken off."""
    scratch = accuracy(study, "from_scratch", 0.0).mean(axis=1)
    best = pd.concat([tasks(study)[["majority", "bag of words"]], scratch], axis=1).max(axis=1)
    return [(1.0, MASKED, 0.0)], float(best.mean())


def found(study: str, key: str) -> Finding:
    claim = next(claim for claim in CLAIMS if claim.key == key)
    # Without single answers, so that dev examples add all that they can.
    return claim.of(replace(ledger.published(study), answers={}))


def interval(study: str, weights: Weights, constant: float = 0.0) -> tuple[float, float]:
    return bounds(by_seed(study, weights) + constant, of_examples(study, weights))


def test_c2() -> None:
    levels = [0.4, 0.5, 0.6]
    gain = [*change(OFF, levels), *change(MASKED, levels, -1)]
    lost = change(MASKED, levels, -1)
    got = found("lab", "C2")
    assert (got.lower, got.upper) == pytest.approx([100 * at for at in interval("lab", gain)])
    quarter = [(0.25 * factor, arm, at) for factor, arm, at in lost]
    less = interval("lab", [*gain, *((-f, arm, at) for f, arm, at in quarter)])
    more = interval("lab", [*gain, *quarter])
    inside = less[1] < 0 < more[0]
    beyond = (less[0] > 0 or more[1] < 0) and interval("lab", lost)[0] > 0
    assert got.verdict == ("holds" if inside else "refuted" if beyond else "undecided")


def test_c7() -> None:
    levels = LEVELS
    gain = [*change(LATE, levels), *change(MASKED, levels, -1)]
    got = found("lab", "C7")
    assert (got.lower, got.upper) == pytest.approx([100 * at for at in interval("lab", gain)])
    dense, base = transfer("lab")
    margin = [(-0.05 * factor, arm, at) for factor, arm, at in dense]
    less = interval("lab", [*gain, *margin], 0.05 * base)
    verdict = "holds" if less[1] < 0 else "refuted" if less[0] > 0 else "undecided"
    assert got.verdict == verdict


def test_c4() -> None:
    every = rows("lab")
    every = every[(every.split == "train") & (every.metric == "loss")]
    losses: Any = (
        every.sort_values("epoch").groupby(["arm", "sparsity", "task", "seed"]).value.last()
    )
    dense = losses[MASKED][0.0].groupby("task").mean()
    levels = LEVELS[3:]
    cells = [
        (at, task)
        for at in levels
        for task in dense.index
        if losses[OFF][at][task].mean() <= dense[task] + 0.01
    ]
    got = found("lab", "C4")
    assert got.statistic.startswith(f"{len(cells)} of 30 cells")
    each = [
        accuracy("lab", OFF, at).loc[task] - accuracy("lab", OFF, 0.0).loc[task]
        for at, task in cells
    ]
    values = np.asarray(sum(each) / len(cells), float)
    assert 100 * values.mean() == pytest.approx((got.lower + got.upper) / 2)
    # Whatever dev examples add, up to all that they can.
    assert got.verdict == "holds" and bounds(values, 0.0)[1] > got.upper / 100 - 0.02


def test_c11() -> None:
    got, told = found("lab", "C11"), []
    every = rows("lab")
    every = every[(every.task == "pretraining") & (every.metric == "loss")]
    losses: Any = every.sort_values("step").groupby(["arm", "sparsity", "seed"]).value.last()
    for at in LEVELS:
        lower, upper = interval("lab", [(1, RANDOM, at), (-1, MASKED, at)])
        mean = by_seed("lab", [(1, RANDOM, at), (-1, MASKED, at)]).mean()
        said = re.search(rf"\b{100 * at:.0f}\s%: accuracy (\S+) \[(\S+),\s(\S+)\]", got.statistic)
        assert said
        printed = [float(number.replace("\N{MINUS SIGN}", "-")) for number in said.groups()]
        assert printed == pytest.approx([100 * mean, 100 * lower, 100 * upper], abs=0.00501)
        more = np.asarray(losses[RANDOM][at] - losses[MASKED][at], float)
        told += [upper < 0, bounds(more, 0.0)[0] > 0]
    assert got.verdict == ("holds" if all(told) else "undecided")


def test_c1_with_one_variance_of_three_levels() -> None:
    levels = [0.1, 0.2, 0.3]
    falls = [change(MASKED, [at]) for at in levels]
    values = np.stack([by_seed("english", fall) for fall in falls])
    covariance = np.cov(values)
    sem = math.sqrt(np.trace(covariance) / 3 / values.shape[1])
    freedom = 2 * np.trace(covariance) ** 2 / np.sum(covariance**2)
    lows = [
        bounds(of, of_examples("english", fall), sem, freedom)
        for of, fall in zip(values, falls, strict=True)
    ]
    got = found("english", "C1")
    assert (got.lower, got.upper) == pytest.approx([100 * at for at in min(lows)])
    # There is no transfer of which a twentieth could be a margin.
    dense, base = transfer("english")
    assert abs(interval("english", dense, -base)[0]) > 0 and got.verdict == "undecided"


def test_c6() -> None:
    of: Any = rows("english")
    of = of[(of.metric == "cosine_similarity") & (of.arm == MASKED) & (of.sparsity <= 0.8)]
    away = 1 - of.groupby(["seed", "sparsity"]).value.mean().unstack()
    x = np.log(away.columns.to_numpy(float))
    design = np.column_stack([np.ones_like(x), x, np.clip(x - math.log(0.4), 0, None)])
    bends = np.array([np.linalg.lstsq(design, np.log(one))[0][2] for one in away.to_numpy()])
    got, (lower, upper) = found("english", "C6"), bounds(bends, 0.0)
    assert (got.lower, got.upper) == pytest.approx((lower, upper))
    assert got.verdict == ("holds" if lower > 1 else "refuted" if upper < 1 else "")
