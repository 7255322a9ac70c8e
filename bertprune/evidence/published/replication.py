"""Runs of a published study that were executed again, against what all of its seeds gave."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from bertprune.base.errors import UserError
from bertprune.base.shown import Sentence
from bertprune.base.words import counted
from bertprune.evidence.gathering import ends_of, executed_again
from bertprune.evidence.published import is_published, rows_of
from bertprune.experiments.studies import Study
from bertprune.protocol.rows import Rows

_PLACE = ["arm", "sparsity", "metric"]

CONFIDENCE = 0.95
"""Of an interval in which the mean of as many other seeds is expected."""


def replicated(study: Study) -> pd.DataFrame:
    """`against_intervals` of what this machine executed of a study. Raises UserError if it is not
    published."""
    if not is_published(study.name):
        raise UserError(f"no rows of study {study.name} are published")
    return against_intervals(executed_again(study), rows_of(study.name))


def inside(against: pd.DataFrame) -> Sentence:
    """How many of the means of `against_intervals` lie in their interval. Raises UserError without
    lines."""
    if against.empty:
        raise UserError("nothing was rerun that several published seeds have")
    count = int(against.again.between(against.low, against.high).sum())
    return Sentence(f"{count} of {counted(len(against), 'mean')} of reruns lie in the interval.")


def against_intervals(again: pd.DataFrame, before: Rows) -> pd.DataFrame:
    """What runs gave `again` (`gathering.executed_again`) beside the published rows `before`, by
    arm, sparsity and metric: `mean` of the published seeds, `low` and `high`, `again`, the mean of
    those executed again, `seeds`, how many these are, and `tasks`, a list.

    A seed's value is its mean over those tasks that every seed executed again has, each at its best
    learning rate, for both sides. Between `low` and `high` the mean of as many other seeds lies in
    95 of 100 cases (Student's t, two-sided): the interval of a prediction, wider than that of the
    mean. Without lines for cells of one published seed.
    """
    every, lines = dict(iter(_by_task(ends_of(before), "value").groupby(_PLACE))), []
    for place, here in _by_task(again, "again").groupby(_PLACE):
        tasks = [str(task) for task in here.dropna(axis=1)]
        seeds = every[place][tasks].dropna().mean(axis=1)
        if not tasks or len(seeds) < 2:
            continue
        spread = seeds.std() * np.sqrt(1 / len(seeds) + 1 / len(here))
        half = spread * stats.t.ppf((1 + CONFIDENCE) / 2, len(seeds) - 1)
        bounds = (seeds.mean(), seeds.mean() - half, seeds.mean() + half)
        lines.append((*place, *bounds, here[tasks].mean(axis=1).mean(), len(here), tasks))
    return pd.DataFrame(lines, columns=[*_PLACE, "mean", "low", "high", "again", "seeds", "tasks"])


def _by_task(ends: pd.DataFrame, value: str) -> pd.DataFrame:
    """Accuracies and losses by place and seed, tasks across. Pre-training has one learning rate."""
    return ends.pivot_table(index=[*_PLACE, "seed"], columns="task", values=value, aggfunc="max")
