"""Figures of what pruning saves: of sizes in the rows, and of times in the published benchmark."""

import json
from pathlib import Path

import pandas as pd
import pytest

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.words import percent
from bertprune.book.figures import saving
from bertprune.book.pages.tables import storage_table
from bertprune.protocol import rows
from bertprune.protocol.rows import where
from bertprune.speed.bench import published_benchmark
from bertprune.speed.bench.published_benchmark import inference_table
from bertprune.speed.bench.quantities import (
    BY_UNPRUNED,
    DENSE,
    SIZES,
    SPARSE,
    SPEED_UP,
    TIME,
    quantity_at,
)

from .synthetic import SPARSITIES, study


def sizes() -> rows.Rows:
    """Three seeds at four sparsities, each seed 0.1 MB more."""
    found = where(study(), arm="prune_pretrain", metric="storage_bytes")
    return found.assign(value=found.value + 1e5 * found.seed)


def test_sizes_are_drawn_in_megabytes() -> None:
    drawn = saving.storage(sizes())
    assert len(drawn.data) == 24 and drawn.data.value.max() == pytest.approx(9.2)
    assert drawn.numbers["size on disk (MB) (study)"].T["sparse float32"].to_list()[:2] == [
        *("9.1", "6.7"),
    ]


def test_the_table_has_means_over_seeds() -> None:
    table = storage_table(sizes())
    assert list(table.columns) == ["dense (MB)", "sparse (MB)"]
    assert table.index.tolist() == [percent(sparsity) for sparsity in SPARSITIES]
    assert table["dense (MB)"].tolist() == ["8.1"] * 4
    assert table["sparse (MB)"].tolist() == ["9.1", "6.7", "4.3", "1.9"]


def test_rows_without_sizes() -> None:
    other = sizes().assign(metric="loss")
    with pytest.raises(UserError, match="no figure of storage"):
        saving.storage(other)
    with pytest.raises(UserError, match="no table of storage"):
        storage_table(other)


def test_times_are_those_of_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    with pytest.raises(UserError, match="bertprune bench --publish"):
        saving.inference_time()
    file = paths.published(published_benchmark.NAME, ".csv")
    file.parent.mkdir(parents=True)
    cases = {name: {"finished": "2026-01-02", "commit": ""} for name in SIZES}
    facts = {"cpu": "abacus", "gpu": "", "versions": {}, "cases": cases}
    file.with_suffix(".json").write_text(json.dumps({"here": facts}))
    measured = (
        (DENSE, TIME, 0.0, 10.0),
        (DENSE, TIME, 0.9, 11.0),
        (SPARSE, TIME, 0.0, 70.0),
        (SPARSE, TIME, 0.9, 9.0),
        (SPARSE, SPEED_UP, 0.0, 0.14),
        (SPARSE, SPEED_UP, 0.9, 1.2),
        (DENSE, BY_UNPRUNED, 0.0, 1.0),
        (DENSE, BY_UNPRUNED, 0.9, 1.1),
    )
    table = pd.DataFrame(
        {
            "case": case,
            "side": side,
            "quantity": quantity_at(quantity, sparsity),
            "unit": "ms",
            "value": times * value,
            "low": times * value * 0.5,
            "high": times * value * 2,
            "repeats": 5,
            "threads": 2,
            "device": "CPU",
            "processor": "abacus",
            "machine": "here",
        }
        for times, case in enumerate(SIZES, start=1)
        for side, quantity, sparsity, value in measured
    )
    published_benchmark.write_rows(table, file)
    drawn = saving.inference_time()
    small, large = SIZES.values()
    numbers = drawn.sketch.numbers
    of_small = numbers[f"a forward pass (ms), {small} (benchmark)"]
    assert of_small.T["sparse (CSR)"].to_list() == ["70", "9"]
    of_large = numbers[f"a forward pass (ms), {large} (benchmark)"]
    assert of_large.T["dense"].to_list() == ["20", "22"]
    assert numbers[f"speed-up, {small} (benchmark)"].iloc[0].tolist() == ["0.14", "1.2"]
    assert "abacus, 2 threads, 2026-01-02" in drawn.svg
    assert drawn.sketch.data.groupby("panel").size().tolist() == [4, 4, 2, 2]
    assert "On a GPU: not measured." in drawn.sketch.caption
    shown = inference_table()
    assert shown.index.tolist() == [
        (size, percent(sparsity)) for size in SIZES.values() for sparsity in (0, 0.9)
    ]
    assert shown.iloc[1].tolist() == ["11", "9", "1.20 (0.60 to 2.40)"]
    published_benchmark.write_rows(pd.concat([table, table.assign(device="GPU")]), file)
    on_both = saving.inference_time()
    assert "not measured" not in on_both.sketch.caption
    assert f"speed-up, {large}, GPU" in set(on_both.sketch.data.panel)
    assert len(on_both.sketch.data) == 2 * len(drawn.sketch.data) and len(inference_table()) == 8
    published_benchmark.write_rows(table.assign(quantity="other"), file)
    for shows in (saving.inference_time, inference_table):
        with pytest.raises(UserError, match="no (figure|table) of inference"):
            shows()
