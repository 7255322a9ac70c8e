"""Runs of a published study that were executed again, against what all of its seeds gave."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from bertprune.base.errors import UserError
from bertprune.evidence.gathering import ends_of, executed_again
from bertprune.evidence.published import is_published, rows_of
from bertprune.experiments.studies import Study
from bertprune.protocol.rows import Rows

CONFIDENCE = 0.95
"""Of an interval in which the mean of as many other seeds is expected."""


def replicated(study: Study) -> pd.DataFrame:
    """`against_intervals` of what this machine executed of a study. Raises UserError if it is not
    published."""
    if not is_published(study.name):
        raise UserError(f"no rows of study {study.name} are published")
    return against_intervals(executed_again(study), rows_of(study.name))


def against_intervals(again: pd.DataFrame, before: Rows) -> pd.DataFrame:
    """What runs gave `again` (`gathering.executed_again`) beside the published rows `before`, by
    arm, sparsity and metric: `mean` of the published seeds, `low` and `high`, `again`, the mean of
    those executed again, and `seeds`, how many these are.

    A seed's value is its mean over tasks and learning rates. Between `low` and `high` the mean of
    as many other seeds lies in 95 of 100 cases (Student's t, two-sided): the interval of a
    prediction, wider than that of the mean. Without lines for cells of one published seed.
    """
    place = ["arm", "sparsity", "metric"]
    every = ends_of(before).groupby([*place, "seed"]).value.mean()
    here = again.groupby([*place, "seed"]).again.mean()
    found = every.groupby(place).agg(["mean", "std", "count"])
    found = found.join(here.groupby(place).agg(again="mean", seeds="count"), how="inner")
    found = found[found["count"] > 1]
    spread = found["std"] * np.sqrt(1 / found["count"] + 1 / found.seeds)
    half = spread * stats.t.ppf((1 + CONFIDENCE) / 2, found["count"] - 1)
    found = found.assign(low=found["mean"] - half, high=found["mean"] + half)
    return found[["mean", "low", "high", "again", "seeds"]].reset_index()
