"""What pruning costs: accuracy and losses against sparsity (the paper's figure 1), and drops in
accuracy beside those of its table 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertprune.base.errors import UserError
from bertprune.base.words import percent
from bertprune.book.figures.picture import Drawn, Picture, needed, picture, tidy
from bertprune.book.figures.style import (
    INK,
    arm_handle,
    curve,
    dashed,
    dense_handle,
    handle,
    in_percent,
    in_words,
    line_handle,
    own_handle,
    paper_handle,
    seeds_in_words,
    shown_percent,
    signed,
    thin_curve,
    title,
    words_of,
)
from bertprune.evidence.paper.agreement import arms_of, cells_by_seed, tasks_of
from bertprune.evidence.scores import AVERAGE, scores, training_losses, with_averages
from bertprune.protocol.arms import ARMS, BY_SPARSITY, FROM_SCRATCH, PRUNE_PRETRAIN, Look
from bertprune.protocol.rows import Rows


@dataclass(frozen=True)
class _Panel:
    """Points against sparsity, columns arm, sparsity, seed and value; the paper's behind them."""

    points: pd.DataFrame
    paper: pd.DataFrame | None = None
    is_share: bool = True
    is_drop: bool = False
    """Whether values are differences from the dense model of the same seed: the paper's may be far
    larger, and do not set the axis."""


def accuracy_and_loss(
    scores: pd.DataFrame, losses: pd.DataFrame, maker: str, *, again: str = ""
) -> Picture:
    """A study at a glance: dev accuracy of each task, and pre-training loss, against sparsity.

    `scores` and `losses` have a line for each arm, sparsity and seed (see `scores.scores` and
    `scores.pretraining_losses`). Seeds are points, with a line through their means and a band of
    one standard deviation; the dense model is the dashed line.
    """
    panels = {
        "average dev accuracy" if task == AVERAGE else f"{task}: dev accuracy": _Panel(points)
        for task, points in _by_task(scores.rename(columns={"accuracy": "value"})).items()
    }
    loss = losses.rename(columns={"loss": "value"})
    panels["pre-training: dev loss (nats)"] = _Panel(loss, is_share=False)
    return _against_sparsity(
        panels,
        maker,
        name="accuracy-and-loss",
        caption="Best dev accuracy over learning rates after the last epoch, and dev loss of "
        "pre-training, against the share of weights that is pruned.",
        again=again,
    )


def average_and_loss(
    scores: pd.DataFrame, losses: pd.DataFrame, maker: str, *, again: str = ""
) -> Picture:
    """The same of the average over tasks alone, or of the task if the study has one."""
    return accuracy_and_loss(_of_average(scores), losses, maker, again=again)


def average_and_training_loss(
    found: Rows, maker: str, *, paper: Rows | None = None, again: str = ""
) -> Picture:
    """The paper's figure 1: dev accuracy and training loss after fine-tuning, both the average
    over tasks, against sparsity; the numbers of `paper` thin behind, if it has all the tasks.

    Raises UserError without an accuracy on all tasks.
    """
    tasks = _tasks(found)
    theirs = None
    # Averages over other tasks would not compare.
    if paper is not None and tasks <= set(paper.task):
        theirs = _averages(paper[paper.task.isin(tasks)])
    names = ("average dev accuracy", "average training loss (nats)")
    panels = {
        name: _Panel(points, None if theirs is None else theirs[place], is_share=place == 0)
        for place, (name, points) in enumerate(zip(names, _averages(found), strict=True))
        if len(points)
    }
    if not panels:
        raise UserError("there is no average yet: no arm of the study has an accuracy on all tasks")
    return _against_sparsity(
        panels,
        maker,
        name="accuracy-and-training-loss",
        caption="Best dev accuracy over learning rates after the last epoch, and the loss of that "
        "model over the whole training set, means over tasks, against the share of weights that "
        "is pruned.",
        again=again,
    )


def accuracy_drop(
    found: Rows, maker: str, *, paper: Rows | None = None, again: str = ""
) -> Picture:
    """By task, how far dev accuracy is from the same seed's dense model, in points, against
    sparsity; the same of `paper` thin behind.

    Drops can be laid over each other where accuracies of other models and texts cannot. Raises
    UserError without a dense model.
    """
    ours, tasks = _drops(found), _tasks(found)
    theirs: dict[str, pd.DataFrame] = {}
    if paper is not None and tasks & set(paper.task):
        theirs = _drops(paper[paper.task.isin(tasks)])
    if not tasks <= theirs.keys():
        # Averages over other tasks would not compare.
        theirs.pop(AVERAGE, None)
    panels = {
        f"{task} (points)": _Panel(points, theirs.get(task), is_share=False, is_drop=True)
        for task, points in ours.items()
    }
    return _against_sparsity(
        panels,
        maker,
        name="accuracy-drop",
        caption="Dev accuracy less that of the dense model of the same seed, in points, against "
        "the share of weights that is pruned."
        + " Each axis is this study's own: the paper's lines leave it where they fall further."
        * bool(theirs),
        again=again,
    )


def _tasks(found: Rows) -> set[str]:
    """The tasks of the study, without those that only the reader has taken up."""
    by_task = scores(found)
    return set(by_task[~by_task.own & (by_task.task != AVERAGE)].task)


def _averages(found: Rows) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracies and training losses, averages over the tasks; those of the task if it is one."""
    losses = with_averages(training_losses(found), "loss")
    return (
        _of_average(scores(found)).rename(columns={"accuracy": "value"}),
        _of_average(losses).rename(columns={"loss": "value"}),
    )


def _of_average(points: pd.DataFrame) -> pd.DataFrame:
    """Those of the average over the tasks of the study, or of its task if it has one."""
    of_study = points[~points.own].task.unique()
    return points[points.task == (of_study[0] if len(of_study) == 1 else AVERAGE)]


def _drops(found: Rows) -> dict[str, pd.DataFrame]:
    """By task the difference from the dense model of the same seed, in points."""
    accuracies = scores(found)
    dense = accuracies[(accuracies.arm == PRUNE_PRETRAIN) & (accuracies.sparsity == 0)]
    needed(dense, "the drop in accuracy", "runs of finetune at sparsity 0")
    paired = accuracies.merge(dense[["task", "seed", "accuracy"]], on=["task", "seed"])
    return _by_task(paired.assign(value=100 * (paired.accuracy_x - paired.accuracy_y)))


def _by_task(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The average comes last in the table, and first on the page."""
    tasks = sorted(points.task.unique(), key=lambda task: task != AVERAGE)
    return {task: points[points.task == task] for task in tasks}


def _against_sparsity(
    panels: Mapping[str, _Panel], maker: str, *, name: str, caption: str, again: str
) -> Picture:
    """A panel beside the other, with one legend of arms."""
    drawn = {arm for panel in panels.values() for arm in panel.points.arm}
    arms = [arm for arm in BY_SPARSITY if arm in drawn]
    shown = [*arms, *([FROM_SCRATCH] if FROM_SCRATCH in drawn else [])]
    points_shown = [panel.points[panel.points.arm.isin(shown)] for panel in panels.values()]
    handles: list[Artist] = [*map(arm_handle, arms), dense_handle()]
    handles += [arm_handle(arm) for arm in shown if arm not in arms]
    if any(panel.paper is not None for panel in panels.values()):
        handles.append(paper_handle())
    if any("own" in panel.points and panel.points.own.any() for panel in panels.values()):
        handles.append(own_handle())

    def paint(_: Figure, axes: list[Axes]) -> None:
        for axis, (words, panel) in zip(axes, panels.items(), strict=True):
            _panel(axis, panel, arms)
            title(axis, words)

    first_name, first = next(iter(panels.items()))
    show = shown_percent if first.is_share else signed
    curves = {
        ARMS[arm].words: in_words(first.points[first.points.arm == arm], show) for arm in arms
    }
    sources = [
        (words, source, points[points.arm.isin(shown)])
        for words, panel in panels.items()
        for source, points in (("study", panel.points), ("paper", panel.paper))
        if points is not None
    ]
    return picture(
        paint,
        name=name,
        panels=len(panels),
        columns=2 if len(panels) < 5 else 3,
        maker=maker,
        alt=f"Lines of {', '.join(panels)} against sparsity, one for each arm. {first_name}, "
        f"{words_of(curves)}.",
        caption=f"{caption} {seeds_in_words(points_shown)} {_levels_in_words(panels)}",
        data=tidy(sources),
        handles=handles,
        again=again,
    )


def _levels_in_words(panels: Mapping[str, _Panel]) -> str:
    """What the dashed and the dotted lines are, and whether the dense model has seeds that an arm
    has not."""
    everything = pd.concat([panel.points.assign(panel=name) for name, panel in panels.items()])
    seeds = everything.groupby(["panel", "arm", "sparsity"]).seed.nunique()
    dense = everything[
        (everything.arm == PRUNE_PRETRAIN) & (everything.sparsity == 0)
    ].seed.nunique()
    said = "Dashed: dense"
    if dense > 1 and not any(panel.is_drop for panel in panels.values()):
        fewer = ", also beside arms that have fewer" if seeds.min() < dense else ""
        said += f", the mean over its seeds{fewer}"
    if FROM_SCRATCH in everything.arm.array:
        said += f"; dotted: {ARMS[FROM_SCRATCH].words}"
    return f"{said}."


def _panel(axis: Axes, panel: _Panel, arms: list[str]) -> None:
    points = panel.points
    for arm in arms:
        curve(axis, points[points.arm == arm], ARMS[arm].look)
    scratch = points[points.arm == FROM_SCRATCH].value
    if len(scratch):
        axis.axhline(scratch.mean(), color=ARMS[FROM_SCRATCH].look.colour, ls=":", lw=2.2)
    dense = points[(points.arm == PRUNE_PRETRAIN) & (points.sparsity == 0)].value
    if len(dense):
        dashed(axis, dense.mean())
    if panel.paper is not None:
        own_limits = axis.get_ylim()
        for arm in arms:
            thin_curve(axis, panel.paper[panel.paper.arm == arm], ARMS[arm].look)
        if panel.is_drop:
            axis.set_ylim(own_limits)
    axis.set_xlabel("sparsity")
    in_percent(axis.xaxis)
    if panel.is_share:
        in_percent(axis.yaxis)


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
