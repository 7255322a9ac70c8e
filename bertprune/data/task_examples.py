"""A classification task as numbers: batches of like length, and the metrics of predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bertprune.data.batches import ClassificationBatch
from bertprune.data.glue import Task
from bertprune.data.tasks import LABEL

if TYPE_CHECKING:
    # It takes seconds to import, which only to say what there is would be too long.
    from transformers import PreTrainedTokenizerFast

BATCHES_SORTED_TOGETHER = 50


class TaskExamples:
    """One split, tokenised once, as batches of like length.

    Padding to the longest of a batch is most of the cost where sentences are short, so batches
    are made of neighbours in length.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        task: Task,
        tokenizer: PreTrainedTokenizerFast,
        max_length_tokens: int,
    ) -> None:
        encoded = tokenizer(
            *(frame[column].tolist() for column in task.columns),
            truncation="longest_first",
            max_length=max_length_tokens,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        ids, types = encoded["input_ids"], encoded["token_type_ids"]
        self.labels = frame[LABEL].to_numpy(np.int64)
        self.lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._ids = np.concatenate(ids).astype(np.int32)
        self._types = np.concatenate(types).astype(np.int8)
        self._padding = int(tokenizer.pad_token_id)

    def __len__(self) -> int:
        return len(self.labels)

    def order(self, epoch: int, seed: int, batch_size: int) -> list[NDArray[np.int64]]:
        """Training batches of an epoch, as indices: a pure function of the arguments.

        Shuffled, sorted by length inside stretches of some 50 batches, cut, and the batches
        shuffled: random enough to train on, and even enough to pad little.
        """
        generator = np.random.default_rng([seed, epoch])
        shuffled = generator.permutation(len(self))
        stretch = batch_size * BATCHES_SORTED_TOGETHER
        batches = [
            batch
            for start in range(0, len(self), stretch)
            for batch in self._by_length(shuffled[start : start + stretch], batch_size)
        ]
        return [batches[number] for number in generator.permutation(len(batches))]

    def sample(self, size: int) -> NDArray[np.int64]:
        """Indices of `size` examples, the same at every call; of all where they are no more."""
        if len(self) <= size:
            return np.arange(len(self))
        return np.sort(np.random.default_rng(0).permutation(len(self))[:size])

    def sorted_batches(
        self, batch_size: int, indices: NDArray[np.int64] | None = None
    ) -> list[NDArray[np.int64]]:
        """Every example once, or each of `indices`, by length, for evaluation."""
        return self._by_length(np.arange(len(self)) if indices is None else indices, batch_size)

    def batch(
        self, indices: NDArray[np.int64], rank: int = 0, world: int = 1
    ) -> ClassificationBatch:
        """The examples `indices`, or process `rank`'s part of them, padded to the longest."""
        mine = np.array_split(indices, world)[rank]
        lengths = self.lengths[mine]
        columns = np.arange(lengths.max(initial=1))
        inside = columns < lengths[:, None]
        where = np.where(inside, self._starts[mine][:, None] + columns, 0)
        return ClassificationBatch(
            input_ids=torch.from_numpy(
                np.where(inside, self._ids[where], self._padding).astype(np.int64)
            ),
            token_type_ids=torch.from_numpy(
                np.where(inside, self._types[where], 0).astype(np.int64)
            ),
            attention_mask=torch.from_numpy(inside.astype(np.int64)),
            labels=torch.from_numpy(self.labels[mine]),
            examples_total=len(indices),
        )

    def _by_length(self, indices: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
        ordered = indices[np.argsort(self.lengths[indices], kind="stable")]
        return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]


def compute_metrics(
    task: Task, labels: NDArray[np.int64], predictions: NDArray[np.int64]
) -> dict[str, float]:
    """The task's metrics of predicted against true label numbers, each in [-1, 1]."""
    if len(labels) != len(predictions) or not len(labels):
        raise ValueError(f"{len(labels)} labels and {len(predictions)} predictions")
    functions = {"accuracy": accuracy, "f1": f1, "matthews": matthews}
    return {name: functions[name](labels, predictions) for name in task.metrics}


def accuracy(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> float:
    return float(np.mean(labels == predictions))


def f1(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> float:
    """F1 of label 1 of two (see `Task`); 0 where it is neither true nor predicted anywhere."""
    hits = np.sum((labels == 1) & (predictions == 1))
    named = np.sum(labels == 1) + np.sum(predictions == 1)
    return float(2 * hits / named) if named else 0.0


def matthews(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> float:
    """Matthews correlation of two label numberings (Gorodkin 2004); 0 where one is constant."""
    classes = int(max(labels.max(), predictions.max())) + 1
    true, predicted = np.eye(classes)[labels], np.eye(classes)[predictions]
    true, predicted = true - true.mean(axis=0), predicted - predicted.mean(axis=0)
    norm = np.sqrt(np.sum(true * true) * np.sum(predicted * predicted))
    return float(np.sum(true * predicted) / norm) if norm else 0.0
