"""Statistics: differences that are paired by seed, and what is told of their mean.

Sampled are seeds: a seed's value is its mean over the tasks and sparsities that are compared,
since these start from one pre-trained model and are not independent. Bounds are one-sided, at 95 %
each, by Student's t; several levels tested side by side are not corrected for.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from bertprune.base.words import counted
from bertprune.protocol.arms import PRUNE_PRETRAIN

CONFIDENCE = 0.95
"""Of each bound."""

NO_EFFECT = 0.01
"""A difference in accuracy up to this, one point, counts as none."""

LEAST_SEEDS = 3
LEAST_TASKS = 3
"""No verdict with fewer seeds and fewer tasks: two values tell nothing from chance."""

Cells = pd.DataFrame
"""Values that are compared: seed, value, and what else they are by, mostly task and sparsity."""


@dataclass(frozen=True)
class Difference:
    """A mean difference with its one-sided bounds."""

    mean: float
    lower: float
    upper: float
    seeds: int

    @property
    def is_loss(self) -> bool:
        return self.upper < 0

    @property
    def is_gain(self) -> bool:
        return self.lower > 0

    def is_within(self, margin: float) -> bool:
        return -margin < self.lower and self.upper < margin


Differences = dict[float, Difference]
"""By sparsity, ascending."""


def mean_difference(differences: pd.Series) -> Difference:
    """The mean of the seeds' differences with its two one-sided bounds at 95 % (Student's t).

    With fewer than two seeds the bounds are infinite: nothing is told from zero.
    """
    seeds, mean = len(differences), float(differences.mean())
    if seeds < 2:
        return Difference(mean, -math.inf, math.inf, seeds)
    # Not scipy's `ttest_1samp`, which warns where all are equal: then the bounds are the mean.
    half = float(stats.sem(differences)) * float(stats.t.ppf(CONFIDENCE, seeds - 1))
    return Difference(mean, mean - half, mean + half, seeds)


def welch(one: pd.Series, two: pd.Series) -> Difference:
    """The difference of two means with its one-sided bounds, without equal variances."""
    mean = float(one.mean() - two.mean())
    if min(len(one), len(two)) < 2:
        return Difference(mean, -math.inf, math.inf, 1)
    if max(one.nunique(), two.nunique()) < 2:
        return Difference(mean, mean, mean, 1)
    with warnings.catch_warnings():
        # One of the two may be constant, which scipy takes for a loss of precision.
        warnings.simplefilter("ignore", RuntimeWarning)
        test = stats.ttest_ind(one, two, equal_var=False)
        interval = test.confidence_interval(2 * CONFIDENCE - 1)
    return Difference(mean, float(interval.low), float(interval.high), 1)


def paired(
    measured: pd.DataFrame,
    arm: str,
    other: str = PRUNE_PRETRAIN,
    *,
    dense: bool = False,
    of: str = "accuracy",
) -> Cells:
    """`of` for `arm` minus that for `other`, where both are: task where there is any, sparsity,
    seed, value. With `dense` the other is its dense model, at sparsity 0."""
    one, two = measured[measured.arm == arm], measured[measured.arm == other]
    place = [name for name in ("task", "sparsity", "seed") if name in measured]
    on = place
    if dense:
        on = [name for name in place if name != "sparsity"]
        two = two[two.sparsity == 0].drop(columns="sparsity")
    both = one.merge(two, on=on, suffixes=("", "_other"))
    return both.assign(value=both[of] - both[f"{of}_other"])[[*place, "value"]]


def beyond(gains: Cells, control: Cells) -> Cells:
    """What is gained beyond the control's of the same task and seed; NaN where there is none."""
    alone = control[["task", "seed", "value"]]
    both = gains.merge(alone, on=["task", "seed"], suffixes=("", "_alone"), how="left")
    return both.assign(value=both.value - both.value_alone)[list(gains.columns)]


def shared_by_seeds(cells: Cells) -> Cells:
    """The cells at the places that all seeds have."""
    place = [name for name in cells.columns if name not in ("seed", "value")]
    return cells[cells.groupby(place).seed.transform("nunique") == cells.seed.nunique()]


def by_sparsity(cells: Cells) -> Iterator[tuple[float, Cells]]:
    """The cells of each sparsity, ascending."""
    for at in sorted(map(float, cells.sparsity.unique())):
        yield at, cells[cells.sparsity == at]


@dataclass(frozen=True)
class Sample:
    """A mean with its bounds, and what they were taken over."""

    difference: Difference
    n: str
    lack: str = ""
    """Why it is too small for a verdict; else empty."""
    sparsities: tuple[float, ...] = ()


TOO_FEW = f"fewer than {LEAST_SEEDS} seeds and fewer than {LEAST_TASKS} tasks"


def sample(cells: Cells) -> Sample:
    """The sample in `cells`: the seeds' means over the places that all seeds have, or where there
    is one seed the tasks' means."""
    seeds, shared = cells.seed.nunique(), shared_by_seeds(cells)
    tasks = shared.task.nunique()
    if shared.empty:
        nothing = Difference(math.nan, -math.inf, math.inf, 0)
        return Sample(nothing, f"{seeds} seeds", "the seeds have no point in common")
    if seeds > 1:
        values = shared.groupby("seed").value.mean()
        n = f"n = {seeds} seeds, each a mean over {counted(tasks, 'task')}"
        lack = f"{seeds} seeds are too few" if seeds < LEAST_SEEDS else ""
    else:
        values = shared.groupby("task").value.mean()
        n = f"n = {counted(tasks, 'task')}, one seed"
        lack = TOO_FEW if tasks < LEAST_TASKS else ""
    sparsities = sorted(set(shared.sparsity)) if "sparsity" in shared else []
    return Sample(mean_difference(values), n, lack, tuple(sparsities))
