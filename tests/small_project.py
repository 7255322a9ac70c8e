"""A project of its own with a study that takes seconds, to be killed."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[1]

PARAMETERS = {
    "text": ["lab:0:300"],
    "task_data": "lab",
    "layers": 1,
    "hidden_size": 32,
    "max_length_tokens": 48,
    "dev_share": 0.1,
    "burn_in_steps": 40,
    "pretrain_steps": 30,
    "ramp_steps": 10,
    "epochs": 2,
}


def project(folder: Path, sparsities: Sequence[float], seeds: int, **changed: Any) -> Path:
    """Makes it in `folder`: its study is `killed`, with some parameters `changed`."""
    shutil.copytree(PROJECT / "notebooks", folder / "notebooks")
    study = {
        "title": "Killed",
        "parameters": PARAMETERS | changed,
        "grid": {
            "sparsity": list(sparsities),
            "task": [["cola", "sst2"]],
            "seed": list(range(seeds)),
        },
        "arms": {"prune_pretrain": {}},
    }
    text = yaml.safe_dump(study)
    (folder / "notebooks" / "studies" / "killed.yaml").write_text(text, encoding="utf-8")
    return folder
