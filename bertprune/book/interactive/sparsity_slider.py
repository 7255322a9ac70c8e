"""A slider of sparsity: what pruning costs, in accuracy, loss and bits, in several studies."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bertprune.base.errors import UserError
from bertprune.book.drawing.panel import Panel, needed
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import INK, label_ends, like, of_words, study_looks
from bertprune.book.interactive.piece import Piece, Slider
from bertprune.evidence import regimes, scores
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.regimes.effects import AT_EACH
from bertprune.protocol.arms import PRUNE_PRETRAIN, Look
from bertprune.protocol.rows import where

_EFFECTS = {"accuracy": PRUNE_PRETRAIN, "loss": "loss"}
"""What of AT_EACH is shown."""
_MEASURES = {
    "accuracy": "change in accuracy (points)",
    "loss": "rise in loss (nats)",
    "bits": "bits recalled",
}
_DIGITS = {"accuracy": "+.2f", "loss": "+.3f", "bits": ",.0f"}


def costs(studies: Mapping[str, Measured]) -> pd.DataFrame:
    """What pruning while pre-training costs, a line for each measure, side (the study) and
    sparsity: value, and low and high, its one-sided 95 % bounds, NaN where there are none.

    Measures: accuracy, a mean over tasks, in points, and pre-training loss in nats, both against
    the dense model of the same seeds; and the bits that models of a lab language recall.
    """
    found = []
    for name, of in studies.items():
        for measure, effect in _EFFECTS.items():
            if len(changes := regimes.bounds(AT_EACH[effect].at_each(of))):
                dense = pd.DataFrame({"sparsity": [0.0], "value": 0.0})
                found.append(pd.concat([dense, changes]).assign(measure=measure, side=name))
        # No model was asked where the text is in no lab language.
        with suppress(UserError):
            bits = where(scores.bits(of.rows), arm=PRUNE_PRETRAIN, sort="all")
            means = bits.groupby("sparsity").bits.mean().rename("value").reset_index()
            found.append(means.assign(measure="bits", side=name))
    columns = ["measure", "side", "sparsity", "value", "low", "high"]
    every = pd.concat(found or [pd.DataFrame(columns=columns)], ignore_index=True)
    return every.reindex(columns=columns)


def costs_beside(studies: Mapping[str, Measured]) -> Sketch:
    """What pruning costs against sparsity (see `costs`), a panel for each measure, a line for each
    study. Raises UserError without any."""
    found = needed(costs(studies), "what pruning costs", "the arm prune_pretrain")
    draw = partial(_draw, looks=study_looks(studies))
    panels = [
        Panel(words, of.drop(columns="measure"), draw)
        for measure, words in _MEASURES.items()
        if len(of := where(found, measure=measure))
    ]
    return Sketch(
        "costs-beside",
        panels,
        alt=f"What pruning costs against sparsity, a line for each of {', '.join(studies)}: "
        f"{', '.join(panel.title for panel in panels)}.",
        caption="What pruning while pre-training costs, against the dense model of the same seeds. "
        "Accuracy is a mean over tasks, the loss that of pre-training. Bars: one-sided 95 % "
        "bounds, often narrower than a mark.",
        height_inches=2.8,
    )


def _draw(axes: Axes, panel: Panel, *, looks: Mapping[str, Look]) -> None:
    axes.axhline(0, color=INK, lw=1)
    ends = {}
    for study in dict.fromkeys(panel.points.side):
        look = looks[study]
        of = where(panel.points, side=study).sort_values("sparsity")
        spread = [(of.value - of.low).fillna(0), (of.high - of.value).fillna(0)]
        axes.errorbar(of.sparsity, of.value, spread, **like(look), ms=4.5, lw=1.8, capsize=2)
        ends[study] = (float(of.sparsity.iloc[-1]), float(of.value.iloc[-1]), look.colour)
    label_ends(axes, ends)


def sparsity_slider(studies: Mapping[str, Measured], maker: str) -> Piece:
    """The same with a slider of sparsity that marks a point and reads its numbers out."""
    found = costs(studies)
    places = sorted(found.sparsity.unique())
    slider = Slider("sparsity", "Sparsity", 0, 100 * max(places), 10, 50, " %")
    every = pd.MultiIndex.from_product([studies, places], names=["side", "sparsity"])
    charts = []
    for measure, words in _MEASURES.items():
        of = where(found, measure=measure).set_index(["side", "sparsity"])
        if of.empty:
            continue
        here = [name for name in studies if name in of.index]
        of = of.reindex(every[every.get_level_values("side").isin(here)]).reset_index()
        of["sparsity"] = (100 * of.sparsity).round().astype(int)
        charts += _charts(of.drop(columns="measure"), words, _DIGITS[measure], list(studies))
    return Piece(costs_beside(studies).drawn(maker), [slider], charts)


def _charts(of: pd.DataFrame, words: str, digits: str, studies: list[str]) -> list[Any]:
    """The curves of a measure, and below them its numbers at the sparsity of the slider."""
    # Here, since it takes half a second, and only pages with such pieces need it.
    import altair as alt

    colours = study_looks(studies)
    scale = alt.Scale(domain=studies, range=[of_words(look.colour) for look in colours.values()])
    at = alt.param(name="sparsity", value=50)
    base = alt.Chart(of).encode(
        x=alt.X("sparsity:Q", title="sparsity (%)"),
        color=alt.Color("side:N", scale=scale, legend=None),
    )
    known = base.transform_filter("isValid(datum.value)")
    here = known.transform_filter("datum.sparsity == sparsity")
    curves = alt.layer(
        alt.Chart(pd.DataFrame({"at": [0]}))
        .transform_calculate(at="sparsity")
        .mark_rule(strokeDash=[4, 3], color="currentColor")
        .encode(x="at:Q"),
        known.mark_line(strokeWidth=2).encode(y=alt.Y("value:Q", title=None)),
        known.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q"),
        here.mark_rule(strokeWidth=4).encode(y="low:Q", y2="high:Q"),
        here.mark_point(filled=True, size=90, opacity=1).encode(y="value:Q"),
    )
    number = f"format(datum.value, '{digits}')"
    interval = f"' [' + format(datum.low, '{digits}') + ', ' + format(datum.high, '{digits}') + ']'"
    said = (
        base.transform_filter("datum.sparsity == sparsity")
        .transform_calculate(
            said="datum.side + ': ' + (isValid(datum.value) ? "
            f"{number} + (isValid(datum.low) ? {interval} : '') : 'not measured')"
        )
        .mark_text(align="left", fontWeight="bold")
        .encode(x=alt.value(0), y=alt.Y("side:N", sort=studies, axis=None), text="said:N")
    )
    size = {"width": "container", "title": words}
    return [
        curves.add_params(at).properties(height=180, **size),
        said.add_params(at).properties(
            height=18 * of.side.nunique(), width="container", description=words
        ),
    ]
