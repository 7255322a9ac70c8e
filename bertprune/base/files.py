"""Files and folders that are there completely or not at all; seals that notice damage; keys."""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import xxhash

from bertprune.base.errors import UserError, full_disk_is_user_error

SEAL = "meta.json"

# A name may have 255 bytes, and others stand before and behind such a part.
_LONGEST_PART_BYTES = 150

PART = ".part"
"""What the names of unfinished files end with: such a one was left by a process that was killed."""


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """The path of an unfinished file, which replaces `file` at the end of the block, by one rename.

    Its folder is made where it lacks. If the block fails, the old file stays, and nothing of the
    new one. Of several writers at once each has an unfinished file of its own. Raises UserError
    where the disk is full.
    """
    unfinished = _unfinished(file)
    with full_disk_is_user_error(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)


def _unfinished(file: Path) -> Path:
    # Without the file's own name, which may be as long as a name can be.
    return file.with_name(f"{secrets.token_hex(8)}{PART}")


def write_text(text: str, file: Path) -> None:
    """Replace `file` by `text`, in UTF-8 (see `replacing`)."""
    with replacing(file) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(content: Mapping[str, Any], file: Path) -> None:
    """Replace `file` by `content` as JSON (see `replacing`)."""
    write_text(json.dumps(content, indent=1) + "\n", file)


def read_json(file: Path) -> dict[str, Any]:
    """The JSON mapping in `file`. Raises OSError if it cannot be read, ValueError if it is none."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is no mapping")
    return content


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes `folder` at the end of the block, by one rename.

    Nothing is left if the block fails. Where another process has made `folder` meanwhile, its
    result stays and ours goes: both come from the same content.
    """
    with full_disk_is_user_error(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as private:
            unfinished = Path(private) / "folder"
            unfinished.mkdir()
            yield unfinished
            try:
                unfinished.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise


def remove_folder(folder: Path) -> None:
    """Remove `folder`, if it is there. Raises OSError where that may not be."""
    if folder.exists():
        shutil.rmtree(folder)


def part_of_name(text: str) -> str:
    """`text` as a part of the name of a file or folder: as it is, or of one that is too long for
    that its beginning and a hash of it all."""
    if len(text.encode()) <= _LONGEST_PART_BYTES:
        return text
    beginning = text.encode()[: _LONGEST_PART_BYTES - 9].decode(errors="ignore")
    return f"{beginning}-{xxhash.xxh32_hexdigest(text.encode())}"


def check_readable(file: Path) -> None:
    """Raise UserError where `file` is there and may not be read, which is no damage; libraries
    that open it might even say that it is missing."""
    if os.path.exists(file) and not os.access(file, os.R_OK):
        raise UserError(f"{file} may not be read by you: have its owner allow it")


def seal(folder: Path, about: Mapping[str, Any]) -> None:
    """Write `about`, and size and checksum of every file in `folder`, to its meta.json."""
    files = {
        file.name: {"size_bytes": file.stat().st_size, "xxh3_128": file_key(file)}
        for file in sorted(folder.iterdir())
    }
    (folder / SEAL).write_text(json.dumps({**about, "files": files}, indent=1), encoding="utf-8")


def open_sealed(folder: Path) -> dict[str, Any]:
    """What was sealed as `about`. Raises UserError if a file is not what it was then."""
    for file in (folder, *folder.glob("*")):
        check_readable(file)
    try:
        about: dict[str, Any] = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        for name, expected in about.pop("files").items():
            size_bytes = (folder / name).stat().st_size
            if size_bytes != expected["size_bytes"]:
                raise ValueError(
                    f"{name} has {size_bytes} bytes instead of {expected['size_bytes']}"
                )
            if file_key(folder / name) != expected["xxh3_128"]:
                raise ValueError(f"the content of {name} has changed")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"the cache {folder} is damaged ({error}): delete this folder and give the same "
            "command again, it is then built anew"
        ) from error
    return about


def file_key(file: Path) -> str:
    """Hex hash of a file's content, read again only when its size or time has changed."""
    state = file.stat()
    return _file_key(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_key(file: Path, size_bytes: int, mtime_ns: int) -> str:
    digest = xxhash.xxh3_128()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
