"""Runs that look finished, made without a kernel: rows, facts, a notebook, and where a run leaves
one a tiny model."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

from bertprune.base import files
from bertprune.base.files import write_json
from bertprune.base.fingerprint import page_key
from bertprune.data.tokenizer import load_tokenizer
from bertprune.experiments.runs import FACTS_FILE, NOTEBOOK_FILE, ROWS_FILE, Run
from bertprune.model.loading import save_pretrained
from bertprune.model.shape import Shape
from bertprune.protocol import notebook_parameters, predictions, rows
from bertprune.protocol.arms import arm_of, seed_of
from bertprune.protocol.notebook_parameters import BurnIn, Finetune, PrunePretrain
from bertprune.protocol.predictions import PREDICTIONS_FILE
from bertprune.protocol.record import Record, sha256_of
from bertprune.pruning.masks import Masks

from .models import pruned_model

TEXT = ("lab:0:300",)
TINY = Shape(layers=1, hidden_size=16, heads=2, vocabulary_size=829, max_length_tokens=32)
BURN_IN = BurnIn(text=TEXT)
PRUNED = PrunePretrain(text=TEXT, sparsity=0.6)
TUNED = Finetune(text=TEXT, sparsity=0.6)
FACTS = {
    "versions": {"torch": "2"},
    "device": "abacus",
    "threads": 1,
    "wall_time_s": 90.0,
    "peak_memory_bytes": 1_000_000_000,
    "tries": 1,
}
# Of 16 examples 13 are right.
ANSWERED = {
    "epoch": 3,
    "predicted": [0, 0, 1] + 13 * [1],
    "labels": [1, 1, 0] + 13 * [1],
    "lengths": list(range(4, 20)),
}


def finished(parameters: BurnIn, *, loss: float = 2.0) -> Run:
    """A run of `parameters` in the present project, as finishing it leaves it."""
    run = Run.of(parameters)
    folder = run.partial_folder
    folder.mkdir(parents=True)
    seed = seed_of(parameters)
    point: dict[str, Any] = {"arm": arm_of(parameters), "learning_rate": 1e-3, "seed": seed}
    sparsity = getattr(parameters, "sparsity", 0.0)
    if isinstance(parameters, Finetune):
        history: list[dict[str, Any]] = [
            {"epoch": 3, "step": 9, "split": "dev", "metric": "accuracy", "value": 0.8125}
        ]
        found = rows.of_history(history, task="sst2", sparsity=sparsity, **point)
        place = {**point, "task": "sst2", "sparsity": sparsity}
        predictions.write(predictions.of(ANSWERED, place), folder / PREDICTIONS_FILE)
    else:
        metrics = {"loss": loss, "mlm_loss": loss - 0.5, "masked_accuracy": 0.375}
        history = [
            {"step": 9, "split": "dev", "metric": name, "value": value}
            for name, value in metrics.items()
        ]
        found = rows.of_history(history, sparsity=sparsity, **point)
    rows.write(found, folder / ROWS_FILE)
    write_json(FACTS, folder / FACTS_FILE)
    (folder / "log.txt").write_text("of this machine alone")
    if parameters.leaves_model():
        save_model(folder / "model", sparsity)
    cell = nbformat.v4.new_code_cell("1", metadata={"papermill": {"status": "completed"}})
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbformat.write(notebook, folder / NOTEBOOK_FILE)
    run.finish(folder / NOTEBOOK_FILE, 1.0)
    return run


def write_record(run: Run, **changes: Any) -> Record:
    """Have the run look done, by its record and a page alone."""
    run.folder.mkdir(parents=True, exist_ok=True)
    page = run.folder / NOTEBOOK_FILE
    page.touch()
    record = Record.of(
        {
            "id": run.id,
            "notebook": run.notebook,
            "parameters": notebook_parameters.as_values(run.parameters),
            "identity": run.identity,
            "page": page_key(run.notebook),
            "notebook_sha256": sha256_of(page),
            "finished": "2026-01-01T00:00:00Z",
            **FACTS,
            **changes,
        }
    )
    record.write(run.folder)
    return record


def save_model(folder: Path, sparsity: float, scope: str = "matrix") -> Masks:
    model, masks = pruned_model(TINY, sparsity, scope)
    save_pretrained(model, load_tokenizer("lab"), masks, folder)
    return masks


def full_disk_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no space left on the disk where a file of this name is written."""
    unfinished = files._unfinished

    def on_full_disk(file: Path) -> Path:
        place = unfinished(file)
        if file.name == name:
            place.symlink_to("/dev/full")
        return place

    monkeypatch.setattr(files, "_unfinished", on_full_disk)
