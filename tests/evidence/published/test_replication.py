"""Replication: what was executed again, against what the published seeds lead one to expect."""

import numpy as np
import pandas as pd
import pytest

from bertprune.base.errors import UserError
from bertprune.evidence.published.replication import against_intervals, inside
from bertprune.protocol import rows
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import Metric, Rows, Split, entry


def _published(accuracies: dict[int, float]) -> Rows:
    """Rows of a model of each seed on two tasks, three points above and below its mean."""
    return rows.join(
        rows.of_history(
            [{"step": 9, **entry(Split.DEV, Metric.ACCURACY, mean + off)}],
            arm=PRUNE_PRETRAIN,
            task=task,
            sparsity=0.5,
            learning_rate=1e-3,
            seed=seed,
        )
        for seed, mean in accuracies.items()
        for task, off in (("cola", 0.03), ("sst2", -0.03))
    ).assign(run="")


def _again(before: Rows, seeds: list[int], change: float) -> pd.DataFrame:
    some = before[before.seed.isin(seeds)]
    return some.assign(published=some.value, again=some.value + change)


def test_the_interval_is_that_of_a_prediction() -> None:
    before = _published({0: 0.70, 1: 0.74, 2: 0.72})
    found = against_intervals(_again(before, [0, 1], 0.01), before).iloc[0]
    assert found["mean"] == pytest.approx(0.72) and found.again == pytest.approx(0.73)
    # Student's t of two degrees of freedom, and the variances of both means.
    half = 4.3027 * 0.02 * np.sqrt(1 / 2 + 1 / 3)
    assert (found.low, found.high) == pytest.approx((0.72 - half, 0.72 + half), abs=1e-5)
    assert found.seeds == 2


def test_those_inside_are_counted() -> None:
    before = _published({0: 0.70, 1: 0.74, 2: 0.72})
    lines = [against_intervals(_again(before, [0, 1], by), before) for by in (0.0, 0.9)]
    assert inside(pd.concat(lines)).startswith("1 of 2 means")
    with pytest.raises(UserError, match="nothing was rerun"):
        inside(lines[0].head(0))


def test_most_new_seeds_are_inside() -> None:
    draws, found_inside = np.random.default_rng(0), []
    for _ in range(100):
        values = draws.normal(0.7, 0.02, 6)
        before = _published(dict(enumerate(values[:4])))
        new = _published(dict(enumerate(values[4:])))
        found = against_intervals(new.assign(again=new.value), before).iloc[0]
        found_inside.append(found.low <= found.again <= found.high)
    assert np.mean(found_inside) > 0.88


def test_the_same_tasks_are_compared() -> None:
    before = _published({0: 0.70, 1: 0.74, 2: 0.72})
    again = _again(before, [0, 1], 0.0)
    # The second seed on one of the tasks alone.
    again = again[(again.seed == 0) | (again.task == "cola")]
    found = against_intervals(again, before).iloc[0]
    assert found.tasks == ["cola"]
    assert found["mean"] == pytest.approx(0.75) and found.again == pytest.approx(0.75)


def test_a_task_counts_at_its_best_learning_rate() -> None:
    before = _published({0: 0.70, 1: 0.74})
    worse = before.assign(learning_rate=2e-3, value=before.value - 0.1)
    before = rows.join([before, worse])
    found = against_intervals(_again(before, [0], 0.0), before).iloc[0]
    assert found["mean"] == pytest.approx(0.72) and found.again == pytest.approx(0.70)


def test_one_published_seed_tells_nothing() -> None:
    before = _published({0: 0.7})
    assert against_intervals(_again(before, [0], 0.0), before).empty
    assert against_intervals(_again(before, [], 0.0), before).empty
