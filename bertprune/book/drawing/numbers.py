"""The numbers of a figure as tables, for those who do not see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from bertprune.base.words import NOTHING, percent
from bertprune.book.drawing.panel import Panel
from bertprune.book.drawing.style import task_title
from bertprune.protocol.arms import words_of_arm

MOST_PLACES = 11
"""So many places along a curve are shown, evenly spread where it has more."""
MOST_CURVES = 24
"""What has more values than that, as attention heads have, is not told apart."""
_TOLD_APART = (
    *("arm", "task", "sort", "split", "metric", "part", "side", "sparsity", "learning_rate"),
)


def tables(panel: Panel) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and table of what a panel shows, here and in the paper: means over seeds, a line for
    each curve, a column for each place along it; below them the bounds where there are some."""
    for source, points in ((panel.source, panel.points), ("paper", panel.paper)):
        if points is not None and not points.empty:
            yield f"{panel.title} ({source})", _table(panel, points)


def _table(panel: Panel, points: pd.DataFrame) -> pd.DataFrame:
    by = [
        key
        for key in _TOLD_APART
        if key in points
        and key != panel.along
        and _least(key) < points[key].nunique() <= MOST_CURVES
    ]
    places = np.sort(points[panel.along].unique())
    spread = np.linspace(0, len(places) - 1, min(len(places), MOST_PLACES)).round().astype(int)
    kept = points[points[panel.along].isin(places[spread])]
    names = [_name(dict(zip(by, of, strict=True))) for of in kept[by].itertuples(index=False)]
    kept = kept.assign(curve=[name or panel.title for name in names])
    measures: dict[str, tuple[str, Any]]
    if panel.ends:
        measures = {"mean": ("value", "mean"), "least": ("value", "min"), "most": ("value", "max")}
    else:
        measures = {"": ("value", "mean"), "low": ("low", "mean"), "high": ("high", "mean")}
    parts = []
    for words, (column, how) in measures.items():
        if column in kept:
            named = kept.assign(curve=[f"{name}, {words}".strip(", ") for name in kept.curve])
            parts.append(named.pivot_table(column, "curve", panel.along, how, sort=False))
    lines = pd.concat(parts).sort_index(axis=1)
    place = percent if panel.along == "sparsity" else "{:g}".format
    shown = lines.map(lambda value: NOTHING if pd.isna(value) else panel.y.in_words(value))
    names = [place(float(str(at))) for at in shown.columns]
    return shown.set_axis(names, axis=1).rename_axis(index=None, columns=panel.along)


def _least(key: str) -> int:
    """More values than that of a column are told apart; whose a curve is, is told in any case."""
    return 0 if key == "side" else 1


def _name(curve: dict[str, Any]) -> str:
    """The curve that has these values, in words."""
    words: dict[str, Callable[[Any], str]] = {
        "arm": words_of_arm,
        "task": task_title,
        "sparsity": percent,
        "learning_rate": "learning rate {:g}".format,
    }
    return ", ".join(words.get(key, str)(value) for key, value in curve.items())
