"""Gathering: which study a notebook shows, and what there is of it."""

from pathlib import Path
from typing import Any

import pytest

from bertprune.base.errors import UserError
from bertprune.evidence import gathering
from bertprune.experiments import studies


def test_a_study_without_runs_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").symlink_to(Path(__file__).parents[2] / "notebooks")
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    study = studies.load("ci", ["sparsity=[0.0, 0.5]"])
    with pytest.raises(UserError, match=r"bertprune sweep ci --set 'sparsity=\[0.0, 0.5\]'"):
        gathering.rows_of(study)


@pytest.mark.parametrize(
    ("namespace", "message"),
    [({"study": "glue-tyni"}, "glue-tiny"), ({"study": 3}, "must be a text")],
)
def test_the_notebook_of_results_is_checked(namespace: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        gathering.study_of(namespace)


def test_the_ramp_is_that_of_the_pruned_models() -> None:
    # The dense model, which is the first, has none.
    assert gathering.ramp_steps(studies.load("ci")) == 30
    assert gathering.ramp_steps(studies.load("english-burn-in")) == 0
