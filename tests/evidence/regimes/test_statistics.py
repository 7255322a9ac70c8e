"""Bounds of differences against scipy's."""

import math

import pandas as pd
import pytest
from scipy import stats

from bertprune.evidence.regimes.statistics import mean_difference


def test_the_interval_is_students() -> None:
    values = pd.Series([0.1, -0.2, 0.4, 0.3])
    found = mean_difference(values)
    low, high = stats.t.interval(0.9, 3, loc=values.mean(), scale=stats.sem(values))
    assert (found.lower, found.upper) == pytest.approx((low, high))
    assert found.mean == pytest.approx(0.15) and found.seeds == 4


def test_one_seed_tells_nothing() -> None:
    found = mean_difference(pd.Series([-0.5]))
    assert (found.lower, found.upper) == (-math.inf, math.inf)
    assert not found.is_loss and not found.is_gain


def test_where_all_is_equal_the_bounds_are_the_mean() -> None:
    same = pd.Series([0.02] * 3)
    found = mean_difference(same)
    assert (found.lower, found.upper) == pytest.approx((0.02, 0.02))
