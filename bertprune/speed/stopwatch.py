"""What the benchmark and the cost both time: any work, and the steps of our training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator

from bertprune.data.batches import Batch
from bertprune.protocol.rows import History
from bertprune.pruning.pruner import Pruner
from bertprune.training.loop import train
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


def variant(
    loss: Loss, batch: Callable[[int, int, int], Batch], pruner: Pruner | None, steps: int
) -> Variant:
    """A training of so many steps, of which nothing but the time matters."""
    optimization = Optimization(learning_rate=LEARNING_RATE, steps=steps)
    return Variant(loss, batch, optimization, seed=0, pruner=pruner)


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
