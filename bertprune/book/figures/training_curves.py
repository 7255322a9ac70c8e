"""How losses and accuracies go while training: curves of a single run, and the recovery of the
pre-training loss from pruning.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from bertprune.base.words import percent
from bertprune.book.drawing.panel import Axis, Panel, needed
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import (
    curves,
    dashed,
    handles,
    like,
    looks,
    seeds_in_words,
    shaded_ramp,
    shades,
)
from bertprune.evidence.scores import WORD_FREQUENCIES
from bertprune.protocol.rows import PRETRAINING, Metric, Rows, Split, where

_RAMP = "pruning ramp"


def learning_curves(
    rows: Rows, ramp_steps: int = 0, labels: Mapping[str, pd.Series] | None = None
) -> Sketch:
    """Losses and dev accuracies of one run against training steps, a row of panels for each task.

    Lines without marks are losses of the training batches. The steps of the pruning ramp are
    shaded. A dashed line is what word frequencies alone give, where rows say that, and with the dev
    set's `labels` by task the accuracy of always giving the commonest one.
    """
    tasks = {task: task.replace(PRETRAINING, "pre-training") for task in rows.task.unique()}
    dev = where(rows, split=Split.DEV)
    dev_loss = where(dev, metric=Metric.LOSS)
    running = where(rows, metric=Metric.RUNNING_LOSS)
    level = where(dev, metric=WORD_FREQUENCIES)
    losses = pd.concat([running, dev_loss, level]).sort_index()
    accuracies = dev[dev.metric.str.contains(Metric.ACCURACY)]
    kinds = (
        ("loss (nats)", losses, _losses, Axis()),
        ("dev accuracy", accuracies, _accuracies, Axis(is_share=True, low=0, high=1)),
    )
    first = next(iter(tasks))
    said = _in_words(where(dev_loss, task=first), tasks[first])
    if len(tasks) > 1:
        said += f"; {len(tasks) - 1} other tasks"
    ramp = " The shaded steps are the pruning ramp." if ramp_steps else ""
    return Sketch(
        "learning-curves",
        [
            Panel(
                f"{name}: {what}",
                where(points, task=task),
                partial(draw, ramp_steps=ramp_steps, labels=(labels or {}).get(task)),
                Axis("training step", ticks=5),
                y,
                source="run",
                along="step",
            )
            for task, name in tasks.items()
            for what, points, draw, y in kinds
        ],
        alt=f"Learning curves: {said}.",
        caption=f"Loss and dev accuracy while training.{ramp}",
        columns=2,
        is_quick=True,
    )


def _losses(axes: Axes, panel: Panel, *, ramp_steps: int, **given: object) -> None:
    rates = sorted(panel.points.learning_rate.unique())
    for rate, (colour, _) in looks(rates).items():
        of_rate = where(panel.points, learning_rate=rate)
        at = f", learning rate {rate:g}" if len(rates) > 1 else ""
        running = where(of_rate, metric=Metric.RUNNING_LOSS)
        axes.plot(running.step, running.value, color=colour, lw=0.8, label=f"train{at}")
        dev = where(of_rate, metric=Metric.LOSS)
        axes.plot(dev.step, dev.value, color=colour, marker="o", ms=5, lw=1.8, label=f"dev{at}")
    for level in where(panel.points, metric=WORD_FREQUENCIES).value:
        dashed(axes, level, label="word frequencies alone")
    shaded_ramp(axes, ramp_steps, _RAMP)


def _accuracies(axes: Axes, panel: Panel, *, ramp_steps: int, labels: pd.Series | None) -> None:
    curves = dict(list(panel.points.groupby(["metric", "learning_rate"])))
    names = {"masked_accuracy": "masked words", "next_sentence_accuracy": "next sentence"}
    for (metric, rate), look in looks(curves).items():
        of = curves[metric, rate]
        label = names.get(metric, f"learning rate {rate:g}" if len(curves) > 1 else None)
        axes.plot(of.step, of.value, **like(look), ms=5, lw=1.8, label=label)
    if labels is not None:
        dashed(axes, labels.value_counts(normalize=True).max(), label="commonest answer")
    shaded_ramp(axes, ramp_steps, _RAMP)


def _in_words(dev_loss: Rows, name: str) -> str:
    ordered = dev_loss.sort_values("step")
    first, last = ordered.iloc[0], ordered.iloc[-1]
    return (
        f"{name} dev loss from {first.value:.3f} at step {first.step} "
        f"to {last.value:.3f} at step {last.step}"
    )


def recovery_from_pruning(recovery: pd.DataFrame, *, ramp_steps: int = 0) -> Sketch:
    """Dev loss of pre-training against its steps while models are pruned and after, a line for each
    sparsity. `recovery` as `scores.recovery_curves` has them. The `ramp_steps` in which weights are
    taken away are shaded.

    Raises UserError without such curves.
    """
    needed(recovery, "the loss while models are pruned", "runs of prune_pretrain")
    looks_of = shades(sorted(recovery.sparsity.unique()), markers="osD^v")

    def draw(axes: Axes, panel: Panel) -> None:
        shaded_ramp(axes, ramp_steps)
        curves(axes, panel.points, "sparsity", looks_of, x="step")

    ends = recovery[recovery.step == recovery.step.max()].groupby("sparsity").value.mean()
    least, most = ends.index.min(), ends.index.max()
    ramp = " In the shaded steps weights are taken away." if ramp_steps else ""
    steps = Axis("steps of pre-training since burn-in")
    return Sketch(
        "recovery",
        [Panel("pre-training: dev loss (nats)", recovery, draw, steps, along="step")],
        alt="Dev loss of pre-training against steps, a line for each sparsity. In the end "
        f"{ends[least]:.2f} at {percent(least)} and {ends[most]:.2f} at {percent(most)}.",
        caption="Dev loss of pre-training (masked words and next sentence) from the first pruning "
        f"on, by the sparsity that it ends with.{ramp} "
        + seeds_in_words(
            [recovery.assign(sparsity=recovery.sparsity.map(percent))], "sparsity", x="step"
        ),
        handles=handles({percent(at): look for at, look in looks_of.items()}),
        height_inches=3.4,
        own_point="prune_pretrain",
    )
