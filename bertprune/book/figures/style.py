"""What all figures share: their look, how seeds are drawn, and the picture that a page shows."""

from __future__ import annotations

import base64
import html
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bertprune.base.errors import UserError
from bertprune.base.words import percent
from bertprune.data.glue import PAPER_TASKS
from bertprune.protocol.arms import ARMS, COMPARED, FROM_SCRATCH, Look, words_of_arm
from bertprune.protocol.notebook_parameters import BurnIn, PrunePretrain

INK = "#222222"
QUIET = "#666666"

# Told apart by the colour-blind too: seaborn's palette "colorblind", in an order of our own.
PALETTE = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#d55e00",
    "#cc78bc",
    "#ca9161",
    "#949494",
    "#56b4e9",
)
_MARKERS = "osD^vP*X"

_STYLE: Any = {
    # White paper under dark ink reads on a light page and on a dark one.
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "xtick.color": INK,
    "ytick.color": INK,
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
_SMALL_PANEL_INCHES = (3.5, 2.9)
_LEGEND_ENTRY_INCHES = 2.6
_PNG_DPI = 120

Paint = Callable[[Figure, list[Axes]], None]
"""Fills the panels of a figure; called once for wide and once for narrow pages."""


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each of `names`, in order; after eight of them they begin again."""
    return {
        name: Look(PALETTE[place % len(PALETTE)], _MARKERS[place % len(_MARKERS)])
        for place, name in enumerate(names)
    }


def task_looks(tasks: Iterable[str]) -> dict[str, Look]:
    """Looks of `tasks`, the paper's first in its order: a task looks the same in every figure."""
    given = set(tasks)
    known = looks([*PAPER_TASKS, *sorted(given.difference(PAPER_TASKS))])
    return {task: look for task, look in known.items() if task in given}


@dataclass(frozen=True)
class Picture:
    """A drawn figure with its text alternative and its data; a notebook's last line shows it.

    Drawn twice, so that a narrow screen has its panels below each other.
    """

    svg: str = field(repr=False)
    narrow_svg: str = field(repr=False)
    alt: str
    caption: str
    name: str
    """What downloads are called, less the ending."""
    data: pd.DataFrame = field(compare=False, repr=False)
    """What is drawn, a line each."""
    png: bytes = field(default=b"", repr=False)
    again: str = ""
    """The command that makes the page of a study once more; empty for others."""

    @property
    def csv(self) -> str:
        """The data, with six digits: more than an eye sees."""
        return self.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")

    def _repr_html_(self) -> str:
        svg = _data_uri(self.svg.encode(), "image/svg+xml")
        narrow = _data_uri(self.narrow_svg.encode(), "image/svg+xml")
        return (
            '<figure style="margin: 1em 0"><picture>'
            f'<source media="(max-width: 640px)" srcset="{narrow}">'
            f'<img src="{svg}" alt="{html.escape(self.alt)}" style="width: 100%; '
            f'max-width: {_widest_px(self.svg)}px; background: white; border-radius: 4px">'
            f"</picture><figcaption>{html.escape(self.caption)}"
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
        return f'<a download="{html.escape(self.name)}.{ending}" href="{uri}">{words}</a>'


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


def picture(
    paint: Paint,
    *,
    name: str,
    panels: int,
    columns: int,
    maker: str,
    alt: str,
    caption: str,
    data: pd.DataFrame,
    handles: Sequence[Artist] = (),
    again: str = "",
    panel_inches: tuple[float, float] | None = None,
    is_quick: bool = False,
) -> Picture:
    """Draw `panels` panels, in `columns` columns where the page is wide and in one where not.

    Where three are side by side they are smaller, for the sake of their words.

    `handles` are the entries of a legend above all panels. A figure that `is_quick` has none, is
    laid out by hand and comes without PNG, which takes half the time.
    """
    wide = panel_inches or (_SMALL_PANEL_INCHES if columns > 2 else _PANEL_INCHES)
    with mpl.rc_context(_STYLE):
        svgs: list[bytes] = []
        png = b""
        for count, size in ((columns, wide), (1, (_PANEL_INCHES[0], wide[1]))):
            figure, axes = _panels(panels, count, size, maker, handles, is_quick=is_quick)
            paint(figure, axes)
            if not svgs and not is_quick:
                png = _saved(figure, format="png", dpi=_PNG_DPI)
            # The resolution is that of what is drawn in pixels, heat maps.
            svgs.append(_saved(figure, format="svg", dpi=_PNG_DPI, metadata={"Date": None}))
    return Picture(
        svg=svgs[0].decode(),
        narrow_svg=svgs[1].decode(),
        alt=f"{alt} {maker}.",
        caption=caption,
        name=name,
        data=data,
        png=png,
        again=again,
    )


def _panels(
    count: int,
    columns: int,
    panel_inches: tuple[float, float],
    maker: str,
    handles: Sequence[Artist],
    *,
    is_quick: bool,
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in one style, with the line that says who made it."""
    lines = -(-count // columns)
    width, height = panel_inches
    in_a_line = max(1, int(width * columns / _LEGEND_ENTRY_INCHES))
    legend_inches = 0.22 * -(-len(handles) // in_a_line)
    figure = Figure(
        figsize=(width * columns, height * lines + legend_inches + 0.5),
        layout=None if is_quick else "constrained",
    )
    grid = figure.subplots(lines, columns, squeeze=False).flatten()
    for empty in grid[count:]:
        empty.remove()
    if is_quick:
        _place_by_hand(figure, lines, columns)
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=in_a_line, fontsize=10)
    note = "\n".join(textwrap.wrap(maker, round(12.5 * width * columns)))
    figure.supxlabel(note, fontsize=9, color=QUIET, x=0.01, ha="left")
    return figure, list(grid[:count])


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


def _widest_px(svg: str) -> int:
    """How wide a picture is shown at most, so that a single panel does not fill the page."""
    size = re.search(r'<svg [^>]*?width="([\d.]+)pt"', svg)
    return round(1.5 * float(size[1])) if size else 1000


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


# What panels are made of.


def curve(
    panel: Axes,
    points: pd.DataFrame,
    look: Look,
    *,
    x: str = "sparsity",
    linestyle: str = "-",
    label: str | None = None,
    has_band: bool = True,
) -> None:
    """Seeds of `points` as points, their means as a line, ± one standard deviation as a band.

    `points` have the columns `x`, seed and value. Where there is one seed, it is the line.
    """
    if points.empty:
        return
    # Here, since it takes a second, and the pages of runs have no such curves.
    import seaborn

    colour, marker = look
    several = points.groupby(x).seed.nunique().max() > 1
    seaborn.lineplot(
        points,
        x=x,
        y="value",
        errorbar="sd" if several and has_band else None,
        err_kws={"alpha": 0.15, "lw": 0},
        color=colour,
        marker=marker,
        markersize=5.5,
        lw=1.8,
        linestyle=linestyle,
        label=label,
        legend=False,
        ax=panel,
    )
    panel.set(xlabel="", ylabel="")
    if several:
        panel.scatter(points[x], points.value, s=14, color=colour, marker=marker, alpha=0.5, lw=0)
    if "own" in points:
        own = points[points.own.astype(bool)]
        panel.scatter(own[x], own.value, s=90, facecolors="none", edgecolors=INK, lw=1.2, zorder=3)


def thin_curve(
    panel: Axes, points: pd.DataFrame, look: Look, *, x: str = "sparsity", linestyle: str = "-"
) -> None:
    """The paper's means, thin behind ours."""
    mean = points.groupby(x).value.mean()
    colour, marker = look
    panel.plot(
        mean.index,
        mean,
        color=colour,
        marker=marker,
        ms=2.5,
        lw=0.9,
        ls=linestyle,
        alpha=0.6,
        zorder=1.5,
    )


def dashed(panel: Axes, value: float, label: str | None = None) -> None:
    """The level of the dense model."""
    panel.axhline(value, color=INK, linestyle="--", lw=1, label=label)


def shaded_ramp(panel: Axes, steps: int, label: str | None = None) -> None:
    """The steps of the pruning ramp."""
    if steps:
        panel.axvspan(0, steps, color="#eeeeee", zorder=0, label=label)


def line_handle(label: str, colour: str = INK, linestyle: str = "-", width: float = 1.0) -> Line2D:
    return Line2D([], [], color=colour, ls=linestyle, lw=width, label=label)


def handle(look: Look, label: str, linestyle: str = "-") -> Line2D:
    return Line2D([], [], color=look.colour, marker=look.marker, ls=linestyle, label=label)


def arm_handle(arm: str) -> Line2D:
    """An arm's entry in a legend; models that were never pre-trained are a dotted level."""
    if arm == FROM_SCRATCH:
        return line_handle(ARMS[arm].words, ARMS[arm].look.colour, ":", 2.2)
    return handle(ARMS[arm].look, ARMS[arm].words)


def dense_handle() -> Line2D:
    return line_handle("dense", linestyle="--")


def own_handle() -> Line2D:
    words = "ringed: added by the reader"
    return Line2D([], [], ls="", marker="o", ms=9, mfc="none", mec=INK, mew=1.2, label=words)


def paper_handle() -> Line2D:
    return Line2D([], [], color=QUIET, lw=0.9, marker=".", ms=4, alpha=0.8, label="thin: the paper")


def in_percent(axis: Axis) -> None:
    axis.set_major_formatter(lambda share, _: f"{_with_minus(f'{100 * share:.6g}')} %")


def signed(value: float) -> str:
    """With one digit, and a sign whatever it is."""
    return _with_minus(f"{value:+.1f}")


def _with_minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def title(panel: Axes, words: str) -> None:
    panel.set_title(words, loc="left")


# What figures are made of, besides panels.


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


_TIDY = (
    "panel",
    "source",
    "arm",
    "task",
    "sparsity",
    "learning_rate",
    "seed",
    "epoch",
    "step",
    "split",
    "metric",
    "part",
    "position",
    "loss",
    "bits",
    "value",
    "std",
    "own",
)

Drawn = tuple[str, str, pd.DataFrame]
"""A panel's title, whose points these are ("study" or "paper"), and the points."""


def tidy(drawn: Iterable[Drawn]) -> pd.DataFrame:
    """All points of a figure below each other; columns that nothing has are left out."""
    found = [
        points.assign(panel=panel, source=source)
        for panel, source, points in drawn
        if not points.empty
    ]
    table = pd.concat([one.dropna(axis=1, how="all") for one in found], ignore_index=True)
    if "own" in table and not table.own.any():
        table = table.drop(columns="own")
    return table[[name for name in _TIDY if name in table and not (table[name] == "").all()]]


def in_words(points: pd.DataFrame, show: Callable[[float], str], x: str = "sparsity") -> str:
    """Means of a curve in words, for those who do not see it: `90.1 % at 50 %, ...`."""
    means = points.groupby(x).value.mean()
    place = percent if x == "sparsity" else "{:g}".format
    return ", ".join(f"{show(mean)} at {place(float(str(at)))}" for at, mean in means.items())


def seeds_in_words(
    drawn: Iterable[pd.DataFrame],
    by: str = "arm",
    *,
    x: str = "sparsity",
    lead: str = "Points are {seeds}, lines their means",
    spread: str = "bands",
) -> str:
    """What points, lines and their `spread` (none if empty) are, a sentence of a caption, by how
    many seeds the curves have: the values of the column `by` in each of the frames `drawn`, at each
    place of the column `x`. In `lead`, "{seeds}" stands for the seeds. Empty without points.
    """
    counts: dict[str, set[int]] = {}
    for points in drawn:
        for (name, _), of_point in points.groupby([by, x], sort=False):
            counts.setdefault(str(name), set()).add(of_point.seed.nunique())
    found = set[int]().union(*counts.values())
    if not found:
        return ""
    if max(found) == 1:
        return f"All is of one seed{f', so there are no {spread}' if spread else ''}."
    deviation = f", {spread} ± one standard deviation" if spread else ""
    if len(found) == 1:
        return f"{lead.format(seeds=f'the {max(found)} seeds')}{deviation}."
    by_name = ", ".join(
        f"{(words_of_arm(name) or name)} {_from_to(counts[name])}"
        for name in dict.fromkeys([*COMPARED, *counts])
        if name in counts
    )
    several = " where there are several" if spread else ""
    return f"{lead.format(seeds='seeds')}{deviation}{several}; seeds: {by_name}."


def _from_to(counts: set[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least}" if least == most else f"{least} to {most}"


def first_number(part: str) -> int:
    """The first number in the name of a part of the model, to sort by; -1 where there is none."""
    found = re.search(r"\d+", part)
    return int(found[0]) if found else -1


def shown_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def words_of(curves: Mapping[str, str]) -> str:
    """Several curves in words; those without points are left out."""
    return "; ".join(f"{name}: {said}" for name, said in curves.items() if said)
