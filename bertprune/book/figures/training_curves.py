"""How losses and accuracies go while training: curves of a single run, and the recovery of the
pre-training loss from pruning.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bertprune.base.words import percent
from bertprune.book.figures.picture import Picture, needed, picture, tidy
from bertprune.book.figures.style import (
    curve,
    handle,
    in_percent,
    looks,
    seeds_in_words,
    shaded_ramp,
    title,
    words_of,
)
from bertprune.protocol.arms import Look
from bertprune.protocol.rows import PRETRAINING, Rows


def learning_curves(rows: Rows, maker: str, ramp_steps: int = 0) -> Picture:
    """Losses and dev accuracies of one run against training steps, a row of panels for each task.

    Lines without marks are losses of the training batches. The steps of the pruning ramp are
    shaded.
    """
    tasks = list(rows.task.unique())
    is_dev = rows.split == "dev"
    losses = rows[(rows.metric == "running_loss") | (is_dev & (rows.metric == "loss"))]
    accuracies = rows[is_dev & rows.metric.str.contains("accuracy")]
    drawn = {
        f"{_task_name(task)}: {what}": points[points.task == task]
        for task in tasks
        for what, points in (("loss (nats)", losses), ("dev accuracy", accuracies))
    }

    def paint(_: Figure, axes: list[Axes]) -> None:
        for place, (panel, (name, points)) in enumerate(zip(axes, drawn.items(), strict=True)):
            if place % 2 == 0:
                _losses(panel, points)
            else:
                _accuracies(panel, points)
                in_percent(panel.yaxis)
            title(panel, name)
            _against_steps(panel, ramp_steps)

    curves = "; ".join(_curve_in_words(rows, task) for task in tasks)
    ramp = " The shaded steps are the pruning ramp." if ramp_steps else ""
    return picture(
        paint,
        name="learning-curves",
        panels=len(drawn),
        columns=2,
        maker=maker,
        alt=f"Learning curves: {curves}.",
        caption=f"Loss and dev accuracy while training.{ramp}",
        data=tidy((name, "run", points) for name, points in drawn.items()),
        is_quick=True,
    )


def _against_steps(panel: Axes, ramp_steps: int) -> None:
    panel.set_xlabel("training step")
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    shaded_ramp(panel, ramp_steps, "pruning ramp")
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=9)


def _losses(panel: Axes, rows: Rows) -> None:
    rates = sorted(rows.learning_rate.unique())
    for rate, look in zip(rates, looks(map(str, rates)).values(), strict=True):
        of_rate = rows[rows.learning_rate == rate]
        label = f" at {rate:g}" if len(rates) > 1 else ""
        running = of_rate[of_rate.metric == "running_loss"]
        panel.plot(
            running.step, running.value, color=look.colour, lw=1, alpha=0.6, label=f"train{label}"
        )
        dev = of_rate[of_rate.metric == "loss"]
        panel.plot(
            dev.step, dev.value, color=look.colour, marker="o", ms=5, lw=1.8, label=f"dev{label}"
        )


def _accuracies(panel: Axes, rows: Rows) -> None:
    curves = {
        (str(metric), rate): points
        for (metric, rate), points in rows.groupby(["metric", "learning_rate"])
    }
    names = {"masked_accuracy": "masked words", "next_sentence_accuracy": "next sentence"}
    for ((metric, rate), points), (colour, marker) in zip(
        curves.items(), looks(map(str, curves)).values(), strict=True
    ):
        label = names.get(metric, f"at {rate:g}" if len(curves) > 1 else None)
        panel.plot(
            points.step, points.value, color=colour, marker=marker, ms=5, lw=1.8, label=label
        )


def _task_name(task: str) -> str:
    return "pre-training" if task == PRETRAINING else task


def _curve_in_words(rows: Rows, task: str) -> str:
    dev = rows[(rows.task == task) & (rows.split == "dev") & (rows.metric == "loss")]
    dev = dev.sort_values("step")
    return (
        f"{_task_name(task)} dev loss from {dev.value.iloc[0]:.3f} at step {dev.step.iloc[0]} "
        f"to {dev.value.iloc[-1]:.3f} at step {dev.step.iloc[-1]}"
    )


_SHADES = colormaps["viridis_r"]
_MARKERS = "osD^v"


def recovery_from_pruning(
    curves: pd.DataFrame, maker: str, *, ramp_steps: int = 0, again: str = ""
) -> Picture:
    """Dev loss of pre-training against its steps while models are pruned and after, a line for each
    sparsity. `curves` as `scores.recovery_curves` has them. The `ramp_steps` in which weights are
    taken away are shaded.

    Raises UserError without such curves.
    """
    name = "pre-training: dev loss (nats)"
    needed(curves, "the loss while models are pruned", "runs of prune_pretrain")
    sparsities = sorted(float(one) for one in curves.sparsity.unique())
    shades = _SHADES(np.linspace(0.1, 1, len(sparsities)))
    shades_of = {
        sparsity: Look(shade, _MARKERS[place % len(_MARKERS)])
        for place, (sparsity, shade) in enumerate(zip(sparsities, shades, strict=True))
    }

    def paint(_: Figure, axes: list[Axes]) -> None:
        (panel,) = axes
        shaded_ramp(panel, ramp_steps)
        for sparsity, look in shades_of.items():
            curve(panel, curves[curves.sparsity == sparsity], look, x="step")
        panel.set_xlabel("steps of pre-training since burn-in")
        title(panel, name)

    handles: list[Artist] = [handle(look, percent(at)) for at, look in shades_of.items()]
    # All points would take minutes to hear.
    means = curves.groupby(["sparsity", "step"]).value.mean()
    said = {
        percent(at): f"{means[at].max():.2f} at most, {means[at].iloc[-1]:.2f} in the end"
        for at in sparsities
    }
    ramp = " In the shaded steps weights are taken away." if ramp_steps else ""
    return picture(
        paint,
        name="recovery",
        panels=1,
        columns=1,
        panel_inches=(6.4, 3.6),
        maker=maker,
        alt=f"Dev loss of pre-training against steps, a line for each sparsity. {words_of(said)}.",
        caption="Dev loss of pre-training (masked words and next sentence) from the first pruning "
        f"on, by the sparsity that it ends with.{ramp} "
        + seeds_in_words(
            [curves.assign(sparsity=curves.sparsity.map(percent))], "sparsity", x="step"
        ),
        data=tidy([(name, "study", curves)]),
        handles=handles,
        again=again,
    )
