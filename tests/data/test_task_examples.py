"""Task examples: batches of like length, and metrics."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import matthews_corrcoef
from transformers import PreTrainedTokenizerFast

from bertprune.data.glue import TASKS, Task
from bertprune.data.task_examples import TaskExamples, compute_metrics, matthews
from bertprune.data.tasks import load_task


@pytest.fixture
def examples(tokenizer: PreTrainedTokenizerFast) -> TaskExamples:
    data = load_task("cola", "lab")
    return TaskExamples(data.train, data.task, tokenizer, 64)


def test_batch_is_what_the_tokenizer_gives(
    examples: TaskExamples, tokenizer: PreTrainedTokenizerFast
) -> None:
    frame = load_task("cola", "lab").train
    indices = np.array([5, 0, 399, 17])
    batch = examples.batch(indices)
    expected = tokenizer(frame["sentence"].iloc[indices].tolist(), padding=True)
    assert batch.input_ids.tolist() == expected["input_ids"]
    assert batch.token_type_ids.tolist() == expected["token_type_ids"]
    assert batch.attention_mask.tolist() == expected["attention_mask"]
    assert batch.labels.tolist() == frame["label"].iloc[indices].tolist()
    assert batch.examples_total == 4
    assert torch.equal(batch.to("cpu").labels, batch.labels)


def test_pairs_are_truncated_at_the_longer_side(tokenizer: PreTrainedTokenizerFast) -> None:
    task = Task("own", ("first", "second"), ("no", "yes"))
    frame = pd.DataFrame({"first": ["mill " * 30], "second": ["the gate"], "label": [1]})
    batch = TaskExamples(frame, task, tokenizer, 16).batch(np.array([0]))
    assert batch.input_ids.shape == (1, 16)
    gate = tokenizer("the gate", add_special_tokens=False)["input_ids"]
    assert batch.input_ids[0, -3:-1].tolist() == gate
    assert batch.token_type_ids[0].tolist() == [0] * 13 + [1] * 3


def test_order_is_a_permutation_and_a_function(examples: TaskExamples) -> None:
    order = examples.order(epoch=2, seed=7, batch_size=32)
    assert sorted(np.concatenate(order).tolist()) == list(range(len(examples)))
    assert len(examples) % 32
    assert sorted(map(len, order)) == [len(examples) % 32, *[32] * (len(examples) // 32)]
    again = examples.order(2, 7, 32)
    assert all(np.array_equal(a, b) for a, b in zip(order, again, strict=True))
    for other in (examples.order(3, 7, 32), examples.order(2, 8, 32)):
        assert not all(np.array_equal(a, b) for a, b in zip(order, other, strict=True))


def test_batches_hold_like_lengths(examples: TaskExamples) -> None:
    """Little padding in training and least in evaluation, and batches not in order of length."""
    unsorted = np.split(np.arange(len(examples)), len(examples) // 20)
    order = examples.order(0, 0, 20)

    def padded(batches: list[np.ndarray[Any, Any]]) -> int:
        return sum(len(batch) * int(examples.lengths[batch].max()) for batch in batches)

    assert padded(examples.sorted_batches(20)) <= padded(order) < padded(unsorted)
    longest = [examples.lengths[batch].max() for batch in order]
    assert longest != sorted(longest)


def test_a_sample_is_the_same_at_every_call(examples: TaskExamples) -> None:
    chosen = examples.sample(30)
    assert len(set(chosen)) == 30 and chosen.tolist() == examples.sample(30).tolist()
    batches = examples.sorted_batches(8, chosen)
    assert sorted(np.concatenate(batches)) == chosen.tolist()
    assert examples.sample(len(examples)).tolist() == list(range(len(examples)))


def test_processes_share_a_batch(examples: TaskExamples) -> None:
    indices = np.arange(10)
    parts = [examples.batch(indices, rank, 4) for rank in range(4)]
    assert torch.cat([part.labels for part in parts]).tolist() == examples.labels[:10].tolist()
    assert {part.examples_total for part in parts} == {10}
    assert examples.batch(indices[:2], 3, 4).input_ids.shape[0] == 0


def test_metrics_by_hand() -> None:
    """Two hits, one false alarm, one miss, four correct rejections."""
    labels = np.array([1, 1, 0, 1, 0, 0, 0, 0])
    predictions = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    task = Task("own", ("text",), ("no", "yes"), ("accuracy", "f1", "matthews"))
    assert compute_metrics(task, labels, predictions) == pytest.approx(
        {"accuracy": 6 / 8, "f1": 4 / 6, "matthews": (2 * 4 - 1 * 1) / np.sqrt(3 * 3 * 5 * 5)}
    )


def test_metrics_at_their_ends() -> None:
    zeros, ones = np.zeros(4, np.int64), np.ones(4, np.int64)
    mixed = np.array([0, 1, 0, 1])
    three = np.array([0, 1, 2, 1])
    assert matthews(mixed, mixed) == pytest.approx(1.0)
    assert matthews(mixed, 1 - mixed) == pytest.approx(-1.0)
    assert matthews(three, (three + 1) % 3) == pytest.approx(
        matthews_corrcoef(three, (three + 1) % 3)
    )
    assert matthews(three, three) == pytest.approx(1.0)
    assert matthews(mixed, ones) == matthews(ones, ones) == 0.0
    assert compute_metrics(TASKS["qqp"], zeros, zeros) == {"accuracy": 1.0, "f1": 0.0}
    with pytest.raises(ValueError, match="4 labels and 2 predictions"):
        compute_metrics(TASKS["qqp"], zeros, mixed[:2])
