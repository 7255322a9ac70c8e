"""Claim C5: straight lines of accuracy against pre-training loss, as in the paper's figure 2.

What a model lost of its pre-training is measured by its dev loss, and what that costs by the
accuracy under information deletion. A point is a seed's model at one sparsity. Points are treated
as independent, though those of one seed and sparsity start from one model on all tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from bertprune.base.words import counted, percent
from bertprune.evidence import scores
from bertprune.evidence.claims.claim import (
    FAILS,
    HOLDS,
    OPEN,
    Finding,
    claim,
    finding,
    in_percent,
    no_rows,
)
from bertprune.evidence.statistics import LEAST_SEEDS, LEAST_TASKS, TOO_FEW, Difference, Sample
from bertprune.protocol.arms import INFORMATION_DELETION, PRUNE_PRETRAIN
from bertprune.protocol.rows import Rows, where

CONFIDENCE = 0.95
"""Of the two-sided interval of a slope, and of the test of one slope for all."""

LEAST_R2 = 0.8
"""With less it is not called a straight line, be it bent or noisy. The paper's five have 0.97 and
more."""

LEFT_OUT = (("cola", 0.9),)
"""Tasks and sparsities that the lines leave out, as the paper does: there its CoLA model answers
with the most frequent label, and more loss cannot cost more."""

MORE_PRUNING = (0.5, 0.8)
"""From which sparsity to which the paper says what more pruning costs."""

LEAST_POINTS = 3
"""With fewer there is a line, but nothing to tell how well it fits."""

_COLUMNS = ["task", "slope", "lower", "upper", "intercept", "r2", "off", "points"]


def points(found: Rows) -> pd.DataFrame:
    """What the lines are fitted to: task, sparsity, seed, loss (nats) of the pre-trained model,
    accuracy (a share) under information deletion, and whether the point is fitted."""
    deleted = scores.best_accuracies(where(found, arm=INFORMATION_DELETION))
    deleted = deleted.sort_values(["sparsity", "task", "seed"])
    both = deleted.merge(_losses(found), on=["sparsity", "seed"])
    fitted = ~pd.MultiIndex.from_frame(both[["task", "sparsity"]]).isin(LEFT_OUT)
    columns = ["task", "sparsity", "seed", "loss", "accuracy", "fitted"]
    return both.assign(fitted=fitted)[columns]


def _losses(found: Rows) -> pd.DataFrame:
    """Dev losses of the models that information deletion starts from: sparsity, seed, loss."""
    losses = scores.pretraining_losses(where(found, arm=PRUNE_PRETRAIN))
    return losses[["sparsity", "seed", "loss"]]


def line_fits(found: Rows) -> pd.DataFrame:
    """The line of each task: slope (accuracy as a share, per nat), the lower and upper end of its
    two-sided 95 % interval, intercept, r2, how far points are `off` the line (the standard
    deviation of the residuals, a share), and the number of points.

    NaN where there are fewer than three points, or all have one loss. Empty without rows.
    """
    by_task = points(found).groupby("task", sort=False)
    lines = [{"task": task} | _line(of[of.fitted]) for task, of in by_task]
    return pd.DataFrame(lines, columns=_COLUMNS)


def _line(of: pd.DataFrame) -> dict[str, float]:
    if not _has_line(of):
        return {"points": len(of)}
    x, y = of.loss.to_numpy(float), of.accuracy.to_numpy(float)
    fit = stats.linregress(x, y)
    half = float(fit.stderr) * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(of) - 2))
    slope = float(fit.slope)
    residuals = y - fit.intercept - slope * x
    return {
        "slope": slope,
        "lower": slope - half,
        "upper": slope + half,
        "intercept": float(fit.intercept),
        # No line explains what does not vary.
        "r2": float(fit.rvalue) ** 2 if of.accuracy.nunique() > 1 else math.nan,
        # Two degrees of freedom are the line's.
        "off": math.sqrt(float(residuals @ residuals) / (len(of) - 2)),
        "points": len(of),
    }


def _has_line(of: pd.DataFrame) -> bool:
    return len(of) >= LEAST_POINTS and of.loss.nunique() > 1


def chance_of_one_slope(found: Rows) -> float:
    """Chance of slopes as different as those of the lines if all were one: an F-test of one slope
    against a slope for each task, each with a height of its own (ANCOVA). NaN where that cannot be
    told."""
    every = points(found)
    fitted = every[every.fitted].groupby("task").filter(_has_line)
    task = fitted.task
    between, within = task.nunique() - 1, len(fitted) - 2 * task.nunique()
    if between < 1 or within < 1:
        return math.nan
    centred = fitted[["loss", "accuracy"]].astype(float)
    centred -= centred.groupby(task).transform("mean")
    x, y = centred.loss, centred.accuracy
    products, squares = x * y, x**2
    own = task.map(products.groupby(task).sum() / squares.groupby(task).sum())
    one = float(((y - products.sum() / squares.sum() * x) ** 2).sum())
    each = float(((y - own * x) ** 2).sum())
    # Points that lie on their lines to the last bit leave no noise to compare with.
    exact = float(np.finfo(float).eps) * float((y**2).sum())
    if each <= exact:
        return 0.0 if one > exact else math.nan
    return float(stats.f.sf((one - each) / between / (each / within), between, within))


def cost_of_pruning(found: Rows) -> pd.DataFrame:
    """What pruning from one sparsity of MORE_PRUNING to the other costs on each task, by its line:
    task, change (accuracy as a share, negative for a loss).

    The change of the mean pre-training loss between the two, over the seeds that have both, times
    the slope; NaN where the rows lack one of the two.
    """
    by_seed = _losses(found).pivot_table(index="seed", columns="sparsity", values="loss")
    before, after = (by_seed.get(sparsity, math.nan) for sparsity in MORE_PRUNING)
    lines = line_fits(found)
    return pd.DataFrame(
        {"task": lines.task, "change": lines.slope * float(np.mean(after - before))}
    )


@claim(
    "C5",
    "Under information deletion accuracy falls along a straight line with pre-training loss, "
    "with a slope that depends on the task.",
    f"Every task's slope is negative with a two-sided {in_percent(CONFIDENCE)} interval below zero "
    f"and r² of {LEAST_R2} or more, and one slope for all tasks is rejected at "
    f"{in_percent(round(1 - CONFIDENCE, 2))}. It does not hold where a slope is told to rise, or a "
    "slope told from zero has less r².",
)
def fall_along_lines(found: Rows) -> Finding:
    lines = line_fits(found)
    if lines.empty:
        return no_rows("accuracy under information deletion and pre-training loss")
    told = lines.dropna(subset=["slope"])
    seeds = points(found).seed.nunique()
    each = ", ".join(f"{task} {n}" for task, n in zip(lines.task, lines.points, strict=True))
    n = f"n = {each} points, {counted(seeds, 'seed')}"
    if seeds < LEAST_SEEDS and len(lines) < LEAST_TASKS:
        return Finding(n=n, reason=TOO_FEW)
    if len(told) < len(lines) or len(lines) < 2:
        return Finding(n=n, reason="a line takes three points, and a comparison two tasks")
    chance = chance_of_one_slope(found)
    parts = {
        "rises on": told[told.lower > 0].task,
        f"r² below {LEAST_R2} on": told[(told.upper < 0) & (told.r2 < LEAST_R2)].task,
    }
    refuted = "; ".join(f"{what} {', '.join(on)}" for what, on in parts.items() if len(on))
    flat = list(told[(told.lower <= 0) & (told.upper >= 0)].task)
    flattest = told.sort_values("upper").iloc[-1]
    return finding(
        Sample(Difference(flattest.slope, flattest.lower, flattest.upper, seeds), n),
        f"points per nat: {'; '.join(_in_words(told, cost_of_pruning(found)))}; "
        f"one slope for all: p = {chance:.2g}",
        (refuted, FAILS, refuted),
        (flat, OPEN, "no slope is told from zero on " + ", ".join(flat)),
        (not chance < 1 - CONFIDENCE, OPEN, "one slope for all tasks is not ruled out"),
        (True, HOLDS, ""),
        unit=f"points per nat, {flattest.task}",
    )


def _in_words(lines: pd.DataFrame, cost: pd.DataFrame) -> Iterable[str]:
    """Each line with what pruning costs by it, where the rows say that."""
    before, after = (percent(sparsity) for sparsity in MORE_PRUNING)
    for task, of in lines.merge(cost, on="task").set_index("task").iterrows():
        slope = f"{100 * of.slope:+.2f} [{100 * of.lower:+.2f}, {100 * of.upper:+.2f}]"
        costs = f", {before} to {after} {100 * of.change:+.1f} points"
        off = f"{100 * of.off:.2f} points off the line"
        yield f"{task} {slope}, r² {of.r2:.2f}, {off}" + costs * (not math.isnan(of.change))
