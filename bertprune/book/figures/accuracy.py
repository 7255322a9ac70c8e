"""What pruning costs: accuracy and losses against sparsity (the paper's figure 1), and drops in
accuracy beside those of its table 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes

from bertprune.base.errors import UserError
from bertprune.base.words import percent
from bertprune.book.drawing.panel import SHARE, SPARSITY, Axis, Panel, needed
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import (
    INK,
    OWN_SCALES,
    arm_handle,
    curves,
    dashed,
    dense_handle,
    handles,
    like,
    line_handle,
    own_handle,
    seeds_in_words,
    task_title,
)
from bertprune.evidence.paper.agreement import arms_of, cells_by_seed, tasks_of
from bertprune.evidence.scores import AVERAGE, changes, scores, training_losses, with_averages
from bertprune.protocol.arms import ARMS, BY_SPARSITY, COMPARED, FROM_SCRATCH, PRUNE_PRETRAIN
from bertprune.protocol.rows import Rows, where

_LOOKS = {arm: ARMS[arm].look for arm in BY_SPARSITY}

_AVERAGES = {"average dev accuracy": SHARE, "average training loss (nats)": Axis()}

GLUE_MAJORITIES = pd.Series(
    {"mnli": 0.3545, "qqp": 0.6318, "qnli": 0.5054, "sst2": 0.5092, "cola": 0.6913}
)
"""Accuracy of always giving the commonest answer on the dev sets of GLUE (MNLI's matched one)."""


def accuracy_and_loss(scores: pd.DataFrame, losses: pd.DataFrame) -> Sketch:
    """A study at a glance: dev accuracy of each task, and pre-training loss, against sparsity.

    `scores` and `losses` have a line for each arm, sparsity and seed (see `scores.scores` and
    `scores.pretraining_losses`). Seeds are points, with a line through their means and a band of
    one standard deviation; the dense model is the dashed line.
    """
    accuracies = _by_task(scores.rename(columns={"accuracy": "value"})).items()
    titles = {AVERAGE: "average dev accuracy"}
    panels = [
        Panel(titles.get(task, f"{task_title(task)}: dev accuracy"), points, _lines, y=SHARE)
        for task, points in accuracies
    ]
    loss = losses.rename(columns={"loss": "value"})
    return _against_sparsity(
        [*panels, Panel("pre-training: dev loss (nats)", loss, _lines)],
        name="accuracy-and-loss",
        caption="Best dev accuracy over learning rates after the last epoch, and dev loss of "
        "pre-training, against the share of weights that is pruned.",
    )


def average_and_loss(scores: pd.DataFrame, losses: pd.DataFrame) -> Sketch:
    """The same of the average over tasks alone, or of the task if the study has one."""
    return accuracy_and_loss(_of_average(scores), losses)


def average_and_training_loss(found: Rows) -> Sketch:
    """As the paper's figure 1: dev accuracy and training loss after fine-tuning, both the average
    over tasks, against sparsity. Levels of two models do not compare, so the paper's are not there.

    Raises UserError without an accuracy on all tasks.
    """
    panels = [
        Panel(title, points, _lines, y=_AVERAGES[title])
        for title, points in _averages(found).items()
        if len(points)
    ]
    if not panels:
        raise UserError("there is no average yet: no arm of the study has an accuracy on all tasks")
    return _against_sparsity(
        panels,
        name="accuracy-and-training-loss",
        caption="Best dev accuracy over learning rates after the last epoch, and the loss of that "
        "model over the training set, means over tasks, against the share of weights that "
        "is pruned.",
        own_point="average",
    )


def accuracy_drop(
    found: Rows, *, paper: Rows | None = None, majorities: pd.Series | None = None
) -> Sketch:
    """By task, how far dev accuracy is from that of the same arm and seed with nothing pruned, in
    points, against sparsity. Where `majorities` are given, the accuracies (shares, by task) of
    always giving the commonest answer, the first panel has the average change as a share of what
    the dense model is above them, and beside it stands the same of `paper`, if it has all the
    tasks.

    Raises UserError without a dense model.
    """
    drops = _drops(found)
    panels = [
        Panel(f"{task_title(task)} (points)", points, _lines) for task, points in drops.items()
    ]
    if majorities is not None:
        of_skill = {"change of skill (%)": _changes_of_skill(found, majorities)}
        # Averages over other tasks would not compare.
        if paper is not None and _tasks(found) <= set(paper.task):
            theirs = where(paper, task=_tasks(found))
            of_skill["in the paper (%)"] = _changes_of_skill(theirs, GLUE_MAJORITIES)
        both = pd.concat(of_skill.values())
        x, y = (
            replace(axis, low=least - 0.05 * (most - least), high=most + 0.05 * (most - least))
            for axis, values in ((SPARSITY, both.sparsity), (SHARE, both.value))
            for least, most in [(values.min(), values.max())]
        )
        panels[:0] = [
            Panel(title, points, _lines, x, y, source=source)
            for (title, points), source in zip(of_skill.items(), ("study", "paper"), strict=False)
        ]
    return _against_sparsity(
        panels,
        name="accuracy-drop",
        caption="Dev accuracy minus that of the same arm and seed at 0 %, where nothing is pruned "
        "(or else minus the dense model's), in points, against the share of weights that is pruned."
        + " Skill is how far the dense model is above the majority class; a change of skill is the "
        "average difference as a share of that." * (majorities is not None),
    )


def _changes_of_skill(found: Rows, majorities: pd.Series) -> pd.DataFrame:
    """The average change as a share of how far the seed's dense model is above `majorities`."""
    average = _of_average(scores(found))
    dense = where(average, arm=PRUNE_PRETRAIN, sparsity=0).set_index("seed").accuracy
    skill = dense - majorities[list(_tasks(found))].mean()
    of = changes(average)
    return of.assign(value=of.change / of.seed.map(skill)).dropna(subset=["value"])


def _tasks(found: Rows) -> set[str]:
    """The tasks of the study, without those that only the reader has taken up."""
    by_task = scores(found)
    return set(by_task[~by_task.own & (by_task.task != AVERAGE)].task)


def _averages(found: Rows) -> dict[str, pd.DataFrame]:
    """Accuracies and training losses, averages over the tasks; those of the task if it is one."""
    accuracies = scores(found).rename(columns={"accuracy": "value"})
    losses = with_averages(training_losses(found), "loss").rename(columns={"loss": "value"})
    return dict(zip(_AVERAGES, map(_of_average, (accuracies, losses)), strict=True))


def _of_average(points: pd.DataFrame) -> pd.DataFrame:
    """Those of the average over the tasks of the study, or of its task if it has one."""
    of_study = points[~points.own].task.unique()
    return points[points.task == (of_study[0] if len(of_study) == 1 else AVERAGE)]


def _drops(found: Rows) -> dict[str, pd.DataFrame]:
    """By task the change from the arm's own accuracy at 0 %, in points (see `scores.changes`)."""
    of = changes(scores(found))
    dense = where(of, arm=PRUNE_PRETRAIN, sparsity=0)
    needed(dense, "the drop in accuracy", "runs of finetune at sparsity 0")
    return _by_task(of.assign(value=100 * of.change))


def _by_task(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The average comes last in the table, and first on the page."""
    tasks = sorted(points.task.unique(), key=lambda task: task != AVERAGE)
    return {task: points[points.task == task] for task in tasks}


def _against_sparsity(
    panels: Sequence[Panel], *, name: str, caption: str, own_point: str = "finetune"
) -> Sketch:
    """A panel beside the other, with one legend of arms."""
    ours = [panel for panel in panels if panel.source == "study"]
    drawn = pd.concat([panel.points.assign(panel=panel.title) for panel in ours])
    arms = [arm for arm in COMPARED if arm in drawn.arm.array]
    panels = [replace(panel, points=where(panel.points, arm=arms)) for panel in panels]
    entries = [arm_handle(arm) for arm in arms]
    entries.insert(len(set(arms) - {FROM_SCRATCH}), dense_handle())
    if "own" in drawn and drawn.own.any():
        entries.append(own_handle())
    first = panels[0]
    arm = next(arm for arm in arms if arm in first.points.arm.array)
    ends = where(first.points, arm=arm).groupby("sparsity").value.mean()
    said = ", ".join(
        f"{first.y.in_words(ends[at])} at {percent(at)}"
        for at in (ends.index.min(), ends.index.max())
    )
    several = f" and of {len(panels) - 1} others" if len(panels) > 1 else ""
    return Sketch(
        name,
        panels,
        alt=f"Lines of {first.title}{several} against sparsity, one for each arm. "
        f"{ARMS[arm].words.capitalize()}: {said}.",
        caption=f"{caption} {seeds_in_words(panel.points for panel in ours)} "
        f"{_levels_in_words(drawn, are_drops='drop' in name)}{OWN_SCALES * (len(panels) > 2)}",
        handles=entries,
        columns=_columns(panels),
        own_point=own_point,
    )


def _levels_in_words(drawn: pd.DataFrame, *, are_drops: bool) -> str:
    """What the dashed and the dotted lines are, and whether the dense model has seeds that an arm
    has not."""
    seeds = drawn.groupby(["panel", "arm", "sparsity"]).seed.nunique()
    dense = where(drawn, arm=PRUNE_PRETRAIN, sparsity=0).seed.nunique()
    said = "Dashed: dense"
    if dense > 1 and not are_drops:
        fewer = ", also beside arms that have fewer" if seeds.min() < dense else ""
        said += f", the mean over its seeds{fewer}"
    if FROM_SCRATCH in drawn.arm.array:
        said += f"; dotted: {ARMS[FROM_SCRATCH].words}"
    return f"{said}."


def _lines(axes: Axes, panel: Panel) -> None:
    """Columns of the points: arm, sparsity, seed and value."""
    curves(axes, panel.points, "arm", _LOOKS)
    scratch = where(panel.points, arm=FROM_SCRATCH).value
    if len(scratch):
        axes.axhline(scratch.mean(), color=ARMS[FROM_SCRATCH].look.colour, ls=":", lw=2.2)
    dense = where(panel.points, arm=PRUNE_PRETRAIN, sparsity=0).value
    if len(dense):
        dashed(axes, dense.mean())


def drops_beside(found: Rows) -> Sketch:
    """By task, accuracy minus the dense model's, in points: in the paper across, in the study up, a
    point for each arm and sparsity. Means over seeds ± one standard deviation.

    Raises UserError where the study shares nothing with the paper's table 1.
    """
    by_seed = needed(
        cells_by_seed(found),
        "drops beside the paper's",
        "runs on tasks of the paper, of the dense model and of pruned ones",
    )
    by_seed = by_seed.sort_values(["arm", "sparsity", "seed"])
    cells = by_seed.groupby(["task", "arm", "sparsity"], as_index=False).agg(
        paper=("paper", "first"), ours=("ours", "mean"), spread=("ours", "std")
    )
    tasks, arms = tasks_of(cells), arms_of(cells)
    panels = [
        Panel(
            f"{task_title(task)} (points)",
            where(by_seed, task=task).rename(columns={"ours": "value"}),
            _against_the_paper,
            x=Axis("drop in the paper"),
            y=Axis("drop here"),
            paper=where(cells, task=task).rename(columns={"paper": "value"}),
        )
        for task in tasks
    ]
    return Sketch(
        "drops-beside-the-paper",
        panels,
        alt="Drops in accuracy here against those in the paper, in points: a point for each arm "
        f"and sparsity, a panel for each of {len(tasks)} tasks.",
        caption="Dev accuracy minus that of the dense model, in points: across in the paper, up in "
        "this study. A point is an arm at a sparsity. "
        + seeds_in_words(
            (of_task for _, of_task in by_seed.groupby("task")),
            lead="Here it is the mean over {seeds}",
            spread="bars",
        )
        + " On the dashed line both lose as much; below it this study loses more."
        + OWN_SCALES * (len(panels) > 1),
        handles=[
            *handles({ARMS[arm].words: ARMS[arm].look for arm in arms}, linestyle=""),
            line_handle("as in the paper", linestyle="--"),
        ],
        columns=_columns(panels),
        # The paper has no sparsity that the study has not.
        own_point="",
    )


def _against_the_paper(axes: Axes, panel: Panel) -> None:
    assert panel.paper is not None
    axes.axline((0, 0), slope=1, color=INK, ls="--", lw=1)
    for arm in arms_of(panel.paper):
        of = where(panel.paper, arm=arm)
        # Of one seed there is no spread.
        spread, look = of.spread.fillna(0), like(ARMS[arm].look)
        axes.errorbar(of.value, of.ours, spread, **look, ls="", ms=5.5, elinewidth=0.9)


def _columns(panels: Sequence[Panel]) -> int:
    return 2 if len(panels) < 5 else 3
