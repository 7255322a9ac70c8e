"""Make the current folder a project whose studies `paper` and `paper-as-run` can take their first
steps in it: with a random BERT, a made-up text and MNLI of made-up phrases."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bertprune.model.loading import fresh_model, save_pretrained
from bertprune.model.shape import Shape
from bertprune.protocol.arms import BY_SPARSITY
from bertprune.speed.made_up_inputs import BASE, TRAIN_QUANTILES, VOCABULARY, phrases, tokenizer

SHAPES = {
    "base": BASE,
    "tiny": Shape(layers=1, hidden_size=16, heads=2, vocabulary_size=VOCABULARY),
}
EXAMPLES, DOCUMENTS, SENTENCES = 30, 60, 20

FEW_STEPS = {
    "model": "model",
    "text": ["text"],
    "task_data": "tasks",
    "dev_share": 0.1,
    "dev_examples": 8,
    "burn_in_steps": 1,
    "pretrain_steps": 2,
    "ramp_steps": 1,
    "pruning_frequency_steps": 1,
    "learning_rates": [2e-5],
}
STUDIES = {
    "paper": FEW_STEPS,
    "paper-as-run": FEW_STEPS
    | {"burn_in_decay_ends_steps": [1], "pretrain_decay_ends_steps": [1, 2]},
}


def make(shape: Shape) -> None:
    save_pretrained(fresh_model(shape, seed=0), tokenizer(), {}, Path("model"))
    said = iter(
        phrases(DOCUMENTS * SENTENCES + 4 * EXAMPLES, TRAIN_QUANTILES, tokenizer()).sentence
    )
    Path("text").mkdir()
    documents = ("\n".join(f"{next(said)}." for _ in range(SENTENCES)) for _ in range(DOCUMENTS))
    Path("text", "made-up.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    folder = Path("tasks", "mnli")
    folder.mkdir(parents=True)
    for split in ("train", "validation_matched"):
        rows = [[next(said), next(said), number % 3] for number in range(EXAMPLES)]
        columns = ("premise", "hypothesis", "label")
        lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, parameters in STUDIES.items():
        study = {
            "like": name,
            "parameters": parameters,
            "grid": {"sparsity": [0.7], "task": ["mnli"], "seed": [0]},
            "stages": [[{"arm": list(BY_SPARSITY)}]],
        }
        # JSON is YAML.
        Path(f"{name}-first-steps.yaml").write_text(json.dumps(study), encoding="utf-8")


if __name__ == "__main__":
    make(SHAPES[sys.argv[1]])
