"""A panel of a figure: what it shows, on which axes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis as PlotAxis
from matplotlib.ticker import MaxNLocator

from bertprune.base.errors import UserError
from bertprune.base.words import SPACE
from bertprune.book.drawing.style import SMALLEST_POINTS, TITLE_LETTERS


def _in_percent(share: float) -> str:
    return f"{100 * share:.6g} %".replace("-", "\N{MINUS SIGN}")


def needed(points: pd.DataFrame, what: str, runs: str) -> pd.DataFrame:
    """`points`, if there are any.

    Raises UserError that says `what` is missing and which `runs` would give it.
    """
    if points.empty:
        raise UserError(
            f"there is no figure of {what}, since the rows have none: "
            f"they come from {runs}, which this study does not have or has not executed yet"
        )
    return points


@dataclass(frozen=True)
class Axis:
    """What an axis of a panel shows, where that is more than its points ask for."""

    label: str = ""
    is_share: bool = False
    """Whether it is in per cent."""
    low: float | None = None
    high: float | None = None
    ticks: int = 0
    """At most so many, at whole numbers where there are any; 0 for as many as there is room."""

    def in_words(self, value: float) -> str:
        """A value on this axis, as a table has it."""
        shown = f"{100 * value:.1f} %" if self.is_share else f"{round(value, 9):.4g}"
        return shown.replace("-", "\N{MINUS SIGN}")

    def show(self, axis: PlotAxis) -> None:
        """Show it as the x or the y axis of a panel that is drawn."""
        axis.set_label_text(self.label)
        if self.is_share:
            axis.set_major_formatter(lambda share, _: _in_percent(share))
        if self.ticks:
            axis.set_major_locator(MaxNLocator(self.ticks, integer=True))


SPARSITY = Axis("sparsity", is_share=True)
SHARE = Axis(is_share=True)
FROM_ZERO = Axis(low=0)
SHARE_FROM_ZERO = Axis(is_share=True, low=0)


@dataclass(frozen=True)
class Panel:
    """What one panel of a figure shows; `Sketch` gives it its title, axes and legend."""

    title: str
    points: pd.DataFrame
    """What is drawn, a line each, in the column `value`."""
    draw: Callable[[Axes, Panel], None]
    x: Axis = SPARSITY
    y: Axis = Axis()
    paper: pd.DataFrame | None = None
    """The paper's points beside them."""
    source: str = "study"
    """Whose `points` are."""
    along: str = "sparsity"
    """The column of `points` that a curve goes along."""
    ends: bool = False
    """Whether its table of numbers has the least and the most of a curve at a place too."""

    def fill(self, axes: Axes) -> None:
        """Draw it, with a legend of its own for what has a label."""
        self.draw(axes, self)
        inches = axes.get_position().width * axes.figure.get_figure(root=True).get_figwidth()
        # A size is not torn apart.
        title = re.sub(r"(?<=\d) (?=layers)| (?=×)|(?<=×) ", SPACE, self.title)
        letters = round(TITLE_LETTERS * inches)
        axes.set_title(textwrap.fill(title, letters, break_on_hyphens=False), loc="left")
        self.x.show(axes.xaxis)
        self.y.show(axes.yaxis)
        # A limit that is given would hold the other one where it is.
        for limit, of in ((axes.set_xlim, self.x), (axes.set_ylim, self.y)):
            if (of.low, of.high) != (None, None):
                limit(of.low, of.high)
        if axes.get_legend() is None and axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=SMALLEST_POINTS)
