"""Statistics: bounds against scipy's, and pairs of what both have."""

import math

import pandas as pd
import pytest
from scipy import stats

from bertprune.evidence.statistics import TOO_FEW, mean_difference, sample, welch


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
    for found in (mean_difference(same), welch(same, 0 * same)):
        assert (found.lower, found.upper) == pytest.approx((0.02, 0.02))


@pytest.mark.parametrize("two", [[0.0, 0.05, 0.1], [0.1, 0.1, 0.1]])
def test_welchs_bounds_by_hand(two: list[float]) -> None:
    one = [0.1, 0.3, 0.2, 0.5]
    errors = [stats.sem(of) ** 2 for of in (one, two)]
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / 3 + errors[1] ** 2 / 2)
    half = math.sqrt(sum(errors)) * stats.t.ppf(0.95, freedom)
    got = welch(pd.Series(one), pd.Series(two))
    assert (got.lower, got.upper) == pytest.approx((got.mean - half, got.mean + half))


def cells(seeds: int, tasks: int) -> pd.DataFrame:
    """Of each task at 30 % and at 50 %; later seeds and tasks differ by more."""
    lines = [
        (f"task{task}", sparsity, seed, 0.1 * seed + 0.01 * task**2 + sparsity)
        for seed in range(seeds)
        for task in range(tasks)
        for sparsity in (0.3, 0.5)
    ]
    return pd.DataFrame(lines, columns=["task", "sparsity", "seed", "value"])


@pytest.mark.parametrize(
    ("seeds", "tasks", "values", "n", "lack"),
    [
        (3, 2, [0.405, 0.505, 0.605], "n = 3 seeds, each a mean over 2 tasks", ""),
        (2, 5, [0.46, 0.56], "n = 2 seeds, each a mean over 5 tasks", "2 seeds are too few"),
        (1, 3, [0.4, 0.41, 0.44], "n = 3 tasks, one seed", ""),
        (1, 2, [0.4, 0.41], "n = 2 tasks, one seed", TOO_FEW),
    ],
)
def test_a_sample_is_of_seeds_or_of_the_tasks_of_one(
    seeds: int, tasks: int, values: list[float], n: str, lack: str
) -> None:
    got, expected = sample(cells(seeds, tasks)), mean_difference(pd.Series(values))
    assert (got.n, got.lack, got.sparsities) == (n, lack, (0.3, 0.5))
    bounds = got.difference.mean, got.difference.lower, got.difference.upper
    assert bounds == pytest.approx((expected.mean, expected.lower, expected.upper))


def test_places_that_a_seed_lacks_do_not_count() -> None:
    """A seed with one easy point does not shift the mean of the others."""
    every = cells(3, 2)
    lacking = every[(every.seed < 2) | (every.sparsity == 0.3)]
    assert sample(lacking) == sample(every[every.sparsity == 0.3])
    apart = every[every.sparsity.map({0.3: 0, 0.5: 1}) == every.seed]
    assert sample(apart).lack == "the seeds have no point in common"
