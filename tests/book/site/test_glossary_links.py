"""Words of the glossary are linked where a page first uses them, and only there."""

from pathlib import Path

import pytest
from docutils import nodes
from sphinx import addnodes

from bertprune.book.site.glossary_links import _linked, terms_of

PROJECT = Path(__file__).parents[3]
GLOSSARY = (PROJECT / "book" / "glossary.md").read_text(encoding="utf-8")


def links(text: str, terms: list[str]) -> list[tuple[str, str]]:
    return [
        (part.astext(), part["reftarget"])
        for part in _linked(text, terms, "page")
        if isinstance(part, addnodes.pending_xref)
    ]


def test_each_word_is_linked_once_and_the_text_stays() -> None:
    text = "Masks prune a mask; sparsity and Sparsity."
    terms = ["sparsity", "mask"]
    parts = list(_linked(text, terms.copy(), "page"))
    assert "".join(part.astext() for part in parts) == text
    assert links(text, terms) == [("Masks", "mask"), ("sparsity", "sparsity")]
    assert not terms


@pytest.mark.parametrize("text", ["it was run", "unmasked", "run-time", "nothing at all"])
def test_other_words_are_not(text: str) -> None:
    parts = list(_linked(text, ["run", "mask"], "page"))
    assert len(parts) == 1 and isinstance(parts[0], nodes.Text)


def test_the_longer_term_wins() -> None:
    terms = terms_of(":::{glossary}\nsparsity\n  A share.\n\nglobal sparsity\n  Another.\n:::\n")
    assert terms == ["global sparsity", "sparsity"]
    assert links("by global sparsity", terms) == [("global sparsity", "global sparsity")]


def test_the_glossary_explains_the_words_of_the_pages() -> None:
    terms = terms_of(GLOSSARY)
    assert {"arm", "cell", "nat", "seed", "edition", "masks off", "detected"} <= {*terms}
    assert len(terms) == len({term.lower() for term in terms})
