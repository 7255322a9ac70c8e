"""What a worker is given: a run to execute, or runs to train as one."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass

from bertprune.experiments import execution, stacking
from bertprune.experiments.runs import Run
from bertprune.protocol.notebook_parameters import BurnIn, Finetune

_SECONDS_UNTIL_FILES_APPEAR = 60.0


@dataclass(frozen=True)
class Task:
    """Several runs are trained in stacks of at most `at_once` models; a single one is executed.
    Either has `threads` threads.

    It has plain values alone, so that a worker finds out itself which runs these are there.
    """

    parameters: tuple[BurnIn, ...]
    threads: int
    at_once: int

    @property
    def runs(self) -> list[Run]:
        return [Run(parameters) for parameters in self.parameters]

    @property
    def models(self) -> int:
        """How many models are trained as one at most."""
        if len(self.parameters) == 1:
            return 1
        first = self.parameters[0]
        rates = len(first.learning_rates) if isinstance(first, Finetune) else 1
        return min(self.at_once, rates * len(self.parameters))

    def __call__(self) -> bool:
        """Whether there was anything left to do. Raises InWork if another process does it, and
        UserError if it fails."""
        if len(self.parameters) > 1:
            # Takes seconds to import.
            import torch

            # As many as their notebooks' kernels have, and their records say.
            torch.set_num_threads(self.threads)
            stacking.train(self.parameters, self.at_once)
            return True
        return execution.execute(self.runs[0], threads=self.threads, forked=True, wait=False)


def is_there(run: Run) -> bool:
    """Whether the result of `run` is there, which somebody has finished: on NFS it appears some
    seconds later, or when its folder is listed."""
    end = time.monotonic() + _SECONDS_UNTIL_FILES_APPEAR
    while not run.is_done():
        if time.monotonic() > end:
            return False
        with suppress(OSError):
            os.listdir(run.folder.parent)
        time.sleep(0.2)
    return True
