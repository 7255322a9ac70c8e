"""Claim C5: straight lines of accuracy against pre-training loss, as in the paper's figure 2.

What a model lost of its pre-training is measured by its dev loss, and what that costs by the
accuracy under information deletion. A point is a seed's model at one sparsity. Points are treated
as independent, though those of one seed and sparsity start from one model on all tasks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from bertprune.base.errors import UserError
from bertprune.base.words import counted, percent
from bertprune.evidence import scores
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN, Finding, claim, in_percent, no_rows
from bertprune.evidence.scores import AVERAGE
from bertprune.evidence.statistics import LEAST_SEEDS, LEAST_TASKS, TOO_FEW
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
    columns = ["task", "sparsity", "seed", "loss", "accuracy", "fitted"]
    losses = _losses(found).drop(columns="arm")
    try:
        deleted = scores.scores(where(found, arm=INFORMATION_DELETION))
    except UserError:
        return pd.DataFrame(columns=columns)
    both = deleted[deleted.task != AVERAGE].merge(losses, on=["sparsity", "seed"])
    places = zip(both.task, both.sparsity, strict=True)
    both["fitted"] = [place not in LEFT_OUT for place in places]
    return both[columns]


def _losses(found: Rows) -> pd.DataFrame:
    """Dev losses of the models that information deletion starts from."""
    return scores.pretraining_losses(where(found, arm=PRUNE_PRETRAIN))


def line_fits(found: Rows) -> pd.DataFrame:
    """The line of each task: slope (accuracy as a share, per nat), the lower and upper end of its
    two-sided 95 % interval, intercept, r2, how far points are `off` the line (the standard
    deviation of the residuals, a share), and the number of points.

    NaN where there are fewer than three points, or all have one loss. Empty without rows.
    """
    return _lines(points(found))


def _lines(every: pd.DataFrame) -> pd.DataFrame:
    lines = [
        _line(str(task), of[of.fitted.astype(bool)])
        for task, of in every.groupby("task", sort=False)
    ]
    return pd.DataFrame(lines, columns=_COLUMNS)


def _line(task: str, of: pd.DataFrame) -> dict[str, float | str]:
    line: dict[str, float | str] = dict.fromkeys(_COLUMNS, math.nan)
    line |= {"task": task, "points": len(of)}
    if len(of) < LEAST_POINTS or of.loss.nunique() < 2:
        return line
    fit = stats.linregress(of.loss.to_numpy(float), of.accuracy.to_numpy(float))
    half = float(fit.stderr) * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(of) - 2))
    slope = float(fit.slope)
    residuals = of.accuracy.to_numpy(float) - fit.intercept - slope * of.loss.to_numpy(float)
    return line | {
        "slope": slope,
        "lower": slope - half,
        "upper": slope + half,
        "intercept": float(fit.intercept),
        # No line explains what does not vary.
        "r2": float(fit.rvalue) ** 2 if of.accuracy.nunique() > 1 else math.nan,
        # Two degrees of freedom are the line's.
        "off": math.sqrt(float(residuals @ residuals) / (len(of) - 2)),
    }


@dataclass(frozen=True)
class CommonSlope:
    """Whether one slope would do for all tasks, each with a height of its own (ANCOVA)."""

    slope: float
    """The one slope, accuracy as a share per nat."""
    f: float
    between: int
    """Degrees of freedom between the slopes: tasks − 1."""
    within: int
    """Degrees of freedom within: points − 2 · tasks."""
    p: float
    """Chance of slopes as different as these if all were one; NaN where that cannot be told."""


def common_slope(found: Rows) -> CommonSlope:
    """F-test of one slope against a slope for each task, over the tasks that have a line."""
    every = points(found)
    drawn = set(_lines(every).dropna(subset=["slope"]).task)
    every = every[every.fitted.astype(bool) & every.task.isin(drawn)]
    tasks = len(drawn)
    within = len(every) - 2 * tasks
    centred = every.assign(
        x=every.loss - every.groupby("task").loss.transform("mean"),
        y=every.accuracy - every.groupby("task").accuracy.transform("mean"),
    ).astype({"x": float, "y": float})
    if tasks < 2 or within < 1:
        return CommonSlope(math.nan, math.nan, max(tasks - 1, 0), max(within, 0), math.nan)
    slope = float((centred.x * centred.y).sum() / (centred.x**2).sum())
    own = centred.task.map(
        {task: float((of.x * of.y).sum() / (of.x**2).sum()) for task, of in centred.groupby("task")}
    )
    one = float(((centred.y - slope * centred.x) ** 2).sum())
    each = float(((centred.y - own * centred.x) ** 2).sum())
    # Points that lie on their lines to the last bit leave no noise to compare with.
    exact = float(np.finfo(float).eps) * float((centred.y**2).sum())
    if each <= exact:
        return CommonSlope(slope, math.inf, tasks - 1, within, 0.0 if one > exact else math.nan)
    f = (one - each) / (tasks - 1) / (each / within)
    return CommonSlope(slope, f, tasks - 1, within, float(stats.f.sf(f, tasks - 1, within)))


def cost_of_pruning(found: Rows) -> pd.DataFrame:
    """What pruning from one sparsity of MORE_PRUNING to the other costs on each task, by its line:
    task, change (accuracy as a share, negative for a loss).

    The change of the mean pre-training loss between the two, over the seeds that have both, times
    the slope; NaN where the rows lack one of the two.
    """
    by_seed = _losses(found).pivot_table(index="seed", columns="sparsity", values="loss")
    before, after = (by_seed.get(sparsity, math.nan) for sparsity in MORE_PRUNING)
    rise = float(np.mean(after - before))
    lines = line_fits(found)
    return pd.DataFrame({"task": lines.task, "change": lines.slope.astype(float) * rise})


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
        return Finding(OPEN, n=n, reason=TOO_FEW)
    if len(told) < len(lines) or len(lines) < 2:
        reason = "a line takes three points, and a comparison two tasks"
        return Finding(OPEN, n=n, reason=reason)
    common = common_slope(found)
    statistic = "points per nat: " + "; ".join(_in_words(told, cost_of_pruning(found)))
    statistic += f"; one slope for all: p = {common.p:.2g}"
    upward = list(told[told.lower > 0].task)
    crooked = list(told[(told.upper < 0) & (told.r2 < LEAST_R2)].task)
    flat = list(told[(told.lower <= 0) & (told.upper >= 0)].task)
    parts = {"rises on": upward, f"r² below {LEAST_R2} on": crooked}
    verdict, reason = HOLDS, ""
    if upward or crooked:
        verdict, reason = FAILS, "; ".join(f"{k} {', '.join(v)}" for k, v in parts.items() if v)
    elif flat:
        verdict, reason = OPEN, "no slope is told from zero on " + ", ".join(flat)
    elif not common.p < 1 - CONFIDENCE:
        verdict, reason = OPEN, "one slope for all tasks is not ruled out"
    flattest = told.sort_values("upper").iloc[-1]
    bounds = 100 * float(flattest.lower), 100 * float(flattest.upper)
    unit = f"points per nat, {flattest.task}"
    return Finding(verdict, statistic, n, *bounds, unit, reason)


def _in_words(lines: pd.DataFrame, cost: pd.DataFrame) -> list[str]:
    """Each line with what pruning costs by it, where the rows say that."""
    before, after = (percent(sparsity) for sparsity in MORE_PRUNING)
    described = []
    for task, of in lines.merge(cost, on="task").set_index("task").astype(float).iterrows():
        slope = f"{100 * of.slope:+.2f} [{100 * of.lower:+.2f}, {100 * of.upper:+.2f}]"
        from_to = f"{before} to {after} {100 * of.change:+.1f} points"
        costs = "" if math.isnan(of.change) else f", {from_to}"
        off = f"{100 * of.off:.2f} points off the line"
        described.append(f"{task} {slope}, r² {of.r2:.2f}, {off}{costs}")
    return described
