"""What runs take beside their steps: measured by a tiny real sweep, in a project of its own."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median

import yaml

from bertprune.speed.cost.amounts_of_work import NOTEBOOK, fixed
from bertprune.speed.cost.unit_costs import Line
from bertprune.speed.cost.what_to_measure import Request
from bertprune.speed.fresh_project import sweep_in

_LAB_DOCUMENTS = 200


def runs_without_steps(request: Request) -> dict[str, Line]:
    """What a run of each notebook takes without a step, and its notebook beside it: from a sweep of
    a study of such runs, in a folder of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        _write_project(request, root)
        records = sweep_in(root, "measured.yaml", "--workers", "1")
    found = defaultdict(list)
    for record in records:
        found[record.notebook].append(record.wall_time_s)
    # The first one starts the process that the others come from.
    beside = [one.notebook_wall_time_s - one.wall_time_s for one in records[1:]]
    lines = {fixed(notebook): Line(fmean(times)) for notebook, times in found.items()}
    return lines | {NOTEBOOK: Line(median(beside))}


def _write_project(request: Request, root: Path) -> None:
    """A project with a study of no steps: a fresh model of the size, and next to no data."""
    from bertprune.data.documents import documents
    from bertprune.data.tokenizer import load_tokenizer
    from bertprune.model import loading
    from bertprune.speed import made_up_inputs

    text = f"{request.lab}:{_LAB_DOCUMENTS}"
    if request.language is None:
        # Only of a lab language a model is asked what it recalls.
        (root / "text.txt").write_text(
            "\n".join(one.replace("\n", " ") for one in documents([text])), encoding="utf-8"
        )
        text = "text.txt"
    tokenizer = load_tokenizer(request.lab)
    shape = request.shape_for(len(tokenizer))
    loading.save_pretrained(loading.fresh_model(shape, seed=0), tokenizer, {}, root / "model")
    (root / "tasks" / "sst2").mkdir(parents=True)
    few = made_up_inputs.phrases(8, (3, 3), tokenizer)
    for split in ("train", "validation"):
        few.to_parquet(root / "tasks" / "sst2" / f"{split}.parquet")
    study = {
        "parameters": {
            "model": "model",
            "text": [text],
            "task_data": "tasks",
            "max_length_tokens": request.max_length_tokens,
            "dev_share": 0.5,
            "dev_examples": 8,
            "burn_in_steps": 0,
            "pretrain_steps": 0,
            "ramp_steps": 0,
            "epochs": 0,
            "recovery_epochs": 0,
        },
        "grid": {"sparsity": [0.5], "task": ["sst2"], "seed": [0]},
        "arms": {"information_deletion": {}, "prune_after_finetune": {}},
    }
    (root / "measured.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
