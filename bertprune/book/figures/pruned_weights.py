"""Which weights are pruned: before or after fine-tuning, and in which heads (figures 3 and 4)."""

from __future__ import annotations

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertprune.base.words import percent
from bertprune.book.figures.picture import Picture, needed, picture, tidy
from bertprune.book.figures.style import (
    INK,
    QUIET,
    curve,
    dashed,
    handle,
    in_percent,
    in_words,
    line_handle,
    seeds_in_words,
    shown_percent,
    task_looks,
    title,
)
from bertprune.evidence.claims.weights import FEW_ENTRIES
from bertprune.protocol.arms import (
    ARMS,
    COMPARED,
    EPOCHS_BEFORE_PRUNING,
    PRUNE_AFTER_FINETUNE,
    PRUNE_PRETRAIN,
    Look,
)
from bertprune.protocol.rows import Metric, Rows, Split, final, where


def mask_difference(found: Rows, maker: str, *, again: str = "") -> Picture:
    """The left half of the paper's figure 3: the share of mask entries that differ between
    pruning while pre-training and after fine-tuning, against sparsity, a point for each task,
    learning rate and seed. Raises UserError if no masks were compared."""
    points = _whole(found, PRUNE_AFTER_FINETUNE, "mask_difference")
    needed(points, "differences between masks", "runs of prune_after_finetune")
    tasks = task_looks(points.task)

    def paint(_: Figure, axes: list[Axes]) -> None:
        (panel,) = axes
        _mean_line(panel, points, "sparsity")
        for task, look in tasks.items():
            _dots(panel, points[points.task == task], look, "sparsity")
        panel.axhline(FEW_ENTRIES, color=QUIET, ls=":", lw=1.5)
        panel.set_xlabel("sparsity")
        panel.set_ylim(bottom=0)
        in_percent(panel.xaxis)
        in_percent(panel.yaxis)
        title(panel, "mask entries that differ")

    dots: list[Artist] = [handle(look, task, linestyle="") for task, look in tasks.items()]
    bound = line_handle(f"the paper: less than {percent(FEW_ENTRIES)}", QUIET, ":", 1.5)
    return picture(
        paint,
        name="mask-difference",
        panels=1,
        columns=1,
        panel_inches=(5.4, 3.5),
        maker=maker,
        alt="Share of mask entries that differ between pruning while pre-training and after "
        f"fine-tuning, mean over tasks: {in_words(points, shown_percent)}.",
        caption="Share of mask entries that differ between a model pruned while pre-training and "
        "one pruned after fine-tuning, against the share of weights that is pruned. A point for "
        f"each task, learning rate and seed; the line is their mean{_band_in_words(points)}.",
        data=tidy([("mask entries that differ", "study", points)]),
        handles=[*dots, line_handle("mean", width=2.2), bound],
        again=again,
    )


def before_pruning(found: Rows, maker: str, *, again: str = "") -> Picture:
    """The right half of the paper's figure 3: dev accuracy after recovery, and the share of mask
    entries that differ, against the epochs that a model was fine-tuned for before it was pruned.

    Accuracies are the best over learning rates. Raises UserError without such runs.
    """
    ours = where(found, arm=EPOCHS_BEFORE_PRUNING)
    both = _accuracy_and_masks(ours)
    accuracies = both["dev accuracy"]
    panels = {name: points for name, points in both.items() if len(points)}
    everything = pd.concat(both.values())
    needed(
        everything,
        "training before pruning",
        f"runs of prune_after_finetune, arm {EPOCHS_BEFORE_PRUNING}",
    )
    tasks = task_looks(everything.task)
    dense = _dense_mean(found[found.seed.isin(accuracies.seed)], list(tasks))

    def paint(_: Figure, axes: list[Axes]) -> None:
        for panel, (name, points) in zip(axes, panels.items(), strict=True):
            for task, look in tasks.items():
                curve(panel, points[points.task == task], look, x="position", has_band=False)
            if len(tasks) > 1:
                _mean_line(panel, points, "position")
            if name == "dev accuracy" and dense is not None:
                dashed(panel, dense)
            if name != "dev accuracy":
                panel.set_ylim(bottom=0)
            panel.set_xlabel("epochs of fine-tuning before pruning")
            panel.set_xticks(sorted(points.position.unique()))
            in_percent(panel.yaxis)
            title(panel, name)

    handles: list[Artist] = [handle(look, task) for task, look in tasks.items()]
    if len(tasks) > 1:
        handles.append(line_handle("mean over tasks", width=2.2))
    if dense is not None:
        handles.append(line_handle("dense, mean over tasks", linestyle="--"))
    said = ". ".join(
        f"{name}, mean by epochs: {in_words(points, shown_percent, x='position')}"
        for name, points in panels.items()
    )
    at = ", ".join(percent(sparsity) for sparsity in sorted(ours.sparsity.unique()))
    return picture(
        paint,
        name="epochs-before-pruning",
        panels=len(panels),
        columns=len(panels),
        maker=maker,
        alt=f"Training longer before pruning {at}. {said}.",
        caption=f"Models fine-tuned on {', '.join(tasks)} for so many epochs, then pruned to {at} "
        "and trained on: their best dev accuracy over learning rates after the last epoch, and the "
        "share of their mask that differs from the mask of pruning while pre-training. "
        + seeds_in_words(panels.values(), "task", x="position", spread="")
        + f" Thick: the mean over tasks{_band_in_words(everything)}." * (len(tasks) > 1),
        data=tidy((name, "study", points) for name, points in panels.items()),
        handles=handles,
        again=again,
    )


def _accuracy_and_masks(ours: Rows) -> dict[str, pd.DataFrame]:
    """By panel, what became of models that were fine-tuned for so many epochs before."""
    last = final(where(ours, split=Split.DEV, metric=Metric.ACCURACY))
    by_model = last.groupby(["sparsity", "task", "position", "seed"], as_index=False)
    return {
        "dev accuracy": by_model.agg(value=("value", "max")),
        "mask entries that differ": _whole(ours, EPOCHS_BEFORE_PRUNING, Metric.MASK_DIFFERENCE),
    }


def pruned_heads(found: Rows, maker: str, *, again: str = "") -> Picture:
    """The right half of the paper's figure 4: the share that is pruned of each attention head,
    against the share that is pruned of the model, by magnitude and at random.

    Raises UserError if no heads were looked at.
    """
    rows = final(found[(found.split == "heads") & (found.metric == "pruned_share")])
    heads = rows.groupby(["arm", "sparsity", "part"], as_index=False).agg(value=("value", "mean"))
    needed(heads, "pruned attention heads", "runs of prune_pretrain at sparsities above 0")
    arms = [arm for arm in COMPARED if arm in heads.arm.array]

    def paint(_: Figure, axes: list[Axes]) -> None:
        for panel, arm in zip(axes, arms, strict=True):
            points, (colour, marker) = heads[heads.arm == arm], ARMS[arm].look
            share = points.groupby("sparsity").value
            panel.axline((0.5, 0.5), slope=1, color=INK, ls="--", lw=1)
            panel.fill_between(
                share.min().index, share.min(), share.max(), color=colour, alpha=0.2, lw=0
            )
            panel.plot(share.mean().index, share.mean(), color=colour, lw=1.8)
            panel.scatter(
                points.sparsity, points.value, s=12, color=colour, marker=marker, alpha=0.4, lw=0
            )
            panel.set_xlabel("sparsity of the model")
            panel.set_xlim(0, 1)
            panel.set_ylim(0, 1)
            in_percent(panel.xaxis)
            in_percent(panel.yaxis)
            title(panel, ARMS[arm].words)

    rate = line_handle("as much as the model", linestyle="--")
    said = "; ".join(f"{ARMS[arm].words}: {_ranges(heads[heads.arm == arm])}" for arm in arms)
    return picture(
        paint,
        name="pruned-heads",
        panels=len(arms),
        columns=len(arms),
        maker=maker,
        alt=f"Share of each attention head that is pruned, mean (least to most). {said}.",
        caption="Share that is pruned of each attention head: a point is a head"
        + ", the mean over seeds" * (rows.seed.nunique() > 1)
        + "; the line their mean, the band from the least to the most pruned one.",
        data=tidy((ARMS[arm].words, "study", heads[heads.arm == arm]) for arm in arms),
        handles=[rate],
        again=again,
    )


def _whole(found: Rows, arm: str, metric: str) -> Rows:
    """The last values of the whole model."""
    return final(found[(found.arm == arm) & (found.metric == metric) & (found.part == "")])


def _dense_mean(found: Rows, tasks: list[str]) -> float | None:
    """Dev accuracy of the dense model, mean over those `tasks`; none unless it has them all."""
    is_dense = (found.arm == PRUNE_PRETRAIN) & (found.sparsity == 0) & found.task.isin(tasks)
    last = final(found[is_dense & (found.split == "dev") & (found.metric == "accuracy")])
    best = last.groupby(["task", "seed"], as_index=False).agg(value=("value", "max"))
    by_task = best.groupby("task").value.mean()
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


def _dots(panel: Axes, points: pd.DataFrame, look: Look, x: str) -> None:
    panel.scatter(
        points[x], points.value, s=22, color=look.colour, marker=look.marker, alpha=0.7, lw=0
    )


def _ranges(points: pd.DataFrame) -> str:
    share = points.groupby("sparsity").value
    return ", ".join(
        f"{100 * one.mean():.1f} % ({100 * one.min():.1f}–{100 * one.max():.1f}) at "
        f"{percent(float(str(sparsity)))}"
        for sparsity, one in share
    )
