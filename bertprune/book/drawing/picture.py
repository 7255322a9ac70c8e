"""The picture that a page shows: panels with one look, words for it, its data and downloads."""

from __future__ import annotations

import base64
import html
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from PIL import Image

from bertprune.book.drawing.numbers import tables
from bertprune.book.drawing.panel import Panel
from bertprune.book.drawing.style import (
    LEGEND_ENTRY_INCHES,
    NARROW_INCHES,
    NARROW_SCREEN_PX,
    PNG_DPI,
    QUIET,
    RC_PARAMETERS,
    SMALLEST_POINTS,
    WIDE_INCHES,
)
from bertprune.protocol.notebook_parameters import BurnIn, PrunePretrain
from bertprune.protocol.rows import COLUMNS

_PLACES = ("machine", "case", "size", "device", "side", *COLUMNS)
_VALUES = ("loss", "bits", "value", "std", "low", "high", "margin", "repeats", "threads", "own")
_TIDY = ("panel", "source", *(name for name in _PLACES if name != "value"), *_VALUES)
"""What readers can take along of points, in this order."""


def made_by(maker: str, parameters: BurnIn) -> str:
    """The line under a figure that says which study or run made it, at what scale."""
    p = parameters
    steps = [p.burn_in_steps, *([p.pretrain_steps] if isinstance(p, PrunePretrain) else [])]
    if p.model:
        # It has taken steps of its own, of which the parameters say nothing.
        trained = f"the pre-trained BERT {Path(p.model).name}, {sum(steps):,} more steps"
    else:
        shown = " + ".join(f"{number:,}" for number in steps)
        trained = f"a fresh BERT of {p.layers} × {p.hidden_size}, {shown} steps"
    text = ", ".join(Path(source).name for source in p.text)
    return (
        f"Made by {maker}: {trained} of pre-training, batches of {p.pretrain_batch_size}, "
        f"on the text “{text}”"
    )


@dataclass(frozen=True)
class Sketch:
    """A figure before it is drawn: whoever draws it says who made it."""

    name: str
    panels: Sequence[Panel]
    alt: str
    """What it shows, in a sentence or two; its numbers are in tables of their own."""
    caption: str
    handles: Sequence[Artist] = ()
    """Entries of a legend above all panels."""
    columns: int = 3
    """At most so many panels side by side."""
    height_inches: float = 2.6
    """Of a panel."""
    is_quick: bool = False
    """Laid out by hand, without legend and PNG, which takes half the time."""
    own_point: str = "finetune"
    """What adds a point of the reader's own, see `figures.own_point`; empty where none is seen."""

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

    @property
    def numbers(self) -> dict[str, pd.DataFrame]:
        """The means that it shows, a table by title for each panel."""
        return {title: table for panel in self.panels for title, table in tables(panel)}

    def drawn(self, maker: str, command: Callable[[str], str] | None = None) -> Picture:
        """Draw the panels, side by side for a wide page and below each other for a narrow one.

        `command` gives, for `own_point`, what adds a point of the reader's own.
        """
        columns = min(self.columns, len(self.panels))
        png = b""
        with mpl.rc_context(RC_PARAMETERS):
            wide = self._figure(columns, WIDE_INCHES, maker)
            svgs = [
                # The resolution is that of what is drawn in pixels.
                _lighter(_saved(one, format="svg", dpi=PNG_DPI, metadata=_NO_METADATA).decode())
                for one in (wide, self._figure(1, NARROW_INCHES, maker))
            ]
            if not self.is_quick:
                # It is laid out already, which takes as long as to draw it.
                wide.set_layout_engine("none")
                png = _paletted(_saved(wide, format="png", dpi=PNG_DPI, facecolor="white"))
        own = command(self.own_point) if command and self.own_point else ""
        return Picture(self, maker, own, svgs[0], svgs[1], png)

    def _figure(self, columns: int, width: float, maker: str) -> Figure:
        """The panels in one style, with the line that says who made it."""
        lines = -(-len(self.panels) // columns)
        in_a_line = max(1, int(width / LEGEND_ENTRY_INCHES))
        wrapper = textwrap.TextWrapper(round(13 * width), break_on_hyphens=False)
        note = [line for one in maker.splitlines() for line in wrapper.wrap(one)]
        more = 0.22 * -(-len(self.handles) // in_a_line) + 0.16 * len(note)
        figure = Figure(
            figsize=(width, self.height_inches * lines + more + 0.2),
            layout=None if self.is_quick else "constrained",
        )
        grid = figure.subplots(lines, columns, squeeze=False).flatten()
        for empty in grid[len(self.panels) :]:
            empty.remove()
        if self.is_quick:
            _place_by_hand(figure, lines, columns, 0.16 * len(note))
        if self.handles:
            figure.legend(handles=self.handles, loc="outside upper left", ncols=in_a_line)
        figure.supxlabel("\n".join(note), fontsize=SMALLEST_POINTS, color=QUIET, x=0.01, ha="left")
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
    own_command: str
    """The commands that add a point of the reader's own; empty for a figure that has none."""
    svg: str = field(repr=False)
    narrow_svg: str = field(repr=False)
    png: bytes = field(repr=False)
    """Nothing for what `is_quick`."""

    @property
    def csv(self) -> str:
        """The data, with six digits: more than an eye sees."""
        return self.sketch.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")

    def _repr_html_(self) -> str:
        """All in one, as a notebook needs it; the book makes files of what is embedded."""
        svg = _data_uri(self.svg.encode(), "image/svg+xml")
        narrow = _data_uri(self.narrow_svg.encode(), "image/svg+xml")
        return (
            '<figure class="drawn"><picture>'
            f'<source media="(max-width: {NARROW_SCREEN_PX}px)" srcset="{narrow}" '
            f'{_room(self.narrow_svg)}/><img src="{svg}" alt="{html.escape(self.sketch.alt)}" '
            f'{_room(self.svg)} loading="lazy" style="width: 100%; height: auto"/>'
            f"</picture><figcaption>{html.escape(self.sketch.caption)}</figcaption>"
            f"{self._own_point()}<p>{self._links(svg)}</p>{self._numbers()}</figure>"
        )

    def _own_point(self) -> str:
        if not self.own_command:
            return ""
        code = html.escape(self.own_command)
        return f'<p>A point of your own:</p><div class="highlight"><pre>{code}</pre></div>'

    def _links(self, svg: str) -> str:
        """All that one can take along."""
        files = {"csv": _data_uri(self.csv.encode(), "text/csv"), "svg": svg}
        if self.png:
            files["png"] = _data_uri(self.png, "image/png")
        name = html.escape(self.sketch.name)
        return "To download: " + ", ".join(
            f'<a download="{name}.{kind}" href="{uri}">{name}.{kind}</a>'
            for kind, uri in files.items()
        )

    def _numbers(self) -> str:
        shown = "".join(
            table.to_html(border=0).replace(
                "<thead>", f"<caption>{html.escape(title)}</caption><thead>"
            )
            for title, table in self.sketch.numbers.items()
        )
        said = f"Numbers of {html.escape(self.sketch.name)}"
        makers = html.escape(self.maker).replace("\n", "<br/>")
        return f"<details><summary>{said}</summary><p>{makers}</p>{shown}</details>"


def _place_by_hand(figure: Figure, lines: int, columns: int, note_inches: float) -> None:
    """Panels of one kind need no layout engine, which takes half the time of drawing them."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.6 / width,
        right=1 - 0.1 / width,
        top=1 - 0.3 / height,
        bottom=(0.55 + note_inches) / height,
        wspace=0.65 / (width / columns - 0.65),
        hspace=0.75 / (height / lines - 0.75),
    )


def _saved(figure: Figure, **how: Any) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, **how)
    return drawn.getvalue()


_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def _lighter(svg: str) -> str:
    """The same drawing in about half the letters: with a tenth of a point, which no eye tells from
    a millionth, names and groups only where something refers to them, and each style once."""
    svg = re.sub(r'"[^"<>]*"', lambda value: _MORE_DIGITS.sub(r"\1", value[0]), svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    referred = set(re.findall(r"#(\w+)", svg))
    svg = re.sub(r' id="([\w.]+)"', lambda name: name[0] if name[1] in referred else "", svg)
    # The innermost first.
    while len(fewer := _GROUP_OF_NOTHING.sub(r"\1", svg)) < len(svg):
        svg = fewer
    svg = re.sub(r"\n +", "\n", svg)
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: _AROUND_LETTERS.sub(r"\1", path[0]), svg)
    classes: dict[str, str] = {}

    def classed(style: re.Match[str]) -> str:
        return f'class="{classes.setdefault(style[1], f"s{len(classes)}")}"'

    svg = re.sub(r'style="([^"]*)"', classed, svg)
    rules = "".join(f".{name} {{{style}}}" for style, name in classes.items())
    return svg.replace("</style>", f"{rules}</style>", 1)


_MORE_DIGITS = re.compile(r"(\d\d\.\d|\d\.\d\d)\d+")
_GROUP_OF_NOTHING = re.compile(r"<g>\s*([^<]*(?:<(?!/?g[ >])[^<]*)*)</g>\s*")
_AROUND_LETTERS = re.compile(r"\s*([A-Za-z])\s*")


def _paletted(png: bytes) -> bytes:
    """With the 128 colours that come nearest: more than a figure is drawn in, but for edges."""
    smaller = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(128).save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


def _room(svg: str) -> str:
    """Attributes that keep the room of a picture free until it is loaded."""
    root = ElementTree.fromstring(svg)
    width, height = (root.get(side, "").removesuffix("pt") for side in ("width", "height"))
    return f'width="{float(width):.0f}" height="{float(height):.0f}"'


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
