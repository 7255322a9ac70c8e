"""A made-up study that has rows of every metric: two tasks, three seeds, four sparsities, a BERT of
two layers. Values are plausible, and drawn at random from a fixed seed."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bertprune.protocol import rows
from bertprune.protocol.rows import Rows

TASKS = ("sst2", "mnli")
SEEDS = (0, 1, 2)
SPARSITIES = (0.0, 0.3, 0.6, 0.9)
EPOCHS = 3
RATE = 1e-3
MATRICES = {
    "embeddings.word_embeddings": "word_embeddings",
    **{
        f"encoder.layer.{layer}.{matrix}": kind
        for layer in (0, 1)
        for matrix, kind in {
            "attention.self.query": "query",
            "attention.self.key": "key",
            "attention.self.value": "value",
            "attention.output.dense": "attention_output",
            "intermediate.dense": "intermediate",
            "output.dense": "output",
        }.items()
    },
    "pooler.dense": "pooler",
}
DIMENSIONS = 24

_LOSS_OF_ACCURACY = {"sst2": 0.3, "mnli": 0.2}
"""By the sparsity squared."""

Entry = dict[str, Any]


@functools.cache
def study() -> Rows:
    """All rows of the study."""
    random = np.random.default_rng(0)
    parts = []
    for seed in SEEDS:
        for sparsity in SPARSITIES:
            parts += list(_point(random, sparsity, seed))
    return rows.join(parts)


def _point(random: np.random.Generator, sparsity: float, seed: int) -> Iterator[Rows]:
    point: Entry = {"sparsity": sparsity, "seed": seed, "learning_rate": RATE}
    pretraining = [
        *(_entry("dev", "loss", 2 + 4 * sparsity**2, step=step) for step in (50, 70)),
        *_dev(random, 2 + 3 * sparsity**2, step=100),
        *(_of_dense_weights(random) if sparsity == 0 else _of_masks(random, sparsity)),
        _entry("weights", "storage_bytes", 8e6, part="dense float32", step=100),
        _entry("weights", "storage_bytes", 9e6 - 8e6 * sparsity, part="sparse float32", step=100),
    ]
    yield rows.of_history(pretraining, arm="prune_pretrain", **point)
    if sparsity > 0:
        worse = [
            *_dev(random, 2 + 5 * sparsity, step=100),
            *_of_masks(random, sparsity, spread=0.01),
        ]
        yield rows.of_history(worse, arm="random_pruning", **point)
    arms = {"prune_pretrain": 0.0, "information_deletion": 0.02 * sparsity}
    arms |= {"prune_after_finetune": -0.01, "random_pruning": -0.2 * sparsity}
    for task in TASKS:
        dense = 0.92 - _LOSS_OF_ACCURACY[task] * sparsity**2
        for arm, more in arms.items():
            if sparsity == 0 and arm != "prune_pretrain":
                continue
            history = _finetuning(random, dense + more)
            if arm == "prune_after_finetune":
                history += _of_mask_differences(random, sparsity)
            if arm == "prune_pretrain" and sparsity == 0:
                history += _of_movement(random)
            yield rows.of_history(history, arm=arm, task=task, **point)
        if sparsity == 0:
            scratch = _finetuning(random, 0.55)
            yield rows.of_history(scratch, arm="from_scratch", task=task, **point)
        if sparsity == 0.6:
            for epochs in (0.0, 1.0, 3.0, 6.0):
                longer = [*_finetuning(random, dense), *_of_mask_differences(random, sparsity)]
                at = [entry | {"position": epochs} for entry in longer]
                yield rows.of_history(at, arm="epochs_before_pruning", task=task, **point)


def _entry(split: str, metric: str, value: float, **more: Any) -> Entry:
    return {"split": split, "metric": metric, "value": float(value), **more}


def _dev(random: np.random.Generator, loss: float, **more: Any) -> list[Entry]:
    return [_entry("dev", "loss", loss + random.normal(0, 0.02), **more)]


def _finetuning(random: np.random.Generator, accuracy: float) -> list[Entry]:
    last = {"epoch": EPOCHS, "step": 100 * EPOCHS}
    history = [
        _entry("dev", "accuracy", accuracy + random.normal(0, 0.01) - 0.02 * (EPOCHS - epoch))
        | {"epoch": epoch, "step": 100 * epoch}
        for epoch in range(1, EPOCHS + 1)
    ]
    history += [entry | {"metric": "loss", "value": 1.1 - entry["value"]} for entry in history]
    return [*history, _entry("train", "loss", 1.1 - accuracy + random.normal(0, 0.01), **last)]


def _of_dense_weights(random: np.random.Generator) -> list[Entry]:
    found = []
    for place, matrix in enumerate(MATRICES):
        at: Entry = {"part": matrix, "step": 100}
        std = 0.04 + 0.001 * place + random.normal(0, 0.0005)
        found += [
            _entry("weights", "weight_mean", random.normal(0, 0.001), **at),
            _entry("weights", "weight_std", std, **at),
            _entry("weights", "weight_kurtosis", random.normal(0, 0.3), **at),
        ]
    for kind in dict.fromkeys(MATRICES.values()):
        edges = np.linspace(-0.16, 0.16, 62)
        counts, _ = np.histogram(np.clip(random.normal(0, 0.04, 4000), -0.16, 0.16), edges)
        found += [
            _entry("weights", "histogram", count / 4000, part=kind, position=centre, step=100)
            for count, centre in zip(counts, (edges[1:] + edges[:-1]) / 2, strict=True)
        ]
    sizes = {"word embeddings": 94e6, "position and segment embeddings": 1.6e6, "attention": 113e6}
    sizes |= {"feed-forward": 227e6, "pooler": 2.4e6, "LayerNorm": 154e3, "heads": 2.5e6}
    found += [
        _entry("weights", "memory_bytes", size, part=part, step=100) for part, size in sizes.items()
    ]
    for block in range(12):
        for token in range(0, 2000, 100):
            size = abs(random.normal(0.03 + 0.002 * block, 0.004))
            found.append(
                _entry(
                    "embeddings",
                    "magnitude",
                    size,
                    part=f"dimensions {2 * block}–{2 * block + 1}",
                    position=float(token),
                    step=100,
                )
            )
    return found


def _of_masks(random: np.random.Generator, sparsity: float, spread: float = 0.04) -> list[Entry]:
    def near(share: float, spread: float) -> float:
        return float(np.clip(random.normal(share, spread), 0, 1))

    found = [
        _entry("embeddings", "pruned_share", near(sparsity, 2 * spread), part=f"dimension {number}")
        for number in range(DIMENSIONS)
    ]
    found += [
        _entry("embeddings", "pruned_share", near(sparsity + 0.01 * length - 0.05, spread / 4))
        | {"part": "subword", "position": float(length)}
        for length in range(1, 11)
    ]
    found += [
        _entry("heads", "pruned_share", near(sparsity, spread), part=f"layer {layer} head {head}")
        for layer in (0, 1)
        for head in (0, 1, 2, 3)
    ]
    found += [
        _entry("features", "cosine_similarity", 1 - sparsity**2 * (0.3 + 0.1 * layer))
        | {"part": f"layer {layer}"}
        for layer in (0, 1, 2)
    ]
    return [entry | {"step": 100} for entry in found]


def _of_mask_differences(random: np.random.Generator, sparsity: float) -> list[Entry]:
    return [
        _entry("masks", "mask_difference", abs(random.normal(0.04 * sparsity, 0.004)))
        | {"part": part, "epoch": EPOCHS, "step": 300}
        for part in ("", *MATRICES)
    ]


def _of_movement(random: np.random.Generator) -> list[Entry]:
    found = []
    for epoch in range(1, EPOCHS + 1):
        at: Entry = {"epoch": epoch, "step": 100 * epoch}
        for part in ("", *MATRICES):
            mean = 0.04 * (1 - math.exp(-1.5 * epoch)) + random.normal(0, 0.001)
            found += [
                _entry("weights", "movement_mean", mean, part=part, **at),
                _entry("weights", "movement_std", 0.9 * mean, part=part, **at),
            ]
    for number in range(20):
        where: Entry = {"part": "starting position", "position": (number + 0.5) / 20}
        mean = 0.06 * (1 - where["position"] ** 2) + random.normal(0, 0.001)
        found += [
            _entry("weights", "movement_mean", mean, epoch=EPOCHS, step=300, **where),
            _entry("weights", "movement_std", 0.6 * mean, epoch=EPOCHS, step=300, **where),
        ]
    return found
