"""Tidy rows: written and read to the last bit."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bertprune.base.errors import UserError
from bertprune.protocol import rows


def _rows() -> rows.Rows:
    values = [*np.random.default_rng(0).normal(size=50), 1e-300, 0.1 + 0.2, float("nan")]
    history = [
        {"step": step, "epoch": step % 3, "split": "dev", "metric": "loss", "value": value}
        for step, value in enumerate(values)
    ]
    return rows.of_history(
        history, arm="finetune", task="sst2", sparsity=0.1 + 0.2, learning_rate=2e-5, seed=0
    )


def test_written_and_read_to_the_last_bit(tmp_path: Path) -> None:
    found = _rows()
    rows.write(found, tmp_path / "rows.csv")
    pd.testing.assert_frame_equal(rows.read(tmp_path / "rows.csv"), found, check_exact=True)
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]


def test_joined_rows_keep_their_types() -> None:
    assert rows.join([]).dtypes.to_dict() == rows.join([_rows()]).dtypes.to_dict()
    assert len(rows.join([_rows(), _rows()])) == 2 * len(_rows())


def test_final_rows_are_the_last_of_each_curve() -> None:
    last = rows.final(_rows())
    assert len(last) == 1 and last.epoch.item() == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "No columns"),
        ("arm,task\nfinetune,sst2\n", "its rows.csv has no column sparsity, learning_rate, seed"),
        ("{good}finetune,sst2\n", "could not convert"),
        ("{good}finetune,sst2,0.5,1e-3,one,0,0,dev,loss,,nan,0.5\n", "one"),
        ("{good}finetune,sst2,0.5,1e-3,99999999999999999999,0,0,dev,loss,,nan,0.5\n", "verflow"),
        ("{good}\udcff", "'utf-8' codec"),
        (None, "No such file"),
    ],
)
def test_damaged_rows(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "rows.csv"
    if content is not None:
        good = ",".join(rows.COLUMNS) + "\n"
        file.write_bytes(content.replace("{good}", good).encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=said) as error:
        rows.read(file)
    assert f"the rows {file} are damaged" in str(error.value)
    assert f"delete the folder {tmp_path}" in str(error.value)


def test_an_entry_becomes_a_row() -> None:
    history = [
        rows.entry("weights", "histogram", 1, part="query", position=2) | {"step": 7},
        rows.entry("masks", "mask_difference", 0.5) | {"step": 7},
    ]
    found = rows.of_history(history, arm="a", sparsity=0.0, learning_rate=1.0, seed=0)
    assert list(found.part) == ["query", ""]
    assert list(found.value) == [1.0, 0.5] and list(found.step) == [7, 7]
    assert found.position[0] == 2.0 and math.isnan(found.position[1])
