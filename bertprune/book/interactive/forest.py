"""The claims as a forest plot: the effect that decides each one, in several studies, beside the
margin up to which it counts as none; and with a margin that a reader moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from bertprune.base.errors import UserError
from bertprune.base.words import NOTHING, signed
from bertprune.book.drawing.panel import Axis, Panel
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import INK, QUIET, like, of_words, study_looks
from bertprune.book.interactive.piece import Piece, Slider
from bertprune.evidence.claims.ledger import Ledger
from bertprune.protocol.rows import where

EFFECTS = {
    "C1": "accuracy, pruned to 30 % at most",
    "C2": "masks off, 40 to 60 %",
    "C3": "masks off, from 70 %",
    "C4": "information deleted, training set fitted",
    "C5": "bow of the most bent curve",
    "C6": "bend of features at 40 %",
    "C7": "pruned late minus pruned early",
    "C8": "entries of masks that differ",
    "C9": "movement in the sort order",
    "C10": "longer fine-tuning before pruning",
    "C11": "random minus magnitude, where least",
    "C12": "head that stands out most",
}
"""What is measured for each claim, in a few words; those without an effect are not there."""

_ON_ACCURACY = ("C1", "C2", "C3", "C4", "C7", "C10", "C11")
"""Those whose effect is a difference in accuracy."""

_BAND = "#d9d9d9"
_MARGIN = Slider(
    "margin", "The difference in accuracy that matters to you, in points (shaded)", 0, 5, 0.25, 1
)
_AXIS_POINTS = 2 * _MARGIN.most
"""The axis ends there on both sides. A bound further out has an arrow, so that one wide interval
does not make all others narrow."""
_SMALLER, _LARGER, _OPEN = "smaller", "larger", "undecided"


def effects(ledgers: Mapping[str, Ledger]) -> pd.DataFrame:
    """The effect of each claim in each study, a line each: key, what, side (the study), verdict,
    value, low, high and margin in `unit`. Those that a study has no rows of are left out. Raises
    UserError if no study has any."""
    lines = [
        {
            "key": one.key,
            "what": f"{one.key} {EFFECTS[one.key]}",
            "side": study,
            "verdict": one.verdict,
            "value": one.mean,
            "low": one.lower,
            "high": one.upper,
            "margin": one.margin,
            "unit": one.unit,
        }
        for study, claims in ledgers.items()
        for one in claims
        if one.key in EFFECTS and one.mean == one.mean
    ]
    if not lines:
        raise UserError("there is no forest plot: no claim has an effect that was measured")
    found = pd.DataFrame(lines)
    return found.sort_values("key", key=lambda keys: keys.map([*EFFECTS].index), kind="stable")


@dataclass(frozen=True)
class _Forest(Sketch):
    """Its numbers are a line for each claim and study."""

    @property
    def numbers(self) -> dict[str, pd.DataFrame]:
        every = pd.concat([panel.points for panel in self.panels])
        shown = pd.DataFrame(
            {
                "effect": [signed(value, 2) for value in every.value],
                "bounds": [
                    NOTHING if pd.isna(low) else f"{signed(low, 2)} and {signed(high, 2)}"
                    for low, high in zip(every.low, every.high, strict=True)
                ],
                "margin": [NOTHING if pd.isna(m) else f"{m:.2f}" for m in every.margin],
                "unit": list(every.unit),
                "verdict": list(every.verdict),
            },
            index=pd.MultiIndex.from_frame(every[["what", "side"]], names=["claim", "study"]),
        )
        return {"Effects, one-sided 95 % bounds and margins": shown}


def forest(ledgers: Mapping[str, Ledger]) -> Sketch:
    """The effect that decides each claim, a panel each, a line for each study, with one-sided 95 %
    bounds, and shaded the margin of the claim's rule where the study tells one. Raises UserError
    if no study has any."""
    found = effects(ledgers)
    studies = list(dict.fromkeys(found.side))
    places = {study: len(studies) - 1 - n for n, study in enumerate(studies)}
    draw, y = partial(_draw, places=places), Axis(low=-0.6, high=len(studies) - 0.4)
    panels = [
        Panel(str(what), points, draw, Axis(points.unit.iloc[0]), y)
        for what, points in found.groupby("what", sort=False)
    ]
    is_inside = (found.low > -found.margin) & (found.high < found.margin)
    inside = [
        f"{key} {', '.join(points.side)}"
        for key, points in found[is_inside].groupby("key", sort=False)
    ]
    return _Forest(
        "forest",
        panels,
        alt="Effects that decide the claims, by study, with bounds and margins. Both bounds are "
        f"inside the margin: {'; '.join(inside) or 'nowhere'}.",
        caption="The effect that decides each claim, with one-sided 95 % bounds. Shaded is the "
        "margin, up to which an effect counts as none, or as little: yours where you can move it, "
        "and else that of the claim’s rule. The rule’s is a share of what can be lost in the "
        "study, and is left out where no such thing is detected.",
        handles=[Patch(color=_BAND, label="counts as none")],
        columns=2,
        height_inches=0.7 + 0.22 * len(studies),
    )


def _draw(axes: Axes, panel: Panel, *, places: Mapping[str, int]) -> None:
    """A line for each study at its place; an effect that a study has not is left out."""
    points = panel.points
    at = points.side.map(places)
    axes.axvline(0, color=INK, lw=1)
    width = 2 * points.margin
    axes.barh(at, width, left=-points.margin, height=0.9, color=_BAND, zorder=0.5)
    for study, look in study_looks(places).items():
        of = where(points, side=study)
        spread = [(of.value - of.low).fillna(0), (of.high - of.value).fillna(0)]
        place = [places[study]] * len(of)
        axes.errorbar(of.value, place, xerr=spread, **like(look), capsize=3)
    axes.set_yticks(list(places.values()), list(places))
    axes.grid(axis="y", visible=False)


def movable_forest(ledgers: Mapping[str, Ledger], maker: str) -> Piece:
    """The same with a margin in points of accuracy that a reader moves, of the claims about
    accuracy: whether each effect is shown to be smaller or larger."""
    # Here, since it takes half a second, and only pages with such pieces need it.
    import altair as alt

    every = effects(ledgers)
    found = every[every.key.isin(_ON_ACCURACY)]
    of_studies = study_looks(dict.fromkeys(every.side))
    colours = alt.Scale(
        domain=list(of_studies), range=[of_words(look.colour) for look in of_studies.values()]
    )
    band = (
        alt.Chart(pd.DataFrame({"at": [0]}))
        .transform_calculate(low="-margin", high="margin")
        .mark_rect(color=QUIET, opacity=0.2)
        .encode(x="low:Q", x2="high:Q")
    )
    rows = alt.Y("what:N", sort=None, axis=None)
    lines = alt.YOffset("side:N", scale=alt.Scale(domain=["", *of_studies]))
    judged = alt.Chart(found[["key", "what", "side", "value", "low", "high"]]).transform_calculate(
        told=f"datum.low > -margin && datum.high < margin ? '{_SMALLER}' : "
        f"datum.low > margin || datum.high < -margin ? '{_LARGER}' : '{_OPEN}'"
    )
    base = judged.encode(
        y=rows,
        yOffset=lines,
        color=alt.Color("side:N", scale=colours, title=None, legend=alt.Legend(symbolSize=160)),
    )
    zero = alt.Chart(pd.DataFrame({"at": [0]})).mark_rule(color="currentColor").encode(x="at:Q")
    names = pd.DataFrame({"what": found.what.unique(), "side": ""})
    words = (
        alt.Chart(names)
        .mark_text(align="left", fontWeight="bold")
        .encode(y=rows, yOffset=lines, x=alt.value(0), text="what:N")
    )
    margin = alt.param(name=_MARGIN.signal, value=_MARGIN.value)
    size = 15 * (1 + len(of_studies)) * found.key.nunique()
    chart = alt.layer(band, zero, *_marks(base), words).properties(height=size)
    charts = [chart, _told(judged, colours)]
    return Piece(
        forest(ledgers).drawn(maker),
        [_MARGIN],
        [one.add_params(margin).properties(width="container") for one in charts],
    )


def _told(judged: Any, colours: Any) -> Any:
    """In words, a line for each study, which claims' effects are smaller, larger or neither."""
    import altair as alt

    every = alt.AggregatedFieldDef(op="values", **{"as": "every"})
    return (
        judged.transform_aggregate([every], groupby=["side", "told"])
        .transform_calculate(
            part="datum.told + ' ' + join(pluck(datum.every, 'key'), ', ')",
        )
        .transform_aggregate([every], groupby=["side"])
        .transform_calculate(said="datum.side + ': ' + join(pluck(datum.every, 'part'), '; ')")
        .mark_text(align="left")
        .encode(
            x=alt.value(0),
            y=alt.Y("side:N", sort=colours.domain, axis=None),
            color=alt.Color("side:N", scale=colours, legend=None),
            text="said:N",
        )
        .properties(
            height=18 * len(colours.domain),
            description="Effects beside the difference that matters",
        )
    )


def _marks(base: Any) -> list[Any]:
    """Each effect, with its bounds; an arrow is a bound that lies beyond the axis."""
    import altair as alt

    told = alt.Scale(domain=[_SMALLER, _LARGER, _OPEN], range=["circle", "diamond", "triangle-up"])
    points = base.mark_point(filled=True, size=120, opacity=1).encode(
        x=alt.X(
            "value:Q",
            title="effect on accuracy (points)",
            scale=alt.Scale(domain=[-_AXIS_POINTS, _AXIS_POINTS], clamp=True),
        ),
        shape=alt.Shape("told:N", scale=told, title=None, legend=alt.Legend(symbolSize=160)),
    )
    bounds = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q")
    arrows = [
        base.transform_filter(f"{side}datum.{bound} > {_AXIS_POINTS}")
        .mark_point(filled=True, size=90, opacity=1, shape=shape)
        .encode(x=f"{bound}:Q")
        for bound, side, shape in (("low", "-", "triangle-left"), ("high", "", "triangle-right"))
    ]
    return [bounds, *arrows, points]
