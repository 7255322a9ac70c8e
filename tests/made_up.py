"""Rows that are made up: of values by their places, and of a whole study."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bertprune.protocol import rows
from bertprune.protocol.arms import COMPARED
from bertprune.protocol.rows import PRETRAINING, Rows

SPARSITIES = (0.0, 0.3, 0.6, 0.9)


def made(values: Mapping[tuple[Any, ...], float], names: str, **fixed: Any) -> Rows:
    """Rows of `values`, by columns with these names; the others are `fixed`, or as usual."""
    usual = {"arm": "prune_pretrain", "task": PRETRAINING, "sparsity": 0.0, "learning_rate": 1e-3}
    usual |= {"seed": 0, "epoch": 0, "step": 0, "part": "", "position": math.nan}
    lines = [
        usual | fixed | dict(zip(names.split(), place, strict=True)) | {"value": value}
        for place, value in values.items()
    ]
    return pd.DataFrame(lines, columns=list(rows.COLUMNS)).astype(rows.COLUMNS)


def study(
    *, seeds: int = 1, tasks: tuple[str, ...] = ("sst2", "cola"), rates: tuple[float, ...] = (1e-3,)
) -> Rows:
    """Rows of all arms: accuracy 0.9 − 0.2 · sparsity², a little better at larger rates, and a
    hundredth worse with each seed. Nothing is pruned at random to sparsity 0."""
    points = [
        (arm, sparsity, seed)
        for arm in COMPARED
        for sparsity in (SPARSITIES if arm != "from_scratch" else (0.0,))
        for seed in range(seeds)
        if (arm, sparsity) != ("random_pruning", 0)
    ]
    pretrained = ("prune_pretrain", "random_pruning", "from_scratch")
    losses = {
        (*point, step): 5 - step / 10 + point[1]
        for point in points
        if point[0] in pretrained
        for step in (10, 20)
    }
    measured = {
        (arm, sparsity, seed, task, rate, epoch, split, metric): 0.9
        - 0.2 * sparsity**2
        + rate
        - 0.01 * seed
        - 0.1 * (epoch == 1)
        + 0.05 * (split == "train")
        for arm, sparsity, seed in points
        for task in tasks
        for rate in rates
        for epoch, split in ((1, "dev"), (2, "dev"), (2, "train"))
        for metric in ("accuracy", "loss")
    }
    return rows.join(
        [
            made(losses, "arm sparsity seed step", split="dev", metric="loss"),
            made(measured, "arm sparsity seed task learning_rate epoch split metric"),
        ]
    )


def probed(bits: Mapping[str, float], **point: Any) -> Rows:
    """Rows of what a model recalls, by sort of fact, and of a share that is no number of bits."""
    values = {(f"{sort}_bits",): value for sort, value in bits.items()} | {("facts_recall",): 0.5}
    return made(values, "metric", split="probe", **point)
