"""Plain English: sentences stay short on average, on every page."""

import re
from pathlib import Path

import nbformat
import pytest
from sentencex import segment

PROJECT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *PROJECT.glob("*.md"),
        *PROJECT.glob("book/*.md"),
        *PROJECT.glob("notebooks/*.ipynb"),
        PROJECT / "bertprune" / "README.md",
    ]
)
MOST_WORDS = 18
"""Of a sentence, on average over a page."""

_NOT_PROSE = re.compile(
    r"^```.*?^```|^:::.*?$|^\|.*?$|^#.*?$|\$\$.*?\$\$|`[^`]*`|\$[^$]*\$|<[^>]+>|\]\([^)]*\)",
    re.MULTILINE | re.DOTALL,
)


def prose_of(page: Path) -> str:
    """What a page says in sentences: without tables, headings, code and formulas."""
    if page.suffix == ".ipynb":
        cells = nbformat.read(page, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = page.read_text(encoding="utf-8")
    return _NOT_PROSE.sub(" x ", text)


def sentences_of(prose: str) -> list[str]:
    """Its sentences; items of lists are sentences of their own."""
    parts = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.)\s", prose)
    found = [one for part in parts for one in segment("en", " ".join(part.split()))]
    return [one for one in found if len(re.findall(r"\w+", one)) > 1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_sentences_are_short(page: Path) -> None:
    sentences = sentences_of(prose_of(page))
    words = [len(re.findall(r"[\w’'−–.-]+", sentence)) for sentence in sentences]
    longest = sorted(sentences, key=len)[-3:]
    assert not words or sum(words) / len(words) <= MOST_WORDS, longest
