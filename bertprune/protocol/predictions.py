"""Predictions: the class that each fine-tuned model gives each dev example of its task.

One line for each arm, task, sparsity, learning rate and seed, after the last epoch. Examples go by
their index in the dev set as it is read; their texts are nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from bertprune.base.errors import UserError
from bertprune.base.files import replacing

Predictions: TypeAlias = pd.DataFrame

PREDICTIONS_FILE = "predictions.parquet"
"""Where they lie in the folder of a run."""

COLUMNS = ("arm", "task", "sparsity", "learning_rate", "seed", "epoch")
"""What tells lines apart, as rows have it."""

OF_EXAMPLES = ("predicted", "labels", "lengths")
"""Columns that have an array (E,; uint16) over the dev examples in each line: the number of the
class that the model gives, the true one's, and how many tokens it has."""


class DamagedPredictions(UserError, ValueError):
    """Predictions that cannot be read."""


def of(measured: Mapping[str, Any], place: Mapping[str, Any]) -> Predictions:
    """The one line of a training at this `place` (arm, task, sparsity, learning rate, seed) which
    ended with what is `measured`: its epoch, and the numbers of each example."""
    arrays = {name: np.array(measured[name], np.uint16) for name in OF_EXAMPLES}
    return pd.DataFrame([{**place, "epoch": measured["epoch"], **arrays}])[[*COLUMNS, *OF_EXAMPLES]]


def join(parts: Iterable[Predictions]) -> Predictions:
    """All lines of `parts`, in order."""
    empty = pd.DataFrame(columns=[*COLUMNS, *OF_EXAMPLES])
    found = list(parts)
    return pd.concat(found, ignore_index=True) if found else empty


def write(predictions: pd.DataFrame, file: Path) -> None:
    """As Parquet, compressed, replaced atomically."""
    with replacing(file) as unfinished:
        predictions.to_parquet(
            unfinished, index=False, engine="pyarrow", compression="zstd", compression_level=9
        )


def read(file: Path, examples: Path | None = None) -> Predictions:
    """The predictions that `write` wrote; labels and lengths may be in a table of their own,
    `examples`, a line for each task. Raises DamagedPredictions if they cannot be read."""
    try:
        found = pd.read_parquet(file, engine="pyarrow")
        if examples is not None:
            found = found.merge(pd.read_parquet(examples, engine="pyarrow"), on="task", how="left")
        if missing := [name for name in (*COLUMNS, *OF_EXAMPLES) if name not in found]:
            raise ValueError(f"its {file.name} has no column {', '.join(missing)}")
        sizes = {name: found[name].map(len) for name in OF_EXAMPLES}
        if any((of_column != sizes["labels"]).any() for of_column in sizes.values()):
            raise ValueError("it has other numbers of predictions than of examples")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DamagedPredictions(
            f"the predictions {file} are damaged ({error}): if a run left them, delete the folder "
            f"{file.parent}, and it is executed anew"
        ) from error
    return found
