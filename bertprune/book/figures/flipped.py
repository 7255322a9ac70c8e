"""Answers that flip between the dense model and a pruned one, against sparsity."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from bertprune.base.words import percent
from bertprune.book.drawing.panel import Axis, Panel
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import (
    PALETTE,
    curves,
    handles,
    line_handle,
    seeds_in_words,
    task_title,
)
from bertprune.book.pages.lost_examples import ANOTHER_BERT, ANOTHER_SEED, PRUNED, flips, stored
from bertprune.evidence.answers import Answers
from bertprune.protocol.arms import Look
from bertprune.protocol.rows import where

_LOOKS = {"lost": Look(PALETTE[3], "v"), "gained": Look(PALETTE[2], "^")}
_NOISE = {ANOTHER_SEED: "--", ANOTHER_BERT: ":"}


def lost_and_gained(answers: Mapping[str, Answers | None]) -> Sketch:
    """Shares of the dev examples that pruning loses and gains against the dense model of the same
    seed, a panel for each task, beside what another dense model loses (see `flips`).

    Raises UserError where no predictions are stored.
    """
    points = {task: _points(of) for task, of in stored(answers).items()}
    # One scale, so that tasks compare.
    y = Axis(is_share=True, low=0, high=1.05 * max(of.value.max() for of in points.values()))
    panels = [Panel(task_title(task), of, _draw, y=y) for task, of in points.items()]
    said = "; ".join(f"{panel.title} {_in_words(panel.points)}" for panel in panels)
    noise = [what for what in _NOISE if any(what in set(panel.points.side) for panel in panels)]
    return Sketch(
        "lost-and-gained",
        panels,
        alt=textwrap.shorten(f"Lost | gained by pruning, {said}", 300, placeholder=" …"),
        caption="Dev examples that the dense model gets right and the pruned one does not (lost), "
        "and the other way round (gained). "
        + seeds_in_words(
            (where(of, side=list(_LOOKS)) for of in points.values()), "side", spread=""
        )
        + " Level lines: what a dense model of another seed or BERT loses against the first, which "
        "is what it gains too." * bool(noise),
        handles=[
            *handles(_LOOKS),
            *(line_handle(f"lost by {what}", linestyle=_NOISE[what]) for what in noise),
        ],
    )


def _points(of: Answers) -> pd.DataFrame:
    """The column `side` is lost or gained, or what the other dense model differs in."""
    found = flips(of)
    pruned = where(found, what=PRUNED)
    sides = [pruned.assign(side=side, value=pruned[side]) for side in _LOOKS]
    sparsities = sorted(pruned.sparsity.unique())
    for what in _NOISE:
        if len(pairs := where(found, what=what)):
            level = {"side": what, "sparsity": sparsities, "value": pairs.lost.mean()}
            sides.append(pd.DataFrame(level).assign(seed=0))
    return pd.concat(sides, ignore_index=True)[["side", "sparsity", "seed", "value"]]


def _draw(axes: Axes, panel: Panel) -> None:
    curves(axes, panel.points, "side", _LOOKS, has_band=False)
    for what, style in _NOISE.items():
        if len(level := where(panel.points, side=what)):
            axes.axhline(level.value.iloc[0], color="k", linestyle=style, lw=1)


def _in_words(points: pd.DataFrame) -> str:
    most = points.sparsity.max()
    at = where(points, sparsity=most).groupby("side").value.mean()
    return f"{percent(most)} {100 * at['lost']:.0f} | {100 * at['gained']:.0f} %"
