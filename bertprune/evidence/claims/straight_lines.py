"""Claim C5: straight lines of accuracy against pre-training loss, as in the paper's figure 2.

What a model lost of its pre-training is measured by its dev loss, and what that costs by the
accuracy under information deletion. Figures show each seed's model at one sparsity as a point. The
rule goes by the mean losses, which differ so little between seeds that slope and bend of a task are
weighted sums of its accuracies, the same for all seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile

import numpy as np
import pandas as pd
from scipy import stats

from bertprune.base.words import counted, signed
from bertprune.evidence import scores
from bertprune.evidence.claims.chance import Floats, holm
from bertprune.evidence.claims.claim import (
    NO_EFFECT,
    SPELLED,
    Finding,
    Part,
    beside,
    claim,
    decided,
    in_percent,
    no_rows,
    of_all,
    than,
)
from bertprune.evidence.claims.claim import (
    points as in_points,
)
from bertprune.evidence.claims.measured import Contrast, Measured, Place, Points
from bertprune.protocol.arms import INFORMATION_DELETION, PRUNE_PRETRAIN
from bertprune.protocol.rows import Rows, where

CONFIDENCE = 0.95
"""Of the two-sided interval of a slope, as figures and tables show it."""

LEFT_OUT = (("cola", 0.9),)
"""Tasks and sparsities that the lines of figures leave out, as the paper does."""

BENT = 0.125
"""The share of a curve's fall by which it may bow from its chord and counts as straight: half of
what a parabola does that falls from its vertex, so that it is nearer to a line than to a square."""

ONE_SLOPE = 0.5
"""The share of the mean slope up to which two slopes count as one. In the paper's figure 2 slopes
of tasks differ up to tenfold."""

LEAST_TO_BEND = 4
"""Points of a curve: with fewer a parabola fits them all."""

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
    "C5 holds if two things are so. First, accuracy falls on each task, and a parabola through "
    f"the task's points bows from its chord by less than an {SPELLED[BENT]} of that fall. Second, "
    "the slopes of two tasks differ. It is refuted if a curve rises or bows by more, or if all "
    f"slopes are within {SPELLED[ONE_SLOPE]} of the mean slope of each other. Points on the floor "
    f"are left out: from where accuracy is above it by no more than a {SPELLED[NO_EFFECT]} of "
    "what the curve can fall. The floor is the accuracy of a BERT that was never pre-trained.",
    "an extra 30 % costs about a point on QQP and ten on CoLA (its figure 2)",
)
def fall_along_lines(m: Measured) -> Finding:
    """The authors would take it as borne out where each task's points lie nearer to a line than to
    a law of another power, and lines of different steepness; and as refuted where one is bent, or
    all are one. What is on the floor can fall no further, whatever the law."""
    compared = [0.0, *m.levels(INFORMATION_DELETION, dense=False)]
    losses = {at: m.pretraining_losses.get(Place(PRUNE_PRETRAIN, at)) for at in compared}
    known = {at: float(np.nanmean(of)) for at, of in losses.items() if of is not None}
    at = m.points(Place(INFORMATION_DELETION, level) for level in known)
    if at is None or m.floor.reindex(at.tasks).isna().any():
        return no_rows(
            "accuracy under information deletion, also with nothing pruned, pre-training loss, and "
            "what a BERT does that was never pre-trained"
        )
    curves = [curve for i in range(len(at.tasks)) if (curve := _curve(at, i, known)) is not None]
    flat = [task for task in at.tasks if task not in [curve.task for curve in curves]]
    if len(curves) < 2:
        enough = f"{LEAST_TO_BEND} points above the floor"
        said = f"{counted(len(curves), 'curve')} with {enough}"
        return Finding(said, at.n, reason=f"it takes {enough} on each of two tasks")
    bends = beside([c.bow for c in curves], [c.fall for c in curves], BENT)
    parts = [
        part
        for curve, bend in zip(curves, bends, strict=True)
        for part in (
            Part(*_FALLS, bend.stake.above(), bend.stake.below(), curve.task),
            bend.none(*_IS_STRAIGHT, curve.task),
        )
    ]
    parts.append(_slopes_differ([curve.slope for curve in curves]))
    said = "; ".join(
        f"{curve.task} {in_points(curve.slope.estimate(), unit=' points per nat')}, "
        + (
            "no fall that is detected"
            if math.isnan(bend.share)
            else f"bowed by {of_all(bend.share, '+')} of its fall"
        )
        + f" ({curve.points} points)"
        for curve, bend in zip(curves, bends, strict=True)
    )
    slopes = [100 * float(curve.slope.values.mean()) for curve in curves]
    falling = [bend for bend in bends if not math.isnan(bend.share)]
    worst = max(falling, key=lambda bend: abs(bend.share), default=bends[0])
    most_bent = (
        f"The most curved one, {curves[bends.index(worst)].task}, deviates from a straight line by "
        f"{of_all(abs(worst.share))} of its fall; the rule allows {in_percent(BENT)}."
        if falling
        else "No curve has a fall that is detected."
    )
    return decided(
        parts,
        says="Above the floor a nat of pre-training loss changes accuracy by "
        f"{signed(max(slopes))} to {signed(min(slopes))} points, by task. {most_bent}",
        statistic=said + f"; on the floor, and not asked: {', '.join(flat)}" * bool(flat),
        at=at,
        of=worst.effect,
        margin=worst.margin,
        stake="fall",
    )


_FALLS = "accuracy falls on", "accuracy rises on"
_IS_STRAIGHT = than(f"the curve bows by {{}} than an {SPELLED[BENT]} of its fall on")


@dataclass(frozen=True)
class _Curve:
    """Accuracy against loss on a task, without what is on the floor."""

    task: str
    points: int
    slope: Contrast
    """Of a straight line, per nat."""
    bow: Contrast
    """How far a parabola is above its chord half-way."""
    fall: Contrast
    """Of the parabola, from one end to the other."""


def _curve(at: Points, i: int, losses: Mapping[float, float]) -> _Curve | None:
    """The curve of the i-th task of `at`; None where too few points are above the floor."""
    task = at.tasks[i]
    levels = sorted(losses)
    means = {level: float(at.of(Place(INFORMATION_DELETION, level)).by_task[i]) for level in levels}
    floor = float(at.measured.floor[task])
    lowest = floor + NO_EFFECT * (means[levels[0]] - floor)
    above = list(takewhile(lambda level: means[level] > lowest, levels))
    if len(above) < LEAST_TO_BEND:
        return None
    x = np.array([losses[level] for level in above])
    line, parabola = (np.linalg.pinv(np.vander(x, n)) for n in (2, 3))
    ends = np.vander([x.min(), x.max()], 3)

    def contrast(weights: Floats) -> Contrast:
        of_task = np.eye(len(at.tasks))[i]
        places = [Place(INFORMATION_DELETION, level) for level in above]
        return Contrast(
            at, {place: weight * of_task for place, weight in zip(places, weights, strict=True)}
        )

    return _Curve(
        task,
        len(above),
        contrast(line[0]),
        contrast(-parabola[0] * np.ptp(x) ** 2 / 4),
        contrast((ends[0] - ends[1]) @ parabola),
    )


def _slopes_differ(slopes: Sequence[Contrast]) -> Part:
    """That two of several slopes differ: any pair may tell, so they are corrected for their number.
    That all are one takes every pair."""
    mean = sum(slopes[1:], slopes[0]) * (-1 / len(slopes))
    pairs = [one - two for one, two in combinations(slopes, 2)]
    found = beside(pairs, [mean] * len(pairs), ONE_SLOPE)
    either = [2 * min(of.effect.above(), of.effect.below()) for of in found]
    one_slope = max(of.none("", "").supports for of in found)
    return Part("slopes differ", "all slopes are about the same", min(holm(either)), one_slope)
