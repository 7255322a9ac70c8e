"""A Sphinx extension: on each page the first use of each word of the glossary links to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

GLOSSARY = "glossary"
_TERM = re.compile(r"^(?! )([^:`\n]+)\n  \S", re.MULTILINE)
# Links within these would be links in links, or make a heading of one.
_CLOSED = (nodes.reference, nodes.title, nodes.literal, nodes.Inline, addnodes.pending_xref)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_transform(LinkFirstUses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def terms_of(source: str) -> list[str]:
    """The words that the text of a glossary explains, longer ones before those that they have in
    them."""
    _, _, entries = source.partition(":::{glossary}\n")
    return sorted((term.strip() for term in _TERM.findall(entries)), key=len, reverse=True)


class LinkFirstUses(SphinxTransform):
    """Links the first use of each term in the paragraphs of a page."""

    default_priority = 900

    def apply(self, **_: Any) -> None:
        glossary = Path(self.env.srcdir) / f"{GLOSSARY}.md"
        if self.env.docname == GLOSSARY or not glossary.is_file():
            return
        waiting = terms_of(glossary.read_text(encoding="utf-8"))
        for paragraph in list(self.document.findall(nodes.paragraph)):
            for text in [node for node in paragraph.findall(nodes.Text) if _is_open(node)]:
                parts = list(_linked(text.astext(), waiting, self.env.docname))
                if len(parts) > 1:
                    text.parent.replace(text, parts)


def _is_open(text: nodes.Text) -> bool:
    parent = text.parent
    while parent is not None and not isinstance(parent, nodes.paragraph):
        if isinstance(parent, _CLOSED):
            return False
        parent = parent.parent
    return True


def _linked(text: str, waiting: list[str], page: str) -> Iterator[nodes.Node]:
    """`text` in parts, those linked that are still `waiting`, which wait no longer."""
    while waiting and (found := _first(text, waiting)):
        before, shown, term = text[: found.start()], found[0], _term_of(found[0], waiting)
        waiting.remove(term)
        if before:
            yield nodes.Text(before)
        place = {"refdomain": "std", "reftype": "term", "reftarget": term, "refdoc": page}
        link = addnodes.pending_xref("", **place, refexplicit=True, refwarn=True)
        link += nodes.inline("", shown, classes=["xref", "std", "std-term"])
        yield link
        text = text[found.end() :]
    if text:
        yield nodes.Text(text)


def _first(text: str, terms: list[str]) -> re.Match[str] | None:
    names = "|".join(map(re.escape, terms))
    # What is `run` or `to mask` is a verb.
    verb = "".join(rf"(?<!\b{word} )" for word in ("to", "is", "be", "was", "were", "can"))
    return re.search(rf"(?<![\w-]){verb}({names})s?(?![\w-])", text, re.IGNORECASE)


def _term_of(shown: str, terms: list[str]) -> str:
    lowered = shown.lower()
    return next(term for term in terms if lowered in (term.lower(), f"{term.lower()}s"))
