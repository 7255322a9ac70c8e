"""Layouts of plain text: what is a document, and what a sentence."""

import textwrap
from pathlib import Path

import pytest

from bertprune.base.errors import UserError
from bertprune.data.documents import check_text, documents, text_key
from bertprune.data.reading.plain_text import layout_of, plain_documents, sentences

SENTENCES = [
    "The boat came back late.",
    "Nobody had seen it leave!",
    "Why would they?",
    '"It rains," she said.',
    "He nodded and went on.",
    "The net was torn.",
]
BERT = "\n\n".join("\n".join(SENTENCES[n:] + SENTENCES[:n]) for n in range(6)) + "\n"
PARAGRAPH = (
    "The well-known boat came back - it rained. Nobody saw it leave, not half-awake she. " * 9
)


def write(folder: Path, content: str, name: str = "text.txt") -> Path:
    file = folder / name
    file.write_bytes(content.encode())
    return file


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("between", [1, 3])
def test_the_format_of_bert(tmp_path: Path, end: str, between: int) -> None:
    """One sentence a line, blank lines between documents."""
    content = BERT.replace("\n\n", "\n" * (1 + between)).replace("\n", end)
    file = write(tmp_path, content)
    assert layout_of(file) == "blocks"
    read = list(plain_documents(file))
    assert [document.split("\n") for document in read] == [
        SENTENCES[n:] + SENTENCES[:n] for n in range(6)
    ]
    check_text([str(file)])


def test_spaces_in_a_blank_line_and_no_end(tmp_path: Path) -> None:
    file = write(tmp_path, BERT.replace("\n\n", "\n \t\n").rstrip())
    assert len(list(plain_documents(file))) == 6


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_wrapped_lines_are_a_document_a_file(tmp_path: Path, end: str) -> None:
    wrapped = textwrap.fill(PARAGRAPH, 72)
    file = write(tmp_path, f"{wrapped}\n\n{wrapped}\n\n\n{wrapped}\n".replace("\n", end))
    assert layout_of(file) == "wrapped"
    assert list(plain_documents(file)) == ["\n".join([PARAGRAPH.strip()] * 3)]


@pytest.mark.parametrize(
    "content",
    [
        "One. Two.\nThree. Four.\n",
        "One. Two.\n\nThree. Four.\n\n",
        "One. Two.\r\n\r\nThree. Four.",
        f"{PARAGRAPH}\n{PARAGRAPH}\n\n{PARAGRAPH}\n{PARAGRAPH}\n",
        f"= Title =\n\n{PARAGRAPH}\n{PARAGRAPH}\n\n= Part =\n\n{PARAGRAPH}\n",
        "word " * 20 + "\n" + "word " * 20,
        "a\nb\n\nc\nd\n",
    ],
)
def test_else_a_line_is_a_document(tmp_path: Path, content: str) -> None:
    file = write(tmp_path, content)
    assert layout_of(file) == "lines"
    expected = [line for line in content.replace("\r\n", "\n").split("\n") if line.strip()]
    assert list(plain_documents(file)) == expected


def test_the_layout_is_part_of_the_identity(tmp_path: Path) -> None:
    """A table and a text of equal content, or another blank line, are other texts."""
    one = write(tmp_path, BERT)
    two = write(tmp_path, BERT.replace("\n\n", "\n"), "lines.txt")
    assert text_key([str(one)]) != text_key([str(two)])
    moved = write(tmp_path, BERT, "moved.TXT")
    assert text_key([str(one)]) == text_key([str(moved)])


@pytest.mark.parametrize(
    "content",
    ["\n".join(SENTENCES * 3), "one\n\ntwo\n\nthree\n", "a\nb\n\nc\nd\n", "Only one.\n"],
)
def test_documents_without_a_second_sentence_are_refused(tmp_path: Path, content: str) -> None:
    file = write(tmp_path, content)
    with pytest.raises(UserError, match="none of the first .* has a second sentence") as raised:
        check_text([str(file)])
    assert str(file) in str(raised.value)
    assert "one sentence a line with a blank line after each document" in str(raised.value)


def test_a_mark_at_the_beginning_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(b"\xef\xbb\xbfOne. Two.\n")
    assert list(documents([str(file)])) == ["One. Two."]


def test_sentences_lose_nothing_of_real_layouts() -> None:
    assert "".join(sentences(PARAGRAPH)) == PARAGRAPH
