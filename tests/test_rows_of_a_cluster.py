"""The rows of a sweep on a cluster are those of a sweep on one machine with the same threads a run,
byte for byte, and so are predictions and models.

It takes half an hour on two cores, so it is not in the default run: `pytest -m slow`.
"""

import json
import shutil
from pathlib import Path

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


def _files(root: Path) -> dict[str, dict[str, str]]:
    """The hashes of rows, predictions and models of the runs that are done."""
    found = records(root).items()
    return {name: json.loads(file.read_text("utf-8"))["files_sha256"] for name, file in found}


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
        assert _files(other) == _files(plain)
