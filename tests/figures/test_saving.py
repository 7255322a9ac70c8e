"""Figures of what pruning saves: of sizes in the rows, and of times in the published benchmark."""

import json
from pathlib import Path

import pandas as pd
import pytest

from bertprune import figures, paths, rows
from bertprune.bench import page
from bertprune.bench.times import BY_UNPRUNED, DENSE, SPARSE, SPEED_UP, TIME, quantity_at
from bertprune.contracts import PrunePretrain
from bertprune.errors import UserError
from bertprune.figures import made_by
from bertprune.tables import percent, storage_table

MAKER = made_by("study tiny", PrunePretrain())


def sizes() -> rows.Rows:
    """Two seeds at two sparsities: dense 8 MB, sparse 8 MB less what is pruned."""
    parts = []
    for seed in (0, 1):
        for sparsity in (0.0, 0.5):
            found = {"dense float32": 8e6, "sparse float32": 8e6 * (1 - sparsity) + seed * 2e5}
            history = [
                {"step": 9, "split": "weights", "metric": "storage_bytes", "part": p, "value": v}
                for p, v in found.items()
            ]
            parts.append(
                rows.of_pretraining(
                    history, arm="prune_pretrain", sparsity=sparsity, learning_rate=1e-3, seed=seed
                )
            )
    return rows.join(parts)


def test_sizes_are_drawn_in_megabytes() -> None:
    drawn = figures.storage(sizes(), MAKER)
    assert len(drawn.data) == 8 and drawn.data.value.max() == pytest.approx(8.2)
    assert f"sparse float32: 8.1 MB at {percent(0)}, 4.1 MB at {percent(0.5)}" in drawn.alt
    assert "study tiny" in drawn.svg


def test_the_table_has_means_over_seeds() -> None:
    table = storage_table(sizes())
    assert list(table.columns) == ["dense float32", "sparse float32"]
    assert table.to_numpy().tolist() == [["8", "8.1"], ["8", "4.1"]]
    assert table.index.tolist() == [percent(0), percent(0.5)]


def test_rows_without_sizes() -> None:
    other = sizes().assign(metric="loss")
    with pytest.raises(UserError, match="no figure of storage"):
        figures.storage(other, MAKER)
    with pytest.raises(UserError, match="no table of storage"):
        storage_table(other)


def test_times_are_those_of_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    with pytest.raises(UserError, match="bertprune bench --publish"):
        figures.inference_time()
    file = paths.published(page.NAME)
    file.parent.mkdir(parents=True)
    cases = {"inference": {"finished": "2026-01-02", "commit": ""}}
    facts = {"cpu": "abacus", "gpu": "", "versions": {}, "cases": cases}
    file.with_suffix(".json").write_text(json.dumps(facts))
    table = pd.DataFrame(
        {
            "case": "inference",
            "side": side,
            "quantity": quantity_at(quantity, sparsity),
            "unit": "ms",
            "value": value,
            "low": value - 1,
            "high": value + 2,
            "repeats": 5,
            "threads": 2,
            "device": "CPU",
        }
        for side, quantity, sparsity, value in (
            (DENSE, TIME, 0.0, 10.0),
            (DENSE, TIME, 0.9, 10.0),
            (SPARSE, TIME, 0.0, 70.0),
            (SPARSE, TIME, 0.9, 9.0),
            (SPARSE, SPEED_UP, 0.0, 0.14),
            (SPARSE, SPEED_UP, 0.9, 1.1),
            (DENSE, BY_UNPRUNED, 0.9, 1.0),
        )
    )
    page.write(table, file)
    drawn = figures.inference_time()
    assert f"sparse (CSR): 70 ms at {percent(0)}, 9 ms at {percent(0.9)}" in drawn.alt
    assert "abacus, 2 threads, 2026-01-02" in drawn.svg
    assert f"dense time by sparse time: 0.14 at {percent(0)}, 1.10 at {percent(0.9)}" in drawn.alt
    assert list(drawn.data.groupby("panel").size()) == [4, 2]
    assert "All were timed in turn" in drawn.caption
    page.write(table[table.quantity.str.startswith(TIME)], file)
    times_alone = figures.inference_time()
    assert "only the ratio at one sparsity compares" in times_alone.caption
    assert SPEED_UP not in times_alone.alt
    page.write(table.assign(quantity="other"), file)
    with pytest.raises(UserError, match="no figure of inference"):
        figures.inference_time()
