"""How far a study's drops in accuracy agree with the paper's.

A drop is accuracy minus that of the dense model of the same seed, in points. Levels depend on
model, text and tasks; drops can be laid beside each other. A cell is the drop of an arm at a
sparsity above 0 on a task, where both the paper's table 1 and the study have one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from scipy import stats

from bertprune.base.errors import UserError
from bertprune.base.shown import Sentence
from bertprune.base.words import NOTHING, percent, signed
from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence.paper.beside_ours import numbers
from bertprune.evidence.scores import AVERAGE
from bertprune.protocol.arms import ARMS, COMPARED
from bertprune.protocol.rows import Rows

NEAR_POINTS = 1.0
"""Drops that are no further apart count as near."""

_TASKS = (*PAPER_TASKS, AVERAGE)
_NO_CELL = (
    "the study has no accuracy on a task of the paper, in one of its arms at one of its "
    "sparsities above 0, with a dense model of the same seed"
)


def cells(table1: pd.DataFrame) -> pd.DataFrame:
    """The cells of `table1` (see `beside_ours.numbers`): arm, sparsity, task, and the drop `paper`
    and `ours`, in points. "average" is a task where a study has all five of the paper's."""
    of = table1[(table1.quantity == "accuracy") & (table1.sparsity > 0)]
    of = of.dropna(subset=["paper_drop", "our_drop"])
    # What is equal in digits must not differ for being a difference of floats.
    of = of.assign(paper=(100 * of.paper_drop).round(6), ours=(100 * of.our_drop).round(6))
    return of[["arm", "sparsity", "task", "paper", "ours"]].reset_index(drop=True)


def cells_by_seed(found: Rows) -> pd.DataFrame:
    """The cells of each `seed` of the rows by itself."""
    by_seed = [cells(numbers(of)["table1"]).assign(seed=seed) for seed, of in found.groupby("seed")]
    return pd.concat(by_seed or [cells(numbers(found)["table1"])], ignore_index=True)


def tasks_of(compared: pd.DataFrame) -> list[str]:
    """The tasks of cells, in the paper's order; the average last."""
    return [task for task in _TASKS if task in set(compared.task)]


def arms_of(compared: pd.DataFrame) -> list[str]:
    """The arms of cells, in the order of tables and legends."""
    return [arm for arm in COMPARED if arm in set(compared.arm)]


def agreement(table1: pd.DataFrame) -> pd.DataFrame:
    """How far the drops agree, as a page shows it: a line for each arm and task, and one for all
    cells of the arm, without the averages.

    `cells`: how many, one for each sparsity that both have. `rank correlation`: Spearman's, of our
    drops with the paper's; a dash for fewer than three cells or where either is constant. `mean
    difference (points)`: of the drops, without its sign. `within 1 point`: how many cells differ by
    no more. Raises UserError if there is no cell.
    """
    compared = _some_cells(table1)
    lines = []
    for arm in arms_of(compared):
        of_arm = compared[compared.arm == arm]
        parts = {task: of_arm[of_arm.task == task] for task in tasks_of(of_arm)}
        parts["all cells"] = of_arm[of_arm.task != AVERAGE]
        lines += [
            {
                "arm": ARMS[arm].words,
                "task": task,
                "cells": len(part),
                "rank correlation": _correlation(stats.spearmanr, part),
                "mean difference (points)": f"{(part.ours - part.paper).abs().mean():.1f}",
                f"within {NEAR_POINTS:g} point": _near(part),
            }
            for task, part in parts.items()
        ]
    return pd.DataFrame(lines).set_index(["arm", "task"])


def _some_cells(table1: pd.DataFrame) -> pd.DataFrame:
    """The cells; raises UserError where there is none."""
    if (compared := cells(table1)).empty:
        raise UserError(_NO_CELL)
    return compared


def shared_order(table1: pd.DataFrame) -> pd.DataFrame:
    """Whether the arms lose in the paper's order, a line for each sparsity as a page shows it.

    `arms` and `tasks`: how many; tasks are those that all of these arms have there. `rank
    correlation`: Kendall's tau of the arms' mean drops over these tasks, ours with the paper's; a
    dash for fewer than three arms or where either is constant. Raises UserError if there is no
    cell.
    """
    compared = _some_cells(table1)
    lines = {}
    for sparsity, at in compared[compared.task != AVERAGE].groupby("sparsity"):
        wide = at.pivot(index="task", columns="arm", values=["paper", "ours"]).dropna()
        means = wide.mean().round(6).unstack(0)
        lines[percent(float(str(sparsity)))] = {
            "arms": len(means),
            "tasks": len(wide),
            "rank correlation": _correlation(stats.kendalltau, means),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("sparsity")


def overall(table1: pd.DataFrame) -> Sentence:
    """How far all drops agree, without the averages; `table1` as `beside_ours.numbers` has it."""
    compared = cells(table1)
    single = compared[compared.task != AVERAGE]
    if single.empty:
        return Sentence(f"Nothing to compare: {_NO_CELL}.")
    said = (
        f"{_near(single)} of {len(single)} drops in accuracy are within {NEAR_POINTS:g} point of "
        "the paper's. Of a study that loses nothing anywhere "
        f"{_near(single.assign(ours=0.0))} would be."
    )
    order = _correlation(stats.spearmanr, single)
    if order != NOTHING:
        said += f" Over all of them the rank correlation is {order}."
    return Sentence(said)


def _near(compared: pd.DataFrame) -> int:
    """How many cells are within NEAR_POINTS."""
    return int(((compared.ours - compared.paper).abs().round(6) <= NEAR_POINTS).sum())


def _correlation(measure: Callable[..., Any], compared: pd.DataFrame) -> str:
    """A dash for fewer than three pairs of `paper` and `ours`, and where either is constant."""
    if len(compared) < 3 or min(compared.paper.nunique(), compared.ours.nunique()) < 2:
        return NOTHING
    return signed(float(measure(compared.paper, compared.ours).statistic), 2)
