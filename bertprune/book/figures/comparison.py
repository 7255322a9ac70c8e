"""The study's drops in accuracy against the paper's, cell by cell of its table 1."""

from __future__ import annotations

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertprune.base.words import percent
from bertprune.book.figures.style import (
    INK,
    Drawn,
    Picture,
    handle,
    line_handle,
    needed,
    picture,
    seeds_in_words,
    signed,
    tidy,
    title,
    words_of,
)
from bertprune.evidence.paper.agreement import arms_of, cells_by_seed, tasks_of
from bertprune.protocol.arms import ARMS, Look
from bertprune.protocol.rows import Rows


def drops_beside(found: Rows, maker: str, *, again: str = "") -> Picture:
    """By task, what accuracy loses against the dense model, in points: in the paper across, in the
    study up, a point for each arm and sparsity. Means over seeds ± one standard deviation.

    Raises UserError where the study shares nothing with the paper's table 1.
    """
    by_seed = needed(
        cells_by_seed(found),
        "drops beside the paper's",
        "runs on tasks of the paper, of the dense model and of pruned ones",
    )
    cells = by_seed.groupby(["task", "arm", "sparsity"], as_index=False).agg(
        paper=("paper", "first"), ours=("ours", "mean"), std=("ours", "std")
    )
    tasks, arms = tasks_of(cells), arms_of(cells)
    of_task = {f"{task} (points)": cells[cells.task == task] for task in tasks}
    handles: list[Artist] = [handle(ARMS[arm].look, ARMS[arm].words, "") for arm in arms]
    handles.append(line_handle("as in the paper", linestyle="--"))

    def paint(_: Figure, axes: list[Axes]) -> None:
        for panel, (words, points) in zip(axes, of_task.items(), strict=True):
            panel.axline((0, 0), slope=1, color=INK, ls="--", lw=1)
            for arm in arms:
                _points(panel, points[points.arm == arm], ARMS[arm].look)
            panel.set(xlabel="drop in the paper", ylabel="drop here")
            title(panel, words)

    # The average, where there is one: to hear all of them would take minutes.
    said = cells[cells.task == tasks[-1]]
    drawn: list[Drawn] = []
    for words, task in zip(of_task, tasks, strict=True):
        ours = by_seed[by_seed.task == task].sort_values(["arm", "sparsity", "seed"])
        drawn.append((words, "study", ours.rename(columns={"ours": "value"})))
        theirs = of_task[words].rename(columns={"paper": "value"}).drop(columns="std")
        drawn.append((words, "paper", theirs))
    return picture(
        paint,
        name="drops-beside-the-paper",
        panels=len(tasks),
        columns=2 if len(tasks) < 5 else 3,
        maker=maker,
        alt=f"Drops in accuracy here against those in the paper, in points, for {', '.join(tasks)}."
        f" {tasks[-1]}, "
        f"{words_of({ARMS[arm].words: _in_words(said[said.arm == arm]) for arm in arms})}.",
        caption="What dev accuracy loses against the dense model, in points: across in the paper, "
        "up in this study. A point is an arm at a sparsity. "
        + seeds_in_words(
            (of_task for _, of_task in by_seed.groupby("task")),
            lead="Here it is the mean over {seeds}",
            spread="bars",
        )
        + " On the dashed line both lose as much; above it this study loses more.",
        data=tidy(drawn),
        handles=handles,
        again=again,
    )


def _points(panel: Axes, points: pd.DataFrame, look: Look) -> None:
    panel.errorbar(
        points.paper,
        points.ours,
        # Of one seed there is none.
        yerr=points["std"].fillna(0),
        ls="",
        marker=look.marker,
        ms=5.5,
        color=look.colour,
        alpha=0.85,
        elinewidth=0.9,
    )


def _in_words(points: pd.DataFrame) -> str:
    return ", ".join(
        f"{signed(at.ours)} for {signed(at.paper)} at {percent(at.sparsity)}"
        for _, at in points.iterrows()
    )
