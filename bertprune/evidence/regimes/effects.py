"""The main effects of pruning, each the same contrast in every study and in the paper's table 1.

An effect is a mean over tasks and over the sparsities that all have which are compared, so that a
line of a table has one meaning. Its bounds are those of verdicts (see `evidence.claims.chance`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bertprune.evidence.claims.chance import Estimate
from bertprune.evidence.claims.measured import (
    Contrast,
    Measured,
    Place,
    Points,
    Seeds,
    estimates,
)
from bertprune.evidence.claims.ranges import (
    DENSE,
    HIGH_FROM,
    LOW_UNTIL,
    MIDDLE,
    NOTHING_LEFT_FROM,
    change_from_dense,
)
from bertprune.protocol.arms import (
    FROM_SCRATCH,
    INFORMATION_DELETION,
    PRUNE_AFTER_FINETUNE,
    PRUNE_PRETRAIN,
    RANDOM_PRUNING,
)

Levels = Sequence[float]
"""Sparsities."""


@dataclass(frozen=True)
class Size:
    """How large an effect is, in points of accuracy or in nats of loss."""

    estimate: Estimate
    """Of one seed its error is that of dev examples alone, and of losses 0."""
    berts: Sequence[str]
    """The BERT of each seed that it is a mean over."""
    by_task: Mapping[str, float]
    """Of each task alone; empty for losses."""

    @property
    def seeds(self) -> int:
        return len(self.berts)

    @property
    def is_detected(self) -> bool:
        """Whether its interval excludes zero; never where nothing says how wide that is. What is
        not detected may still be there."""
        of = self.estimate
        return of.error > 0 and (of.lower > 0 or of.upper < 0)


@dataclass(frozen=True)
class Effect:
    """A contrast over a range of sparsities, both ends included."""

    says: str
    """What changes against what; `{at}` stands for the sparsities."""
    of: Callable[[Measured, Levels], Size | None]
    """Its size over some sparsities; None where the study lacks what it is made of."""
    arms: tuple[str, ...] = (PRUNE_PRETRAIN,)
    """A sparsity counts that all of these have."""
    low: float = 0.0
    high: float = 1.0
    is_at_end: bool = False
    """Whether it is at the highest sparsity of the range alone."""
    unit: str = "points"

    def levels(self, *studies: Measured) -> list[float]:
        """The sparsities of the range that all `studies` have. One that shares none with those
        before it is passed over."""
        shared: list[float] = []
        for study in studies:
            own = self._own(study)
            shared = [at for at in shared if at in own] or shared or own
        return shared[-1:] if self.is_at_end else shared

    def size(self, study: Measured, levels: Levels) -> Size | None:
        """How large it is over `levels`; None where the study lacks one of them."""
        return self.of(study, levels) if levels and set(levels) <= set(self._own(study)) else None

    def at_each(self, study: Measured) -> dict[float, Size]:
        """By sparsity, ascending: how large it is at each of the range by itself."""
        sizes = {at: self.of(study, [at]) for at in self._own(study)}
        return {at: size for at, size in sizes.items() if size}

    def _own(self, study: Measured) -> list[float]:
        return study.levels(*self.arms, low=self.low, high=self.high)


_BOTH = (INFORMATION_DELETION, PRUNE_PRETRAIN)


def _points(m: Measured, arms: Sequence[str], levels: Levels) -> Points | None:
    """Tasks and seeds that have the dense model, and all `arms` at all `levels` and, but for random
    pruning, with nothing pruned."""
    controls = [Place(arm, 0.0) for arm in arms if arm != RANDOM_PRUNING]
    return m.points([DENSE, *controls, *(Place(arm, at) for arm in arms for at in levels)])


def _mean(at: Points | None, contrast: Callable[[Points], Contrast | None]) -> Size | None:
    made = contrast(at) if at else None
    return None if made is None else _size(made, made.estimate())


def _size(of: Contrast, share: Estimate) -> Size:
    """In points, where the estimate is a share of examples."""
    by_task = dict(zip(of.points.tasks, 100 * of.by_task, strict=True))
    points = Estimate(100 * share.mean, 100 * share.error, share.freedom)
    return Size(points, of.points.berts, by_task)


def _change(m: Measured, levels: Levels) -> Size | None:
    return _mean(
        _points(m, [PRUNE_PRETRAIN], levels),
        lambda at: change_from_dense(at, PRUNE_PRETRAIN, levels),
    )


def _change_at_random(m: Measured, levels: Levels) -> Size | None:
    return _mean(
        _points(m, [RANDOM_PRUNING], levels),
        lambda at: at.mean(RANDOM_PRUNING, levels) - at.of(DENSE),
    )


def _change_at_one(m: Measured, levels: Levels) -> Size | None:
    """At the last of `levels`; the sparsities of the low range have one variance, as in C1."""
    last, low = levels[-1], m.levels(PRUNE_PRETRAIN, high=LOW_UNTIL)
    together = low if last in low else [last]
    if (at := _points(m, [PRUNE_PRETRAIN], together)) is None:
        return None
    every = [change_from_dense(at, PRUNE_PRETRAIN, [one]) for one in together]
    place = together.index(last)
    return _size(every[place], estimates(every, pooled=True)[place])


def _rise_of_loss(m: Measured, levels: Levels) -> Size | None:
    losses, place = m.pretraining_losses, Place(PRUNE_PRETRAIN, levels[-1])
    if not {place, DENSE} <= set(losses):
        return None
    rise = Seeds.of(m, pd.DataFrame([losses[place] - losses[DENSE]], columns=m.seeds))
    return next((Size(one, rise.berts, {}) for one in rise.estimates()), None)


def _beyond_equal_training(arm: str) -> Callable[[Measured, Levels], Size | None]:
    """How much less `arm` loses than pruning while pre-training, each against its own accuracy
    with nothing pruned."""
    return lambda m, levels: _mean(
        _points(m, [arm, PRUNE_PRETRAIN], levels),
        lambda at: (
            change_from_dense(at, arm, levels) - change_from_dense(at, PRUNE_PRETRAIN, levels)
        ),
    )


def _random_less_magnitude(m: Measured, levels: Levels) -> Size | None:
    return _mean(
        _points(m, [RANDOM_PRUNING, PRUNE_PRETRAIN], levels),
        lambda at: at.mean(RANDOM_PRUNING, levels) - at.mean(PRUNE_PRETRAIN, levels),
    )


def _transfer(m: Measured, _: Levels) -> Size | None:
    return _mean(m.points([DENSE, Place(FROM_SCRATCH, 0.0)]), Points.transfer)


def _above_scratch(m: Measured, _: Levels) -> Size | None:
    scratch = Place(FROM_SCRATCH, 0.0)
    return _mean(m.points([DENSE, scratch]), lambda at: at.of(DENSE) - at.of(scratch))


def _longer(m: Measured, _: Levels) -> Size | None:
    alone = Place(INFORMATION_DELETION, 0.0)
    return _mean(m.points([DENSE, alone]), lambda at: at.of(alone) - at.of(DENSE))


_FALL = "accuracy at {at}, change from dense"
_MASKS_OFF = "gain of information deletion (masks off) at {at}, beyond equal training"
_LATE = "gain of pruning after fine-tuning at {at}, beyond equal training"
_DELETION = _beyond_equal_training(INFORMATION_DELETION)
_LATER = _beyond_equal_training(PRUNE_AFTER_FINETUNE)

EFFECTS = {
    "low": Effect(_FALL, _change_at_one, high=LOW_UNTIL, is_at_end=True),
    "loss": Effect(
        "pre-training loss at {at}, change from dense",
        _rise_of_loss,
        high=LOW_UNTIL,
        is_at_end=True,
        unit="nats",
    ),
    "middle": Effect(_FALL, _change, _BOTH, *MIDDLE),
    "middle, masks off": Effect(_MASKS_OFF, _DELETION, _BOTH, *MIDDLE),
    "high": Effect(_FALL, _change, _BOTH, HIGH_FROM),
    "high, masks off": Effect(_MASKS_OFF, _DELETION, _BOTH, HIGH_FROM),
    "late": Effect(
        _LATE,
        _LATER,
        (PRUNE_AFTER_FINETUNE, PRUNE_PRETRAIN),
    ),
    "random": Effect(
        "pruned at random minus pruned while pre-training at {at}",
        _random_less_magnitude,
        (RANDOM_PRUNING, PRUNE_PRETRAIN),
    ),
    "at random": Effect(
        "accuracy at {at} at random, change from dense",
        _change_at_random,
        (RANDOM_PRUNING,),
        NOTHING_LEFT_FROM,
        is_at_end=True,
    ),
    "above scratch": Effect("dense minus never pre-trained", _above_scratch),
    "longer": Effect("epochs of information deletion alone, nothing pruned", _longer),
    "transfer": Effect("transfer: dense minus the best without pre-training", _transfer),
}
"""In the order of tables."""

AT_EACH = {
    PRUNE_PRETRAIN: Effect("accuracy, pruned minus dense", _change_at_one),
    "loss": Effect("pre-training loss, pruned minus dense", _rise_of_loss, unit="nats"),
    INFORMATION_DELETION: Effect(
        "gain of information deletion (masks off), beyond equal training", _DELETION, _BOTH
    ),
    PRUNE_AFTER_FINETUNE: Effect(
        "gain of pruning after fine-tuning, beyond equal training",
        _LATER,
        (PRUNE_AFTER_FINETUNE, PRUNE_PRETRAIN),
    ),
    RANDOM_PRUNING: Effect(
        "pruned at random minus pruned while pre-training",
        _random_less_magnitude,
        (RANDOM_PRUNING, PRUNE_PRETRAIN),
    ),
}
"""What is asked of each sparsity by itself (see `Effect.at_each`), those of an arm by its name."""
