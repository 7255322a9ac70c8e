"""Two processes under accelerate train as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

from bertprune.data.tokenizer import wordpiece
from bertprune.model.loading import fresh_model, save_pretrained
from bertprune.model.shape import Shape

PROJECT = Path(__file__).parents[2]
TRAIN = ["-m", "bertprune", "train", "burn_in"]
SMALL = {
    "text": "lab:0:300",
    "max_length_tokens": "48",
    "dev_share": "0.1",
    "dev_examples": "40",
    "burn_in_steps": "6",
    "pretrain_batch_size": "8",
}
LAUNCH = [
    *("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
]


def _model(folder: Path) -> Path:
    """A model without dropout, of which each process would draw its own."""
    tokenizer = wordpiece(("lab:0:300",), 200, folder / "cache")
    model = fresh_model(Shape(1, 32, 2, len(tokenizer), 48, dropout=0.0), seed=0)
    save_pretrained(model, tokenizer, {}, folder / "model")
    return folder / "model"


def _trained(root: Path, model: Path, *launcher: str) -> Path:
    """The folder that `bertprune train burn_in` leaves."""
    root.mkdir()
    (root / "notebooks").symlink_to(PROJECT / "notebooks")
    settings = [part for name, value in SMALL.items() for part in ("-p", name, value)]
    done = subprocess.run(
        [sys.executable, *launcher, *TRAIN, *settings, "-p", "model", str(model)],
        env=os.environ | {"BERTPRUNE_ROOT": str(root), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (f for f in (root / "runs" / ".partial").iterdir() if f.is_dir())
    return folder


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    model = _model(tmp_path)
    one = _trained(tmp_path / "one", model)
    two = _trained(tmp_path / "two", model, *LAUNCH)
    assert one.name == two.name
    before, after, shared = (
        load_file(folder / "model.safetensors") for folder in (model, one / "model", two / "model")
    )
    for name, weight in after.items():
        torch.testing.assert_close(weight, shared[name], rtol=0.0, atol=2e-5)
    moved = max((after[name] - before[name]).abs().max() for name in after)
    assert moved > 1e-3
    pd.testing.assert_frame_equal(
        pd.read_csv(one / "rows.csv"), pd.read_csv(two / "rows.csv"), rtol=1e-4
    )
    assert json.loads((two / "tries").read_text())["tries"] == 1
