"""What a folder of text holds: files that are read, litter that is passed over, and the rest, which
is refused by name.

A folder that the library `datasets` saved (`save_to_disk`) holds the files that its state lists.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from bertprune.base.errors import UserError
from bertprune.base.files import read_json
from bertprune.base.words import listed
from bertprune.data.reading.streams import (
    COMPRESSIONS,
    KINDS,
    TABLE_SUFFIXES,
    TEXT_KINDS,
    kind_of,
)

SAVED_STATE = "state.json"  # of each folder that `datasets` saved
SAVED_SPLITS = "dataset_dict.json"  # beside the folders of its splits
READ = (
    f"{', '.join(sorted(set(KINDS) - set(TEXT_KINDS)))}, and {', '.join(TEXT_KINDS)}, which may be "
    f"compressed as {', '.join(COMPRESSIONS)}"
)

# What systems, editors and publishers leave beside data, in lower case.
LITTER = (
    *(".*", "__macosx", "thumbs.db", "desktop.ini", "icon\r", "*:zone.identifier", "~$*"),
    *("*~", "#*#", "*.bak", "*.swp"),
    *("md5sums*", "sha*sums*", "*.md5", "*.sha256", "*.crc", "_success"),
    *("dataset_info.json", "dataset_infos.json", SAVED_SPLITS),
)
NOTES = ("readme", "license", "licence", "copying", "notice", "citation", "changelog")
SHARD = re.compile(r"(?P<name>.*)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<suffix>\..*)")


def files_below(folder: Path) -> list[Path]:
    """The files in `folder` and the folders below it, in the order of their paths; links are
    followed.

    Litter (`is_litter`) is passed over. Raises UserError naming whatever else there is that is not
    read: a file of another kind, one that is closed, no plain file or a link that leads nowhere, a
    folder that is closed or leads back into itself, a shard that is missing, and a file that is
    there both compressed and not.
    """
    files = sorted(_walk(folder, ()))
    for file in files:
        check_file(file)
    check_shards(files)
    plain: dict[Path, Path] = {}
    for file in files:
        inside = file.with_suffix("") if file.suffix.lower() in COMPRESSIONS else file
        if (other := plain.setdefault(inside, file)) != file:
            raise UserError(f"{other} and {file} are one text by their names: remove one of them")
    return files


def split_files(folder: Path, split: str) -> list[Path]:
    """The tables of a split in `folder`: its one file, its shards, or the files in its own folder.

    Raises UserError where it has none, has them in more than one way, or lacks a shard.
    """
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    ways: dict[str, list[Path]] = {}
    for name in names:
        file, rest = folder / name, name.removeprefix(split)
        suffix = next((end for end in TABLE_SUFFIXES if rest.lower().endswith(end)), None)
        if name == split and file.is_dir() and (below := files_below(file)):
            ways[name] = below
        elif rest.lower() == suffix:
            ways[name] = [file]
        elif suffix and rest.startswith("-") and rest != name:
            ways.setdefault(f"{split}-*{suffix}", []).append(file)
    if not ways:
        raise UserError(
            f"there is no {folder / split}.parquet, nor the like as {', '.join(KINDS[1:])} "
            f"(the folder has {listed(names)})"
        )
    if len(ways) > 1:
        raise UserError(f"{folder} has the split {split!r} more than once: {listed(ways)}")
    (files,) = ways.values()
    for file in files:
        check_file(file)
        if kind_of(file) == ".txt":
            raise UserError(f"{file} is no table: move it elsewhere")
    check_shards(files)
    return files


def saved_files(folder: Path) -> list[Path] | None:
    """The tables of a folder that `datasets` saved, in their order; None if it is no such folder.

    Raises UserError if one of them is missing.
    """
    state = folder / SAVED_STATE
    if not state.is_file():
        return None
    try:
        files = [folder / entry["filename"] for entry in read_json(state)["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{state} is not as `save_to_disk` writes it: {error}") from error
    for file in files:
        check_file(file)
    return files


def is_litter(name: str) -> bool:
    """Whether a file or folder called so is known to be no data: hidden, a backup, what a system
    leaves, a checksum, or a note like README that is of no kind that is read."""
    lower = name.lower()
    return any(fnmatchcase(lower, pattern) for pattern in LITTER) or (
        lower.split(".")[0] in NOTES and kind_of(Path(name)) is None
    )


def check_file(file: Path) -> None:
    """Raise UserError unless it is a plain file, or a link to one, that may be read, of a kind that
    is read."""
    if not (os.path.isfile(file) and os.access(file, os.R_OK)):
        raise UserError(f"{file} is no file that you may read")
    if kind_of(file) is None:
        raise UserError(
            f"{file} is of no kind that is read ({READ}): convert, rename or unpack it, "
            "or move it elsewhere"
        )


def check_shards(files: Iterable[Path]) -> None:
    """Raise UserError if of `name-00000-of-00003.parquet` and its like not all are there."""
    there: dict[tuple[Path, str, str, str], set[int]] = {}
    for file in files:
        if found := SHARD.fullmatch(file.name):
            key = (file.parent, found["name"], found["total"], found["suffix"])
            there.setdefault(key, set()).add(int(found["number"]))
    for (folder, name, total, suffix), numbers in there.items():
        if missing := sorted(set(range(int(total))) - numbers):
            raise UserError(
                f"{folder / name}-{missing[0]:05}-of-{total}{suffix} is missing: {len(numbers)} of "
                f"{int(total)} shards are there"
            )


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """All files below that are no litter; `above` has the folders that it lies in."""
    try:
        state = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read: {error.strerror}") from error
    here = (state.st_dev, state.st_ino)
    if here in above:
        raise UserError(f"the link {folder} leads back to a folder that it lies in: remove it")
    if (saved := saved_files(folder)) is not None:
        yield from saved
        return
    for entry in entries:
        if is_litter(entry.name):
            continue
        if os.path.isdir(entry.path):
            yield from _walk(Path(entry.path), (*above, here))
        else:
            yield Path(entry.path)
