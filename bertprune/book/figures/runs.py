"""Figures of a single run."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bertprune.book.figures.style import (
    Picture,
    in_percent,
    looks,
    made_by,
    picture,
    shaded_ramp,
    tidy,
    title,
)
from bertprune.protocol.rows import PRETRAINING, Rows

__all__ = ["learning_curves", "made_by"]


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
        (str(metric), rate): curve
        for (metric, rate), curve in rows.groupby(["metric", "learning_rate"])
    }
    names = {"masked_accuracy": "masked words", "next_sentence_accuracy": "next sentence"}
    for ((metric, rate), curve), (colour, marker) in zip(
        curves.items(), looks(map(str, curves)).values(), strict=True
    ):
        label = names.get(metric, f"at {rate:g}" if len(curves) > 1 else None)
        panel.plot(curve.step, curve.value, color=colour, marker=marker, ms=5, lw=1.8, label=label)


def _task_name(task: str) -> str:
    return "pre-training" if task == PRETRAINING else task


def _curve_in_words(rows: Rows, task: str) -> str:
    dev = rows[(rows.task == task) & (rows.split == "dev") & (rows.metric == "loss")]
    dev = dev.sort_values("step")
    return (
        f"{_task_name(task)} dev loss from {dev.value.iloc[0]:.3f} at step {dev.step.iloc[0]} "
        f"to {dev.value.iloc[-1]:.3f} at step {dev.step.iloc[-1]}"
    )
