"""Differences that are paired by seed, as figures and tables show them by sparsity.

Sampled are seeds: a seed's value is its mean over the tasks that are compared, since these start
from one pre-trained model and are not independent. Bounds are one-sided, at 95 % each, by Student's
t; several levels side by side are not corrected for. Verdicts go by other BERTs and other dev
examples too (see `evidence.claims.chance`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from bertprune.protocol.arms import PRUNE_PRETRAIN

CONFIDENCE = 0.95
"""Of each bound."""

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
