"""A made-up study that has rows of every metric: two tasks, three seeds, four sparsities, a BERT of
two layers. Values are plausible, and drawn at random from a fixed seed."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bertprune.protocol import rows
from bertprune.protocol.rows import Rows, entry
from bertprune.pruning.matrices import KINDS

TASKS = ("sst2", "mnli")
SEEDS = (0, 1, 2)
SPARSITIES = (0.0, 0.3, 0.6, 0.9)
EPOCHS = 3
RATE = 1e-3
_IN_A_LAYER = (
    *("attention.self.query", "attention.self.key", "attention.self.value"),
    *("attention.output.dense", "intermediate.dense", "output.dense"),
)
MATRICES = (
    "embeddings.word_embeddings",
    *(f"encoder.layer.{layer}.{matrix}" for layer in (0, 1) for matrix in _IN_A_LAYER),
    "pooler.dense",
)
MEMORY = {"word embeddings": 94e6, "position and segment embeddings": 1.6e6, "attention": 113e6}
MEMORY |= {"feed-forward": 227e6, "pooler": 2.4e6, "LayerNorm": 154e3, "heads": 2.5e6}
DIMENSIONS = 24

_LOSS_OF_ACCURACY = {"sst2": 0.3, "mnli": 0.2}
"""By the sparsity squared."""
_LESS_ACCURATE = {"prune_pretrain": 0.0, "information_deletion": -0.02}
_LESS_ACCURATE |= {"prune_after_finetune": 0.01, "random_pruning": 0.2}
"""By the sparsity."""

Entries = Iterator[dict[str, Any]]


@functools.cache
def study() -> Rows:
    """All rows of the study."""
    random = np.random.default_rng(0)
    points = ((sparsity, seed) for seed in SEEDS for sparsity in SPARSITIES)
    return rows.join(part for point in points for part in _point(random, *point))


def _point(random: np.random.Generator, sparsity: float, seed: int) -> Iterator[Rows]:
    point: dict[str, Any] = {"sparsity": sparsity, "seed": seed, "learning_rate": RATE}
    yield rows.of_history(_pretraining(random, sparsity), arm="prune_pretrain", **point)
    if sparsity > 0:
        loss = _noisy(random, "loss", 2 + 5 * sparsity)
        worse = [_at(100, loss), *_masks(random, sparsity, 0.01)]
        yield rows.of_history(worse, arm="random_pruning", **point)
    for task in TASKS:
        place = {**point, "task": task}
        dense = 0.92 - _LOSS_OF_ACCURACY[task] * sparsity**2
        for arm, less in _LESS_ACCURATE.items():
            if sparsity == 0 and arm == "random_pruning":
                continue
            history = [*_finetuning(random, dense - less * sparsity)]
            if arm == "prune_after_finetune" and sparsity > 0:
                history += _mask_differences(random, sparsity)
            if sparsity == 0 and arm == "prune_pretrain":
                history += _movement(random)
            yield rows.of_history(history, arm=arm, **place)
        if sparsity == 0:
            yield rows.of_history(_finetuning(random, 0.55), arm="from_scratch", **place)
        if sparsity == 0.6:
            for epochs in (0.0, 1.0, 3.0, 6.0):
                longer = [*_finetuning(random, dense), *_mask_differences(random, sparsity)]
                at = [one | {"position": epochs} for one in longer]
                yield rows.of_history(at, arm="epochs_before_pruning", **place)


def _at(step: int, measured: Any, **more: Any) -> dict[str, Any]:
    return {"step": step, **measured, **more}


def _noisy(random: np.random.Generator, metric: str, value: float) -> Any:
    return entry("dev", metric, value + random.normal(0, 0.01))


def _pretraining(random: np.random.Generator, sparsity: float) -> Entries:
    for step in (50, 70):
        yield _at(step, entry("dev", "loss", 2 + 4 * sparsity**2))
    yield _at(100, _noisy(random, "loss", 2 + 3 * sparsity**2))
    for part, size in {"dense float32": 8e6, "sparse float32": 9e6 - 8e6 * sparsity}.items():
        yield _at(100, entry("weights", "storage_bytes", size, part=part))
    yield from _masks(random, sparsity, 0.04) if sparsity else _dense_weights(random)


def _finetuning(random: np.random.Generator, accuracy: float) -> Entries:
    for epoch in range(1, EPOCHS + 1):
        dev = _noisy(random, "accuracy", accuracy - 0.02 * (EPOCHS - epoch))
        yield _at(100 * epoch, dev, epoch=epoch)
        yield _at(100 * epoch, entry("dev", "loss", 1.1 - dev["value"]), epoch=epoch)
    yield _at(100 * EPOCHS, entry("train", "loss", 1.1 - accuracy), epoch=EPOCHS)


def _dense_weights(random: np.random.Generator) -> Entries:
    for place, matrix in enumerate(MATRICES):
        std = 0.04 + 0.001 * place + random.normal(0, 0.0005)
        shape = {"weight_mean": random.normal(0, 0.001), "weight_std": std, "weight_kurtosis": 0.1}
        for metric, value in shape.items():
            yield _at(100, entry("weights", metric, value, part=matrix))
    edges = np.linspace(-0.16, 0.16, 62)
    for kind in KINDS:
        counts, _ = np.histogram(np.clip(random.normal(0, 0.04, 4000), -0.16, 0.16), edges)
        for count, centre in zip(counts, (edges[1:] + edges[:-1]) / 2, strict=True):
            share = entry("weights", "histogram", count / 4000, part=kind, position=centre)
            yield _at(100, share)
    for part, size in MEMORY.items():
        yield _at(100, entry("weights", "memory_bytes", size, part=part))
    for block in range(12):
        part = f"dimensions {2 * block}–{2 * block + 1}"
        for token in range(0, 2000, 100):
            size = abs(random.normal(0.03 + 0.002 * block, 0.004))
            yield _at(100, entry("embeddings", "magnitude", size, part=part, position=token))


def _masks(random: np.random.Generator, sparsity: float, spread: float) -> Entries:
    def share(split: str, part: str, about: float, spread: float, **where: Any) -> Any:
        value = np.clip(random.normal(about, spread), 0, 1)
        return _at(100, entry(split, "pruned_share", value, part=part, **where))

    for number in range(DIMENSIONS):
        yield share("embeddings", f"dimension {number}", sparsity, 2 * spread)
    for length in range(1, 11):
        about = sparsity + 0.01 * length - 0.05
        yield share("embeddings", "subword", about, spread / 4, position=length)
    for layer in (0, 1):
        for head in range(4):
            yield share("heads", f"layer {layer} head {head}", sparsity, spread)
    for layer in (0, 1, 2):
        similarity = 1 - sparsity**2 * (0.3 + 0.1 * layer)
        yield _at(100, entry("features", "cosine_similarity", similarity, part=f"layer {layer}"))


def _mask_differences(random: np.random.Generator, sparsity: float) -> Entries:
    for part in ("", *MATRICES):
        value = abs(random.normal(0.04 * sparsity, 0.004))
        yield _at(300, entry("masks", "mask_difference", value, part=part), epoch=EPOCHS)


def _movement(random: np.random.Generator) -> Entries:
    """In all, and at the end by starting position."""

    def moved(epoch: int, mean: float, **where: Any) -> Entries:
        mean += random.normal(0, 0.001)
        for metric, value in {"movement_mean": mean, "movement_std": 0.6 * mean}.items():
            yield _at(100 * epoch, entry("weights", metric, value, **where), epoch=epoch)

    for epoch in range(1, EPOCHS + 1):
        for part in ("", *MATRICES):
            yield from moved(epoch, 0.04 * (1 - math.exp(-1.5 * epoch)), part=part)
    for start in np.arange(0.025, 1, 0.05):
        about = 0.06 * (1 - start**2)
        yield from moved(EPOCHS, about, part="starting position", position=start)
