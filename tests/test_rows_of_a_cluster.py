"""The rows of a sweep on a cluster are those of a sweep on one machine with the same threads a run,
byte for byte, and so are predictions and models.

It takes half an hour on two cores, so it is not in the default run: `pytest -m slow`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from .dask_processes import processes, records, rows, swept

pytest.importorskip("distributed")

PROJECT = Path(__file__).parents[1]
CUT_OF_LAB = ["sparsity=[0.0, 0.5]", "task=[[cola, qnli]]", "seed=[0]", "pretrain_steps=200"]
STUDIES = {
    "ci": ["ci"],
    "lab": ["lab", *(word for change in CUT_OF_LAB for word in ("--set", change))],
}


def _project(folder: Path) -> Path:
    for name in ("book", "notebooks"):
        shutil.copytree(PROJECT / name, folder / name)
    return folder


def _said(root: Path, *fields: str) -> dict[str, list[Any]]:
    """What the records of the runs that are done say in `fields`."""
    found = {name: json.loads(file.read_text("utf-8")) for name, file in records(root).items()}
    return {name: [record[field] for field in fields] for name, record in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_a_cluster_gives_the_rows_of_one_machine(study: str, tmp_path: Path) -> None:
    plain, local, spread = (_project(tmp_path / name) for name in ("plain", "local", "spread"))
    arguments = STUDIES[study]
    swept(plain, *arguments, "--threads", "1", "--at-once", "1")
    said = swept(local, *arguments, "--cluster", "local:4")
    assert "4 workers at tcp://127.0.0.1" in said and "dashboard: http" in said
    with processes(spread, workers=2) as those:
        those.keep_up_cluster()
        those.sweep(*arguments, "--cluster", str(those.file))
        assert those.wait("sweep") == 0, those.said("sweep")
    assert len(rows(plain)) > 20
    for other in (local, spread):
        assert rows(other) == rows(plain)
        assert _said(other, "files_sha256") == _said(plain, "files_sha256")
        assert all(threads == [1] for threads in _said(other, "threads").values())
