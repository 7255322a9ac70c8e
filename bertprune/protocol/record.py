"""The record of a run: what was executed, from what, where, and at what cost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from bertprune.base.errors import UserError
from bertprune.base.files import read_json, write_json

RECORD_FILE = "record.json"
"""Where it lies in the folder of a run; a folder that has one is done."""

_DIGEST_LENGTH = 10
_OF_IDENTITY = ("notebook", "parameters", "data", "code", "upstream")


class DamagedRecord(UserError, ValueError):
    """A record that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a finished run says of itself."""

    id: str
    notebook: str
    parameters: dict[str, Any]
    identity: dict[str, Any]
    """What determines the result: notebook, parameters, data, code, and the runs it needs."""
    page: str
    """Hash of what the page shows beside the result."""
    notebook_sha256: str
    finished: str
    """UTC, as 2026-11-30T12:00:00Z."""
    versions: dict[str, str]
    """Of Python, this package and the libraries."""
    device: str
    threads: int
    wall_time_s: float
    """Of the work, over all tries; of several models trained at once, this one's share."""
    peak_memory_bytes: int
    tries: int
    files_sha256: dict[str, str] = field(default_factory=dict)
    """Of rows and model, by their place in the run's folder; former runs did not note them."""
    precision: str = ""
    """What "auto" came to; former runs did not note it."""
    notebook_wall_time_s: float = 0.0
    """Of the notebook's last execution."""
    peak_gpu_memory_bytes: int = 0
    trained_at_once: int = 1
    """How many models were trained as one."""
    imported: dict[str, str] = field(default_factory=dict)
    """From where, and when; empty for a run of this machine."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Record:
        """The record that `content` is. Raises ValueError naming a field that lacks or is wrong."""
        kinds = get_type_hints(cls)
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

    @classmethod
    def read(cls, folder: Path) -> Record:
        """The record of the run in `folder`. Raises DamagedRecord if it cannot be read."""
        file = folder / RECORD_FILE
        try:
            return cls.of(read_json(file))
        except ValueError as error:
            raise DamagedRecord(
                f"the record {file} is damaged ({error}): delete the folder {folder}, and its run "
                "is executed anew"
            ) from error

    def write(self, folder: Path) -> None:
        """Into the `folder` of the run, replaced atomically."""
        write_json(dataclasses.asdict(self), folder / RECORD_FILE)

    def replace(self, **changes: Any) -> Record:
        return dataclasses.replace(self, **changes)

    @property
    def machine(self) -> str:
        """The device, and how many threads the run had."""
        return f"{self.device} × {self.threads}"


def digest_of(identity: Mapping[str, Any]) -> str:
    """The hash that ends the name of a run with `identity`."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
