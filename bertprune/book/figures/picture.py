"""The picture that a page shows: panels with one look, words for it, its data and downloads."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis as PlotAxis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bertprune.base.errors import UserError
from bertprune.book.figures.style import (
    LEGEND_ENTRY_INCHES,
    PANEL_INCHES,
    PNG_DPI,
    QUIET,
    RC_PARAMETERS,
    SMALL_PANEL_INCHES,
    TITLE_LETTERS,
)
from bertprune.protocol.notebook_parameters import BurnIn, PrunePretrain
from bertprune.protocol.rows import COLUMNS


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

    def fill(self, axes: Axes) -> None:
        """Draw it, with a legend of its own for what has a label."""
        self.draw(axes, self)
        axes.set_title(textwrap.fill(self.title, TITLE_LETTERS), loc="left")
        self.x.show(axes.xaxis)
        self.y.show(axes.yaxis)
        # A limit that is given would hold the other one where it is.
        for limit, of in ((axes.set_xlim, self.x), (axes.set_ylim, self.y)):
            if (of.low, of.high) != (None, None):
                limit(of.low, of.high)
        if axes.get_legend() is None and axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=9)


_PLACES = ("machine", "case", "size", "device", "side", *COLUMNS)
_VALUES = ("loss", "bits", "value", "std", "low", "high", "repeats", "threads", "own")
_TIDY = ("panel", "source", *(name for name in _PLACES if name != "value"), *_VALUES)
"""What readers can take along of points, in this order."""


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


@dataclass(frozen=True)
class Sketch:
    """A figure before it is drawn: whoever draws it says who made it."""

    name: str
    panels: Sequence[Panel]
    alt: str
    caption: str
    handles: Sequence[Artist] = ()
    """Entries of a legend above all panels."""
    columns: int = 3
    """At most so many panels side by side."""
    panel_inches: tuple[float, float] | None = None
    is_quick: bool = False
    """Laid out by hand, without legend and PNG, which takes half the time."""

    @property
    def data(self) -> pd.DataFrame:
        """All points below each other; columns that nothing has are left out."""
        found = [
            points.assign(panel=panel.title, source=source)
            for panel in self.panels
            for source, points in ((panel.source, panel.points), ("paper", panel.paper))
            if points is not None and not points.empty
        ]
        table = pd.concat([one.dropna(axis=1, how="all") for one in found], ignore_index=True)
        if "own" in table and not table.own.any():
            table = table.drop(columns="own")
        return table[[name for name in _TIDY if name in table and not (table[name] == "").all()]]

    def drawn(self, maker: str, again: str = "") -> Picture:
        """Draw the panels, side by side where the page is wide and below each other where not.

        Where three are side by side they are smaller, for the sake of their words.
        """
        columns = min(self.columns, len(self.panels))
        wide = self.panel_inches or (SMALL_PANEL_INCHES if columns > 2 else PANEL_INCHES)
        svgs: list[str] = []
        png = b""
        with mpl.rc_context(RC_PARAMETERS):
            for count, size in ((columns, wide), (1, (PANEL_INCHES[0], wide[1]))):
                figure = self._figure(count, size, maker)
                if not svgs and not self.is_quick:
                    png = _saved(figure, format="png", dpi=PNG_DPI)
                # The resolution is that of what is drawn in pixels, heat maps.
                svg = _saved(figure, format="svg", dpi=PNG_DPI, metadata={"Date": None})
                svgs.append(svg.decode())
        # One and a half pixels a point of print.
        width_px = round(1.5 * 72 * columns * wide[0])
        return Picture(self, maker, again, svgs[0], svgs[1], width_px, png)

    def _figure(self, columns: int, panel_inches: tuple[float, float], maker: str) -> Figure:
        """The panels in one style, with the line that says who made it."""
        lines = -(-len(self.panels) // columns)
        width, height = panel_inches
        in_a_line = max(1, int(width * columns / LEGEND_ENTRY_INCHES))
        legend_inches = 0.22 * -(-len(self.handles) // in_a_line)
        figure = Figure(
            figsize=(width * columns, height * lines + legend_inches + 0.5),
            layout=None if self.is_quick else "constrained",
        )
        grid = figure.subplots(lines, columns, squeeze=False).flatten()
        for empty in grid[len(self.panels) :]:
            empty.remove()
        if self.is_quick:
            _place_by_hand(figure, lines, columns)
        if self.handles:
            figure.legend(
                handles=self.handles, loc="outside upper left", ncols=in_a_line, fontsize=10
            )
        note = "\n".join(textwrap.wrap(maker, round(12.5 * width * columns)))
        figure.supxlabel(note, fontsize=9, color=QUIET, x=0.01, ha="left")
        for panel, axes in zip(self.panels, grid, strict=False):
            panel.fill(axes)
        return figure


@dataclass(frozen=True)
class Picture:
    """A drawn figure with its text alternative and its data; a notebook's last line shows it.

    Drawn twice, so that a narrow screen has its panels below each other.
    """

    sketch: Sketch = field(compare=False, repr=False)
    maker: str
    again: str
    """The command that makes the page of a study once more; empty for others."""
    svg: str = field(repr=False)
    narrow_svg: str = field(repr=False)
    width_px: int
    """How wide it is shown at most, so that a single panel does not fill the page."""
    png: bytes = field(repr=False)
    """Nothing for what `is_quick`."""

    @property
    def alt(self) -> str:
        """What it says to those who do not see it."""
        return f"{self.sketch.alt} {self.maker}."

    @property
    def csv(self) -> str:
        """The data, with six digits: more than an eye sees."""
        return self.sketch.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")

    def _repr_html_(self) -> str:
        svg = _data_uri(self.svg.encode(), "image/svg+xml")
        narrow = _data_uri(self.narrow_svg.encode(), "image/svg+xml")
        return (
            '<figure style="margin: 1em 0"><picture>'
            f'<source media="(max-width: 640px)" srcset="{narrow}">'
            f'<img src="{svg}" alt="{html.escape(self.alt)}" style="width: 100%; '
            f'max-width: {self.width_px}px; background: white; border-radius: 4px">'
            f"</picture><figcaption>{html.escape(self.sketch.caption)}"
            f'<small style="display: block; margin-top: 0.3em">{self._links(svg)}</small>'
            "</figcaption></figure>"
        )

    def _links(self, svg: str) -> str:
        """All that one can take along, inside the page itself, and where the picture is from."""
        csv = _data_uri(self.csv.encode(), "text/csv")
        links = [f"Data: {self._download('CSV', 'csv', csv)}"]
        # A run's page has the picture as it is: once more would double it.
        if self.png:
            png = self._download("PNG", "png", _data_uri(self.png, "image/png"))
            links.append(f"Picture: {self._download('SVG', 'svg', svg)}, {png}")
        if self.again:
            links.append('Runs: <a href="records.html">records</a>')
            links.append(f"Again: <code>{html.escape(self.again)}</code>")
        return " · ".join(links)

    def _download(self, words: str, ending: str, uri: str) -> str:
        return f'<a download="{html.escape(self.sketch.name)}.{ending}" href="{uri}">{words}</a>'


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


def _saved(figure: Figure, **how: Any) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, **how)
    return drawn.getvalue()


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
