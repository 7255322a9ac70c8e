"""Tables in files: parquet, Arrow, CSV, TSV and JSON lines, read in batches of rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bertprune.base.errors import UserError, did_you_mean
from bertprune.data.reading.streams import kind_of, open_text, size_bytes

ROWS_LOOKED_AT = 1000  # of a table without types, to know those of its columns
LONGEST_FIELD = 1 << 30  # of a CSV file, in characters; the module's own limit is a short document


# The libraries' own errors, and what damage in texts, names and numbers comes to.
_LONGEST_WORDS = 60  # of a value or a type in a message, in characters
_UNREADABLE = (
    *(pa.ArrowException, csv.Error, OSError),
    *(ValueError, LookupError, TypeError, OverflowError, RecursionError),
)


class _Unquoted(csv.excel_tab):
    quoting = csv.QUOTE_NONE


@dataclass(frozen=True)
class OpenTable:
    """Some columns of a table that is open for reading."""

    schema: pa.Schema
    """Of these columns; what a publisher has noted of them is in its metadata."""
    has_rows: bool
    size_bytes: int
    """About how large the columns are, decompressed; of rows that are text, the whole file."""
    batches: Callable[[int], Iterator[pa.RecordBatch]]
    """Batches of at most so many rows. A column that is encoded as a dictionary is decoded."""


@contextmanager
def open_table(file: Path, columns: Sequence[str]) -> Iterator[OpenTable]:
    """The table in `file` for reading `columns`, as the name says which kind it is of.

    What cannot be read of it in the block becomes a UserError, as does a column that is missing or
    there twice. All of a CSV or TSV file is strings; an empty field is missing.
    """
    kind = kind_of(file)
    opened = {".parquet": _parquet, ".arrow": _arrow, ".feather": _arrow}.get(str(kind), _rows)
    try:
        with ExitStack() as stack:
            yield opened(file, columns, stack)
    except _UNREADABLE as error:
        raise UserError(f"{file} cannot be read as {str(kind)[1:]}: {error}") from error


def holds_strings(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def words_of(kind: pa.DataType) -> str:
    """What a column holds, for a message."""
    if pa.types.is_struct(kind):
        return (
            f"an object with {kind.num_fields} fields (pandas writes rows with "
            "`to_json(orient='records')`)"
        )
    said = str(kind)
    return said if len(said) <= _LONGEST_WORDS else f"{said[:_LONGEST_WORDS]}…"


def class_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The names of the column's numbers, where the library `datasets` has noted them; else none."""
    try:
        noted = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        return tuple(map(str, noted["names"]))
    # What others have noted may be of any shape.
    except (ValueError, LookupError, TypeError):
        return ()


def check_names(where: Path | str, columns: Iterable[str], names: Sequence[str]) -> None:
    """Raise UserError for a name that is there twice, or one of `columns` that is not there."""
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{where} has the column {twice[0]!r} twice")
    for column in columns:
        if column not in names:
            raise UserError(f"{where} has no column {column!r}: {did_you_mean(column, names)}")


def _parquet(file: Path, columns: Sequence[str], stack: ExitStack) -> OpenTable:
    parquet = stack.enter_context(pq.ParquetFile(file))
    schema = _selected(file, parquet.schema_arrow, columns)
    groups = (parquet.metadata.row_group(n) for n in range(parquet.num_row_groups))
    chunks = (group.column(n) for group in groups for n in range(group.num_columns))
    return OpenTable(
        schema,
        parquet.metadata.num_rows > 0,
        sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns),
        lambda rows: map(_decoded, parquet.iter_batches(rows, columns=list(columns))),
    )


def _arrow(file: Path, columns: Sequence[str], stack: ExitStack) -> OpenTable:
    mapped = stack.enter_context(pa.memory_map(str(file)))
    # `datasets` writes the format of streams, others that of files, which begins with its name.
    open_ipc = pa.ipc.open_file if mapped.read(6) == b"ARROW1" else pa.ipc.open_stream
    mapped.seek(0)
    table = open_ipc(mapped).read_all()
    schema = _selected(file, table.schema, columns)
    table = table.select(list(columns))
    return OpenTable(
        schema,
        table.num_rows > 0,
        table.nbytes,
        lambda rows: map(_decoded, table.to_batches(max_chunksize=rows)),
    )


def _rows(file: Path, columns: Sequence[str], stack: ExitStack) -> OpenTable:
    """A table whose rows are lines of text, which have no types."""
    if kind_of(file) in (".csv", ".tsv"):
        # The names of the columns are a row of their own.
        rows: Iterator[Sequence[Any]] = _csv_rows(file, columns, stack)
    else:
        rows = _json_rows(file, columns, stack)
    first = list(islice(rows, ROWS_LOOKED_AT))
    typed = list(zip(*first, strict=True)) or [()] * len(columns)
    schema = pa.schema(
        (name, _type_of(values)) for name, values in zip(columns, typed, strict=True)
    )
    return OpenTable(
        schema,
        bool(first),
        size_bytes(file),
        partial(_batches, file, schema, chain(first, rows)),
    )


def _batches(
    file: Path, schema: pa.Schema, rows: Iterator[Sequence[Any]], count: int
) -> Iterator[pa.RecordBatch]:
    done = 0
    while batch := list(islice(rows, count)):
        values = zip(*batch, strict=True)
        arrays = [
            _array(file, field, column, done) for field, column in zip(schema, values, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        done += len(batch)


def _type_of(values: Iterable[Any]) -> pa.DataType:
    """The type of the first value that is not missing."""
    known = next((value for value in values if value is not None), None)
    return pa.string() if known is None else pa.scalar(known).type


def _array(file: Path, field: pa.Field, values: Sequence[Any], first_row: int) -> pa.Array:
    """The values, all of the field's type: Arrow itself would make 0 of 0.5 in a whole number's."""
    with suppress(*_UNREADABLE):
        array = pa.array(values)
        if array.type == field.type or array.null_count == len(array):
            return array.cast(field.type)
    for row, value in enumerate(values, first_row):
        why = f"where rows before it have {words_of(field.type)}"
        try:
            if value is None or pa.array([value]).type == field.type:
                continue
        except _UNREADABLE as error:
            why = f"which cannot be read: {error}"
        raise UserError(
            f"{file}, row {row}: {field.name!r} is {repr(value)[:_LONGEST_WORDS]}, {why}"
        )
    raise AssertionError("values of one type make an array")


def _csv_rows(
    file: Path, columns: Sequence[str], stack: ExitStack
) -> Iterator[Sequence[str | None]]:
    lines = stack.enter_context(open_text(file, newline=""))
    csv.field_size_limit(LONGEST_FIELD)
    if kind_of(file) == ".csv":
        rows = csv.reader(lines, strict=True)
    else:
        # A row is a line. Some writers quote as in CSV, in others quotation marks are text.
        dialect = csv.excel_tab if _quotes(file) else _Unquoted
        rows = csv.reader(lines, dialect, strict=True)
    names = next(rows, [])
    check_names(file, columns, names)
    places = [names.index(column) for column in columns]
    return _fields(file, rows, len(names), places)


def _fields(
    file: Path, rows: Iterable[list[str]], width: int, places: Sequence[int]
) -> Iterator[Sequence[str | None]]:
    number = 0
    for row in rows:
        if not row:
            continue
        if len(row) != width:
            raise UserError(
                f"{file}, row {number}: it has {len(row)} fields, the first line names {width}"
            )
        yield [row[place] or None for place in places]
        number += 1


def _quotes(file: Path) -> bool:
    """Whether quotation marks of a TSV file are those of CSV: around every field with one, and
    doubled inside."""
    with open_text(file, newline="") as lines:
        marked = (
            field
            for line in lines
            if '"' in line
            for field in line.rstrip("\r\n").split("\t")
            if '"' in field
        )
        return all(
            len(field) > 1
            and field[0] == field[-1] == '"'
            and '"' not in field[1:-1].replace('""', "")
            for field in marked
        )


def _json_rows(file: Path, columns: Sequence[str], stack: ExitStack) -> Iterator[Sequence[Any]]:
    """The rows of JSON lines, or of one list of objects."""
    lines = stack.enter_context(open_text(file))
    start = lines.read(1)
    while start.isspace():
        start = lines.read(1)
    if start == "[":
        objects: Iterator[Any] = iter(json.loads(start + lines.read()))
    else:
        objects = _json_lines(file, start, lines)
    return _members(file, objects, columns)


def _json_lines(file: Path, start: str, lines: Iterable[str]) -> Iterator[Any]:
    row = 0
    for line in lines:
        line, start = start + line, ""
        if line.isspace():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{file}, row {row}: {line.strip()[:60]!r} is no JSON: {error}"
            ) from error
        row += 1


def _members(file: Path, objects: Iterator[Any], columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    for row, found in enumerate(objects):
        if not isinstance(found, dict):
            raise UserError(f"{file}, row {row}: {str(found)[:60]!r} is no object with columns")
        for column in columns:
            if column not in found:
                raise UserError(
                    f"{file}, row {row} has no {column!r}: {did_you_mean(column, found)}"
                )
        yield [found[column] for column in columns]


def _selected(file: Path, schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    check_names(file, columns, schema.names)
    fields = [schema.field(column) for column in columns]
    return pa.schema(
        [field.with_type(_plain(field.type)) for field in fields], metadata=schema.metadata
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type that a column has for us: the values' where it is encoded as a dictionary."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.string() if pa.types.is_string_view(kind) else kind


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [column.cast(_plain(column.type)) for column in batch.columns], batch.schema.names
    )
