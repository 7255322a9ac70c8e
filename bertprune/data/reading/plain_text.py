"""Plain text as documents and sentences, in the layouts that people have.

- A line is a document. Blank lines say nothing.
- A line is a sentence, and a blank line ends a document: the input of BERT's own
  `create_pretraining_data.py`.
- Lines are wrapped at one width, and a blank line ends a paragraph: the file is a document.

A document is one string with one paragraph a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import Literal

from bertprune.data.reading.streams import open_text

Layout = Literal["lines", "blocks", "wrapped"]

OPENING_MARKS = frozenset("\"'(“‘«")
LINES_LOOKED_AT, CHARACTERS_LOOKED_AT = 2000, 1 << 20
# A file looks like BERT's where most lines lie in blocks of several, and most of these are one
# sentence and end like one. Not all: what cut them into sentences was another library.
BLOCKS_SHARE, SENTENCES_SHARE, ENDS_SHARE = 0.5, 0.8, 0.5
# Wrapped lines are about as long as the longest, but for a paragraph's last, and end anywhere.
WRAPPED_SHARE, SHORTEST_WRAPPED, WRAPPED_ENDS_SHARE = 0.8, 0.75, 0.4
NARROWEST, WIDEST = 40, 200  # characters
SENTENCE_END = re.compile(r"[.!?:;…。！？][\"'”’»)\]*_\s]*$")


def sentences(document: str) -> list[str]:
    """The sentences of a document; a paragraph's end always ends one.

    The library takes everything between quotation marks as part of one sentence. Where a sentence
    begins with a mark, in novels mostly, what somebody says is therefore cut once more.
    """
    from sentencex import segment

    found = []
    for paragraph in document.split("\n"):
        for sentence in segment("en", paragraph) if paragraph else ():
            inside = segment("en", sentence[1:]) if sentence[0] in OPENING_MARKS else ()
            found += [sentence[0] + inside[0], *inside[1:]] if inside else [sentence]
    return found


def plain_documents(file: Path) -> Iterator[str]:
    """The documents of a file of plain text, none of them blank. Raises UserError if it cannot be
    read."""
    layout = layout_of(file)
    with open_text(file) as lines:
        if layout == "lines":
            yield from (line.rstrip("\n") for line in lines if not line.isspace())
        elif layout == "blocks":
            yield from ("\n".join(block) for block in _blocks(lines))
        else:
            yield "\n".join(map(_unwrapped, _blocks(lines)))


def layout_of(file: Path) -> Layout:
    """How the file's beginning says that its documents are laid out."""
    state = file.stat()
    return _layout_of(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _layout_of(file: Path, size_bytes: int, mtime_ns: int) -> Layout:
    with open_text(file) as lines:
        return layout_of_lines(_beginning(lines))


def layout_of_lines(lines: Iterable[str]) -> Layout:
    """The layout that the lines of a text look like."""
    blocks = list(_blocks(lines))
    together = [line for block in blocks if len(block) > 1 for line in block]
    if len(blocks) < 2 or len(together) < BLOCKS_SHARE * sum(map(len, blocks)):
        return "lines"
    if _are_wrapped(blocks):
        return "wrapped"
    single = sum(not has_two_sentences(line) for line in together)
    ends = sum(bool(SENTENCE_END.search(line)) for line in together)
    like_bert = single >= SENTENCES_SHARE * len(together) and ends >= ENDS_SHARE * len(together)
    return "blocks" if like_bert else "lines"


def has_two_sentences(document: str) -> bool:
    """Whether a second sentence follows the document's first."""
    count = 0
    # A book need not be cut as a whole.
    for paragraph in document.split("\n"):
        count += sum(not sentence.isspace() for sentence in sentences(paragraph))
        if count > 1:
            return True
    return False


def _are_wrapped(blocks: Sequence[Sequence[str]]) -> bool:
    inner = [line for block in blocks for line in block[:-1]]
    longest = sorted(map(len, inner))[len(inner) * 9 // 10]
    if not NARROWEST <= longest <= WIDEST:
        return False
    filled = sum(len(line) >= SHORTEST_WRAPPED * longest for line in inner)
    ends = sum(bool(SENTENCE_END.search(line)) for line in inner)
    return filled >= WRAPPED_SHARE * len(inner) and ends <= WRAPPED_ENDS_SHARE * len(inner)


def _unwrapped(lines: Iterable[str]) -> str:
    """One line; what ends with a hyphen goes on without a space."""
    return re.sub(r"(?<=\S-)\n", "", "\n".join(lines)).replace("\n", " ")


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines between blank ones, stripped."""
    for blank, block in groupby(lines, str.isspace):
        if not blank:
            yield [line.strip() for line in block]


def _beginning(lines: Iterable[str]) -> Iterator[str]:
    characters = 0
    for line in islice(lines, LINES_LOOKED_AT):
        yield line
        characters += len(line)
        if characters > CHARACTERS_LOOKED_AT:
            return
