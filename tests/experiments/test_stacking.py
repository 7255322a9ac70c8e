"""Runs that train as one leave what each leaves alone."""

import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from bertprune.base.errors import UserError
from bertprune.experiments import stacking
from bertprune.experiments.runs import FACTS_FILE, Run, lineage
from bertprune.protocol.notebook_parameters import (
    BurnIn,
    Finetune,
    InformationDeletion,
    PrunePretrain,
)
from bertprune.protocol.rows import History
from bertprune.training import stacks
from bertprune.training.checkpoint import CHECKPOINT_FILE, Checkpoint
from bertprune.training.flat_weights import FlatWeights
from bertprune.training.variants import Variant

from ..finished import TEXT, finished

PRETRAINING: dict[str, Any] = {"text": TEXT, "max_length_tokens": 32, "dev_examples": 50}
TUNING: dict[str, Any] = {**PRETRAINING, "epochs": 1, "task": ("cola", "sst2")}
PRUNING = [
    PrunePretrain(**PRETRAINING, pretrain_steps=8, ramp_steps=4, sparsity=0.3),
    PrunePretrain(**PRETRAINING, pretrain_steps=8, ramp_steps=4, sparsity=0.8, seed=1),
    PrunePretrain(
        **PRETRAINING, pretrain_steps=8, ramp_steps=4, sparsity=0.8, method="random", seed=1
    ),
]
CASES: dict[str, Sequence[BurnIn]] = {
    "prune_pretrain": PRUNING,
    "finetune": [
        Finetune(**TUNING, sparsity=share, seed=seed) for share, seed in ((0.3, 0), (0.8, 1))
    ],
    "information_deletion": [
        InformationDeletion(**TUNING, sparsity=share, learning_rates=(1e-3, 3e-4))
        for share in (0.3, 0.8)
    ],
}


def _project(folder: Path, monkeypatch: pytest.MonkeyPatch, cases: Sequence[BurnIn]) -> list[Run]:
    """The runs of `cases` in a project in which all that they need is done."""
    (folder / "notebooks").mkdir(parents=True)
    for notebook in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb"):
        (folder / "notebooks" / notebook.name).symlink_to(notebook)
    monkeypatch.setenv("BERTPRUNE_ROOT", str(folder))
    runs = [Run.of(parameters) for parameters in cases]
    for run in runs:
        for needed in lineage(run):
            if not needed.is_done():
                finished(needed.parameters)
    return runs


@pytest.mark.parametrize("notebook", list(CASES))
def test_rows_and_models_are_those_of_each_alone(
    notebook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = CASES[notebook]
    runs = _project(tmp_path / "alone", monkeypatch, cases)
    assert len({stacking.kind(run) for run in runs}) == 1
    alone = [run.work() for run in runs]
    runs = _project(tmp_path / "together", monkeypatch, cases)
    stacking.train([run.parameters for run in runs], most=8)
    steps: list[int] = []
    monkeypatch.setattr(FlatWeights, "clip_gradients", lambda *given: steps.append(1))
    for run, wanted in zip(runs, alone, strict=True):
        found = run.work()
        # How well a file can be compressed hangs on the last bit of its numbers.
        alike = ~found.part.str.endswith("gzip")
        pd.testing.assert_frame_equal(found[alike], wanted[alike], rtol=2e-4, atol=1e-5)
        facts = json.loads((run.partial_folder / FACTS_FILE).read_text())
        assert facts["trained_at_once"] >= 2
        assert not list(run.partial_folder.rglob(CHECKPOINT_FILE))
        if notebook == "prune_pretrain":
            folder = Path("runs", ".partial", run.partial_folder.name, "model", "model.safetensors")
            one, other = (load_file(tmp_path / where / folder) for where in ("alone", "together"))
            assert all((one[name] - other[name]).abs().max() < 1e-4 for name in one)
    assert not steps, "a run trained again what was trained"
    assert not list((tmp_path / "together" / "runs" / ".partial").glob("together-*"))


@pytest.mark.parametrize(
    ("error", "is_kept"), [(None, False), (MemoryError, False), (KeyboardInterrupt, True)]
)
def test_a_stack_leaves_only_what_it_can_go_on_from(
    error: type[BaseException] | None,
    is_kept: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = _project(tmp_path, monkeypatch, PRUNING[:2])
    models: list[Any] = []
    alive: list[bool] = []

    def trained(variants: Sequence[Variant], *given: Any, folder: Path, what: str) -> list[History]:
        models.extend(weakref.ref(variant.loss.model) for variant in variants)
        Checkpoint(folder, []).save(8, [])
        if error is not None:
            raise error("after the last step")
        return [[] for _ in variants]

    monkeypatch.setattr(stacks, "train", trained)
    monkeypatch.setattr(
        torch.cuda, "empty_cache", lambda: alive.extend(model() is not None for model in models)
    )
    parameters = [run.parameters for run in runs]
    if error is None:
        stacking.train(parameters, most=8)
    else:
        with pytest.raises(error, match="after the last step"):
            stacking.train(parameters, most=8)
    if not is_kept:
        assert alive == [False, False]
    left = (tmp_path / "runs" / ".partial").glob("together-*")
    kept = [file for folder in left for file in folder.rglob(CHECKPOINT_FILE)]
    assert len(kept) == is_kept
    assert is_kept or not list((tmp_path / "runs" / ".partial").glob("together-*"))


def test_what_is_needed_must_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _project(tmp_path, monkeypatch, [])
    with pytest.raises(UserError, match="which is not done"):
        stacking.train([run.canonical() for run in PRUNING[:2]], most=8)


def test_runs_of_other_steps_or_needs_are_of_another_kind() -> None:
    pruned = PRUNING[0]
    kinds = [
        stacking.kind(Run.of(one))
        for one in (pruned, pruned.replace(pretrain_steps=9), pruned.replace(sparsity=0.0))
    ]
    assert len(set(kinds)) == 3 and None not in kinds
    assert stacking.kind(Run.of(BurnIn(text=TEXT))) is None
