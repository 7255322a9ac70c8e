"""Our side: the training loop as a study runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bertprune.protocol.rows import History
from bertprune.speed.bench.measure import Setting, now
from bertprune.training import processes
from bertprune.training.loop import train
from bertprune.training.variants import Variant


def seconds_a_step(
    variants: Sequence[Variant], *, setting: Setting, steps: int, skip: int
) -> float:
    """Mean seconds of the steps of `training.loop.train` after the first `skip`.

    A training of less than half a minute saves no checkpoint, as the rival saves none.
    """
    marks = [now()]

    def note(done: int) -> History:
        marks.append(now())
        return []

    with TemporaryDirectory() as folder:
        watched = replace(variants[0], evaluate=note, evaluate_after={skip, steps} - {0})
        train(
            [watched, *variants[1:]],
            processes.accelerator(setting.precision),
            folder=Path(folder),
            what="bench",
        )
    first, last = marks[-2:]
    return (last - first) / (steps - skip)
