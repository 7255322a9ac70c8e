"""Unlabelled text: from local files or the Hub to a stream of documents.

A *text* is a list of sources, each one of

- a folder: the files below it (`reading.folders` says which), in the order of their paths;
- a file of plain text (`reading.plain_text` says how documents are laid out in it) or a table with
  a column `text`, one document a row (`reading.table_files`);
- a data set of the Hugging Face Hub, `owner/name[:config][@revision]`;
- `lab`, `lab:<seed>` or `lab:<seed>:<documents>`: generated text of a lab language.

A document is one string with one paragraph a line.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import xxhash

from bertprune.base.errors import UserError
from bertprune.base.files import file_key
from bertprune.base.fingerprint import code_key
from bertprune.base.paths import resolve
from bertprune.data.reading.folders import check_file, files_below
from bertprune.data.reading.hub import check_hub, load_rows
from bertprune.data.reading.plain_text import has_two_sentences, layout_of, plain_documents
from bertprune.data.reading.streams import KINDS, kind_of, size_bytes
from bertprune.data.reading.table_files import holds_strings, open_table, words_of
from bertprune.lab import language as lab
from bertprune.lab.text import documents as lab_documents

TEXT_COLUMN = "text"
LAB_BYTES_A_DOCUMENT = 150
ROWS_A_BATCH = 16  # books can be several MB each
DOCUMENTS_LOOKED_AT = 1000  # for one with a second sentence, before any work
LOCAL_TEXT = "a local folder or file of text, as .txt, or as a table with one document a row"
HOW_TO_WRITE = (
    "Write one document a line in a .txt file, or one sentence a line with a blank line after each "
    f"document, or a table with one document a row in its column {TEXT_COLUMN!r}"
)


@dataclass(frozen=True)
class HubText:
    """A data set of the Hub with a split `train` and a column `text`."""

    repository: str
    config: str = ""
    revision: str | None = None


# Data sets whose rows are sentences, not documents, and which do not say where a document ends:
# so many consecutive rows are taken as one document. The order of the rows is the text's.
SENTENCES_A_DOCUMENT = {"bookcorpus/bookcorpus": 1000}

# The paper's: English Wikipedia and BookCorpus. The latter's own files are a loading script, which
# is code from outside; the Hub keeps a parquet copy of every data set at this revision.
DEFAULT_TEXT = (
    "wikimedia/wikipedia:20231101.en",
    "bookcorpus/bookcorpus:plain_text@refs/convert/parquet",
)

HUB_NAME = re.compile(
    r"(?P<repository>[\w.-]+/[\w.-]+)(:(?P<config>[\w.-]+))?(@(?P<revision>[\w./-]+))?"
)


def check_text(text: Sequence[str] = DEFAULT_TEXT) -> None:
    """Raise UserError for a source that is missing, empty, unreadable or out of reach, and for
    local documents of which none has a second sentence.

    Reads no more of each file than its beginning, so that it can run before any work.
    """
    if not text:
        raise UserError(f"no text is named: give {LOCAL_TEXT}, or Hub data sets {DEFAULT_TEXT}")
    for source in text:
        where = _locate(source)
        if isinstance(where, HubText):
            _check_hub_text(where, source)
        elif isinstance(where, list):
            for file in where:
                _check_file(file)
            _check_pairs(where)


def documents(text: Sequence[str] = DEFAULT_TEXT) -> Iterator[str]:
    """The documents of all sources in order, streamed; blank ones are left out."""
    for source in text:
        for document in _source_documents(source):
            if document and not document.isspace():
                yield document


def text_key(text: Sequence[str] = DEFAULT_TEXT) -> str:
    """Hex hash of what `text` contains: equal keys, equal documents.

    Local files go by their content, wherever they lie; a Hub data set by its name, configuration
    and revision.
    """
    digest = xxhash.xxh3_128()
    for source in text:
        where = _locate(source)
        if isinstance(where, HubText):
            digest.update(repr(where).encode())
        elif isinstance(where, list):
            for file in where:
                digest.update((_reading_of(file) + file_key(file)).encode())
        else:
            # The text follows from the code that writes it.
            digest.update(f"{where} {code_key(lab_documents.__module__)}".encode())
    return digest.hexdigest()


def text_size_bytes(text: Sequence[str]) -> int | None:
    """About how many bytes of UTF-8 the text has; None if a source does not tell beforehand."""
    total = 0
    for source in text:
        where = _locate(source)
        if isinstance(where, HubText):
            return None
        if isinstance(where, list):
            total += sum(map(_file_size_bytes, where))
        else:
            total += where.documents * LAB_BYTES_A_DOCUMENT
    return total


def _locate(source: str) -> list[Path] | HubText | lab.Source:
    """Local files, a Hub data set or a lab language. Raises UserError if it is none of them."""
    if generated := lab.find_source(source):
        return generated
    path = resolve(source)
    if path.is_dir():
        files = files_below(path)
        if not files:
            raise UserError(f"no file of text in the folder {path}: give {LOCAL_TEXT}")
        return files
    if os.path.lexists(path):
        check_file(path)
        return [path]
    return _hub_text(source)


def _hub_text(source: str) -> HubText:
    """The Hub data set of that name. Raises UserError if it is no name of one."""
    named = HUB_NAME.fullmatch(source)
    if named and not source.endswith(KINDS) and source[0] != ".":
        return HubText(named["repository"], named["config"] or "", named["revision"])
    raise UserError(
        f"text {source!r}: there is no {resolve(source)}; give {LOCAL_TEXT}, or the name of a Hub "
        "data set (owner/name:config@revision)"
    )


def _check_hub_text(hub: HubText, source: str) -> None:
    check_hub(
        hub.repository,
        kind="dataset",
        revision=hub.revision,
        instead=f"{LOCAL_TEXT} (there is no {resolve(source)})",
    )


def _reading_of(file: Path) -> str:
    """How the file's content is read: files of equal content that are read otherwise are another
    text."""
    kind = str(kind_of(file))
    layout = layout_of(file) if kind == ".txt" else "lines"
    return kind if layout == "lines" else f"{kind} {layout}"


def _check_file(file: Path) -> None:
    """Raise UserError unless `file` can be read and has a document."""
    if kind_of(file) == ".txt":
        if next(plain_documents(file), None) is None:
            raise UserError(f"{file} is empty: a .txt file of text has one document a line")
        return
    with open_table(file, [TEXT_COLUMN]) as table:
        kind = table.schema.field(TEXT_COLUMN).type
        if not holds_strings(kind):
            raise UserError(
                f"{file}: column {TEXT_COLUMN!r} holds {words_of(kind)}, it must hold strings"
            )
        if not table.has_rows:
            raise UserError(f"{file} is empty: a table of text has one document a row")


def _check_pairs(files: Sequence[Path]) -> None:
    """Raise UserError if none of the first documents has a second sentence."""
    looked_at = 0
    for document in islice(_file_documents(files), DOCUMENTS_LOOKED_AT):
        if has_two_sentences(document):
            return
        looked_at += 1
    raise UserError(
        f"{files[0]}{' and the files after it' if len(files) > 1 else ''}: none of the first "
        f"{looked_at} documents has a second sentence, so no pair of sentences can be made. "
        f"{HOW_TO_WRITE}"
    )


def _file_size_bytes(file: Path) -> int:
    if kind_of(file) == ".txt":
        return size_bytes(file)
    with open_table(file, [TEXT_COLUMN]) as table:
        return table.size_bytes


def _source_documents(source: str) -> Iterator[str]:
    where = _locate(source)
    if isinstance(where, lab.Source):
        return lab_documents(where)
    if isinstance(where, list):
        return _file_documents(where)
    rows = _hub_documents(where)
    grouped = SENTENCES_A_DOCUMENT.get(where.repository)
    return _join_rows(rows, grouped) if grouped else rows


def _hub_documents(hub: HubText) -> Iterator[str]:
    rows = load_rows(hub.repository, hub.config, "train", revision=hub.revision, instead=LOCAL_TEXT)
    if TEXT_COLUMN not in rows.column_names:
        raise UserError(
            f"the Hub's data set {hub.repository!r} has no column {TEXT_COLUMN!r} (it has "
            f"{', '.join(rows.column_names)}): a data set of text has one document a row in it"
        )
    for batch in rows.select_columns([TEXT_COLUMN]).iter(ROWS_A_BATCH):
        yield from filter(None, batch[TEXT_COLUMN])


def _file_documents(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        _check_file(file)
        if kind_of(file) == ".txt":
            yield from plain_documents(file)
            continue
        with open_table(file, [TEXT_COLUMN]) as table:
            for batch in table.batches(ROWS_A_BATCH):
                yield from filter(None, batch.column(0).to_pylist())


def _join_rows(rows: Iterator[str], count: int) -> Iterator[str]:
    while group := list(islice(rows, count)):
        yield "\n".join(group)
