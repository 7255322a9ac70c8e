"""Predictions: what is read is what was written, or said to be damaged."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bertprune.protocol import predictions
from bertprune.protocol.predictions import DamagedPredictions, Predictions

from ..finished import ANSWERED

PLACE = {"arm": "prune_pretrain", "task": "sst2", "sparsity": 0.5, "learning_rate": 1e-3, "seed": 1}


def some() -> Predictions:
    """Of two learning rates."""
    both = [predictions.of(ANSWERED, {**PLACE, "learning_rate": rate}) for rate in (1e-3, 5e-4)]
    return predictions.join(both)


def arrays_of(found: Predictions) -> list[list[int]]:
    return [list(map(int, one)) for name in predictions.OF_EXAMPLES for one in found[name]]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    predictions.write(some(), tmp_path / "own" / "predictions.parquet")
    found = predictions.read(tmp_path / "own" / "predictions.parquet")
    places = list(predictions.COLUMNS)
    pd.testing.assert_frame_equal(found[places], some()[places], check_dtype=False)
    assert arrays_of(found) == arrays_of(some())
    for name in predictions.OF_EXAMPLES:
        assert {one.dtype for one in found[name]} == {np.dtype(np.uint16)}


def test_examples_may_be_apart(tmp_path: Path) -> None:
    of_examples = ["labels", "lengths"]
    predictions.write(some().drop(columns=of_examples), tmp_path / "a")
    predictions.write(some()[["task", *of_examples]].head(1), tmp_path / "b")
    assert arrays_of(predictions.read(tmp_path / "a", tmp_path / "b")) == arrays_of(some())
    predictions.write(some()[["task", *of_examples]].head(0), tmp_path / "b")
    with pytest.raises(DamagedPredictions, match="a are damaged"):
        predictions.read(tmp_path / "a", tmp_path / "b")


def shorter(found: Predictions) -> Predictions:
    return found.assign(predicted=[one[1:] for one in found.predicted])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.drop(columns="labels"), "has no column labels"),
        (lambda found: found.assign(labels=math.nan), "damaged"),
        (shorter, "other numbers of predictions than of examples"),
    ],
)
def test_what_is_damaged_is_said(
    change: Callable[[Predictions], pd.DataFrame], said: str, tmp_path: Path
) -> None:
    predictions.write(change(some()), tmp_path / "predictions.parquet")
    with pytest.raises(DamagedPredictions, match=said):
        predictions.read(tmp_path / "predictions.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"task,predicted\n"])
def test_what_is_no_table_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "predictions.parquet").write_bytes(content)
    with pytest.raises(DamagedPredictions, match="delete the folder"):
        predictions.read(tmp_path / "predictions.parquet")


def test_without_any_there_are_no_lines(tmp_path: Path) -> None:
    predictions.write(predictions.join([]), tmp_path / "predictions.parquet")
    assert predictions.read(tmp_path / "predictions.parquet").empty
