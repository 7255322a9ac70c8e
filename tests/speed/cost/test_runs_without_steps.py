"""The tiny project that is swept to see what runs take beside their steps, without sweeping it."""

from pathlib import Path

import pytest

from bertprune.experiments import studies
from bertprune.model.loading import check_model
from bertprune.model.precision import FLOAT32
from bertprune.model.shape import Shape
from bertprune.speed.cost import runs_without_steps
from bertprune.speed.cost.what_to_measure import Request


@pytest.mark.parametrize("language", [None, 0])
def test_its_runs_can_be_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: int | None
) -> None:
    size = Shape(layers=1, hidden_size=16, heads=2, vocabulary_size=829, max_length_tokens=32)
    request = Request(
        size=size,
        max_length_tokens=32,
        pretrain_batch_size=4,
        batch_size=4,
        shortest_tokens=8,
        longest_tokens=16,
        language=language,
        threads=1,
        precision=FLOAT32,
    )
    runs_without_steps._write_project(request, tmp_path)
    # A model that was never pruned.
    assert not (tmp_path / "model" / "masks.safetensors").exists()
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    assert check_model("model").hidden_size == 16
    plan = studies.load(str(tmp_path / "measured.yaml")).plan()
    assert {run.notebook for run in plan} == {
        *("burn_in", "prune_pretrain", "finetune"),
        *("information_deletion", "prune_after_finetune"),
    }
    for run in plan:
        run.check_inputs()
