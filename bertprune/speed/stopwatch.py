"""What the benchmark and the cost both time: any work, and the steps of our training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from transformers import BertForPreTraining, BertForSequenceClassification

from bertprune.data.batches import Batch, ClassificationBatch
from bertprune.data.task_examples import TaskExamples
from bertprune.protocol.rows import History
from bertprune.pruning.masks import Criterion, Masks
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.training.finetuning import ClassificationLoss
from bertprune.training.loop import train
from bertprune.training.pretraining import PretrainingLoss
from bertprune.training.variants import Loss, Optimization, Variant

Clock = Callable[[], float]
"""Shows the time in seconds."""

LEARNING_RATE = 1e-4


def wall_time() -> float:
    """The time, once the GPU has done what it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def own_time() -> float:
    """That of the GPU's work where there is one, else of this process's threads: what else the
    machine is busy with does not count."""
    if torch.cuda.is_available():
        return wall_time()
    return time.process_time() / torch.get_num_threads()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bars and the words of what is measured."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


def seconds_of(work: Callable[[], object], clock: Clock = wall_time) -> float:
    """How long `work` takes."""
    started = clock()
    work()
    return clock() - started


Batches = Callable[[int, int, int], Batch]
"""The batch of a step, and of it the share of a process (rank, world)."""


def pretraining_steps(
    model: BertForPreTraining, batches: Batches, schedule: Schedule | None, steps: int
) -> Variant:
    """Pre-training of so many steps with masks that follow `schedule`, or without pruning."""
    pruner = Pruner.following(model, schedule, Criterion()) if schedule else None
    return _variant(PretrainingLoss(model), batches, pruner, steps)


def finetuning_steps(
    model: BertForSequenceClassification,
    examples: TaskExamples,
    order: Sequence[NDArray[np.int64]],
    masks: Masks,
) -> Variant:
    """Fine-tuning, while `masks` are held, of a step for each batch in `order`, as indices."""
    pruner = Pruner.holding(model, masks, Criterion())

    def batches(step: int, rank: int, world: int) -> ClassificationBatch:
        return examples.batch(order[step], rank, world)

    return _variant(ClassificationLoss(model), batches, pruner, len(order))


def _variant(loss: Loss, batches: Batches, pruner: Pruner | None, steps: int) -> Variant:
    optimization = Optimization(learning_rate=LEARNING_RATE, steps=steps)
    return Variant(loss, batches, optimization, seed=0, pruner=pruner)


def times_after(
    steps: Collection[int],
    variants: Sequence[Variant],
    accelerator: Accelerator,
    clock: Clock = wall_time,
) -> list[float]:
    """What `clock` shows after each of `steps` (0: before the first one) of `training.loop.train`,
    in their order.

    A training of less than half a minute saves no checkpoint.
    """
    shown = [clock()] if 0 in steps else []

    def note(done: int) -> History:
        shown.append(clock())
        return []

    watched = replace(variants[0], evaluate=note, evaluate_after=set(steps) - {0})
    with TemporaryDirectory() as folder:
        train([watched, *variants[1:]], accelerator, folder=Path(folder), what="timing")
    return shown


def seconds_of_our_step(
    variants: Sequence[Variant], accelerator: Accelerator, *, skip: int
) -> float:
    """Mean seconds of the steps of `training.loop.train` after the first `skip`."""
    steps = variants[0].optimization.steps
    first, last = times_after({skip, steps}, variants, accelerator)
    return (last - first) / (steps - skip)
