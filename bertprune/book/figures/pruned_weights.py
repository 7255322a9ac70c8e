"""Which weights are pruned: before or after fine-tuning, and in which heads (figures 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from bertprune.base.words import percent, signed
from bertprune.book.drawing.panel import SHARE, SHARE_FROM_ZERO, Axis, Panel, needed
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import (
    INK,
    QUIET,
    curves,
    dashed,
    dots,
    handle,
    handles,
    line_handle,
    seeds_in_words,
    shown_percent,
    task_looks,
    task_title,
)
from bertprune.evidence.claims.weights import FEW
from bertprune.protocol.arms import (
    ARMS,
    COMPARED,
    EPOCHS_BEFORE_PRUNING,
    PRUNE_AFTER_FINETUNE,
    PRUNE_PRETRAIN,
    Look,
)
from bertprune.protocol.rows import WHOLE, Metric, Rows, Split, final, where

_MASKS = "mask entries that differ"


def mask_difference(found: Rows) -> Sketch:
    """The left half of the paper's figure 3: the share of mask entries that differ between
    pruning while pre-training and after fine-tuning, against sparsity, a point for each task,
    learning rate and seed. Raises UserError if no masks were compared."""
    points = _mask_differences(where(found, arm=PRUNE_AFTER_FINETUNE))
    needed(points, "differences between masks", "runs of prune_after_finetune")
    tasks = task_looks(points.task)

    def draw(axes: Axes, panel: Panel) -> None:
        _mean_line(axes, panel.points, "sparsity")
        for task, look in tasks.items():
            dots(axes, where(panel.points, task=task), look)
        axes.axhline(FEW, color=QUIET, ls=":", lw=1.5)

    return Sketch(
        "mask-difference",
        [Panel(_MASKS, points, draw, y=SHARE_FROM_ZERO)],
        alt="Share of mask entries that differ between pruning while pre-training and after "
        f"fine-tuning, against sparsity: at most {shown_percent(points.value.max())}.",
        caption="Share of mask entries that differ between a model pruned while pre-training and "
        "one pruned after fine-tuning, against the share of weights that is pruned. A point for "
        f"each task, learning rate and seed; the line is their mean{_band_in_words(points)}.",
        handles=[
            *handles({task_title(task): look for task, look in tasks.items()}, linestyle=""),
            line_handle("mean", width=2.2),
            line_handle(f"the paper: less than {percent(FEW)}", QUIET, ":", 1.5),
        ],
        height_inches=3.2,
        own_point="prune_after_finetune",
    )


def before_pruning(found: Rows) -> Sketch:
    """The right half of the paper's figure 3: dev accuracy after recovery, and the share of mask
    entries that differ, against the epochs that a model was fine-tuned for before it was pruned.

    Accuracies are the best over learning rates. Raises UserError without such runs.
    """
    ours = where(found, arm=EPOCHS_BEFORE_PRUNING)
    # Where nothing is pruned it is the control of equal training.
    ours = ours[ours.sparsity > 0]
    accuracies = _best(ours, ["sparsity", "task", "position", "seed"])
    masks = _mask_differences(ours)
    everything = needed(
        pd.concat([accuracies, masks]),
        "training before pruning",
        f"runs of prune_after_finetune, arm {EPOCHS_BEFORE_PRUNING}",
    )
    tasks = task_looks(everything.task)
    dense = _dense_mean(found[found.seed.isin(accuracies.seed)], list(tasks))
    epochs = Axis("epochs of fine-tuning before pruning")
    without_dense = partial(_by_epochs, tasks=tasks, dense=None)
    both = (
        Panel("dev accuracy", accuracies, partial(without_dense, dense=dense), epochs, SHARE),
        Panel(_MASKS, masks, without_dense, epochs, SHARE_FROM_ZERO),
    )
    panels = [panel for panel in both if len(panel.points)]
    entries = handles({task_title(task): look for task, look in tasks.items()})
    if len(tasks) > 1:
        entries.append(line_handle("mean over tasks", width=2.2))
    if dense is not None:
        entries.append(line_handle("dense, mean over tasks", linestyle="--"))
    said = " and ".join(panel.title for panel in panels)
    at = ", ".join(percent(sparsity) for sparsity in sorted(ours.sparsity.unique()))
    return Sketch(
        "epochs-before-pruning",
        panels,
        alt=f"{said} against the epochs of fine-tuning before pruning to {at}".capitalize()
        + f", a line for each of {len(tasks)} tasks.",
        caption=f"Models fine-tuned on {', '.join(map(task_title, tasks))} for so many epochs, "
        f"then pruned to {at} and trained on: their best dev accuracy over learning rates after "
        "the last epoch, and the share of their mask that differs from the mask of pruning while "
        "pre-training. "
        + seeds_in_words([accuracies, masks], "task", x="position", spread="")
        + f" Thick: the mean over tasks{_band_in_words(everything)}." * (len(tasks) > 1),
        handles=entries,
        # A reader's run is a point of pruning after fine-tuning, not of this arm.
        own_point="",
    )


def _by_epochs(axes: Axes, panel: Panel, *, tasks: Mapping[str, Look], dense: float | None) -> None:
    curves(axes, panel.points, "task", tasks, x="position", has_band=False)
    if len(tasks) > 1:
        _mean_line(axes, panel.points, "position")
    if dense is not None:
        dashed(axes, dense)
    axes.set_xticks(sorted(panel.points.position.unique()))


def pruned_heads(found: Rows) -> Sketch:
    """The right half of the paper's figure 4: how much more, or less, is pruned of each attention
    head than of the model, in points, by magnitude and at random.

    Raises UserError if no heads were looked at.
    """
    rows = final(where(found, split=Split.HEADS, metric=Metric.PRUNED_SHARE))
    needed(rows, "pruned attention heads", "runs of prune_pretrain at sparsities above 0")
    heads = rows.groupby(["arm", "sparsity", "part"], as_index=False).agg(value=("value", "mean"))
    heads = heads.assign(value=100 * (heads.value - heads.sparsity))
    of_arms = {arm: where(heads, arm=arm) for arm in COMPARED if arm in heads.arm.array}
    furthest = heads.sort_values("value", key=abs).iloc[-1]
    # One scale for all, so that they compare.
    limit = 1.1 * max(abs(furthest.value), 0.1)
    difference = Axis("head − model (points)", low=-limit, high=limit)
    return Sketch(
        "pruned-heads",
        [
            Panel(
                ARMS[arm].words,
                of_arm,
                partial(_heads, look=ARMS[arm].look),
                y=difference,
                ends=True,
            )
            for arm, of_arm in of_arms.items()
        ],
        alt="How much more is pruned of each attention head than of the model. Furthest off: "
        f"{furthest.part}, {signed(furthest.value)} points at {percent(furthest.sparsity)}, "
        f"{ARMS[furthest.arm].words}.",
        caption="Share that is pruned of each attention head, less the sparsity of the model: a "
        "point is a head"
        + ", the mean over seeds" * (rows.seed.nunique() > 1)
        + "; the band goes from the least to the most pruned one.",
        handles=[handle(Look(QUIET, "o"), "a point: an attention head", "")],
        columns=2,
        own_point="prune_pretrain",
    )


def _heads(axes: Axes, panel: Panel, *, look: Look) -> None:
    share = panel.points.groupby("sparsity").value
    least, most = share.min(), share.max()
    axes.axhline(0, color=INK, ls="--", lw=1)
    axes.fill_between(least.index, least, most, color=look.colour, alpha=0.2, lw=0)
    dots(axes, panel.points, look, size=12)


def _mask_differences(found: Rows) -> Rows:
    """The last values of the whole model."""
    return final(where(found, metric=Metric.MASK_DIFFERENCE, part=WHOLE))


def _best(found: Rows, by: list[str]) -> pd.DataFrame:
    """The best dev accuracies over learning rates after the last epoch."""
    last = final(where(found, split=Split.DEV, metric=Metric.ACCURACY))
    return last.groupby(by, as_index=False).agg(value=("value", "max"))


def _dense_mean(found: Rows, tasks: list[str]) -> float | None:
    """Dev accuracy of the dense model, mean over those `tasks`; none unless it has them all."""
    dense = where(found, arm=PRUNE_PRETRAIN, sparsity=0, task=tasks)
    by_task = _best(dense, ["task", "seed"]).groupby("task").value.mean()
    return float(by_task.mean()) if len(by_task) == len(tasks) else None


def _mean_line(panel: Axes, points: pd.DataFrame, x: str) -> None:
    """The mean over tasks, where there are all, and a band of one standard deviation over seeds."""
    by_task = points.groupby([x, "seed", "task"], as_index=False).value.mean()
    by_seed = by_task.groupby([x, "seed"]).value.agg(["mean", "size"])
    whole = by_seed["mean"][by_seed["size"] == points.task.nunique()].groupby(x)
    mean, std = whole.mean(), whole.std()
    panel.plot(mean.index, mean, color=INK, lw=2.2, zorder=1.9)
    panel.fill_between(mean.index, mean - std, mean + std, color=INK, alpha=0.1, lw=0)


def _band_in_words(points: pd.DataFrame) -> str:
    """What `_mean_line` draws around the mean: nothing for one seed."""
    return ", its band ± one standard deviation over seeds" * (points.seed.nunique() > 1)
