"""Plain English: sentences stay short on average, on every page."""

import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from sentencex import segment

from bertprune.evidence.claims.ledger import ledger, published

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


def prose_of_built(html: str) -> str:
    """What a page of a built book says in sentences. Numbers in lines below each other are none."""
    page = BeautifulSoup(html, "html.parser").find("article")
    assert page is not None
    for other in page.select("table, pre, math, h1, h2, h3, h4, script, style, nav, svg, summary"):
        other.decompose()
    for code in page.select("code"):
        code.replace_with(" x ")
    for end_of_line in page.select("br"):
        end_of_line.replace_with("\n\n")
    parts = [one for one in page.select("p, li, dd") if not one.find(["p", "li"])]
    return "\n\n".join(one.get_text(" ") for one in parts)


def sentences_of(prose: str) -> list[str]:
    """Its sentences; items of lists are sentences of their own."""
    parts = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.)\s", prose)
    found = [one for part in parts for one in segment("en", " ".join(part.split()))]
    return [one for one in found if len(re.findall(r"\w+", one)) > 1]


def words_of(sentences: list[str]) -> float:
    """On average."""
    words = [len(re.findall(r"[\w’'−–.-]+", sentence)) for sentence in sentences]
    return sum(words) / max(len(words), 1)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_sentences_are_short(page: Path) -> None:
    sentences = sentences_of(prose_of(page))
    assert words_of(sentences) <= MOST_WORDS, sorted(sentences, key=len)[-3:]


@pytest.mark.parametrize("name", ["lab", "english"])
def test_the_ledger_says_what_it_finds_in_short_sentences(name: str) -> None:
    found = ledger(published(name))
    for said in ("says", "rule"):
        sentences = sentences_of("\n\n".join(getattr(entry, said) for entry in found))
        assert words_of(sentences) <= MOST_WORDS, sorted(sentences, key=len)[-3:]
