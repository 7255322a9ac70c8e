"""GLUE (Wang et al., 2019): its tasks as released, those of the paper first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bertprune.base.errors import UserError

Metric = Literal["accuracy", "f1", "matthews"]

HUB_DATA = "nyu-mll/glue"
"""The data set on the Hugging Face Hub."""


@dataclass(frozen=True)
class Task:
    """What has to be known of a classification task beside its tables.

    Raises UserError for a metric that its labels do not have.
    """

    name: str
    columns: tuple[str, ...]  # one or two columns of text
    labels: tuple[str, ...]  # in the order of their numbers
    metrics: tuple[Metric, ...] = ("accuracy",)
    train_split: str = "train"
    dev_split: str = "validation"

    def __post_init__(self) -> None:
        if "f1" in self.metrics and len(self.labels) > 2:
            raise UserError(
                f"task {self.name!r} has {len(self.labels)} labels, and f1 is that of the second "
                "of two: take matthews, which any number of labels has, or accuracy alone"
            )


@dataclass(frozen=True)
class ReleasedTask:
    """A task, and what is known of it without looking at its data."""

    title: str
    """Its name in papers."""
    task: Task
    train_examples: int
    dev_examples: int
    mean_length_tokens: Mapping[int, float]
    """Special tokens included, by the entries of a lower-cased WordPiece of English Wikipedia and
    books. Measured on all training examples of CoLA and SST-2, and on subsets of QNLI (4,799), QQP
    (43,770) and MNLI (12,808)."""


RELEASED = {
    released.task.name: released
    for released in (
        ReleasedTask(
            "MNLI",
            Task(
                "mnli",
                ("premise", "hypothesis"),
                ("entailment", "neutral", "contradiction"),
                dev_split="validation_matched",
            ),
            train_examples=392_702,
            dev_examples=9_815,
            mean_length_tokens={8_000: 44.2, 30_000: 38.3},
        ),
        ReleasedTask(
            "QQP",
            Task(
                "qqp",
                ("question1", "question2"),
                ("not_duplicate", "duplicate"),
                metrics=("accuracy", "f1"),
            ),
            train_examples=363_846,
            dev_examples=40_430,
            mean_length_tokens={8_000: 35.1, 30_000: 31.0},
        ),
        ReleasedTask(
            "QNLI",
            Task("qnli", ("question", "sentence"), ("entailment", "not_entailment")),
            train_examples=104_743,
            dev_examples=5_463,
            mean_length_tokens={8_000: 58.7, 30_000: 49.5},
        ),
        ReleasedTask(
            "SST-2",
            Task("sst2", ("sentence",), ("negative", "positive")),
            train_examples=67_349,
            dev_examples=872,
            mean_length_tokens={8_000: 15.7, 30_000: 13.3},
        ),
        ReleasedTask(
            "CoLA",
            Task(
                "cola",
                ("sentence",),
                ("unacceptable", "acceptable"),
                metrics=("accuracy", "matthews"),
            ),
            train_examples=8_551,
            dev_examples=1_043,
            mean_length_tokens={8_000: 12.8, 30_000: 11.4},
        ),
    )
}
"""By our name of each."""

TASKS = {name: released.task for name, released in RELEASED.items()}
PAPER_TASKS = ("mnli", "qqp", "qnli", "sst2", "cola")
"""Names of the paper's tasks, in its order."""


def mean_length_tokens(name: str, vocabulary_size: int) -> float:
    """Of the examples of the task, in the WordPiece whose size is nearest."""
    lengths = RELEASED[name].mean_length_tokens
    return lengths[min(lengths, key=lambda size: abs(math.log(size / vocabulary_size)))]
