"""Claims C1 to C4: up to where pruning costs nothing, and what information deletion explains."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from bertprune.base.words import percent, signed
from bertprune.evidence.claims.chance import Estimate
from bertprune.evidence.claims.claim import (
    LEVEL,
    NO_EFFECT,
    OPEN,
    ROUNDING,
    SPELLED,
    Beside,
    Finding,
    beside,
    beside_transfer,
    claim,
    decided,
    in_percent,
    levels,
    no_rows,
    of_all,
    points,
    size,
    than,
)
from bertprune.evidence.claims.measured import SIZES, Contrast, Measured, Place, Points, Seeds
from bertprune.protocol.arms import INFORMATION_DELETION, PRUNE_PRETRAIN, RANDOM_PRUNING

DENSE = Place(PRUNE_PRETRAIN, 0.0)
NEVER_PRETRAINED = "what is as accurate without pre-training"

LOW_UNTIL = 0.3
"""What "up to 30 to 40 %" asserts at the least."""
SHOWN_UNTIL = 0.4

NOTHING_LEFT_FROM = 0.9
"""The sparsity of random pruning from which next to nothing of pre-training is left."""

MIDDLE = (0.4, 0.6)
"""The middle range, both ends included."""

HIGH_FROM = 0.7
"""The high range has no end."""

PART = 0.25
"""The share of a loss of accuracy that counts as a part of it; less is none. In the paper's table 1
taking the masks off wins back 8 % of the loss from 40 to 60 %, which it calls none, and 29 % of it
from 70 %, which it calls a part."""

DELETED_FROM = 0.4
"""From where information is lost."""

SAME_TRAINING_LOSS = 0.01
"""How near (nats) the dense model's training loss counts as reached: the last digit of table 1."""

LEAST_MATCHED = 0.5
"""The share of cells that must reach it. The paper misses it at 4 of 30."""

EQUAL_TRAINING = (
    "What the arm's epochs change where nothing is pruned is subtracted, of the same tasks and "
    "seeds."
)


@claim(
    "C1",
    f"Up to {in_percent(LOW_UNTIL)} of the weights (in the paper 30 to 40 %) can go with no effect "
    "on pre-training loss or transfer.",
    f"C1 holds if two things are so at every sparsity up to {in_percent(LOW_UNTIL)}. First, the "
    f"loss of accuracy is less than a {SPELLED[NO_EFFECT]} of the transfer. Second, the rise of "
    f"the pre-training loss is less than a {SPELLED[NO_EFFECT]} of what pre-training brings. It "
    "is refuted if one of them is more. Transfer: the dense model's accuracy minus that of the "
    "best without pre-training. What pre-training brings: the loss of the model pruned at random "
    f"to {in_percent(NOTHING_LEFT_FROM)} or more, minus the dense model's. Seeds are taken to "
    "scatter alike at these sparsities.",
)
def low_range(m: Measured) -> Finding:
    """The authors would take it as borne out where who prunes to 30 % would not notice, and as
    refuted where a loss is shown that would be worth speaking of beside what pre-training gave.
    More than the dense model has is no refutation."""
    tested = m.levels(PRUNE_PRETRAIN, high=LOW_UNTIL)
    at = m.points([Place(PRUNE_PRETRAIN, each) for each in (0.0, *tested)])
    if not tested or at is None:
        return no_rows(f"accuracy up to {percent(LOW_UNTIL)} and of the dense model")
    transfer = at.transfer()
    if transfer is None:
        return no_rows(NEVER_PRETRAINED)
    dense = at.mean(PRUNE_PRETRAIN, [0.0])
    changes = [at.mean(PRUNE_PRETRAIN, [each]) - dense for each in tested]
    falls = beside(changes, [transfer] * len(tested), NO_EFFECT, pooled=True)
    rises = [loss_above(m, Place(PRUNE_PRETRAIN, each)) for each in tested]
    parts = [
        part
        for each, fall, rise in zip(tested, falls, rises, strict=True)
        for part in (
            fall.no_loss(*LITTLE_LOST, percent(each)),
            rise.no_gain(*LITTLE_RISE, percent(each))._replace(lacks=SCALE_OF_LOSS),
        )
    ]
    each = [
        f"{percent(level)}: accuracy {points(fall.effect)}, pre-training loss {nats(rise)}"
        for level, fall, rise in zip(tested, falls, rises, strict=True)
    ]
    worst = min(falls, key=lambda fall: fall.effect.lower)
    return decided(
        parts,
        says=f"Pruning to {percent(tested[-1])} changes accuracy by {points(falls[-1].effect)}. "
        f"{beside_transfer(falls[-1].stake)} The pre-training loss changes by {nats(rises[-1])}.",
        statistic="; ".join([*each, *_beyond(m)]),
        at=at,
        of=worst.effect,
        margin=worst.margin,
    )


LITTLE_LOST = than(f"accuracy falls by {{}} than a {SPELLED[NO_EFFECT]} of the transfer at")
LITTLE_RISE = than(
    f"the pre-training loss rises by {{}} than a {SPELLED[NO_EFFECT]} of what pre-training brings "
    "at"
)


def _beyond(m: Measured) -> list[str]:
    """The next sparsities, which are not tested, in words."""
    said = []
    for each in m.levels(PRUNE_PRETRAIN, low=LOW_UNTIL + ROUNDING, high=SHOWN_UNTIL):
        if at := m.points([Place(PRUNE_PRETRAIN, 0.0), Place(PRUNE_PRETRAIN, each)]):
            change = at.mean(PRUNE_PRETRAIN, [each]) - at.mean(PRUNE_PRETRAIN, [0.0])
            rise = loss_above(m, Place(PRUNE_PRETRAIN, each))
            said.append(
                f"not tested, {percent(each)}: accuracy {points(change.estimate())}, pre-training "
                f"loss {nats(rise)}"
            )
    return said


def nats(rise: Beside) -> str:
    """A rise of the pre-training loss in words."""
    said = points(rise.effect, 1, " nats")
    if math.isnan(rise.share):
        return said
    return f"{said} ({of_all(rise.share)} of what pre-training brings)"


MISSING = Beside(*[Estimate(math.nan, math.inf, 1)] * 4)
SCALE_OF_LOSS = (
    f"model pruned at random to {in_percent(NOTHING_LEFT_FROM)} or more, which sets the scale"
)


def loss_above(m: Measured, place: Place, other: Place = DENSE) -> Beside:
    """How far the pre-training loss at `place` is above that at the `other`, beside what
    pre-training brings, nats. What there are no rows of is as in `MISSING`."""
    losses = m.pretraining_losses
    if not {place, other, DENSE} <= set(losses):
        return MISSING
    effect = losses[place] - losses[other]
    lines = effect[None]
    at_random = [each for each in losses if each.arm == RANDOM_PRUNING]
    emptiest = max(at_random, key=lambda each: each.sparsity, default=DENSE)
    if emptiest.sparsity >= NOTHING_LEFT_FROM:
        stake = np.nanmean(losses[emptiest]) - losses[DENSE]
        lines = np.stack([effect, stake, effect - NO_EFFECT * stake, effect + NO_EFFECT * stake])
    known = np.flatnonzero(~np.isnan(lines).any(axis=0))
    berts = [m.berts[m.seeds[i]] for i in known]
    over = Seeds(lines[:, known], berts, pd.RangeIndex(len(lines)))
    found = over.estimates() if berts else []
    return Beside(*found, *[MISSING.stake] * (4 - len(found)))


@claim(
    "C2",
    "From 40 to 60 % deleting information explains the whole loss: taking the masks off "
    "changes nothing.",
    "C2 holds if, over these sparsities together, taking the masks off changes accuracy by less "
    f"than a {SPELLED[PART]} of the loss that there is to explain, up or down. It is refuted if it "
    f"changes it by more. {EQUAL_TRAINING}",
)
def middle_range(m: Measured) -> Finding:
    """The authors would take it as borne out where next to nothing of what pruning lost comes back
    with the freedom of the pruned weights, and as refuted where a good part does. Without a loss
    there is nothing to explain."""
    found = _masks_off(m, *MIDDLE)
    if isinstance(found, Finding):
        return found
    at, compared, gained = found
    return decided(
        [
            gained.none(
                *than(f"taking the masks off changes {{}} than a {SPELLED[PART]} of the loss")
            )
        ],
        says=f"{_won_back(gained, compared)}.",
        statistic=_statistic(gained, compared),
        at=at,
        of=gained.effect,
        margin=gained.margin,
        lack="" if gained.stake.above() <= LEVEL else "no loss to explain is detected",
    )


def _masks_off(
    m: Measured, low: float, high: float
) -> tuple[Points, list[float], Beside] | Finding:
    """What taking the masks off gains in accuracy from one sparsity to another, beyond what its
    epochs gain where nothing is pruned, beside what pruning costs there."""
    compared = m.levels(INFORMATION_DELETION, PRUNE_PRETRAIN, low=low, high=high)
    arms = (INFORMATION_DELETION, PRUNE_PRETRAIN)
    at = m.points(Place(arm, level) for arm in arms for level in (0.0, *compared))
    if not compared or at is None:
        return no_rows(
            f"accuracy with masks on and off from {percent(low)}, with the same epochs where "
            "nothing is pruned"
        )
    off, on = (change_from_dense(at, arm, compared) for arm in arms)
    (gained,) = beside([off - on], [on * -1.0], PART)
    return at, compared, gained


def change_from_dense(at: Points, arm: str, sparsities: Collection[float]) -> Contrast:
    """How far the accuracy of `arm` is from its own where nothing is pruned."""
    return at.mean(arm, sparsities) - at.mean(arm, [0.0])


def _won_back(gained: Beside, compared: Iterable[float]) -> str:
    """What taking the masks off changes, beside what pruning costs and the margin."""
    off = f"Taking the masks off changes accuracy by {points(gained.effect)} beyond equal training"
    if math.isnan(gained.share):
        return f"That pruning to {levels(compared)} costs accuracy is not detected. {off}"
    return (
        f"Pruning to {levels(compared)} costs {size(gained.stake)}; a {SPELLED[PART]} of that is "
        f"{100 * gained.margin:.1f}. {off}"
    )


def _statistic(gained: Beside, compared: Iterable[float]) -> str:
    return (
        f"masks off {points(gained.effect)} beyond equal training; to explain "
        f"{points(gained.stake)}; at {levels(compared)}"
    )


@claim(
    "C3",
    "From 70 % taking the masks off gives part of the accuracy back, more on the tasks with much "
    "training data than on those with little.",
    "C3 holds if two effects are detected. First, a gain, over these sparsities together. "
    "Second, a rise of this gain with the logarithm of the number of training examples, along a "
    f"straight line over tasks. It is refuted if the gain is less than a {SPELLED[PART]} of the "
    "loss, or if from the smallest task to the largest the line rises by less than a "
    f"{SPELLED[NO_EFFECT]} of the transfer. {EQUAL_TRAINING}",
)
def high_range(m: Measured) -> Finding:
    """The authors would take any part that comes back as bearing it out, and as refuting it that
    next to nothing does, or that large tasks gain no more than small ones. Which tasks are large
    is a matter of their numbers, not of their names."""
    found = _masks_off(m, HIGH_FROM, 1.0)
    if isinstance(found, Finding):
        return found
    at, compared, gained = found
    sizes = m.facts.reindex(at.tasks).get(SIZES[0])
    transfer = at.transfer()
    if sizes is None or sizes.isna().any() or sizes.nunique() < 2 or transfer is None:
        return no_rows("the numbers of training examples of two tasks, or of " + NEVER_PRETRAINED)
    decades = np.log10(sizes.to_numpy(float))
    centred = decades - decades.mean()
    # The slope's weights, of tasks that `mean` has given 1 / T each already.
    rise = len(centred) * centred / (centred**2).sum() * np.ptp(decades)
    effect = change_from_dense(at, INFORMATION_DELETION, compared)
    effect -= change_from_dense(at, PRUNE_PRETRAIN, compared)
    (by_size,) = beside([effect * rise], [transfer], NO_EFFECT)
    by_task = ", ".join(
        f"{task} ({size:,.0f}) {signed(100 * one)}"
        for task, size, one in sorted(
            zip(at.tasks, sizes, effect.by_task, strict=True), key=lambda line: line[1]
        )
    )
    return decided(
        [
            gained.gain(
                "taking the masks off returns accuracy",
                f"taking the masks off returns less than a {SPELLED[PART]} of the loss",
            ),
            by_size.gain(
                "tasks with more training examples gain more",
                "from the smallest task to the largest the gain rises by less than a "
                f"{SPELLED[NO_EFFECT]} of the transfer",
            ),
        ],
        says=f"{_won_back(gained, compared)}. From the smallest task to the largest this gain "
        f"changes by {points(by_size.effect)}.",
        statistic=f"{_statistic(gained, compared)}; by task (training examples) {by_task}",
        at=at,
        of=gained.effect,
        margin=gained.margin,
        stake="loss to win back",
    )


@claim(
    "C4",
    "Models with information deleted reach the dense model's training loss and are still less "
    "accurate.",
    f"C4 holds if two things are so from {in_percent(DELETED_FROM)} on. First, at least "
    f"{SPELLED[LEAST_MATCHED]} of the cells (task × sparsity) come within {SAME_TRAINING_LOSS:g} "
    "nats of the dense model's training loss, or below it. Second, in these cells a loss of "
    "accuracy is detected, against as many epochs with nothing pruned. It is refuted if that "
    f"loss is less than a {SPELLED[NO_EFFECT]} of the transfer.",
)
def fitted_and_lost(m: Measured) -> Finding:
    """The authors would take any loss as bearing it out that is there although the training set is
    fitted as well. That longer training loses or gains by itself is no matter of what was deleted,
    so the loss is against equal training. Where the training set is not fitted, it is not asked."""
    compared = m.levels(INFORMATION_DELETION, low=DELETED_FROM)
    places = [Place(INFORMATION_DELETION, level) for level in (0.0, *compared)]
    at = m.points([*places, DENSE])
    known = m.training_losses
    if not compared or at is None or not {*places, DENSE} <= set(known):
        return no_rows(
            "training loss and accuracy under information deletion, also with nothing pruned, and "
            "of dense models"
        )
    transfer = at.transfer()
    if transfer is None:
        return no_rows(NEVER_PRETRAINED)
    losses = np.stack([known[place] - known[DENSE] for place in places[1:]])
    losses = losses[:, at.task_indices][:, :, at.seed_indices].mean(axis=2)  # (levels, tasks)
    fitted = losses <= SAME_TRAINING_LOSS + ROUNDING
    said = f"{fitted.sum()} of {fitted.size} cells reach the dense model's training loss"
    if fitted.sum() < LEAST_MATCHED * fitted.size:
        return Finding(said, at.n, verdict=OPEN, reason="training loss not matched")
    weights = fitted / fitted.sum()
    effect = Contrast(at, dict(zip(places[1:], weights, strict=True)))
    effect += Contrast(at, {places[0]: -weights.sum(axis=0)})
    (lost,) = beside([effect], [transfer], NO_EFFECT)
    return decided(
        [
            lost.loss(
                "accuracy is lost where the training set is fitted",
                f"less than a {SPELLED[NO_EFFECT]} of the transfer is lost where the training set "
                "is fitted",
            )
        ],
        says="Masks are off, and the training set is fitted as well as by the dense model. "
        f"Accuracy there changes by {points(lost.effect)} against as many epochs with nothing "
        f"pruned. {beside_transfer(lost.stake)}",
        statistic=f"{said}; training loss there {signed(losses[fitted].mean(), 2)} nats from the "
        f"dense model's; accuracy there {points(lost.effect)}; at {levels(compared)}",
        at=at,
        of=lost.effect,
        margin=lost.margin,
    )
