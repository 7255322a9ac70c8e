"""Stacks: trainings that are done as one, so many as a device has room for."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
import xxhash
from accelerate import Accelerator

from bertprune.model import forward
from bertprune.training.checkpoint import CHECKPOINT_FILE, Checkpoint, Course
from bertprune.training.loop import train
from bertprune.training.variants import Variant

# A weight, its gradient and two moments, in float32; and what of a GPU's free memory stacks take.
_BYTES_OF_STATE = 16
_SHARE_FOR_STACKS = 0.8


def train_in_stacks(
    variants: Mapping[Path, Variant], accelerator: Accelerator, *, folder: Path, what: str
) -> int:
    """Train models of one shape and of as many steps as one, in stacks that the device has room
    for, with their checkpoints below `folder`.

    Each is left with a checkpoint after its last step in its own folder, by which it is named, so
    that `train` finds it done; one that has a checkpoint already is left to that. Gives the size
    of the largest stack.
    """
    left = [one for one in variants.items() if not (one[0] / CHECKPOINT_FILE).exists()]
    if len(left) < 2:
        return 1
    most = _room_for(left[0][1], accelerator)
    for first in range(0, len(left), most):
        stack = dict(left[first : first + most])
        if len(stack) > 1:
            _train_stack(stack, accelerator, folder, f"{what}: {len(stack)} models at once")
    return min(most, len(left))


def _train_stack(
    stack: Mapping[Path, Variant], accelerator: Accelerator, folder: Path, what: str
) -> None:
    names = "\0".join(map(str, stack))
    folder = folder / f"together-{xxhash.xxh3_128_hexdigest(names.encode())}"
    histories = train(list(stack.values()), accelerator, folder=folder, what=what)
    for (own, variant), history in zip(stack.items(), histories, strict=True):
        Checkpoint(own, [variant]).save(variant.optimization.steps, [Course(history)])
    shutil.rmtree(folder, ignore_errors=True)


def _room_for(variant: Variant, accelerator: Accelerator) -> int:
    """How many models like that of `variant` a GPU has room for, by what a step of it takes;
    elsewhere any number."""
    device = accelerator.device
    if device.type != "cuda":
        return sys.maxsize
    of_step = _bytes_of_step(variant, accelerator)
    state = _BYTES_OF_STATE * sum(p.numel() for p in variant.loss.parameters())
    # What torch keeps of earlier trainings is free for the next one, but does not count as free.
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(_SHARE_FOR_STACKS * free / (of_step + state)))


def _bytes_of_step(variant: Variant, accelerator: Accelerator) -> float:
    """The GPU memory, in bytes, that the largest step of `variant` takes in a stack, at most.

    Measured with the largest batch until the first evaluation, which is an epoch of fine-tuning.
    Since a stack pads its batches to the widest, it counts as if it were as wide as any in each
    axis.
    """
    device = accelerator.device
    steps = range(min(variant.evaluate_after, default=1))
    lengths = [variant.batch(step, 0, 1).lengths for step in steps]
    sizes = [math.prod(of_batch.values()) for of_batch in lengths]
    widest = math.prod(max(one[axis] for one in lengths) for axis in lengths[0])
    largest = max(steps, key=sizes.__getitem__)
    # What torch has reserved is no less than the step's peak. To see that itself, the peak of the
    # whole run would have to be reset.
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    with accelerator.autocast():
        drop = forward.Dropout([forward.Draws((variant.seed,), device)])
        variant.loss(variant.batch(largest, 0, 1).to(device), drop).backward()
    variant.loss.zero_grad()
    return (torch.cuda.memory_reserved(device) - before) * widest / sizes[largest]
