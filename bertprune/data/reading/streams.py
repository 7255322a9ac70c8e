"""Kinds of files, by their names, and the text in a file, decompressed."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pyarrow as pa

from bertprune.base.errors import UserError

TEXT_KINDS = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".json")
KINDS = (".parquet", ".arrow", ".feather", *TEXT_KINDS)
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
TABLE_SUFFIXES = {kind for kind in KINDS if kind != ".txt"} | {
    kind + compression for kind in TEXT_KINDS if kind != ".txt" for compression in COMPRESSIONS
}
COMPRESSED_SHARE = 0.35  # of English text that is left when it is compressed


def kind_of(file: Path) -> str | None:
    """Which of KINDS the file is by its name, whatever its case; None if it is none of them.

    Text may be compressed: `a.txt.gz` is a `.txt` file.
    """
    suffixes = [suffix.lower() for suffix in file.suffixes]
    valid: tuple[str, ...] = KINDS
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
        valid = TEXT_KINDS
    return suffixes[-1] if suffixes and suffixes[-1] in valid else None


def size_bytes(file: Path) -> int:
    """About how large the file is, decompressed."""
    size = file.stat().st_size
    return round(size / COMPRESSED_SHARE) if file.suffix.lower() in COMPRESSIONS else size


@contextmanager
def open_text(file: Path, newline: str | None = None) -> Iterator[TextIOWrapper]:
    """The file's text, decompressed; `newline` as in Python's `open`.

    What cannot be read of it in the block becomes a UserError.
    """
    try:
        with TextIOWrapper(_bytes(file), encoding="utf-8-sig", newline=newline) as text:
            yield text
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text ({error.reason}): convert it first") from error
    except (pa.ArrowException, OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error


def _bytes(file: Path) -> Any:
    suffix = file.suffix.lower()
    if suffix == ".xz":
        return lzma.open(file)
    if suffix in COMPRESSIONS:
        return pa.input_stream(str(file), compression=COMPRESSIONS[suffix])
    return file.open("rb")
