"""What the work of a run takes: tries, time alone and with others, memory, and how far it is."""

from __future__ import annotations

import math
import platform
import resource
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from bertprune import __version__
from bertprune.base.files import read_json, write_json
from bertprune.base.machine import device_name
from bertprune.model.precision import BF16, FLOAT32

PROGRESS_FILE = "progress.json"
TRIES_FILE = "tries"
TOGETHER_FILE = "together.json"

_VERSIONED = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "pandas")


def begin_try(folder: Path) -> tuple[int, float]:
    """How often the work in `folder` was begun, this time included, and how many seconds the tries
    before took: each until it last said how far it was."""
    file = folder / TRIES_FILE
    noted = {"tries": 0, "wall_time_s": 0.0, "begun": math.inf} | read_if_whole(file)
    ended = read_if_whole(folder / PROGRESS_FILE).get("time", -math.inf)
    tries, before_s = noted["tries"] + 1, noted["wall_time_s"] + max(0.0, ended - noted["begun"])
    write_json({"tries": tries, "wall_time_s": before_s, "begun": time.time()}, file)
    return tries, before_s


def note_training_together(folder: Path, wall_time_s: float, models: int) -> None:
    """Note that a training of the run in `folder` was done at once with others, `models` in all,
    and its share of the time."""
    noted = trained_together(folder)
    total_s, most = noted["wall_time_s"] + wall_time_s, max(noted["models"], models)
    write_json({"wall_time_s": total_s, "models": most}, folder / TOGETHER_FILE)


def trained_together(folder: Path) -> dict[str, Any]:
    """The shares of time so noted, in all, and the most models that were trained at once."""
    return {"wall_time_s": 0.0, "models": 1} | read_if_whole(folder / TOGETHER_FILE)


def facts(folder: Path, tries: int, wall_time_s: float) -> dict[str, Any]:
    """Where and with what the work in `folder` was done, and what it took: fields of the record.

    `wall_time_s` is what it took beside training together with others.
    """
    # They take seconds to import, and the last one imports torch.
    import torch
    from accelerate.state import AcceleratorState

    from bertprune.model.products import share_of_one_dnn

    gpu = torch.cuda.is_available()
    precision = BF16 if AcceleratorState().mixed_precision == "bf16" else FLOAT32
    # Linux counts in kB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    together = trained_together(folder)
    return {
        "versions": versions(),
        "device": device_name(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "products": "" if gpu or precision == BF16 else str(share_of_one_dnn()),
        "wall_time_s": round(together["wall_time_s"] + wall_time_s, 2),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated() if gpu else 0,
        "tries": tries,
        "trained_at_once": together["models"],
    }


def versions() -> dict[str, str]:
    """Those of Python, this package, and what its results come from."""
    found = {"python": platform.python_version(), "bertprune": __version__}
    return found | {name: metadata.version(name) for name in _VERSIONED}


def progress_in_words(folder: Path) -> str:
    """How far the work in `folder` is; empty where nothing is known."""
    state = read_if_whole(folder / PROGRESS_FILE)
    if not state:
        return ""
    unit = state["unit"].strip().removesuffix("s")
    words = f"{state['what']}, {state['done']} of {state['total']} {unit}s"
    if state["rate_per_s"] and state["total"] and time.time() - state["time"] < 60:
        left_s = (state["total"] - state["done"]) / state["rate_per_s"]
        words += f", {left_s / 60:.0f} min left"
    return words


def read_if_whole(file: Path) -> dict[str, Any]:
    """What `file` says; nothing if it is not there, or was cut off."""
    with suppress(OSError, ValueError):
        return read_json(file)
    return {}
