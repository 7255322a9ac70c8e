"""The record of a run: what was executed, from what, where, and at what cost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, get_origin

from bertprune.base.errors import UserError
from bertprune.base.files import check_readable, read_json, write_json
from bertprune.protocol.fields import type_hints

RECORD_FILE = "record.json"
"""Where it lies in the folder of a run; a folder that has one is done."""

_DIGEST_LENGTH = 10
_OF_IDENTITY = ("notebook", "parameters", "data", "code", "upstream")


class DamagedRecord(UserError, ValueError):
    """A record that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What made a run, and what it took: what is published of its record."""

    id: str
    parameters: dict[str, Any]
    identity: dict[str, Any]
    """What determines the result: notebook, parameters, data, code, and the runs it needs."""
    finished: str
    """UTC, as 2026-11-30T12:00:00Z."""
    device: str
    threads: int
    wall_time_s: float
    """Of the work, over all tries; of several models trained at once, this one's share."""
    peak_memory_bytes: int
    tries: int
    precision: str = ""
    """What "auto" came to; former runs did not note it."""
    products: str = ""
    """The libraries of large products in float32 on a processor (see `model.products`)."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """What `content` says. Raises ValueError naming a field that lacks or is wrong."""
        kinds = type_hints(cls)
        fields = {one.name: one for one in dataclasses.fields(cls)}
        for name, one in fields.items():
            optional = one.default is not dataclasses.MISSING or callable(one.default_factory)
            if name not in content and optional:
                continue
            kind = get_origin(kinds[name]) or kinds[name]
            value = content.get(name)
            if not isinstance(value, (int, float) if kind is float else kind):
                raise ValueError(f"its {name} is {value!r}, not one of kind {kind.__name__}")
        identity = content["identity"]
        if missing := [name for name in _OF_IDENTITY if name not in identity]:
            raise ValueError(f"its identity has no {', '.join(missing)}")
        return cls(**{name: value for name, value in content.items() if name in fields})

    @property
    def machine(self) -> str:
        """The device, and how many threads the run had."""
        return f"{self.device} × {self.threads}"

    def is_training_of(self, other: Execution) -> bool:
        """Whether both are of one training, of which the page may have been made anew since."""
        return (self.wall_time_s, self.peak_memory_bytes) == (
            other.wall_time_s,
            other.peak_memory_bytes,
        )

    def published(self) -> dict[str, Any]:
        """Its fields, for JSON; without those that were not noted."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(Execution)}
        return {name: value for name, value in values.items() if value != ""}


@dataclass(frozen=True, kw_only=True)
class Record(Execution):
    """What a finished run says of itself."""

    notebook: str
    page: str
    """Hash of what the page shows beside the result."""
    notebook_sha256: str
    versions: dict[str, str]
    """Of Python, this package and the libraries."""
    files_sha256: dict[str, str] = field(default_factory=dict)
    """Of rows, predictions and model, by their place in the run's folder; former runs did not note
    them."""
    notebook_wall_time_s: float = 0.0
    """Of the notebook's last execution."""
    peak_gpu_memory_bytes: int = 0
    trained_at_once: int = 1
    """How many models were trained as one."""
    imported: dict[str, str] = field(default_factory=dict)
    """From where, and when; empty for a run of this machine."""

    @classmethod
    def read(cls, folder: Path) -> Record:
        """The record of the run in `folder`. Raises DamagedRecord if it cannot be read."""
        file = folder / RECORD_FILE
        check_readable(file)
        state = file.stat()
        try:
            return _read(file, state.st_ino, state.st_mtime_ns)
        except ValueError as error:
            raise DamagedRecord(
                f"the record {file} is damaged ({error}): delete the folder {folder}, and its run "
                "is executed anew"
            ) from error

    def write(self, folder: Path) -> None:
        """Into the `folder` of the run, replaced atomically."""
        write_json(self.as_values(), folder / RECORD_FILE)

    def as_values(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Record:
        return dataclasses.replace(self, **changes)


# A study of a thousand runs is asked for each of them several times by a command.
@lru_cache(maxsize=4096)
def _read(file: Path, inode: int, mtime_ns: int) -> Record:
    """The record in `file`, read again only when it was replaced."""
    return Record.of(read_json(file))


def sha256_of(file: Path) -> str:
    """The hash of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def utc_now() -> str:
    """The time, as `Execution.finished` has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def digest_of(identity: Mapping[str, Any]) -> str:
    """The hash that ends the name of a run with `identity`."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
