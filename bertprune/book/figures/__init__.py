"""Figures: from rows to pictures that say what they show and which study or run made them.

Each is imported from its module, so that a new one is listed nowhere. Here is what the pages of a
study share: who made a figure, and what stands where one is missing.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bertprune.base.errors import UserError
from bertprune.book.figures.picture import Sketch, made_by
from bertprune.evidence.gathering import as_shown
from bertprune.experiments.studies import Study


@dataclass(frozen=True)
class Missing:
    """A figure that a study has no rows for; a page says so in its place."""

    why: str

    def _repr_html_(self) -> str:
        return f"<p><em>Missing: {html.escape(self.why)}.</em></p>"


def drawn(
    show: Callable[..., Any], *given: Any, maker: str = "", again: str = "", **options: Any
) -> Any:
    """What `show` gives, a figure drawn, or that it is missing, so that the chapters of a study
    render whatever rows it has; `maker` and `again` are those of `Sketch.drawn`."""
    try:
        found = show(*given, **options)
    except UserError as error:
        return Missing(str(error))
    return found.drawn(maker, again) if isinstance(found, Sketch) else found


def origin_of(study: Study, notebook: str) -> dict[str, str]:
    """What each figure on the page `notebook` of a study says: who made it, and how to again."""
    parameters = as_shown(study).typical().parameters
    made = made_by(f"study {study.name}, “{study.title}”", parameters)
    return {"maker": made, "again": study.view_command(notebook)}
