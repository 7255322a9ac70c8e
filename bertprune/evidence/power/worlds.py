"""Worlds: studies of which it is known what is so, and what is asked of them.

A question is a part of a claim. A world has this part true or not to a number of margins of the
claim's rule, and the other parts as the claim says. Margins, ranges and stakes are the rules' own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from bertprune.evidence.claims.chance import Floats
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN, Finding
from bertprune.evidence.claims.measured import NO_EPOCHS, Measured, Place
from bertprune.evidence.power.designs import Design, Points
from bertprune.evidence.power.replicates import rows_at
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING, Metric, Split, where

DENSE = Place(PRUNE_PRETRAIN, 0.0)

TRUTHS = {0: "no effect", 1: "at the margin", 2: "twice the margin"}
"""By the effect in margins."""


class Right(NamedTuple):
    """What a verdict may be where the truth is known, by TRUTHS."""

    verdicts: Mapping[int, str]
    """The right one; at the margin nothing more than that it is open can be asked for."""
    wrong: Mapping[int, tuple[str, ...]]
    """Those that are wrong, or at the margin must not be given more often than 1 in 20 times."""


NONE_CLAIMED = Right({0: HOLDS, 1: OPEN, 2: FAILS}, {0: (FAILS,), 1: (HOLDS, FAILS), 2: (HOLDS,)})
"""Where the claim is that there is no effect beyond the margin."""

SOME_CLAIMED = Right({0: FAILS, 1: OPEN, 2: HOLDS}, {0: (HOLDS,), 1: (FAILS,), 2: (FAILS,)})
"""Where the claim is that there is an effect, and less than the margin refutes it."""

MUCH_CLAIMED = Right({0: FAILS, 1: OPEN, 2: HOLDS}, {0: (HOLDS,), 1: (HOLDS, FAILS), 2: (FAILS,)})
"""Where the claim is that the effect is beyond the margin."""


class _Noted(Mapping[Place, Floats]):
    """Accuracies of a study, and which of them were `read`."""

    def __init__(self, accuracies: Mapping[Place, Floats]) -> None:
        self._accuracies = accuracies
        self.read: set[Place] = set()

    def __getitem__(self, place: Place) -> Floats:
        self.read.add(place)
        return self._accuracies[place]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._accuracies)

    def __len__(self) -> int:
        return len(self._accuracies)


class World:
    """The points of a design, measured on some `splits`, whose expected values can be read and
    set."""

    def __init__(self, design: Design, splits: Iterable[str]) -> None:
        self.points = where(design.points, split=[*splits]).reset_index(drop=True)
        self.facts = design.facts

    def measured(self) -> Measured:
        """What rules would read if nothing were left to chance."""
        return Measured.of(rows_at(self.points), self.facts)

    def read_by(self, test: Callable[[Measured], Finding]) -> Points:
        """The points without what a test does not read of fine-tuned models: so it is found in one
        reading. Each test looks at every place that it may compare before it compares."""
        measured = self.measured()
        noted = _Noted(measured.accuracies)
        test(replace(measured, accuracies=noted))
        p = self.points
        places = map(Place, p.arm, p.sparsity, p.position.fillna(NO_EPOCHS))
        is_other = (p.task == PRETRAINING) | ~p.split.isin([Split.DEV, Split.TRAIN])
        return p[is_other | np.array([place in noted.read for place in places])]

    def lines(
        self, place: Place, split: str = Split.DEV, metric: str = Metric.ACCURACY
    ) -> pd.Series:
        """Which points are those of a place: True or False."""
        p = self.points
        is_place = (p.arm == place.arm) & np.isclose(p.sparsity, place.sparsity)
        epochs = np.isnan(p.position) if place.epochs == NO_EPOCHS else p.position == place.epochs
        return is_place & epochs & (p.split == split) & (p.metric == metric)

    def accuracy(self, place: Place) -> pd.Series:
        """What is expected at a place, by task."""
        return self.points[self.lines(place)].set_index("task").value

    def set_accuracy(self, place: Place, values: pd.Series) -> None:
        """Have these values expected at a place, by task; what is no share, the nearest that is."""
        lines = self.lines(place)
        self.points.loc[lines, "value"] = self.points.task[lines].map(values.clip(0, 1))

    def _losses(self, place: Place) -> pd.Series:
        return self.lines(place, metric=Metric.LOSS) & (self.points.task == PRETRAINING)

    def pretraining_loss(self, place: Place) -> float:
        """What is expected at a place, nats."""
        return float(self.points.value[self._losses(place)].mean())

    def set_pretraining_loss(self, place: Place, value: float) -> None:
        self.points.loc[self._losses(place), "value"] = value


Make = Callable[[World, float], float]
"""Sets a world to an effect of so many margins, and gives the margin in the question's unit; NaN
where the study has not what it takes."""


@dataclass(frozen=True)
class Question:
    """A part of a claim, and how it is made true or not."""

    claim: str
    """Its key."""
    part: str
    right: Right
    unit: str
    splits: tuple[str, ...]
    """What was measured on that the claim reads."""
    make: Make

    def world(self, design: Design, margins: float) -> tuple[World, float]:
        """A world with an effect of so many margins, and the effect in `unit`, NaN where it cannot
        be asked."""
        world = World(design, self.splits)
        margin = self.make(world, margins)
        return world, margin * margins if margin > 0 else math.nan


def question(
    claim: str,
    part: str,
    right: Right,
    unit: str,
    splits: Sequence[str] = (Split.DEV, Split.TRAIN),
) -> Callable[[Make], Question]:
    """Makes the function below it the question."""
    return lambda make: Question(claim, part, right, unit, tuple(splits), make)
