"""The paper's own numbers, as it prints them and as tidy rows like ours.

Gordon, Duh & Andrews (2020); `README.md` beside this file says what each CSV has. The paper's
averages over tasks are not among them: they follow from table 1.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import pandas as pd

from bertprune.data.glue import RELEASED
from bertprune.protocol.arms import (
    INFORMATION_DELETION,
    PRUNE_AFTER_FINETUNE,
    PRUNE_PRETRAIN,
    RANDOM_PRUNING,
)
from bertprune.protocol.rows import COLUMNS, PRETRAINING, Rows, join

LONGER_RUN = 1
"""The seed of the rows of figure 4: a second fine-tuning of the same model, of 12 epochs. The paper
numbers no runs; all other rows have seed 0."""

PRETRAINING_STEPS = 100_000
PRETRAINING_LEARNING_RATE = 2e-5

_MATRICES = {
    "attention_output": "attention.output.dense",
    "key": "attention.self.key",
    "query": "attention.self.query",
    "value": "attention.self.value",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
"""The matrices of a layer in the order of the paper's files, that of a TensorFlow checkpoint:
alphabetical, layers too (0, 1, 10, 11, 2, ...)."""

_SOURCE_ORDER = [
    f"encoder.layer.{layer}.{matrix}"
    for layer in sorted(range(12), key=str)
    for matrix in _MATRICES.values()
] + ["pooler.dense"]


def glue() -> pd.DataFrame:
    """Table 1: arm, sparsity, pretrain_loss (nats; none for prune_after_finetune), task,
    dev_accuracy (%), train_loss (nats). Tasks have our names."""
    return _file("table1_glue.csv")


def sizes_of_tasks() -> pd.DataFrame:
    """By task, `train examples` and `dev examples`: GLUE's, as the paper has them."""
    sizes = {name: (of.train_examples, of.dev_examples) for name, of in RELEASED.items()}
    return pd.DataFrame.from_dict(sizes, orient="index", columns=["train examples", "dev examples"])


def facts_of_tasks() -> pd.DataFrame:
    """These, and the accuracy, as a share, of the model that was `pruned at random to 90 %`: the
    paper has none without pre-training, and of this one hardly any is left."""
    found = glue()
    emptiest = found[(found.arm == RANDOM_PRUNING) & (found.sparsity == found.sparsity.max())]
    left = emptiest.set_index("task").dev_accuracy / 100
    return sizes_of_tasks().assign(**{"pruned at random to 90 %": left})


def movement() -> pd.DataFrame:
    """Table 2: learning_rate, task, mean_percent and std_percent of the movement in the sort order
    after three epochs, % of the matrix size."""
    return _file("table2_sort_order_movement.csv")


def movement_by_epoch() -> pd.DataFrame:
    """Figure 4, left: task, epoch, mean_fraction and std_fraction of the movement at 5e-5."""
    return _file("fig4_sort_order_by_epoch.csv")


def movement_by_matrix() -> pd.DataFrame:
    """The movement of table 2 by matrix: task, learning_rate, matrix (our name), matrix_size,
    mean_fraction and std_fraction.

    The source gives no names, but TensorFlow's order of a checkpoint's variables and their sizes.
    """
    found = _file("sort_order_by_matrix.csv")
    found["matrix"] = [_SOURCE_ORDER[row] for row in found.row_in_source]
    return found.drop(columns="row_in_source")


def weight_statistics() -> pd.DataFrame:
    """Table 3: matrix (our name), mean and std of its weights."""
    found = _file("table3_weight_statistics.csv")
    return found.assign(matrix=found.apply(_matrix, axis=1)).drop(columns="layer")


def rows() -> Rows:
    """All of these numbers as tidy rows.

    Accuracies and movements are shares, losses nats. Learning rates of table 1 are NaN: its
    numbers are the best of four, and which is not said. Movement over the whole model leaves the
    word embeddings out, as the matrices beside it do.
    """
    return _rows().copy()


@functools.cache
def _rows() -> Rows:
    fixed: dict[str, Any] = {"arm": PRUNE_PRETRAIN, "sparsity": 0.0, "split": "weights"}
    moved = fixed | {"metrics": ("movement_mean", "movement_std")}
    table2 = movement()
    table2 = table2.assign(mean=table2.mean_percent / 100, std=table2.std_percent / 100)
    return join(
        [
            _of_glue(),
            _of_pretraining_losses(),
            _mean_and_std(table2, **moved, epoch=3),
            _mean_and_std(movement_by_matrix(), **moved, epoch=3),
            _mean_and_std(movement_by_epoch(), **moved, learning_rate=5e-5, seed=LONGER_RUN),
            _mean_and_std(
                weight_statistics(),
                **fixed,
                metrics=("weight_mean", "weight_std"),
                task=PRETRAINING,
                learning_rate=PRETRAINING_LEARNING_RATE,
            ),
        ]
    )


def _of_glue() -> Rows:
    found = glue()
    found["epoch"] = found.apply(_epochs, axis=1)
    dev = found.assign(split="dev", metric="accuracy", value=found.dev_accuracy / 100)
    train = found.assign(split="train", metric="loss", value=found.train_loss)
    return join([_tidy(dev, learning_rate=math.nan), _tidy(train, learning_rate=math.nan)])


def _epochs(line: Any) -> int:
    """Epochs that a line of table 1 is measured after: of fine-tuning, or of recovery."""
    if line.arm == INFORMATION_DELETION:
        return 15 if line.sparsity >= 0.7 else 13
    if line.arm == PRUNE_AFTER_FINETUNE:
        return 7 if line.sparsity >= 0.8 else 5
    return 3


def _of_pretraining_losses() -> Rows:
    """Dev losses of the models that were pruned; information deletion starts from those of
    prune_pretrain."""
    found = glue()
    found = found[found.arm.isin([PRUNE_PRETRAIN, RANDOM_PRUNING])]
    found = found.drop_duplicates(["arm", "sparsity"]).drop(columns="task")
    return _tidy(
        found.assign(value=found.pretrain_loss),
        task=PRETRAINING,
        split="dev",
        metric="loss",
        step=PRETRAINING_STEPS,
        learning_rate=PRETRAINING_LEARNING_RATE,
    )


def _mean_and_std(found: pd.DataFrame, *, metrics: tuple[str, str], **fixed: Any) -> Rows:
    """Rows of the columns mean and std, or mean_fraction and std_fraction, as two metrics."""
    named = found.rename(columns=lambda name: name.removesuffix("_fraction"))
    named = named.rename(columns={"matrix": "part"})
    return join(
        _tidy(named.assign(value=named[column]), metric=metric, **fixed)
        for column, metric in zip(("mean", "std"), metrics, strict=True)
    )


def _tidy(found: pd.DataFrame, **fixed: Any) -> Rows:
    """`found` as rows: columns that it lacks are of `fixed`, or as usual."""
    usual: dict[str, Any] = {"seed": 0, "epoch": 0, "step": 0, "part": "", "position": math.nan}
    lacking = {name: value for name, value in usual.items() if name not in found}
    return found.assign(**(lacking | fixed))[list(COLUMNS)].astype(COLUMNS)


def _matrix(line: Any) -> str:
    """Our name of the matrix of a line of table 3."""
    outside = {"embeddings": "embeddings.word_embeddings", "pooler": "pooler.dense"}
    return outside.get(line.layer) or f"encoder.layer.{line.layer}.{_MATRICES[line.matrix]}"


def _file(name: str) -> pd.DataFrame:
    """A CSV of this folder, its tasks renamed to ours."""
    found = pd.read_csv(Path(__file__).parent / name)
    if "task" in found:
        found["task"] = found.task.map(
            {released.title: name for name, released in RELEASED.items()}
        )
    return found
