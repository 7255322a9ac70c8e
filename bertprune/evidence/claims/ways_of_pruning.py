"""Claims C7, C10 and C11: other ways of pruning than by magnitude while pre-training."""

from __future__ import annotations

import math

from bertprune.base.words import percent, signed
from bertprune.evidence.claims.claim import (
    LEVEL,
    NO_EFFECT,
    SPELLED,
    Beside,
    Finding,
    Part,
    beside,
    beside_transfer,
    claim,
    decided,
    levels,
    no_rows,
    points,
    than,
)
from bertprune.evidence.claims.measured import Contrast, Measured, Place, Points
from bertprune.evidence.claims.ranges import (
    DENSE,
    EQUAL_TRAINING,
    NEVER_PRETRAINED,
    SCALE_OF_LOSS,
    change_from_dense,
    loss_above,
    nats,
)
from bertprune.protocol.arms import (
    EPOCHS_BEFORE_PRUNING,
    PRUNE_AFTER_FINETUNE,
    PRUNE_PRETRAIN,
    RANDOM_PRUNING,
)

ALL_AT_FLOOR = "models pruned by magnitude have no accuracy to lose at any of these sparsities"


@claim(
    "C7",
    "Pruning after fine-tuning is no better than pruning while pre-training.",
    "C7 holds if, over all sparsities together, pruning after fine-tuning gains less than a "
    f"{SPELLED[NO_EFFECT]} of the transfer in accuracy. It is refuted if it gains more. "
    f"{EQUAL_TRAINING}",
)
def after_finetuning(m: Measured) -> Finding:
    """The authors would take it as borne out where nobody would prune late for the accuracy, and as
    refuted where late pruning gains what matters, and not by its longer training. That it is
    worse is no refutation."""
    compared = m.levels(PRUNE_AFTER_FINETUNE, PRUNE_PRETRAIN)
    arms = (PRUNE_AFTER_FINETUNE, PRUNE_PRETRAIN)
    at = m.points(Place(arm, level) for arm in arms for level in (0.0, *compared))
    if not compared or at is None:
        return no_rows(
            "accuracy of models pruned after fine-tuning, also with nothing pruned, and while "
            "pre-training"
        )
    transfer = at.transfer()
    if transfer is None:
        return no_rows(NEVER_PRETRAINED)
    late, early = (change_from_dense(at, arm, compared) for arm in arms)
    effect = late - early
    (gained,) = beside([effect], [transfer], NO_EFFECT)
    return decided(
        [
            gained.no_gain(
                *than(
                    "pruning after fine-tuning gains {} than a "
                    f"{SPELLED[NO_EFFECT]} of the transfer"
                )
            )
        ],
        says=f"Pruning after fine-tuning changes accuracy by {points(gained.effect)} against "
        f"pruning while pre-training. {beside_transfer(gained.stake)}",
        statistic=f"{points(gained.effect)} beyond equal training; at {levels(compared)}; by task "
        + _by_task(at, effect),
        at=at,
        of=gained.effect,
        margin=gained.margin,
    )


def _by_task(at: Points, effect: Contrast) -> str:
    each = zip(at.tasks, effect.by_task, strict=True)
    return ", ".join(f"{task} {signed(100 * mean, 2)}" for task, mean in each)


@claim(
    "C10",
    "Fine-tuning for longer before pruning does not help.",
    "C10 holds if, however long models are fine-tuned before pruning, they gain less than a "
    f"{SPELLED[NO_EFFECT]} of the transfer against the fewest epochs. It is refuted if they gain "
    "more after any number of epochs. What as many epochs gain where nothing is pruned is "
    "subtracted. Where nobody measured that the claim can hold, but not be refuted. Seeds are "
    "taken to scatter alike after all numbers of epochs.",
    "no gain from 0 to 12 epochs at 60 % (its figure 3, its tables have no number)",
)
def longer_before_pruning(m: Measured) -> Finding:
    """The authors would take it as borne out where no length of fine-tuning gains what matters over
    the whole range, from none at all, and as refuted where one does that is not just a longer
    training in all."""
    varied = [place for place in m.accuracies if place.arm == EPOCHS_BEFORE_PRUNING]
    pruned = sorted(place for place in varied if place.sparsity > 0)
    if len(pruned) < 2 or len({place.sparsity for place in pruned}) > 1:
        return no_rows("pruning, at one sparsity, after different numbers of epochs")
    dense = [place._replace(sparsity=0.0) for place in pruned]
    control = m.points([*pruned, *dense, DENSE])
    at = control or m.points([*pruned, DENSE])
    transfer = at.transfer() if at else None
    if at is None or transfer is None:
        return no_rows("one seed and task at two numbers of epochs, and " + NEVER_PRETRAINED)

    def gain(place: Place) -> Contrast:
        fewest = pruned[0].epochs
        gained = at.of(place) - at.of(place._replace(epochs=fewest))
        if control is None:
            return gained
        alone = place._replace(sparsity=0.0)
        return gained - (at.of(alone) - at.of(alone._replace(epochs=fewest)))

    longer = pruned[1:]
    found = beside([*map(gain, longer)], [transfer] * len(longer), NO_EFFECT, pooled=True)
    parts = [of.no_gain(*_NO_GAIN, _epochs(place)) for place, of in zip(longer, found, strict=True)]
    if control is None:
        parts = [part._replace(refutes=1.0) for part in parts]
    most = max(found, key=lambda of: of.effect.mean)
    best = longer[found.index(most)]
    beyond = "beyond equal training" if control else "with no control of equal training"
    each = "; ".join(
        f"after {_epochs(place)} {points(of.effect)}"
        for place, of in zip(longer, found, strict=True)
    )
    return decided(
        parts,
        says=f"Fine-tuning before pruning to {percent(pruned[0].sparsity)} gains at most "
        f"{points(most.effect)} after {_epochs(best)} against {_epochs(pruned[0])}, {beyond}. "
        f"{beside_transfer(most.stake)}",
        statistic=f"against {_epochs(pruned[0])}, {beyond}: {each}",
        at=at,
        of=most.effect,
        margin=most.margin,
    )


_NO_GAIN = than(f"{{}} than a {SPELLED[NO_EFFECT]} of the transfer is gained after")


def _epochs(place: Place) -> str:
    return f"{place.epochs:g} epoch{'s' * (place.epochs != 1)}"


@claim(
    "C11",
    "Pruning at random is worse than by magnitude at every sparsity.",
    "C11 holds if two effects are detected at every sparsity. First, accuracy is lower. Second, "
    "the pre-training loss is higher. It is refuted if at one of them accuracy is lower by less "
    f"than a {SPELLED[NO_EFFECT]} of the transfer, or the loss higher by less than a "
    f"{SPELLED[NO_EFFECT]} of what pre-training brings. Accuracy is left out where models pruned "
    "by magnitude have none to lose: where they are less than that margin above what was never "
    "pre-trained.",
)
def at_random(m: Measured) -> Finding:
    """The authors would take it as borne out where both curves lie apart everywhere, and as refuted
    where they meet before either has come down to the floor."""
    compared = m.levels(RANDOM_PRUNING, PRUNE_PRETRAIN)
    arms = (RANDOM_PRUNING, PRUNE_PRETRAIN)
    at = m.points([*(Place(arm, level) for arm in arms for level in compared), DENSE])
    if not compared or at is None:
        return no_rows("accuracy of models pruned at random, and by magnitude")
    transfer = at.transfer()
    if transfer is None:
        return no_rows(NEVER_PRETRAINED)
    changes = [
        at.mean(RANDOM_PRUNING, [each]) - at.mean(PRUNE_PRETRAIN, [each]) for each in compared
    ]
    found = dict(zip(compared, beside(changes, [transfer] * len(changes), NO_EFFECT), strict=True))
    rises = {
        each: loss_above(m, Place(RANDOM_PRUNING, each), Place(PRUNE_PRETRAIN, each))
        for each in compared
    }
    at_floor = [each for each in compared if _is_at_floor(at, each, transfer)]
    parts = [
        of.loss(*_LESS_ACCURATE, percent(each))
        for each, of in found.items()
        if each not in at_floor
    ]
    parts += [_higher(rise, each) for each, rise in rises.items()]
    said = "; ".join(
        f"{percent(each)}: accuracy {points(of.effect)}"
        + " (at the floor)" * (each in at_floor)
        + f", pre-training loss {nats(rises[each])}"
        for each, of in found.items()
    )
    (overall,) = beside(
        [at.mean(RANDOM_PRUNING, compared) - at.mean(PRUNE_PRETRAIN, compared)],
        [transfer],
        NO_EFFECT,
    )
    least = max(found.values(), key=lambda of: of.effect.upper)
    return decided(
        parts,
        says=f"Random pruning changes accuracy by {points(overall.effect)} against magnitude "
        f"pruning on average, and at {percent(compared[0])} by "
        f"{points(found[compared[0]].effect)}. {beside_transfer(overall.stake)}",
        statistic=said,
        at=at,
        of=least.effect,
        margin=least.margin,
        lack=ALL_AT_FLOOR if len(at_floor) == len(compared) else "",
    )


def _is_at_floor(at: Points, sparsity: float, transfer: Contrast) -> bool:
    """Whether models pruned by magnitude are shown to be less than the margin above the floor."""
    above = at.above_floor(at.mean(PRUNE_PRETRAIN, [sparsity]))
    return above is not None and (above - transfer * NO_EFFECT).estimate().below() <= LEVEL


_LESS_ACCURATE = (
    "accuracy is lower at",
    f"accuracy is lower by less than a {SPELLED[NO_EFFECT]} of the transfer, if at all, at",
)
_HIGHER_LOSS = (
    "the pre-training loss is higher at",
    f"the pre-training loss is higher by less than a {SPELLED[NO_EFFECT]} of what pre-training "
    "brings, if at all, at",
)


def _higher(rise: Beside, sparsity: float) -> Part:
    part = rise.gain(*_HIGHER_LOSS, percent(sparsity))
    if math.isnan(rise.effect.mean):
        lacks = "pre-training loss of both"
    else:
        lacks = SCALE_OF_LOSS if math.isnan(rise.stake.mean) else ""
    return part._replace(supports=math.nan, lacks=lacks) if lacks else part
