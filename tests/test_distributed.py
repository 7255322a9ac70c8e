"""Two processes under accelerate train as one does."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

PROJECT = Path(__file__).parent.parent
TRAIN = ["-m", "bertprune", "train", "burn_in"]
SMALL = {
    "layers": "1",
    "hidden_size": "32",
    "vocabulary_size": "200",
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


def _trained(root: Path, *launcher: str) -> Path:
    """The folder that `bertprune train burn_in` leaves, without dropout: each process would draw
    its own."""
    (root / "notebooks").mkdir(parents=True)
    for notebook in (PROJECT / "notebooks").iterdir():
        (root / "notebooks" / notebook.name).symlink_to(notebook)
    settings = [part for name, value in SMALL.items() for part in ("-p", name, value)]
    environment = os.environ | {"BERTPRUNE_ROOT": str(root), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, *launcher, *TRAIN, *settings],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (f for f in (root / "runs" / ".partial").iterdir() if f.is_dir())
    return folder


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    one = _trained(tmp_path / "one")
    two = _trained(tmp_path / "two", *LAUNCH)
    assert one.name == two.name
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    # Dropout differs by process, so the weights are near, not equal.
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=0.0, atol=0.02)
    losses = [
        pd.read_csv(folder / "rows.csv").query("metric == 'loss'").value for folder in (one, two)
    ]
    assert abs(losses[0].iloc[-1] - losses[1].iloc[-1]) < 0.05
    assert (two / "tries").read_text() == "|"
