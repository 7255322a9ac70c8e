"""Our side: the training loop as a study runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bertprune import training
from bertprune.bench.measure import Setting, now
from bertprune.pruning.pruner import Pruner


def seconds_a_step(
    loss: training.Loss,
    batch: Callable[[int, int, int], training.Batch],
    *,
    setting: Setting,
    steps: int,
    skip: int,
    pruner: Pruner | None,
) -> float:
    """Mean seconds of the steps of `training.train` after the first `skip`.

    A training of less than half a minute saves no checkpoint, as the rival saves none.
    """
    marks = [now()]

    def note(done: int) -> training.History:
        marks.append(now())
        return []

    with TemporaryDirectory() as folder:
        training.train(
            loss,
            batch,
            training.Optimization(learning_rate=1e-4, steps=steps),
            accelerator=training.accelerator(setting.precision),
            seed=0,
            folder=Path(folder),
            what="bench",
            pruner=pruner,
            evaluate=note,
            evaluate_after={skip, steps} - {0},
        )
    first, last = marks[-2:]
    return (last - first) / (steps - skip)
