"""Figures: from rows to pictures that say what they show and which study or run made them."""

from __future__ import annotations

import base64
import html
import io
import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from bertprune.contracts import BurnIn, PrunePretrain
from bertprune.rows import PRETRAINING, Rows
from bertprune.tables import ARM_NAMES, percent

# Told apart without colours too: each arm has its marker.
_MARKERS = dict(zip(ARM_NAMES, "osD^v", strict=True))
_COLOURS = seaborn.color_palette("colorblind").as_hex()
_ARM_COLOURS = dict(zip(ARM_NAMES, _COLOURS, strict=False))
_INK = "#222222"
_QUIET = "#666666"

_STYLE: Any = {
    # White paper under dark ink reads on a light page and on a dark one.
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _QUIET,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "axes.axisbelow": True,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "font.size": 11,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.8,
    # Words as words, not as shapes: a third of the size.
    "svg.fonttype": "none",
    # The same bytes for the same rows.
    "svg.hashsalt": "bertprune",
}
_PANEL_INCHES = (4.3, 3.3)


@dataclass(frozen=True)
class Picture:
    """A drawn figure with its text alternative; a notebook's last line shows it.

    Drawn twice, so that a narrow screen has its panels below each other.
    """

    svg: str
    narrow_svg: str
    alt: str
    caption: str

    def _repr_html_(self) -> str:
        return (
            '<figure style="margin: 1em 0"><picture>'
            f'<source media="(max-width: 640px)" srcset="{_data_uri(self.narrow_svg)}">'
            f'<img src="{_data_uri(self.svg)}" alt="{html.escape(self.alt)}" style="width: 100%; '
            f'max-width: {_widest_px(self.svg)}px; background: white; border-radius: 4px">'
            "</picture>"
            f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )


def made_by(maker: str, parameters: BurnIn) -> str:
    """The line under a figure that says which study or run made it, at what scale."""
    p = parameters
    model = Path(p.model).name if p.model else f"a fresh BERT of {p.layers} × {p.hidden_size}"
    steps = f"{p.burn_in_steps:,}"
    if isinstance(p, PrunePretrain):
        steps += f" + {p.pretrain_steps:,}"
    text = ", ".join(Path(source).name for source in p.text)
    return (
        f"Made by {maker}: {model}, {steps} pre-training steps of {p.pretrain_batch_size} on {text}"
    )


def accuracy_and_loss(scores: pd.DataFrame, losses: pd.DataFrame, maker: str) -> Picture:
    """A study at a glance: dev accuracy of each task, and pre-training loss, against sparsity.

    `scores` and `losses` have a line for each arm, sparsity and seed (see `results.scores` and
    `results.pretraining_losses`). Seeds are points, with a line through their means and a band of
    one standard deviation; the dense model is the dashed line.
    """
    # The average comes last in the table, and first on the page.
    tasks = sorted(scores.task.unique(), key=lambda task: task != "average")
    panels = [
        (
            f"{task}: dev accuracy" if task != "average" else "average dev accuracy",
            scores[scores.task == task].rename(columns={"accuracy": "value"}),
        )
        for task in tasks
    ]
    panels.append(("pre-training: dev loss (nats)", losses.rename(columns={"loss": "value"})))
    drawn = {arm for _, points in panels for arm in points.arm}
    arms = [arm for arm in ARM_NAMES if arm in drawn and arm != "from_scratch"]
    floor = [_arm_line("from_scratch")] if "from_scratch" in drawn else []

    def draw(columns: int) -> str:
        with _panels(len(panels), maker, columns) as (figure, axes):
            for panel, (title, points) in zip(axes, panels, strict=True):
                _against_sparsity(panel, points, arms)
                panel.set_title(title, loc="left")
                if "accuracy" in title:
                    panel.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
            figure.legend(
                handles=[_arm_handle(arm) for arm in arms]
                + [Line2D([], [], color=_INK, linestyle="--", label="dense"), *floor],
                loc="outside upper left",
                ncols=columns,
            )
            return _svg(figure)

    best = "; ".join(
        f"{ARM_NAMES[arm]}: {_span(scores[(scores.arm == arm) & (scores.task == tasks[0])])}"
        for arm in arms
        if arm in scores.arm.array
    )
    return Picture(
        svg=draw(2 if len(panels) < 5 else 3),
        narrow_svg=draw(1),
        alt=f"Lines of {', '.join(title for title, _ in panels)} against sparsity, one for each "
        f"arm. {tasks[0]} accuracy, {best}. {maker}.",
        caption="Best dev accuracy over learning rates after the last epoch, and dev loss of "
        "pre-training, against the share of weights that is pruned. Points are seeds, lines "
        "their means, bands ± one standard deviation; dashed: dense.",
    )


def _rank_correlation(points: pd.DataFrame) -> str:
    """Spearman's, of value and bits; a dash where one of them is the same everywhere."""
    if min(points.value.nunique(), points.bits.nunique()) < 2:
        return "–"
    return f"{points.value.rank().corr(points.bits.rank()):.2f}"


def average_and_loss(scores: pd.DataFrame, losses: pd.DataFrame, maker: str) -> Picture:
    """The same of the average over tasks alone."""
    return accuracy_and_loss(scores[scores.task == "average"], losses, maker)


def bits_recalled(bits: pd.DataFrame, content: Mapping[str, float], maker: str) -> Picture:
    """What models of a lab language recall, against sparsity: in bits by arm, and as a share of
    what there is to know by sort. `bits` as `results.bits` has them, `content` those of the
    language by sort."""
    together = bits[bits["sort"] == "all"].rename(columns={"bits": "value"})
    arms = [arm for arm in ("prune_pretrain", "random_pruning") if arm in together.arm.array]
    total = sum(content.values())
    ours = bits[(bits.arm == "prune_pretrain") & bits["sort"].isin(list(content))]
    shares = ours.assign(value=ours.bits / ours["sort"].map(content))

    def draw(columns: int) -> str:
        with _panels(2, maker, columns) as (figure, (left, right)):
            _against_sparsity(left, together, arms)
            left.axhline(total, color=_QUIET, linestyle=":", lw=1)
            left.set_ylim(0, 1.05 * total)
            left.set_title("bits recalled (dotted: all there is)", loc="left")
            for arm in arms:
                left.plot(
                    [], [], color=_ARM_COLOURS[arm], marker=_MARKERS[arm], label=ARM_NAMES[arm]
                )
            left.legend(fontsize=9)
            for sort, colour, marker in zip(
                content, _cycle(len(content)), "osD^vP*X", strict=False
            ):
                mean = shares[shares["sort"] == sort].groupby("sparsity").value.mean()
                right.plot(mean.index, mean, color=colour, marker=marker, ms=5, label=sort)
            right.set_ylim(0, 1.05)
            right.set_title("share recalled, magnitude pruning", loc="left")
            right.set_xlabel("sparsity")
            right.legend(fontsize=9)
            for axis in (right.xaxis, right.yaxis):
                axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
            return _svg(figure)

    means = {arm: together[together.arm == arm].groupby("sparsity").value.mean() for arm in arms}
    words = "; ".join(
        f"{ARM_NAMES[arm]}: "
        + ", ".join(f"{bit:.0f} at {percent(float(str(at)))}" for at, bit in mean.items())
        for arm, mean in means.items()
    )
    return Picture(
        svg=draw(2),
        narrow_svg=draw(1),
        alt=f"Bits recalled against sparsity, of {total:.0f}. {words}. {maker}.",
        caption="How much of the language models still recall after pruning and recovery. Points "
        "are seeds, lines their means, bands ± one standard deviation.",
    )


def bits_against(
    points: pd.DataFrame, maker: str, *, what: str, caption: str, is_share: bool = True
) -> Picture:
    """A panel for each `panel` of `points`: the `value` of each model against the `bits` that it
    recalls (see `results.with_bits`). `what` says in words what the values are, `is_share` whether
    they are shares, to be shown in per cent."""
    titles = list(points.panel.unique())
    arms = [arm for arm in ARM_NAMES if arm in points.arm.array]

    def draw(columns: int) -> str:
        with _panels(len(titles), maker, columns) as (figure, axes):
            for panel, title in zip(axes, titles, strict=True):
                for arm in arms:
                    of_arm = points[(points.panel == title) & (points.arm == arm)]
                    panel.scatter(
                        of_arm.bits,
                        of_arm.value,
                        s=28,
                        color=_ARM_COLOURS[arm],
                        marker=_MARKERS[arm],
                        alpha=0.7,
                        lw=0,
                        label=ARM_NAMES[arm],
                    )
                panel.set_title(title, loc="left")
                panel.set_xlabel("bits recalled")
                if is_share:
                    panel.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
            axes[0].legend(fontsize=9)
            return _svg(figure)

    by_panel = {title: points[points.panel == title] for title in titles}
    correlations = ", ".join(f"{title} {_rank_correlation(of)}" for title, of in by_panel.items())
    return Picture(
        svg=draw(min(3, len(titles))),
        narrow_svg=draw(1),
        alt=f"{what} against bits recalled; rank correlations: {correlations}. {maker}.",
        caption=f"{caption} Each point is a model; rank correlations: {correlations}.",
    )


def learning_curves(rows: Rows, maker: str, ramp_steps: int = 0) -> Picture:
    """Losses and dev accuracies of one run against training steps, a row of panels for each task.

    Lines without marks are losses of the training batches. The steps of the pruning ramp are
    shaded.
    """
    tasks = list(rows.task.unique())

    def draw(columns: int) -> str:
        count = 2 * len(tasks)
        with _panels(count, maker, columns, layout=None) as (figure, axes):
            _place_by_hand(figure, count // columns, columns)
            for task, left, right in zip(tasks, axes[::2], axes[1::2], strict=True):
                of_task = rows[rows.task == task]
                _losses(left, of_task)
                _accuracies(right, of_task)
                left.set_title(f"{_task_name(task)}: loss (nats)", loc="left")
                right.set_title(f"{_task_name(task)}: dev accuracy", loc="left")
                right.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
                for panel in (left, right):
                    _against_steps(panel, ramp_steps)
            return _svg(figure)

    curves = "; ".join(_curve_in_words(rows, task) for task in tasks)
    ramp = " The shaded steps are the pruning ramp." if ramp_steps else ""
    return Picture(
        svg=draw(2),
        narrow_svg=draw(1),
        alt=f"Learning curves: {curves}. {maker}.",
        caption=f"Loss and dev accuracy while training.{ramp}",
    )


def _place_by_hand(figure: Figure, lines: int, columns: int) -> None:
    """Panels of one kind need no layout engine, which takes half the time of drawing them."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.85 / width,
        right=1 - 0.15 / width,
        top=1 - 0.35 / height,
        bottom=1.0 / height,
        wspace=0.85 / (width / columns - 0.85),
        hspace=0.85 / (height / lines - 0.85),
    )


def _against_steps(panel: Axes, ramp_steps: int) -> None:
    panel.set_xlabel("training step")
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if ramp_steps:
        panel.axvspan(0, ramp_steps, color="#eeeeee", zorder=0, label="pruning ramp")
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=9)


def _against_sparsity(panel: Axes, points: pd.DataFrame, arms: list[str]) -> None:
    """Seeds as points, their mean as a line, one standard deviation as a band; dense dashed."""
    lines = points[points.arm.isin(arms)]
    if len(lines):
        seaborn.lineplot(
            lines,
            x="sparsity",
            y="value",
            hue="arm",
            style="arm",
            hue_order=arms,
            style_order=arms,
            palette=_ARM_COLOURS,
            markers=_MARKERS,
            dashes=False,
            errorbar="sd",
            legend=False,
            ax=panel,
        )
    scratch = points[points.arm == "from_scratch"].value
    if len(scratch):
        panel.axhline(scratch.mean(), color=_ARM_COLOURS["from_scratch"], linestyle=":", lw=1.5)
    for arm in arms:
        of_arm = points[points.arm == arm]
        if of_arm.seed.nunique() > 1:
            panel.scatter(
                of_arm.sparsity,
                of_arm.value,
                s=16,
                color=_ARM_COLOURS[arm],
                marker=_MARKERS[arm],
                alpha=0.5,
                lw=0,
            )
    dense = points[(points.arm == "prune_pretrain") & (points.sparsity == 0)].value
    if len(dense):
        panel.axhline(dense.mean(), color=_INK, linestyle="--", lw=1)
    panel.set_xlabel("sparsity")
    panel.set_ylabel("")
    panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def _losses(panel: Axes, rows: Rows) -> None:
    rates = sorted(rows.learning_rate.unique())
    for rate, colour in zip(rates, _cycle(len(rates)), strict=True):
        of_rate = rows[rows.learning_rate == rate]
        label = f" at {rate:g}" if len(rates) > 1 else ""
        running = of_rate[of_rate.metric == "running_loss"]
        panel.plot(
            running.step, running.value, color=colour, lw=1, alpha=0.6, label=f"train{label}"
        )
        dev = of_rate[(of_rate.metric == "loss") & (of_rate.split == "dev")]
        panel.plot(dev.step, dev.value, color=colour, marker="o", ms=5, lw=1.8, label=f"dev{label}")


def _accuracies(panel: Axes, rows: Rows) -> None:
    dev = rows[(rows.split == "dev") & rows.metric.str.contains("accuracy")]
    curves = list(dev.groupby(["metric", "learning_rate"]))
    names = {"masked_accuracy": "masked words", "next_sentence_accuracy": "next sentence"}
    for ((metric, rate), curve), colour, marker in zip(
        curves, _cycle(len(curves)), "osD^vP*X" * len(curves), strict=False
    ):
        label = names.get(str(metric), f"at {rate:g}" if len(curves) > 1 else None)
        panel.plot(curve.step, curve.value, color=colour, marker=marker, ms=5, lw=1.8, label=label)


@contextmanager
def _panels(
    count: int, maker: str, columns: int, layout: Literal["constrained"] | None = "constrained"
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of `count` panels in one style, with the line that says who made it."""
    lines = -(-count // columns)
    width, height = _PANEL_INCHES
    note = "\n".join(textwrap.wrap(maker, 50 * columns))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width * columns, height * lines + 0.6), layout=layout)
        grid = figure.subplots(lines, columns, squeeze=False).flatten()
        for empty in grid[count:]:
            empty.remove()
        figure.supxlabel(note, fontsize=9, color=_QUIET, x=0.01, ha="left")
        yield figure, list(grid[:count])


def _svg(figure: Figure) -> str:
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def _widest_px(svg: str) -> int:
    """How wide a picture is shown at most, so that a single panel does not fill the page."""
    size = re.search(r'<svg [^>]*?width="([\d.]+)pt"', svg)
    return round(1.8 * float(size[1])) if size else 1000


def _data_uri(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _task_name(task: str) -> str:
    return "pre-training" if task == PRETRAINING else task


def _arm_handle(arm: str) -> Line2D:
    return Line2D([], [], color=_ARM_COLOURS[arm], marker=_MARKERS[arm], label=ARM_NAMES[arm])


def _arm_line(arm: str) -> Line2D:
    return Line2D([], [], color=_ARM_COLOURS[arm], linestyle=":", label=ARM_NAMES[arm])


def _cycle(count: int) -> list[str]:
    return [_COLOURS[place % len(_COLOURS)] for place in range(count)]


def _span(points: pd.DataFrame) -> str:
    """A curve in words, for those who do not see it."""
    means = points.groupby("sparsity").accuracy.mean()
    first, last = means.index[0], means.index[-1]
    start = f"{100 * means.iloc[0]:.1f} % at {percent(float(first))} sparsity"
    if len(means) == 1:
        return start
    return f"{start}, {100 * means.iloc[-1]:.1f} % at {percent(float(last))}"


def _curve_in_words(rows: Rows, task: str) -> str:
    dev = rows[(rows.task == task) & (rows.split == "dev") & (rows.metric == "loss")]
    dev = dev.sort_values("step")
    return (
        f"{_task_name(task)} dev loss from {dev.value.iloc[0]:.3f} at step {dev.step.iloc[0]} "
        f"to {dev.value.iloc[-1]:.3f} at step {dev.step.iloc[-1]}"
    )
