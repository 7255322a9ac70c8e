"""Tidy rows: what every run leaves, before anything is a table or a plot.

One row for each arm, task, sparsity, learning rate, seed, epoch or step, split and metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from bertprune.errors import full_disk_is_user_error

Rows: TypeAlias = pd.DataFrame

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
    "value": "float64",
}


def of_history(
    history: Iterable[Mapping[str, Any]],
    *,
    arm: str,
    task: str,
    sparsity: float,
    learning_rate: float,
    seed: int,
) -> Rows:
    """Rows of a training's history; an entry without an epoch has epoch 0."""
    fixed = {
        "arm": arm,
        "task": task,
        "sparsity": sparsity,
        "learning_rate": learning_rate,
        "seed": seed,
        "epoch": 0,
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
    """The rows that `write` wrote, to the last bit."""
    exact = [name for name, kind in COLUMNS.items() if kind == "float64"]
    other = {name: kind for name, kind in COLUMNS.items() if name not in exact}
    return pd.read_csv(file, dtype=other, converters=dict.fromkeys(exact, float))


def final(rows: Rows) -> Rows:
    """The rows of the last epoch or step of each curve."""
    curve = ["arm", "task", "sparsity", "learning_rate", "seed", "split", "metric"]
    ordered = rows.sort_values(["epoch", "step"], kind="stable")
    return ordered.groupby(curve, as_index=False, sort=False).tail(1).sort_index()
