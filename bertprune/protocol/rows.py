"""Tidy rows: what every run leaves, before anything is a table or a plot.

One row for each arm, task, sparsity, learning rate, seed, epoch or step, split, metric, part of the
model, and position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import pandas as pd

from bertprune.base.errors import UserError
from bertprune.base.files import replacing

Rows: TypeAlias = pd.DataFrame


class DamagedRows(UserError, ValueError):
    """Rows that cannot be read."""


PRETRAINING = "pretraining"
"""The task of rows that measure pre-training itself."""


class Split(StrEnum):
    """What was measured on, or what of the model was looked at."""

    TRAIN = "train"
    DEV = "dev"
    PROBE = "probe"
    WEIGHTS = "weights"
    MASKS = "masks"
    HEADS = "heads"
    EMBEDDINGS = "embeddings"
    FEATURES = "features"


class Metric(StrEnum):
    """What was measured, with its unit: those metrics that more than one place speaks of."""

    LOSS = "loss"
    """Nats: of fine-tuning, or MLM + NSP of pre-training."""
    RUNNING_LOSS = "running_loss"
    """Nats: the mean over the last steps of training, with dropout."""
    ACCURACY = "accuracy"
    """A share of the examples."""
    MATTHEWS = "matthews"
    """Matthews' correlation coefficient."""
    MASK_DIFFERENCE = "mask_difference"
    """A share of the matrix."""
    MOVEMENT_MEAN = "movement_mean"
    """A share of the matrix: how far weights move in its sort order."""
    MOVEMENT_STD = "movement_std"
    """The same unit."""
    PRUNED_SHARE = "pruned_share"
    COSINE_SIMILARITY = "cosine_similarity"
    MAGNITUDE = "magnitude"
    """The mean of absolute weights."""
    STORAGE_BYTES = "storage_bytes"
    MEMORY_BYTES = "memory_bytes"


WHOLE = ""
"""The part of values that are of the whole model or matrix."""


ANOTHER_SEED = "another seed"
"""The part of differences between the masks of one BERT that two seeds pruned."""


class Entry(TypedDict):
    """A measured value; whoever asked for it adds the step, and the epoch where there is one."""

    split: str
    metric: str
    part: str
    position: float
    value: float


History: TypeAlias = list[dict[str, Any]]
"""What a training leaves: entries with step and epoch, plain values all, as checkpoints have it."""


def entry(
    split: str, metric: str, value: float, *, part: str = WHOLE, position: float = math.nan
) -> Entry:
    """A value of `part` of the model, at `position` inside it (NaN: none)."""
    return Entry(
        split=str(split),
        metric=str(metric),
        part=part,
        position=float(position),
        value=float(value),
    )


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
    task: str = PRETRAINING,
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


def join(parts: Iterable[Rows]) -> Rows:
    """All rows of `parts`, in order."""
    return pd.concat([pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS), *parts]).reset_index(
        drop=True
    )


def write(rows: Rows, file: Path) -> None:
    """As CSV, with every digit of the values, replaced atomically."""
    with replacing(file) as unfinished:
        rows.to_csv(unfinished, index=False, na_rep="nan", encoding="utf-8")


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


def where(found: Rows, **wanted: object) -> Rows:
    """The rows whose columns have the `wanted` values: `where(found, split=Split.DEV, arm=arms)`.

    A list, tuple or set stands for any of its values.
    """
    keep = pd.Series(True, index=found.index)
    for column, value in wanted.items():
        if isinstance(value, list | tuple | set | frozenset):
            keep &= found[column].isin(value)
        else:
            keep &= found[column] == value
    return found[keep]


def final(rows: Rows) -> Rows:
    """The rows of the last epoch or step of each curve."""
    time = ["epoch", "step"]
    curve = [name for name in COLUMNS if name not in (*time, "value")]
    ordered = rows.sort_values(time, kind="stable")
    return ordered.drop_duplicates(curve, keep="last").sort_index()
