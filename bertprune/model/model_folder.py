"""Folders of models: where they are, what identifies them, and what their config says. Without
torch, which takes seconds to import and which whoever only names runs does without."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xxhash

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import file_key
from bertprune.data.reading.hub import TOKENIZER_FILES, download
from bertprune.lab import language as lab

CONFIG_FILE = "config.json"


def local_folder(name: str) -> Path | None:
    """The folder of the model `name`, one that comes with the package or a path; None if there is
    none here."""
    folder = _shipped(name) or paths.resolve(name)
    return folder if folder.is_dir() else None


def model_key(name: str) -> str:
    """Identity of a model or tokenizer: hash of its files, or its name on the Hub."""
    folder = local_folder(name)
    if folder is None:
        return name
    files = [
        file for pattern in ("*.safetensors", *TOKENIZER_FILES) for file in folder.glob(pattern)
    ]
    return xxhash.xxh3_128_hexdigest(
        "\0".join(f"{file.name} {file_key(file)}" for file in sorted(files)).encode()
    )


def config_of(name: str) -> dict[str, Any]:
    """The config of the model `name`; raises UserError if it has none."""
    file = folder_of(name, [CONFIG_FILE]) / CONFIG_FILE
    if not file.exists():
        raise UserError(f"{name} is not a Hugging Face model: it has no {CONFIG_FILE}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    return config if isinstance(config, dict) else {}


def folder_of(name: str, files: Sequence[str]) -> Path:
    """The folder of the model `name`, with the `files` that were asked for where it is the Hub's.

    Raises UserError, within seconds, if there is neither a folder nor a way to the Hub.
    """
    if folder := local_folder(name):
        return folder
    path = paths.resolve(name)
    if name.startswith((".", "/", "~")):
        raise UserError(f"there is no model folder {path}")
    instead = f"the folder of a downloaded model (there is no folder {path})"
    return download(name, files, instead=instead)


def _shipped(name: str) -> Path | None:
    """The folder of the BERT that comes with the package, if `name` is a lab language."""
    source = lab.find_source(name)
    if source is None:
        return None
    if source.seed:
        raise UserError(
            f"no model of the language {name!r} comes with the package, only one of {lab.SOURCE!r}:"
            " leave model empty and pre-train one, as the study lab-another does"
        )
    return Path(lab.__file__).parent / "model"
