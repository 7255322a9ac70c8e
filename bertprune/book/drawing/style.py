"""What all figures share: their look, how the seeds of a curve are drawn, and curves in words."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from bertprune.base.words import percent
from bertprune.data.glue import PAPER_TASKS, RELEASED
from bertprune.protocol.arms import ARMS, COMPARED, FROM_SCRATCH, Look, words_of_arm

INK = "#222222"
QUIET = "#595959"

WIDE_INCHES, NARROW_INCHES = 7.1, 3.2
"""Widths of a figure for a wide page and for a narrow one, such that it is shown about as wide: at
96 pixels an inch, 9 points are 12 pixels."""
NARROW_SCREEN_PX = 740
"""Screens up to this width show the narrow figure."""
SMALLEST_POINTS = 9
MOST_LUMINANCE_OF_WORDS = 0.17
TITLE_LETTERS = 12
"""An inch, of the title of a panel."""
LEGEND_ENTRY_INCHES = 2.3
PNG_DPI = 160
OWN_SCALES = " Panels have scales of their own."
"""For the end of a caption."""

RC_PARAMETERS: Any = {
    # The page is the paper: the dark theme turns the colours round (see book.css).
    "figure.facecolor": "none",
    "axes.facecolor": "none",
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
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.size": SMALLEST_POINTS,
    "legend.fontsize": SMALLEST_POINTS,
    "axes.labelsize": SMALLEST_POINTS,
    "legend.edgecolor": "none",
    "legend.facecolor": "none",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    # Words as words, not as shapes: a third of the size.
    "svg.fonttype": "none",
    # The same bytes for the same rows.
    "svg.hashsalt": "bertprune",
}

# Told apart by the colour-blind too: seaborn's palette "colorblind", its light colours darkened to
# a contrast of 3 to 1 with white.
PALETTE = (
    "#0173b2",
    "#b07d00",
    "#029e73",
    "#d55e00",
    "#c566b3",
    "#8a5a2b",
    "#808080",
    "#6f4fbf",
)
_MARKERS = "osD^vP*X"
_OF_PAPER = Look("#808080", ".")


def looks(things: Iterable[Any]) -> dict[Any, Look]:
    """A look for each of `things`, in order; after eight of them they begin again."""
    cycled = zip(things, cycle(PALETTE), cycle(_MARKERS), strict=False)
    return {thing: Look(colour, marker) for thing, colour, marker in cycled}


def shades(sparsities: Sequence[float], *, markers: str = _MARKERS) -> dict[float, Look]:
    """A look for each of `sparsities`: darker for more."""
    # The lighter colours of this map are too pale on white.
    colours = colormaps["plasma"](np.linspace(0.62, 0, len(sparsities)))
    return {
        sparsity: Look(to_hex(colour), marker)
        for sparsity, colour, marker in zip(sparsities, colours, cycle(markers), strict=False)
    }


def study_looks(studies: Iterable[str]) -> dict[str, Look]:
    """A look for each of `studies`, none of them that of an arm that they are drawn beside; the
    paper's is grey."""
    named = [study for study in studies if study != "paper"]
    colours = [colour for colour in PALETTE[::-1] if colour != _OF_PAPER.colour]
    cycled = zip(named, cycle(colours), cycle("D^vsPX*o"), strict=False)
    others = {study: Look(colour, marker) for study, colour, marker in cycled}
    return {study: others.get(study, _OF_PAPER) for study in studies}


def task_looks(tasks: Iterable[str]) -> dict[str, Look]:
    """Looks of `tasks`, the paper's first in its order: a task looks the same in every figure."""
    given = set(tasks)
    known = looks([*PAPER_TASKS, *sorted(given.difference(PAPER_TASKS))])
    return {task: look for task, look in known.items() if task in given}


def task_title(task: str) -> str:
    """Its name in papers, where it has one."""
    return RELEASED[task].title if task in RELEASED else task


def like(look: Look) -> dict[str, Any]:
    """What matplotlib is told, so that a thing has the look."""
    return {"color": look.colour, "marker": look.marker}


def of_words(colour: str) -> str:
    """The `colour` of a line, darker if words could not be read in it on white: their contrast is
    4.5 to 1 at least, as the accessibility guidelines (WCAG 2.2) ask."""
    rgb = np.array(to_rgb(colour))
    luminance = float(rgb**2.2 @ [0.2126, 0.7152, 0.0722])
    return to_hex(rgb * min(1, (MOST_LUMINANCE_OF_WORDS / luminance) ** (1 / 2.2)))


# What panels are made of.


def label_ends(panel: Axes, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Write each name beside the end of its line, in a darker shade of the line's colour: name to
    x, y and colour.

    Lines that end close to each other have their names moved apart.
    """
    figure = panel.figure.get_figure(root=True)
    if figure.get_figwidth() == NARROW_INCHES:
        ends = {textwrap.fill(name, 12): end for name, end in ends.items()}
    ordered = sorted(ends.items(), key=lambda end: end[1][1])
    height = panel.get_position().height * figure.get_figheight() * 72
    low, high = panel.get_ylim()
    line = 1.25 * SMALLEST_POINTS * (high - low) / height
    room = np.array([line * (1.35 + name.count("\n")) for name, _ in ordered])
    below = room.cumsum() - room / 2
    # As near to the ends as they may be without overlapping, and inside the panel.
    wanted = np.array([y for _, (_, y, _) in ordered]) - below
    moved = isotonic_regression(wanted).x.clip(low, max(low, high - room.sum())) + below
    for (name, (x, _, colour)), y in zip(ordered, moved, strict=True):
        panel.annotate(
            name,
            (x, y),
            xytext=(9, 0),
            textcoords="offset points",
            color=of_words(colour),
            va="center",
            annotation_clip=False,
        )


def label_arms(
    panel: Axes, points: pd.DataFrame, arms: Iterable[str], *, paper: pd.DataFrame | None = None
) -> None:
    """Write the name of each of `arms` beside the end of its mean over `points`, and that of the
    `paper` beside that of its one curve."""
    curves = {ARMS[arm].words: (points[points.arm == arm], ARMS[arm].look.colour) for arm in arms}
    if paper is not None:
        curves["the paper"] = paper, QUIET
    ends = {}
    for name, (of, colour) in curves.items():
        mean = of.groupby("sparsity").value.mean()
        if len(mean):
            ends[name] = float(str(mean.index[-1])), float(mean.iloc[-1]), colour
    label_ends(panel, ends)


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

    several = points.groupby(x).seed.nunique().max() > 1
    seaborn.lineplot(
        points,
        x=x,
        y="value",
        errorbar="sd" if several and has_band else None,
        err_kws={"alpha": 0.15, "lw": 0},
        **like(look),
        markersize=5.5,
        lw=1.8,
        linestyle=linestyle,
        label=label,
        legend=False,
        ax=panel,
    )
    panel.set(xlabel="", ylabel="")
    if several:
        dots(panel, points, look, x=x, size=12)
    if "own" in points:
        own = points[points.own.astype(bool)]
        panel.scatter(own[x], own.value, s=90, facecolors="none", edgecolors=INK, lw=1.2, zorder=3)


def curves(
    panel: Axes, points: pd.DataFrame, by: str, looks: Mapping[Any, Look], **how: Any
) -> None:
    """A `curve` for each value of the column `by` that has a look."""
    for name, look in looks.items():
        curve(panel, points[points[by] == name], look, **how)


def dots(
    panel: Axes,
    points: pd.DataFrame,
    look: Look,
    *,
    x: str = "sparsity",
    size: float = 22,
) -> None:
    """Points without lines; `size` in square points of print. They are seen through each other, and
    their edges stand out."""
    faces = to_rgba(look.colour, 0.4)
    panel.scatter(
        *(points[x], points.value, size),
        marker=look.marker,
        facecolors=faces,
        edgecolors=look.colour,
        lw=0.7,
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
    return Line2D([], [], **like(look), ls=linestyle, label=label)


def handles(looks: Mapping[Any, Look], linestyle: str = "-") -> list[Artist]:
    return [handle(look, str(label), linestyle) for label, look in looks.items()]


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
    return Line2D([], [], color=QUIET, lw=0.9, marker=".", ms=4, label="thin: the paper")


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
    by_frame = [points.groupby([by, x], sort=False).seed.nunique() for points in drawn]
    if not any(map(len, by_frame)):
        return ""
    counts = pd.concat(by_frame)
    most = counts.max()
    if most == 1:
        return f"All is of one seed{f', so there are no {spread}' if spread else ''}."
    deviation = f", {spread} ± one standard deviation" if spread else ""
    if counts.nunique() == 1:
        return f"{lead.format(seeds=f'the {most} seeds')}{deviation}."
    of_name = {str(name): of for name, of in counts.groupby(level=0, sort=False)}
    by_name = ", ".join(
        f"{words_of_arm(name) or task_title(name)} "
        f"{' to '.join(map(str, sorted({of.min(), of.max()})))}"
        for name in dict.fromkeys([*COMPARED, *of_name])
        if (of := of_name.get(name)) is not None
    )
    several = " where there are several" if spread else ""
    return f"{lead.format(seeds='seeds')}{deviation}{several}; seeds: {by_name}."


def first_number(part: str) -> int:
    """The first number in the name of a part of the model, to sort by; -1 where there is none."""
    found = re.search(r"\d+", part)
    return int(found[0]) if found else -1


def shown_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def curves_in_words(
    points: pd.DataFrame,
    by: str,
    names: Iterable[str],
    show: Callable[[float], str],
    x: str = "sparsity",
) -> str:
    """The curves of all `names` in the column `by` in words; those without points are left out."""
    return words_of({name: in_words(points[points[by] == name], show, x) for name in names})


def words_of(curves: Mapping[str, str]) -> str:
    """Several curves in words; those without points are left out."""
    return "; ".join(
        f"{words_of_arm(name) or task_title(name)}: {said}" for name, said in curves.items() if said
    )
