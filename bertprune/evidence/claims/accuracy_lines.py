"""Straight lines of accuracy against pre-training loss, as in figure 2 of the paper.

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
from bertprune.evidence import results
from bertprune.evidence.results import AVERAGE
from bertprune.protocol.arms import INFORMATION_DELETION, PRUNE_PRETRAIN
from bertprune.protocol.rows import Rows

CONFIDENCE = 0.95
"""Of the two-sided interval of a slope."""

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
    dev = found[(found.split == "dev") & (found.metric == "accuracy")]
    try:
        scores = results.scores(dev[dev.arm == INFORMATION_DELETION])
    except UserError:
        return pd.DataFrame(columns=columns)
    both = scores[scores.task != AVERAGE].merge(losses, on=["sparsity", "seed"])
    places = zip(both.task, both.sparsity, strict=True)
    both["fitted"] = [place not in LEFT_OUT for place in places]
    return both[columns]


def _losses(found: Rows) -> pd.DataFrame:
    """Dev losses of the models that information deletion starts from."""
    return results.pretraining_losses(
        found[(found.arm == PRUNE_PRETRAIN) & (found.metric == "loss")]
    )


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
