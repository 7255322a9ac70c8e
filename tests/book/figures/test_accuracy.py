"""Drops against the paper's: of rows whose drops are known."""

import pandas as pd
import pytest

from bertprune.base.errors import UserError
from bertprune.book.drawing.style import task_title
from bertprune.book.figures import accuracy
from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper
from bertprune.protocol import rows
from bertprune.protocol.arms import ARMS
from bertprune.protocol.rows import Rows, where

from .synthetic import study


def paper_with(changes: dict[int, float]) -> Rows:
    """The paper's rows, for each seed with pruned models worse by so much."""
    parts = []
    for seed, change in changes.items():
        part = paper.rows().query("seed == 0").assign(seed=seed)
        pruned = (part.metric == "accuracy") & (part.sparsity > 0)
        part.loc[pruned, "value"] -= change
        parts.append(part)
    return rows.join(parts)


def test_the_paper_beside_itself_is_on_the_line() -> None:
    drawn = accuracy.drops_beside(paper.rows())
    tasks = [*PAPER_TASKS, "average"]
    assert list(drawn.data.panel.unique()) == [f"{task_title(task)} (points)" for task in tasks]
    place = ["arm", "sparsity", "task"]
    theirs, ours = (
        where(drawn.data, source=source).set_index(place).value.sort_index()
        for source in ("paper", "study")
    )
    assert len(theirs) == 4 * 9 * 6
    pd.testing.assert_series_equal(theirs, ours)
    # 71.6 − 83.1.
    assert theirs["random_pruning", 0.5, "mnli"] == pytest.approx(-11.5)


def test_seeds_are_in_the_data_and_their_mean_in_words() -> None:
    drawn = accuracy.drops_beside(paper_with({0: 0.01, 1: 0.03}))
    ours = where(drawn.data, source="study")
    point = where(ours, arm="random_pruning", sparsity=0.5, task="average")
    # The average falls from 87.18 to 78.76.
    assert point.sort_values("seed").value.tolist() == pytest.approx([-9.42, -11.42])
    arms = [ARMS[arm].words for arm in ARMS if arm in set(ours.arm)]
    assert [entry.get_label() for entry in drawn.handles] == [*arms, "as in the paper"]


def test_a_study_of_two_tasks_has_their_panels_and_no_average() -> None:
    drawn = accuracy.drops_beside(study())
    ours = where(drawn.data, source="study")
    assert list(ours.panel.unique()) == ["MNLI (points)", "SST-2 (points)"]
    assert set(ours.sparsity) == {0.3, 0.6, 0.9} and set(ours.seed) == {0, 1, 2}


def test_nothing_to_draw_is_said() -> None:
    other = study().assign(task="other")
    dense_only = study().query("sparsity == 0")
    for found in (other, dense_only, study()[:0]):
        with pytest.raises(UserError, match="no figure of drops beside the paper's"):
            accuracy.drops_beside(found)
