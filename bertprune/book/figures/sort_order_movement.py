"""How far fine-tuning moves weights in the order of their magnitudes (figures 4 and 6)."""

from __future__ import annotations

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bertprune.base.words import percent
from bertprune.book.figures.picture import Drawn, Picture, needed, picture, tidy
from bertprune.book.figures.style import (
    QUIET,
    curve,
    handle,
    in_percent,
    in_words,
    line_handle,
    paper_handle,
    seeds_in_words,
    shown_percent,
    task_looks,
    thin_curve,
    title,
)
from bertprune.protocol.arms import PRUNE_PRETRAIN, Look
from bertprune.protocol.rows import Rows, final

_RUNS = "runs of finetune at sparsity 0"
_BY_POSITION = "starting position"
_LINES = ("-", "--", ":", "-.")


def movement_by_epoch(
    found: Rows, maker: str, *, paper: Rows | None = None, again: str = ""
) -> Picture:
    """The left half of the paper's figure 4: mean movement in the sort order against epochs of
    fine-tuning, a line for each task and learning rate; those of `paper` thin behind.

    Raises UserError if no movement was measured.
    """
    name = "movement in the sort order"
    points = needed(_of_dense(found, "movement_mean", ""), "the movement of weights", _RUNS)
    tasks = task_looks(points.task)
    rates = sorted(points.learning_rate.unique())
    # Learning rates are told apart where a task has several.
    is_told = points.groupby("task").learning_rate.nunique().max() > 1
    lines = {rate: _LINES[place % 4] if is_told else "-" for place, rate in enumerate(rates)}
    theirs = None if paper is None else _curves_of(paper, list(tasks))

    def paint(_: Figure, axes: list[Axes]) -> None:
        (panel,) = axes
        for task, look in tasks.items():
            if theirs is not None:
                for _rate, one in theirs[theirs.task == task].groupby("learning_rate"):
                    thin_curve(panel, one, look, x="epoch")
            for rate, line in lines.items():
                one = points[(points.task == task) & (points.learning_rate == rate)]
                curve(panel, one, look, x="epoch", linestyle=line)
        panel.set_xlabel("epochs of fine-tuning")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panel.set_ylim(bottom=0)
        in_percent(panel.yaxis)
        title(panel, name)

    handles: list[Artist] = [handle(look, task) for task, look in tasks.items()]
    if is_told:
        handles += [
            line_handle(f"learning rate {rate:g}", QUIET, line, 1.8) for rate, line in lines.items()
        ]
    drawn: list[Drawn] = [(name, "study", points)]
    if theirs is not None and len(theirs):
        handles.append(paper_handle())
        drawn.append((name, "paper", theirs))
    said = "; ".join(
        f"{task}: {in_words(points[points.task == task], shown_percent, x='epoch')}"
        for task in tasks
    )
    return picture(
        paint,
        name="movement-by-epoch",
        panels=1,
        columns=1,
        panel_inches=(5.4, 3.5),
        maker=maker,
        alt=f"Mean movement in the sort order by epoch of fine-tuning. {said}.",
        caption="How far fine-tuning moves a weight of the dense model in the order of "
        "magnitudes, the mean over all prunable weights, as a share of the size of its matrix. "
        + seeds_in_words((of for _, of in points.groupby("learning_rate")), "task", x="epoch"),
        data=tidy(drawn),
        handles=handles,
        again=again,
    )


def _curves_of(paper: Rows, tasks: list[str]) -> Rows:
    """The paper's rows of `tasks`; a run of which there is the last epoch alone is no curve."""
    theirs = _of_dense(paper, "movement_mean", "")
    epochs = theirs.groupby(["task", "learning_rate", "seed"]).epoch.transform("nunique")
    return theirs[(epochs > 1) & theirs.task.isin(tasks)]


def movement_by_position(found: Rows, maker: str, *, again: str = "") -> Picture:
    """The paper's figure 6: movement against the place in the sort order that a weight starts
    from, a panel for each task, with a band of its standard deviation over weights.

    Raises UserError if no movement was measured by starting position.
    """
    means = _of_dense(found, "movement_mean", _BY_POSITION)
    needed(means, "movement against the starting position", _RUNS)
    spreads = final(_of_dense(found, "movement_std", _BY_POSITION))
    point = ["task", "learning_rate", "sparsity", "arm", "seed", "epoch", "position"]
    points = final(means).merge(
        spreads[[*point, "value"]].rename(columns={"value": "std"}), on=point, how="left"
    )
    tasks = task_looks(points.task)
    by_task = {task: points[points.task == task] for task in tasks}

    def paint(_: Figure, axes: list[Axes]) -> None:
        for panel, (task, of_task) in zip(axes, by_task.items(), strict=True):
            rates = list(of_task.groupby("learning_rate"))
            for place, (rate, one) in enumerate(rates):
                _spread_over_weights(panel, one, tasks[task], 0.15 / len(rates) + 0.05)
                label = f"at {rate:g}" if len(rates) > 1 else None
                line = _LINES[place % 4]
                has = {"x": "position", "linestyle": line}
                curve(panel, one, tasks[task], label=label, has_band=False, **has)
            if len(rates) > 1:
                panel.legend(fontsize=9)
            panel.set_xlabel("start (100 %: the largest magnitude)")
            panel.set_xlim(0, 1)
            panel.set_ylim(bottom=0)
            in_percent(panel.xaxis)
            in_percent(panel.yaxis)
            title(panel, f"{task}: movement")

    said = "; ".join(f"{task}: {_ends(of_task)}" for task, of_task in by_task.items())
    return picture(
        paint,
        name="movement-by-position",
        panels=len(by_task),
        columns=min(3, len(by_task)),
        maker=maker,
        alt=f"Movement by starting position in the order of magnitudes. {said}.",
        caption="How far fine-tuning moves a weight in the order of magnitudes, by where it "
        "starts: shares of the size of its matrix after the last epoch. "
        + seeds_in_words(
            (of for _, of in points.groupby("learning_rate")), "task", x="position", spread=""
        )
        + " The band is ± one standard deviation over the weights that start there.",
        data=tidy((f"{task}: movement", "study", of_task) for task, of_task in by_task.items()),
        again=again,
    )


def _spread_over_weights(panel: Axes, points: pd.DataFrame, look: Look, alpha: float) -> None:
    """A band of a standard deviation over weights about the mean over seeds."""
    mean = points.groupby("position")[["value", "std"]].mean()
    low, high = (mean.value - mean["std"]).clip(lower=0), mean.value + mean["std"]
    panel.fill_between(mean.index, low, high, color=look.colour, alpha=alpha, lw=0)


def _of_dense(found: Rows, metric: str, part: str) -> Rows:
    is_dense = (found.arm == PRUNE_PRETRAIN) & (found.sparsity == 0)
    return found[is_dense & (found.metric == metric) & (found.part == part)]


def _ends(points: Rows) -> str:
    """The smallest and largest magnitudes, and where the movement is most."""
    mean = points.groupby("position").value.mean()
    most = float(str(mean.idxmax()))
    return (
        f"{shown_percent(mean.iloc[0])} of the smallest magnitudes, "
        f"{shown_percent(mean.iloc[-1])} of the largest, at most {shown_percent(mean.max())} at "
        f"{percent(most)}"
    )
