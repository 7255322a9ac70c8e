"""Unlabelled text: from local files or the Hub to a stream of documents.

A *text* is a list of sources, each one of

- a folder: every .parquet and .txt file below it, in the order of their paths;
- a .parquet file (column `text`) or a .txt file: one document a row (a line);
- a data set of the Hugging Face Hub, `owner/name[:config][@revision]`;
- `lab`, `lab:<seed>` or `lab:<seed>:<documents>`: generated text of a lab language.

A document is one string with one paragraph a line.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from bertprune.base.errors import UserError
from bertprune.base.files import file_key
from bertprune.base.fingerprint import code_key
from bertprune.base.paths import resolve
from bertprune.data.hub import check_hub, load_rows
from bertprune.lab import language as lab
from bertprune.lab.text import documents as lab_documents

TEXT_COLUMN = "text"
SUFFIXES = (".parquet", ".txt")
LAB_BYTES_A_DOCUMENT = 150
ROWS_A_BATCH = 16  # books can be several MB each
LOCAL_TEXT = "a local folder, .parquet or .txt file with one document a row"


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
    """Raise UserError for a source that is missing, empty, unreadable or out of reach.

    Reads no more of each file than its footer or first document, so that it can run before any
    work.
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
                digest.update((file.suffix + file_key(file)).encode())
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


@contextmanager
def open_parquet(file: Path) -> Iterator[pq.ParquetFile]:
    """The parquet file; what cannot be read of it in the block becomes a UserError, as does a
    column that is there twice."""
    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            if twice := [name for name in names if names.count(name) > 1]:
                raise UserError(f"{file} has the column {twice[0]!r} twice")
            yield parquet
    # The last two are what damage in texts and names comes to.
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UserError(f"{file} cannot be read as parquet: {error}") from error


def _locate(source: str) -> list[Path] | HubText | lab.Source:
    """Local files, a Hub data set or a lab language. Raises UserError if it is none of them."""
    if generated := lab.find_source(source):
        return generated
    path = resolve(source)
    if path.is_dir():
        files = sorted(file for file in _files_below(path) if file.suffix in SUFFIXES)
        if not files:
            raise UserError(f"no .parquet or .txt file in the folder {path} (text {source!r})")
    elif path.is_file():
        files = [path]
        if path.suffix not in SUFFIXES:
            raise UserError(
                f"text {source!r} is a {path.suffix or 'nameless'} file: give {LOCAL_TEXT}"
            )
    else:
        return _hub_text(source)
    for file in files:
        # A link may lead nowhere.
        if not (os.path.isfile(file) and os.access(file, os.R_OK)):
            raise UserError(f"{file} is no file that you may read (text {source!r})")
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    """The files in `folder` and in those below it. Raises UserError for one that is closed."""

    def refuse(error: OSError) -> None:
        raise UserError(f"the folder {error.filename} cannot be read: {error.strerror}") from error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, name) for name in names)


def _hub_text(source: str) -> HubText:
    """The Hub data set of that name. Raises UserError if it is no name of one."""
    named = HUB_NAME.fullmatch(source)
    if named and not source.endswith(SUFFIXES) and source[0] != ".":
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


def _check_file(file: Path) -> None:
    """Raise UserError unless `file` can be read and has a document."""
    if file.suffix == ".txt":
        if next(_lines(file), None) is None:
            raise UserError(f"{file} is empty: a .txt file of text has one document a line")
        return
    with open_parquet(file) as parquet:
        schema = parquet.schema_arrow
        if TEXT_COLUMN not in schema.names:
            raise UserError(
                f"{file} has no column {TEXT_COLUMN!r} (it has {', '.join(schema.names)}): "
                "a parquet file of text has one document a row in that column"
            )
        kind = schema.field(TEXT_COLUMN).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UserError(f"{file}: column {TEXT_COLUMN!r} holds {kind}, it must hold strings")
        if parquet.metadata.num_rows == 0:
            raise UserError(f"{file} is empty: a parquet file of text has one document a row")


def _file_size_bytes(file: Path) -> int:
    if file.suffix == ".txt":
        return file.stat().st_size
    with open_parquet(file) as parquet:
        groups = (parquet.metadata.row_group(n) for n in range(parquet.num_row_groups))
        columns = (group.column(n) for group in groups for n in range(group.num_columns))
        return sum(
            column.total_uncompressed_size
            for column in columns
            if column.path_in_schema == TEXT_COLUMN
        )


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
        if file.suffix == ".txt":
            yield from _lines(file)
            continue
        with open_parquet(file) as parquet:
            for batch in parquet.iter_batches(ROWS_A_BATCH, columns=[TEXT_COLUMN]):
                for row in batch.column(0):
                    if row.is_valid:
                        yield row.as_py()


def _join_rows(rows: Iterator[str], count: int) -> Iterator[str]:
    while group := list(islice(rows, count)):
        yield "\n".join(group)


def _lines(file: Path) -> Iterator[str]:
    """The lines of a UTF-8 text file that are not blank."""
    try:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                if not line.isspace():
                    yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text ({error.reason}): convert it first") from error
