"""Words and tables as a notebook's page shows them."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Prose:
    """A table of words, which a page shows in full and to the left."""

    table: pd.DataFrame
    is_list: bool = False
    """Whether a phone shows a line for each cell, which names its column."""

    def _repr_html_(self) -> str:
        shown = self.table.apply(_named) if self.is_list else self.table
        with pd.option_context("display.max_colwidth", None):
            return shown.to_html(classes="prose", border=0, escape=not self.is_list)


def _named(column: pd.Series) -> list[str]:
    """The cells with the name of their column, which wide screens hide."""
    name = f'<span class="of">{html.escape(str(column.name))}:</span>'
    return [f"{name} {html.escape(str(cell))}" for cell in column]


class Sentence(str):
    """Words that a page shows as a paragraph of its own."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self)}</p>"


@dataclass(frozen=True)
class Download:
    """A table to take along, as CSV, from a link inside the page itself."""

    name: str
    """What the file is called, less the ending."""
    words: str
    table: pd.DataFrame = field(repr=False)

    def _repr_html_(self) -> str:
        csv = base64.b64encode(self.table.to_csv(index=False).encode()).decode()
        return (
            f'<p><a download="{html.escape(self.name)}.csv" href="data:text/csv;base64,{csv}">'
            f"{html.escape(self.words)}</a> (CSV, {len(self.table):,} lines)</p>"
        )
