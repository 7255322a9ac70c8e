"""Questions about accuracies: of claims C1 to C5, C7, C10 and C11."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from bertprune.evidence.claims import ranges, straight_lines
from bertprune.evidence.claims.claim import NO_EFFECT
from bertprune.evidence.claims.measured import SIZES, Place
from bertprune.evidence.power.worlds import (
    DENSE,
    NONE_CLAIMED,
    SOME_CLAIMED,
    World,
    question,
)
from bertprune.protocol.arms import (
    EPOCHS_BEFORE_PRUNING,
    INFORMATION_DELETION,
    PRUNE_AFTER_FINETUNE,
    PRUNE_PRETRAIN,
    RANDOM_PRUNING,
)
from bertprune.protocol.rows import Metric, Split

AS_CLAIMED = 2
"""Margins, of the parts that are not asked."""


def _transfer(world: World, *places: Place) -> float:
    """What pre-training is worth, a share, on the tasks that all `places` have; NaN where nothing
    says it."""
    at = world.measured().points([DENSE, *places])
    transfer = at.transfer() if at else None
    return math.nan if transfer is None else float(transfer.values.mean())


def _brought(world: World) -> float:
    """What pre-training brings in loss, nats; NaN where nothing says it."""
    return ranges.loss_above(world.measured(), DENSE).stake.mean


def _levels(world: World, arm: str, low: float = 0.0, high: float = 1.0) -> list[float]:
    return world.measured().levels(arm, PRUNE_PRETRAIN, low=low, high=high)


def _as_pruned(world: World, arm: str, sparsity: float) -> pd.Series:
    """The accuracy of `arm`, by task, where pruning changes it as it does while pre-training."""
    change = world.accuracy(Place(PRUNE_PRETRAIN, sparsity)) - world.accuracy(DENSE)
    return world.accuracy(Place(arm, 0.0)) + change


def _low_range(world: World, accuracy: float, loss: float) -> None:
    """What pruning to the low range costs, as shares of what is at stake at its end."""
    transfer, brought = _transfer(world), _brought(world)
    levels = _levels(world, PRUNE_PRETRAIN, high=ranges.LOW_UNTIL)
    for level in levels:
        place, part = Place(PRUNE_PRETRAIN, level), level / levels[-1]
        world.set_accuracy(place, world.accuracy(DENSE) - part * accuracy * transfer)
        risen = world.pretraining_loss(DENSE) + part * loss * brought
        world.set_pretraining_loss(place, risen)


@question("C1", "accuracy", NONE_CLAIMED, "points")
def low_accuracy(world: World, margins: float) -> float:
    _low_range(world, margins * NO_EFFECT, 0)
    return 100 * NO_EFFECT * _transfer(world)


@question("C1", "pre-training loss", NONE_CLAIMED, "nats")
def low_loss(world: World, margins: float) -> float:
    _low_range(world, 0, margins * NO_EFFECT)
    return NO_EFFECT * _brought(world)


def _masks_off(world: World, low: float, high: float, won_back: float, by_size: float = 0) -> float:
    """Taking the masks off wins back this share of what pruning costs, and this share of the
    transfer more on the largest than on the smallest task. Gives what pruning costs, a share."""
    levels = _levels(world, INFORMATION_DELETION, low, high)
    lost = [world.accuracy(DENSE) - world.accuracy(Place(PRUNE_PRETRAIN, at)) for at in levels]
    cost = float(np.mean(lost))
    more = pd.Series(0.0, world.accuracy(DENSE).index)
    if by_size:
        decades = np.log10(world.measured().facts[SIZES[0]].reindex(more.index).astype(float))
        more = by_size * _transfer(world) * (decades - decades.mean()) / np.ptp(decades)
    for level in levels:
        off = _as_pruned(world, INFORMATION_DELETION, level) + won_back * cost + more
        world.set_accuracy(Place(INFORMATION_DELETION, level), off)
    return cost


@question("C2", "masks off", NONE_CLAIMED, "points")
def middle_range(world: World, margins: float) -> float:
    return 100 * ranges.PART * _masks_off(world, *ranges.MIDDLE, margins * ranges.PART)


@question("C3", "masks off", SOME_CLAIMED, "points")
def high_range(world: World, margins: float) -> float:
    part, by_size = margins * ranges.PART, AS_CLAIMED * NO_EFFECT
    return 100 * ranges.PART * _masks_off(world, ranges.HIGH_FROM, 1, part, by_size)


@question("C3", "more on large tasks", SOME_CLAIMED, "points")
def more_on_large(world: World, margins: float) -> float:
    part, by_size = AS_CLAIMED * ranges.PART, margins * NO_EFFECT
    _masks_off(world, ranges.HIGH_FROM, 1, part, by_size)
    return 100 * NO_EFFECT * _transfer(world)


@question("C4", "accuracy where fitted", SOME_CLAIMED, "points")
def fitted_and_lost(world: World, margins: float) -> float:
    fitted, lost = Place(INFORMATION_DELETION, 0.0), margins * NO_EFFECT * _transfer(world)
    of_training = {"split": Split.TRAIN, "metric": Metric.LOSS}
    dense = world.points[world.lines(DENSE, **of_training)].set_index("task").value
    for level in _levels(world, INFORMATION_DELETION, low=ranges.DELETED_FROM):
        place = Place(INFORMATION_DELETION, level)
        world.set_accuracy(place, world.accuracy(fitted) - lost)
        lines = world.lines(place, **of_training)
        # Clearly reached: what seeds do to training losses is another matter.
        world.points.loc[lines, "value"] = world.points.task[lines].map(dense) / 2
    return 100 * NO_EFFECT * _transfer(world)


LEFT_AT_THE_END = 0.15
"""Of what a curve of C5 can fall: it ends above the floor, where every point counts."""


def _lines(world: World, bows: pd.Series, falls: pd.Series) -> None:
    """Accuracy falls with pre-training loss by `falls` in all, and bows from its chord by the share
    `bows` of that."""
    start = world.accuracy(Place(INFORMATION_DELETION, 0.0))
    levels = [0.0, *_levels(world, INFORMATION_DELETION)]
    losses = np.array([world.pretraining_loss(Place(PRUNE_PRETRAIN, at)) for at in levels])
    ways = (losses - losses.min()) / np.ptp(losses)
    for level, way in zip(levels, ways, strict=True):
        fallen = falls * (way - 4 * bows * way * (1 - way))
        world.set_accuracy(Place(INFORMATION_DELETION, level), start - fallen)


def _can_fall(world: World) -> pd.Series:
    """By task, how far accuracy falls under information deletion to just above the floor."""
    start = world.accuracy(Place(INFORMATION_DELETION, 0.0))
    floor = world.measured().floor.reindex(start.index)
    return (1 - LEFT_AT_THE_END) * (start - floor).clip(lower=0)


@question("C5", "straight on one task", NONE_CLAIMED, "% of its fall")
def straight(world: World, margins: float) -> float:
    falls = _can_fall(world)
    noise = world.points[world.points.metric == Metric.ACCURACY].groupby("task")["std"].mean()
    # That on which a bend is seen best: the others then say nothing against it.
    clearest = (falls / noise.reindex(falls.index)).idxmax()
    bows = margins * straight_lines.BENT * pd.Series(falls.index == clearest, falls.index)
    _lines(world, bows, falls)
    return 100 * straight_lines.BENT if falls.min() > 0 else math.nan


@question("C5", "slopes differ", SOME_CLAIMED, "% of the mean slope")
def slopes(world: World, margins: float) -> float:
    can = _can_fall(world)
    spread = np.linspace(-0.5, 0.5, len(can))[can.rank(method="first").astype(int) - 1]
    steepness = pd.Series(1 + margins * straight_lines.ONE_SLOPE * spread, can.index)
    falls = steepness * (can / steepness).min()
    _lines(world, 0 * falls, falls)
    return 100 * straight_lines.ONE_SLOPE if can.min() > 0 else math.nan


@question("C7", "accuracy", NONE_CLAIMED, "points")
def after_finetuning(world: World, margins: float) -> float:
    gained = margins * NO_EFFECT * _transfer(world)
    for level in _levels(world, PRUNE_AFTER_FINETUNE):
        late = _as_pruned(world, PRUNE_AFTER_FINETUNE, level) + gained
        world.set_accuracy(Place(PRUNE_AFTER_FINETUNE, level), late)
    return 100 * NO_EFFECT * _transfer(world)


@question("C10", "accuracy", NONE_CLAIMED, "points")
def longer_before_pruning(world: World, margins: float) -> float:
    every = [place for place in world.measured().accuracies if place.arm == EPOCHS_BEFORE_PRUNING]
    if not every:
        return math.nan
    most, transfer = max(place.epochs for place in every), _transfer(world, *every)
    for place in every:
        # Nothing is gained where nothing is pruned.
        gained = margins * NO_EFFECT * transfer * (place.sparsity > 0)
        fewest = world.accuracy(min(one for one in every if one.sparsity == place.sparsity))
        world.set_accuracy(place, fewest + gained * place.epochs / most)
    return 100 * NO_EFFECT * transfer


def _at_lowest(world: World, accuracy: float, loss: float) -> None:
    """At the lowest sparsity pruning at random costs these shares of what is at stake."""
    lowest, *_ = _levels(world, RANDOM_PRUNING)
    at_random, by_size = Place(RANDOM_PRUNING, lowest), Place(PRUNE_PRETRAIN, lowest)
    world.set_accuracy(at_random, world.accuracy(by_size) - accuracy * _transfer(world))
    risen = world.pretraining_loss(by_size) + loss * _brought(world)
    world.set_pretraining_loss(at_random, risen)


@question("C11", "accuracy", SOME_CLAIMED, "points")
def at_random(world: World, margins: float) -> float:
    _at_lowest(world, margins * NO_EFFECT, AS_CLAIMED * NO_EFFECT)
    return 100 * NO_EFFECT * _transfer(world)


@question("C11", "pre-training loss", SOME_CLAIMED, "nats")
def loss_at_random(world: World, margins: float) -> float:
    _at_lowest(world, AS_CLAIMED * NO_EFFECT, margins * NO_EFFECT)
    return NO_EFFECT * _brought(world)


QUESTIONS = (
    low_accuracy,
    low_loss,
    middle_range,
    high_range,
    more_on_large,
    fitted_and_lost,
    straight,
    slopes,
    after_finetuning,
    longer_before_pruning,
    at_random,
    loss_at_random,
)
