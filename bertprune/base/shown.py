"""Words and tables of words as a notebook's page shows them."""

from __future__ import annotations

import html
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Prose:
    """A table of words, which a page shows in full and to the left."""

    table: pd.DataFrame

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return self.table.to_html(classes="prose", border=0)


class Sentence(str):
    """Words that a page shows as a paragraph of its own."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self)}</p>"
