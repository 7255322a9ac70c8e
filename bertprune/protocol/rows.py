"""Tidy rows: what every run leaves, before anything is a table or a plot.

One row for each arm, task, sparsity, learning rate, seed, epoch or step, split, metric, part of the
model, and position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from bertprune.base.errors import UserError, full_disk_is_user_error

Rows: TypeAlias = pd.DataFrame


class DamagedRows(UserError, ValueError):
    """Rows that cannot be read."""


PRETRAINING = "pretraining"
"""The task of rows that measure pre-training itself."""

COLUMNS = {
    "arm": "str",
    "task": "str",
    "sparsity": "float64",
    "learning_rate": "float64",
    "seed": "int64",
    "epoch": "int64",
    "step": "int64",
    "split": "str",
    "metric": "str",
    "part": "str",
    "position": "float64",
    "value": "float64",
}
"""Columns and their kinds. `split` says what was measured on: train, dev, probe, or what of the
model was looked at: weights, masks, heads, embeddings, features. `part` is the matrix, layer or
head that the value is of, empty for the whole; `position` a place along an axis inside it, or NaN.
"""


def of_history(
    history: Iterable[Mapping[str, Any]],
    *,
    arm: str,
    task: str,
    sparsity: float,
    learning_rate: float,
    seed: int,
) -> Rows:
    """Rows of a training's history; an entry without an epoch has epoch 0, without a part it is of
    the whole, and without a position of no place in particular."""
    fixed = {
        "arm": arm,
        "task": task,
        "sparsity": sparsity,
        "learning_rate": learning_rate,
        "seed": seed,
        "epoch": 0,
        "part": "",
        "position": math.nan,
    }
    frame = pd.DataFrame([fixed | dict(entry) for entry in history], columns=list(COLUMNS))
    return frame.astype(COLUMNS)


def of_pretraining(
    history: Iterable[Mapping[str, Any]],
    *,
    arm: str,
    sparsity: float,
    learning_rate: float,
    seed: int,
) -> Rows:
    return of_history(
        history,
        arm=arm,
        task=PRETRAINING,
        sparsity=sparsity,
        learning_rate=learning_rate,
        seed=seed,
    )


def join(parts: Iterable[Rows]) -> Rows:
    """All rows of `parts`, in order."""
    return pd.concat([pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS), *parts]).reset_index(
        drop=True
    )


def write(rows: Rows, file: Path) -> None:
    """As CSV, with every digit of the values, replaced atomically."""
    unfinished = file.with_suffix(".part")
    with full_disk_is_user_error(file):
        rows.to_csv(unfinished, index=False, na_rep="nan")
        unfinished.replace(file)


def read(file: Path) -> Rows:
    """The rows that `write` wrote, to the last bit. Raises DamagedRows if they cannot be read."""
    exact = [name for name, kind in COLUMNS.items() if kind == "float64"]
    other = {name: kind for name, kind in COLUMNS.items() if name not in exact}
    try:
        found = pd.read_csv(
            file, dtype=other, converters=dict.fromkeys(exact, float), keep_default_na=False
        )
        if missing := [name for name in COLUMNS if name not in found]:
            raise ValueError(f"its {file.name} has no column {', '.join(missing)}")
    except (OSError, ValueError, OverflowError) as error:
        raise DamagedRows(
            f"the rows {file} are damaged ({error}): if a run left them, delete the folder "
            f"{file.parent}, and it is executed anew"
        ) from error
    return found


def final(rows: Rows) -> Rows:
    """The rows of the last epoch or step of each curve."""
    time = ["epoch", "step"]
    curve = [name for name in COLUMNS if name not in (*time, "value")]
    ordered = rows.sort_values(time, kind="stable")
    return ordered.groupby(curve, as_index=False, sort=False, dropna=False).tail(1).sort_index()
