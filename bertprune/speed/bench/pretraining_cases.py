"""Cases: a pre-training step with gradual pruning, what that adds, and K variants at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from statistics import fmean

import numpy as np
from transformers import BertForPreTraining

from bertprune.data.batches import PretrainingBatch
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.pruning.schedule import Schedule
from bertprune.speed.bench.quantities import COST_OF_PRUNING, ONE_AFTER_ANOTHER, OURS, SHARE
from bertprune.speed.bench.quantities import TRAINER as RIVAL
from bertprune.speed.bench.rival import TorchPruner, seconds_of_trainer_step
from bertprune.speed.bench.timing import (
    Row,
    Setting,
    against_bf16,
    fastest_product,
    in_turn,
    matrix_rate,
    memory_rows,
    pairwise,
)
from bertprune.speed.made_up_inputs import Pairs
from bertprune.speed.stopwatch import pretraining_steps, seconds_of_our_step
from bertprune.training.variants import Variant

MATRICES = "matrix product"
UNPRUNED = "bertprune without pruning"
SPARSITY = 0.5
RAMP_STEPS, FREQUENCY_STEPS = 20, 10


@dataclass(frozen=True)
class Pretraining:
    """A BERT, its batch, how long each timing is, and how many models train at once.

    The masks are made anew every 10 steps from step 0 to 20, then held. The first `skip` of `steps`
    steps are not timed. Of the rival's, which all take the same, the first is not, and none of the
    others has new masks, which spares it some.
    """

    shape: Shape
    batch_size: int = 32
    steps: int = 12
    skip: int = 2
    rival_steps: int = 2
    variants: int = 1


@lru_cache(maxsize=1)
def _inputs(size: Pretraining) -> tuple[Pairs, BertForPreTraining]:
    """What all sides begin with; none of them changes it."""
    shape = size.shape
    return Pairs(size.batch_size, shape.vocabulary_size), fresh_model(shape, seed=0)


def steps(
    setting: Setting,
    size: Pretraining,
    *,
    sides: Sequence[str] = (OURS, UNPRUNED, RIVAL),
    in_bf16: bool = False,
    with_memory: bool = True,
) -> Iterator[Row]:
    """A step of ours, of ours without pruning, and of the rival; memory, tokens/s and FLOP/s. Also
    `in_bf16` if the processor multiplies that itself."""
    settings = setting.in_each_precision() if in_bf16 else [setting]

    def works(one: Setting) -> dict[str, Callable[[], float]]:
        fastest = fastest_product(one)
        timed = {side: partial(_seconds, side, one, size) for side in sides}
        return timed | {MATRICES: lambda: 1 / matrix_rate(one, fastest)}

    seconds = in_turn(settings, works)
    tokens, flops = _amounts(size)
    for one, of_one in seconds.items():
        seconds_a_flop = of_one.pop(MATRICES)
        yield from one.rows(of_one, "time a step", {"tokens/s": tokens, "FLOP/s": flops})
        shares = [flops * ratio for ratio in pairwise(seconds_a_flop, of_one[OURS])]
        yield one.row(OURS, SHARE, "", shares)
        if UNPRUNED in of_one:
            ratios = pairwise(of_one[OURS], of_one.pop(UNPRUNED))
            yield one.row(OURS, COST_OF_PRUNING, "", [ratio - 1 for ratio in ratios])
        yield from one.ratios(of_one)
    yield from against_bf16(seconds)
    if RIVAL in sides and with_memory:
        # After its second step a training needs no more than before.
        yield from memory_rows(setting, RIVAL, _seconds, replace(size, steps=size.skip + 2))


def _amounts(size: Pretraining) -> tuple[float, float]:
    """Tokens of a step, and FLOP of the arithmetic that it needs: means of the timed steps."""
    pairs, _ = _inputs(size)
    batches = [pairs.examples.batch(step) for step in range(size.skip, size.steps)]
    lengths = [batch.attention_mask.sum(1).tolist() for batch in batches]
    flops = [
        size.shape.training_flop(of_batch, masked=_masked(batch))
        for of_batch, batch in zip(lengths, batches, strict=True)
    ]
    return fmean(map(sum, lengths)), fmean(flops)


def _masked(batch: PretrainingBatch) -> list[int]:
    """How many positions of each example are masked."""
    rows = batch.masked_reads // batch.read_positions.shape[1]
    counts: list[int] = rows.bincount(minlength=len(batch.input_ids)).tolist()
    return counts


def _seconds(side: str, setting: Setting, size: Pretraining) -> float:
    """Seconds a step of one side."""
    if side != RIVAL:
        ours = _variant(setting, size, SPARSITY if side == OURS else None)
        return seconds_of_our_step([ours], setting.accelerator, skip=size.skip)
    pairs, start = _inputs(size)
    model = copy.deepcopy(start).to(setting.device)
    return seconds_of_trainer_step(
        model,
        pairs.of_rival(size.rival_steps),
        setting=setting,
        batch_size=size.batch_size,
        steps=size.rival_steps,
        skip=1,
        pruner=TorchPruner(model),
        schedule=_schedule(SPARSITY),
        sampling="sequential",
    )


def _variant(setting: Setting, size: Pretraining, sparsity: float | None) -> Variant:
    """Our training, with gradual pruning to `sparsity`, or without."""
    pairs, start = _inputs(size)
    model = copy.deepcopy(start).to(setting.device)
    schedule = None if sparsity is None else _schedule(sparsity)
    return pretraining_steps(model, pairs.examples.batch, schedule, size.steps)


def _schedule(sparsity: float) -> Schedule:
    return Schedule(sparsity, end_step=RAMP_STEPS, frequency_steps=FREQUENCY_STEPS)


def stacked(setting: Setting, size: Pretraining) -> Iterator[Row]:
    """Steps of pre-training with gradual pruning, at sparsities that differ."""

    def variants() -> list[Variant]:
        sparsities = np.linspace(0, 1, size.variants + 2)[1:-1]
        return [_variant(setting, size, float(sparsity)) for sparsity in sparsities]

    def seconds(*together: Variant) -> float:
        return seconds_of_our_step(together, setting.accelerator, skip=size.skip)

    sides = {
        OURS: lambda: seconds(*variants()),
        ONE_AFTER_ANOTHER: lambda: sum(map(seconds, variants())),
    }
    yield from setting.compared(sides, f"time a step of {size.variants} variants")
