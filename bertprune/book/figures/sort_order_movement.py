"""How far fine-tuning moves weights in the order of their magnitudes (figures 4 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import cycle

from matplotlib.axes import Axes

from bertprune.base.words import percent
from bertprune.book.drawing.panel import Axis, Panel, needed
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import (
    QUIET,
    curve,
    handles,
    line_handle,
    seeds_in_words,
    shown_percent,
    task_looks,
    task_title,
)
from bertprune.protocol.arms import PRUNE_PRETRAIN, Look
from bertprune.protocol.rows import WHOLE, Metric, Rows, final, where

_RUNS = "runs of finetune at sparsity 0"
_BY_POSITION = "starting position"
_LINES = ("-", "--", ":", "-.")


def movement_by_epoch(found: Rows, *, paper: Rows | None = None) -> Sketch:
    """The left half of the paper's figure 4: mean movement in the sort order against epochs of
    fine-tuning, a line for each task and learning rate; those of `paper` in a panel beside it.

    Raises UserError if no movement was measured.
    """
    points = _of_dense(found, Metric.MOVEMENT_MEAN, WHOLE)
    needed(points, "the movement of weights", _RUNS)
    tasks = task_looks(points.task)
    rates = sorted(points.learning_rate.unique())
    # Learning rates are told apart where a task has several.
    is_told = points.groupby("task").learning_rate.nunique().max() > 1
    lines = {rate: _LINES[place % 4] if is_told else "-" for place, rate in enumerate(rates)}
    shown = {"study": points}
    if paper is not None and len(theirs := _curves_of(paper, list(tasks))):
        shown["paper"] = theirs
    titles = {"study": "movement in the sort order", "paper": "the same in the paper"}

    def draw(axes: Axes, panel: Panel) -> None:
        for task, look in tasks.items():
            for rate, one in where(panel.points, task=task).groupby("learning_rate"):
                curve(axes, one, look, x="epoch", linestyle=lines.get(float(str(rate)), "-"))

    entries = handles({task_title(task): look for task, look in tasks.items()})
    if is_told:
        entries += [
            line_handle(f"learning rate {rate:g}", QUIET, line, 1.8) for rate, line in lines.items()
        ]
    last = final(points).groupby("task").value.mean()
    least, most = (task_title(str(task)) for task in (last.idxmin(), last.idxmax()))
    epochs_of = points.groupby("task").epoch.nunique()
    of_one_epoch = [task_title(task) for task in tasks if epochs_of[task] == 1]
    epochs = Axis("epochs of fine-tuning", ticks=6)
    share = Axis(is_share=True, low=0, high=1.05 * max(of.value.max() for of in shown.values()))
    return Sketch(
        "movement-by-epoch",
        [
            Panel(titles[source], of, draw, epochs, share, source=source, along="epoch")
            for source, of in shown.items()
        ],
        alt="Mean movement in the sort order by epoch of fine-tuning, a line for each task. In the "
        f"end from {shown_percent(last.min())} ({least}) to {shown_percent(last.max())} ({most}).",
        caption="How far fine-tuning moves a weight of the dense model in the order of "
        "magnitudes, the mean over all prunable weights, as a share of the size of its matrix. "
        + seeds_in_words((of for _, of in points.groupby("learning_rate")), "task", x="epoch")
        + (f" One epoch only: {', '.join(of_one_epoch)}." if of_one_epoch else ""),
        handles=entries,
        columns=2,
        height_inches=3.2,
        own_point="dense",
    )


def _curves_of(paper: Rows, tasks: list[str]) -> Rows:
    """The paper's rows of `tasks`; a run of which there is the last epoch alone is no curve."""
    theirs = where(_of_dense(paper, Metric.MOVEMENT_MEAN, WHOLE), task=tasks)
    epochs = theirs.groupby(["task", "learning_rate", "seed"]).epoch.transform("nunique")
    return theirs[epochs > 1]


def movement_by_position(found: Rows) -> Sketch:
    """The paper's figure 6: movement against the place in the sort order that a weight starts
    from, a panel for each task, with a band of its standard deviation over weights.

    Raises UserError if no movement was measured by starting position.
    """
    means = final(_of_dense(found, Metric.MOVEMENT_MEAN, _BY_POSITION))
    needed(means, "movement against the starting position", _RUNS)
    spreads = final(_of_dense(found, Metric.MOVEMENT_STD, _BY_POSITION))
    point = ["task", "learning_rate", "sparsity", "arm", "seed", "epoch", "position"]
    std = spreads.set_index(point).value.rename("std")
    points = means.join(std, on=point)
    by_task = {
        task: (where(points, task=task), look) for task, look in task_looks(points.task).items()
    }
    rates = sorted(points.learning_rate.unique())
    lines = dict(zip(rates, cycle(_LINES), strict=False)) if len(rates) > 1 else {}
    start = Axis("rank before fine-tuning\n(100 % = largest)", is_share=True, low=0, high=1)
    share = Axis(is_share=True, low=0, high=1.05 * (points.value + points["std"]).max())
    most = means.sort_values("value").iloc[-1]
    return Sketch(
        "movement-by-position",
        [
            Panel(
                task_title(task),
                of_task,
                partial(_by_position, look=look, lines=lines),
                start,
                share,
                along="position",
            )
            for task, (of_task, look) in by_task.items()
        ],
        alt="Movement by starting position in the order of magnitudes, a panel for each task. At "
        f"most {shown_percent(most.value)}, at {percent(most.position)} of the order, on "
        f"{task_title(most.task)}.",
        caption="How far fine-tuning moves a weight in the order of magnitudes, up, by its rank "
        "in that order before, across: shares of the size of its matrix after the last epoch. "
        + seeds_in_words(
            (of for _, of in points.groupby("learning_rate")),
            "task",
            x="position",
            lead="Lines are means over {seeds}",
            spread="",
        )
        + " The band is ± one standard deviation over the weights that start there.",
        handles=[
            line_handle(f"learning rate {rate:g}", QUIET, line, 1.8) for rate, line in lines.items()
        ],
        own_point="dense",
    )


def _by_position(axes: Axes, panel: Panel, *, look: Look, lines: Mapping[float, str]) -> None:
    """A line for each learning rate, with a band of a standard deviation over weights about it."""
    rates = list(panel.points.groupby("learning_rate"))
    for rate, one in rates:
        mean = one.groupby("position")[["value", "std"]].mean()
        low, high = (mean.value - mean["std"]).clip(lower=0), mean.value + mean["std"]
        alpha = 0.15 / len(rates) + 0.05
        axes.fill_between(mean.index, low, high, color=look.colour, alpha=alpha, lw=0)
        line = lines.get(float(str(rate)), "-")
        axes.plot(mean.index, mean.value, color=look.colour, ls=line, lw=1.8)


def _of_dense(found: Rows, metric: Metric, part: str) -> Rows:
    return where(found, arm=PRUNE_PRETRAIN, sparsity=0, metric=metric, part=part)
