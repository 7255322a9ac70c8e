"""A plan whose runs leave a record at once, without a kernel."""

from pathlib import Path

import pytest

from bertprune.experiments import execution, studies
from bertprune.experiments.runs import Run, lineage

from ...finished import write_record


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were executed, in order; each leaves a record, but runs nothing."""
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    (tmp_path / "notebooks").symlink_to(Path(__file__).parents[3] / "notebooks")
    order: list[str] = []

    def execute(run: Run, *, threads: int, forked: bool, wait: bool) -> bool:
        assert not wait
        if run.is_current():
            return False
        assert all(upstream.is_done() for upstream in lineage(run))
        order.append(run.id)
        write_record(run)
        if run.parameters.leaves_model():
            run.model_folder.mkdir(exist_ok=True)
        return True

    monkeypatch.setattr(execution, "execute", execute)
    return order


@pytest.fixture
def plan(executed: list[str]) -> list[Run]:
    return studies.load("ci", ["sparsity=[0.0, 0.5]"]).plan()
