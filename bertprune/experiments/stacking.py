"""Runs that differ in seed and pruning alone, trained as one.

A small BERT leaves a GPU nearly idle; a stack of them does not. Each run is left with the
checkpoint that it would have after its last step, so that its notebook, executed as ever, has only
to look at what was trained.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bertprune.experiments import timekeeping
from bertprune.experiments.runs import Run, lineage
from bertprune.protocol import notebook_parameters
from bertprune.protocol.arms import FROM_SCRATCH, arm_of
from bertprune.protocol.notebook_parameters import BurnIn, PrunePretrain
from bertprune.training import dispatch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from bertprune.training.variants import Ahead, Variant

_MAY_DIFFER = {
    *("seed", "sparsity", "method", "scope"),
    *("ramp_steps", "pruning_frequency_steps", "masks_after_ramp"),
}

Member = tuple[Run, "Ahead"]


def kind(run: Run) -> tuple[object, ...] | None:
    """Equal for runs that may train together, none of which needs another; None for a run that
    trains alone."""
    p = run.parameters
    if not isinstance(p, PrunePretrain) or arm_of(p) == FROM_SCRATCH:
        return None
    values = notebook_parameters.as_values(p)
    same = ((name, str(value)) for name, value in values.items() if name not in _MAY_DIFFER)
    return run.notebook, len(lineage(run)), *same


def train(all_parameters: Sequence[BurnIn], most: int) -> None:
    """Train the runs of `all_parameters`, all of one kind, in stacks of at most `most` models.

    The runs that they need must be done. Stopped, it goes on where it was if it is given the same.
    """
    # Torch takes seconds to import, here and below.
    from bertprune.training import processes

    runs = [Run(parameters) for parameters in all_parameters]
    accelerator = processes.accelerator(runs[0].precision)
    with ExitStack() as locks:
        for run in runs:
            locks.enter_context(run.only_here(wait=False))
        # Some may have been done elsewhere since they were put together.
        runs = [run for run in runs if not run.is_trained()]
        for run in runs:
            run.start_or_go_on()
            run.check_needs()
        ahead: defaultdict[str, list[Member]] = defaultdict(list)
        for run in runs:
            for training in dispatch.ahead(run.job, accelerator):
                ahead[training.what].append((run, training))
        for what, members in ahead.items():
            for first in range(0, len(members), most):
                stack = members[first : first + most]
                if len(stack) > 1:
                    _train_stack(f"{runs[0].notebook}, {what}", stack, accelerator)


def _train_stack(what: str, stack: Sequence[Member], accelerator: Accelerator) -> None:
    """Train a stack, and leave the device free for others.

    One that is interrupted goes on from its checkpoint. One that fails leaves none, since its runs
    train alone then.
    """
    import torch

    from bertprune.training.stacks import train_in_stacks

    started = time.monotonic()
    first = stack[0][0].partial_folder
    folder = first.with_name(f"together-{first.name}")
    variants: dict[Path, Variant] = {}
    models = 1
    try:
        variants |= {training.folder: training.make() for _, training in stack}
        if next(iter(variants.values())).optimization.steps == 0:
            return
        models = train_in_stacks(variants, accelerator, folder=folder, what=what)
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        # The variables of what failed are the models.
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        variants.clear()
        torch.cuda.empty_cache()
        # Whatever came of it, it took its time.
        share_s = (time.monotonic() - started) / len(stack)
        for run, _ in stack:
            timekeeping.note_training_together(run.partial_folder, share_s, models)
    shutil.rmtree(folder, ignore_errors=True)
