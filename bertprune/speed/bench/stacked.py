"""Case: K variants trained as one, beside the same ones one after another."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bertprune.model.checkpoints import Shape, fresh_model
from bertprune.pruning.masks import Criterion
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.speed.bench import inputs, ours
from bertprune.speed.bench.bars import ONE_AFTER_ANOTHER, OURS
from bertprune.speed.bench.inputs import Pairs
from bertprune.speed.bench.measure import Row, Setting, in_turn
from bertprune.training.pretraining import PretrainingLoss
from bertprune.training.variants import Optimization, Variant


@dataclass(frozen=True)
class Size:
    """How many variants of a BERT, and how long each timing is."""

    shape: Shape
    variants: int
    steps: int
    skip: int = 2


ON_CPU = Size(inputs.SMALL, variants=4, steps=6)
ON_GPU = Size(inputs.MEDIUM, variants=16, steps=24, skip=4)


def stacked(setting: Setting, size: Size) -> Iterator[Row]:
    """Steps of pre-training with gradual pruning, at sparsities that differ."""
    pairs = Pairs(32, size.shape.vocabulary_size)
    start = fresh_model(size.shape, seed=0)

    def variants() -> list[Variant]:
        found = []
        for number in range(size.variants):
            model = copy.deepcopy(start).to(setting.device)
            schedule = Schedule((number + 1) / (size.variants + 1), end_step=20, frequency_steps=10)
            found.append(
                Variant(
                    PretrainingLoss(model),
                    pairs.examples.batch,
                    Optimization(learning_rate=1e-4, steps=size.steps),
                    seed=0,
                    pruner=Pruner.following(model, schedule, Criterion()),
                )
            )
        return found

    def seconds(stack: Sequence[Variant]) -> float:
        return ours.seconds_a_step(stack, setting=setting, steps=size.steps, skip=size.skip)

    def one_after_another() -> float:
        return sum(seconds([variant]) for variant in variants())

    sides = {OURS: lambda: seconds(variants()), ONE_AFTER_ANOTHER: one_after_another}
    timed = in_turn(setting.case, sides, setting.repeats)
    for side, times in timed.items():
        yield setting.row(side, f"time a step of {size.variants} variants", "s", times)
    yield from setting.ratios(timed)
