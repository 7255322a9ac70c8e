"""Cases: a pre-training step with gradual pruning, what that adds, and K variants at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from transformers import BertForPreTraining

from bertprune.data.batches import PretrainingBatch
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.speed import made_up_inputs
from bertprune.speed.bench.quantities import COST_OF_PRUNING, ONE_AFTER_ANOTHER, OURS, SHARE
from bertprune.speed.bench.quantities import TRAINER as RIVAL
from bertprune.speed.bench.sides import TorchPruner, seconds_of_our_step, seconds_of_trainer_step
from bertprune.speed.bench.timing import (
    Row,
    Setting,
    fastest_size,
    in_turn,
    matrix_rate,
    memory_rows,
    pairwise,
)
from bertprune.speed.made_up_inputs import Pairs
from bertprune.training.pretraining import PretrainingLoss
from bertprune.training.variants import Optimization, Variant

MATRICES = "matrix product"
UNPRUNED = "bertprune without pruning"
SPARSITY = 0.5
FREQUENCY_STEPS = 10


@dataclass(frozen=True)
class Size:
    """A BERT, its batch, and how long each timing is.

    The masks are made anew every 10 steps from step 0 to `ramp_steps`, then held. The first `skip`
    of `steps` steps are not timed.
    """

    shape: Shape
    batch_size: int = 32
    steps: int = 12
    skip: int = 2
    ramp_steps: int = 20

    @property
    def schedule(self) -> Schedule:
        return Schedule(SPARSITY, end_step=self.ramp_steps, frequency_steps=FREQUENCY_STEPS)


SMALL, LONGER = Size(made_up_inputs.SMALL), Size(made_up_inputs.SMALL, steps=42)
MEDIUM = Size(made_up_inputs.MEDIUM)
# No mask is made anew in its three steps, which spares the rival the most.
BASE = Size(made_up_inputs.BASE, batch_size=8, steps=4, skip=1)
BASE_ON_GPU = Size(made_up_inputs.BASE, batch_size=256, steps=24, skip=4)


def steps(
    setting: Setting, size: Size, *, with_rival: bool = True, with_memory: bool = True
) -> Iterator[Row]:
    """A step of ours, of ours without pruning, and of the rival; memory, tokens/s and FLOP/s."""
    pairs = Pairs(size.batch_size, size.shape.vocabulary_size)
    model = fresh_model(size.shape, seed=0)
    fastest = fastest_size(setting)
    sides = [OURS, UNPRUNED, RIVAL] if with_rival else [OURS, UNPRUNED]
    seconds = in_turn(
        setting.case,
        {side: partial(_seconds, side, setting, size, pairs, model) for side in sides}
        | {MATRICES: lambda: 1 / matrix_rate(setting, fastest)},
        setting.repeats,
    )
    seconds_a_flop = seconds.pop(MATRICES)
    batches = [pairs.examples.batch(step) for step in range(size.skip, size.steps)]
    lengths = [batch.attention_mask.sum(1).tolist() for batch in batches]
    tokens = sum(map(sum, lengths)) / len(batches)
    flops = sum(
        size.shape.training_flop(of_batch, masked=_masked(batch))
        for of_batch, batch in zip(lengths, batches, strict=True)
    ) / len(batches)
    for side, times in seconds.items():
        yield setting.row(side, "time a step", "s", times)
        yield setting.row(side, "speed", "tokens/s", [tokens / time for time in times])
        yield setting.row(side, "model arithmetic", "FLOP/s", [flops / time for time in times])
    shares = [flops * ratio for ratio in pairwise(seconds_a_flop, seconds[OURS])]
    yield setting.row(OURS, SHARE, "", shares)
    cost = [ratio - 1 for ratio in pairwise(seconds[OURS], seconds[UNPRUNED])]
    yield setting.row(OURS, COST_OF_PRUNING, "", cost)
    if with_rival:
        yield from setting.ratios({side: seconds[side] for side in (OURS, RIVAL)})
    if with_rival and with_memory:
        yield from memory_rows(setting, RIVAL, _alone, size)


def _masked(batch: PretrainingBatch) -> list[int]:
    """How many positions of each example are masked."""
    rows = batch.masked_reads // batch.read_positions.shape[1]
    counts: list[int] = rows.bincount(minlength=len(batch.input_ids)).tolist()
    return counts


def _seconds(
    side: str, setting: Setting, size: Size, pairs: Pairs, start: BertForPreTraining
) -> float:
    """Seconds a step of one side, from the weights of `start`, which stay as they are."""
    model = copy.deepcopy(start).to(setting.device)
    if side == RIVAL:
        return seconds_of_trainer_step(
            model,
            pairs.of_rival(size.steps),
            setting=setting,
            batch_size=size.batch_size,
            steps=size.steps,
            skip=size.skip,
            pruner=TorchPruner(model),
            schedule=size.schedule,
            sampling="sequential",
        )
    pruner = Pruner.following(model, size.schedule, Criterion()) if side == OURS else None
    variant = Variant(
        PretrainingLoss(model),
        pairs.examples.batch,
        Optimization(learning_rate=1e-4, steps=size.steps),
        seed=0,
        pruner=pruner,
    )
    return seconds_of_our_step([variant], setting=setting, steps=size.steps, skip=size.skip)


def _alone(side: str, setting: Setting, size: Size) -> float:
    setting.use_threads()
    pairs = Pairs(size.batch_size, size.shape.vocabulary_size)
    return _seconds(side, setting, size, pairs, fresh_model(size.shape, seed=0))


@dataclass(frozen=True)
class Stack:
    """How many variants of a BERT, and how long each timing is."""

    shape: Shape
    variants: int
    steps: int
    skip: int = 2


ON_CPU = Stack(made_up_inputs.SMALL, variants=4, steps=6)
ON_GPU = Stack(made_up_inputs.MEDIUM, variants=16, steps=24, skip=4)


def stacked(setting: Setting, stack: Stack) -> Iterator[Row]:
    """Steps of pre-training with gradual pruning, at sparsities that differ."""
    pairs = Pairs(32, stack.shape.vocabulary_size)
    start = fresh_model(stack.shape, seed=0)

    def variants() -> list[Variant]:
        found = []
        for number in range(stack.variants):
            model = copy.deepcopy(start).to(setting.device)
            schedule = Schedule(
                (number + 1) / (stack.variants + 1), end_step=20, frequency_steps=10
            )
            found.append(
                Variant(
                    PretrainingLoss(model),
                    pairs.examples.batch,
                    Optimization(learning_rate=1e-4, steps=stack.steps),
                    seed=0,
                    pruner=Pruner.following(model, schedule, Criterion()),
                )
            )
        return found

    def seconds(together: Sequence[Variant]) -> float:
        return seconds_of_our_step(together, setting=setting, steps=stack.steps, skip=stack.skip)

    def one_after_another() -> float:
        return sum(seconds([variant]) for variant in variants())

    sides = {OURS: lambda: seconds(variants()), ONE_AFTER_ANOTHER: one_after_another}
    timed = in_turn(setting.case, sides, setting.repeats)
    for side, times in timed.items():
        yield setting.row(side, f"time a step of {stack.variants} variants", "s", times)
    yield from setting.ratios(timed)
