"""Entries of a history: what an analysis gives, and `rows.of_history` takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

Entry = dict[str, Any]
"""split, metric, part, position and value; whoever asked adds the step and the epoch."""

_KINDS = {
    "embeddings.word_embeddings": "word_embeddings",
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention_output",
    "intermediate.dense": "intermediate",
    "output.dense": "output",
    "pooler.dense": "pooler",
}


def entry(
    split: str, metric: str, value: float, *, part: str = "", position: float = math.nan
) -> Entry:
    """A value of `part` of the model ("" is the whole), at `position` inside it (NaN: none)."""
    return {
        "split": split,
        "metric": metric,
        "part": part,
        "position": float(position),
        "value": float(value),
    }


def matrix_of(parameter: str) -> str:
    """The matrix that a parameter's name is of: the name without ".weight"."""
    return parameter.removesuffix(".weight")


def kind_of(matrix: str) -> str:
    """Which of a BERT's eight kinds of prunable matrices `matrix` is, in whatever layer.

    Raises KeyError for the name of anything else.
    """
    return _KINDS[re.sub(r"^encoder\.layer\.\d+\.", "", matrix)]


def check_same_matrices(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless both have the same matrices, of the same shapes."""
    if wrong := sorted(first.keys() ^ second.keys()):
        raise ValueError(f"only one of the two models has {', '.join(wrong[:3])}")
    for name, tensor in first.items():
        if tensor.shape != second[name].shape:
            raise ValueError(
                f"{name} has the shape {tuple(tensor.shape)} in one model and "
                f"{tuple(second[name].shape)} in the other"
            )
