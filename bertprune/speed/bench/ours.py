"""Our side: the training loop as a study runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bertprune.speed.bench.measure import Setting, now
from bertprune.training import loop


def seconds_a_step(
    variants: Sequence[loop.Variant], *, setting: Setting, steps: int, skip: int
) -> float:
    """Mean seconds of the steps of `training.train_together` after the first `skip`.

    A training of less than half a minute saves no checkpoint, as the rival saves none.
    """
    marks = [now()]

    def note(done: int) -> loop.History:
        marks.append(now())
        return []

    with TemporaryDirectory() as folder:
        loop.train_together(
            [replace(variants[0], evaluate=note), *variants[1:]],
            accelerator=loop.accelerator(setting.precision),
            folder=Path(folder),
            what="bench",
            evaluate_after={skip, steps} - {0},
        )
    first, last = marks[-2:]
    return (last - first) / (steps - skip)
