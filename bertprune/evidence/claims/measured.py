"""What a study measured, as arrays that rules read, and contrasts of its accuracies.

A contrast is a weighted sum of accuracies, of arms, sparsities and tasks, that each seed has for
itself: what pruning costs, what taking the masks off gains. Contrasts add up, so that an effect is
set beside what is at stake, and both have one uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bertprune.base.words import counted
from bertprune.evidence import scores
from bertprune.evidence.answers import Answers
from bertprune.evidence.claims.chance import (
    Estimate,
    Floats,
    covariances_of_examples,
    mean_of_seeds,
    with_examples,
)
from bertprune.evidence.paper import sizes_of_tasks
from bertprune.protocol.arms import FROM_SCRATCH, PRUNE_PRETRAIN
from bertprune.protocol.rows import Rows, where

NO_EPOCHS = -1.0
"""In place of epochs before pruning, in arms that do not vary them."""

ONE_SEED = "one seed: this applies to these models alone, not to other seeds or BERTs"

Indices = NDArray[np.intp]

SIZES = ["train examples", "dev examples"]
"""Columns of facts about tasks that are no baselines."""


class Place(NamedTuple):
    """Where a fine-tuned model stands in a study, but for its task and seed."""

    arm: str
    sparsity: float
    epochs: float = NO_EPOCHS
    """Of fine-tuning before pruning."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What a study measured: its rows, what of them stands in arrays, and what is known of its
    tasks and of single examples. `of` makes it of rows.

    Arrays (T, S) are of all `tasks` and `seeds`, NaN where there is nothing.
    """

    rows: Rows
    facts: pd.DataFrame
    """By task: `SIZES`, and the accuracies, as shares, of what needs no pre-training (see
    `baselines.of_study`)."""
    answers: Mapping[str, Answers | None]
    """By task. Where there are none, the draw of dev examples is bounded by their number."""
    scale: str
    """The study and the size of its model, in words."""
    tasks: list[str]
    seeds: list[int]
    berts: Mapping[int, str]
    """The BERT that each seed's models begin with; one for all where rows do not say."""
    accuracies: Mapping[Place, Floats]
    """Best dev accuracies (T, S)."""
    training_losses: Mapping[Place, Floats]
    """Nats (T, S) over the training set, at the learning rate of the best accuracy."""
    pretraining_losses: Mapping[Place, Floats]
    """Dev losses (S,) of pre-trained models, nats."""
    lines_of_answers: Mapping[str, Mapping[Place, Indices]]
    """By task, the line (S,) of its answers that each seed's model has, -1 where it has none."""

    @classmethod
    def of(
        cls,
        rows: Rows,
        facts: pd.DataFrame | None = None,
        answers: Mapping[str, Answers | None] | None = None,
        scale: str = "",
    ) -> Measured:
        """What rows have. Without `facts` examples are as many as GLUE's."""
        answers = answers or {}
        best = scores.best_accuracies(rows)
        training = scores.training_losses(rows, best).assign(epochs=NO_EPOCHS)
        pretraining = scores.pretraining_losses(rows).assign(epochs=NO_EPOCHS, task="")
        tasks, seeds = sorted(best.task.unique()), sorted(rows.seed.unique())
        best = best.assign(epochs=best.position.fillna(NO_EPOCHS))
        by_place = _arrays(pretraining, "loss", [""], seeds)
        return cls(
            rows,
            sizes_of_tasks() if facts is None else facts,
            answers,
            scale,
            tasks,
            seeds,
            _berts(rows, seeds),
            accuracies=_arrays(best, "accuracy", tasks, seeds),
            training_losses=_arrays(training, "loss", tasks, seeds),
            pretraining_losses={place: values[0] for place, values in by_place.items()},
            lines_of_answers={
                task: _lines(of.models, seeds) for task, of in answers.items() if of is not None
            },
        )

    def part(self, rows: Rows) -> Measured:
        """The same study with some of its `rows`."""
        return Measured.of(rows, self.facts, self.answers, self.scale)

    def levels(
        self, *arms: str, low: float = 0.0, high: float = 1.0, dense: bool = True
    ) -> list[float]:
        """The sparsities above 0 and below 1, from `low` to `high`, at which all seeds that `arms`
        have in common have accuracies of all of them; with `dense` of the dense model too."""
        found = sorted({place.sparsity for place in self.accuracies})
        found = [at for at in found if max(low, 1e-9) <= at <= min(high, 1 - 1e-9)]
        other = [Place(PRUNE_PRETRAIN, 0.0)] if dense else []
        return self._shared({at: [*(Place(arm, at) for arm in arms), *other] for at in found})

    def _shared(self, places: Mapping[float, Iterable[Place]]) -> list[float]:
        """The keys at whose places all seeds have values which have them at any."""
        whole = {at: of for at, of in places.items() if all(p in self.accuracies for p in of)}
        if not whole:
            return []
        known = np.stack([self._known(of) for of in whole.values()])
        has = np.asarray(known[:, known.any(axis=(0, 2))].all(axis=1))  # (levels, seeds)
        seeds = has[:, has.any(axis=0)]
        if not seeds.size:
            return []
        shared = np.asarray(seeds.all(axis=1))
        if not shared.any():
            shared = has[:, has.sum(axis=0).argmax()]
        return [at for at, is_shared in zip(whole, shared, strict=True) if is_shared]

    def _known(self, places: Iterable[Place]) -> NDArray[np.bool_]:
        """(T, S): whether a task and seed has accuracies at all `places`."""
        known: NDArray[np.bool_] = ~np.isnan(sum(self.accuracies[place] for place in places))
        return known

    def points(self, places: Iterable[Place]) -> Points | None:
        """What all `places` have: the tasks that any seed has at all of them, and the seeds that
        have all of these tasks. None without any."""
        wanted = list(dict.fromkeys(places))
        if not wanted or any(place not in self.accuracies for place in wanted):
            return None
        known = self._known(wanted)
        tasks = np.flatnonzero(known.any(axis=1))
        seeds = np.flatnonzero(known[tasks].all(axis=0))
        return Points(self, tasks, seeds) if len(tasks) and len(seeds) else None

    @cached_property
    def baseline(self) -> pd.Series:
        """By task, the best accuracy of what was never pre-trained: facts, and the model that was
        trained from random weights. Empty where nothing of the kind is known."""
        return self._without_pretraining.max(axis=1).dropna()

    @cached_property
    def floor(self) -> pd.Series:
        """The same of what a BERT falls to that has nothing left of its pre-training: a bag of
        words may be above it."""
        of = self._without_pretraining.drop(columns="bag of words", errors="ignore")
        return of.max(axis=1).dropna()

    @cached_property
    def _without_pretraining(self) -> pd.DataFrame:
        of = self.facts.drop(columns=SIZES, errors="ignore").astype(float).reindex(self.tasks)
        scratch = self.accuracies.get(Place(FROM_SCRATCH, 0.0))
        if scratch is not None:
            counts = (~np.isnan(scratch)).sum(axis=1)
            sums = np.nansum(scratch, axis=1)
            of[FROM_SCRATCH] = np.divide(
                sums, counts, out=np.full(len(sums), math.nan), where=counts > 0
            )
        return of


def _berts(rows: Rows, seeds: list[int]) -> dict[int, str]:
    every = dict.fromkeys(seeds, "")
    if "bert" not in rows:
        return every
    of_seeds = where(rows, arm=PRUNE_PRETRAIN).drop_duplicates("seed")
    return every | dict(zip(of_seeds.seed, of_seeds.bert, strict=True))


def _arrays(
    lines: pd.DataFrame, of: str, tasks: list[str], seeds: list[int]
) -> dict[Place, Floats]:
    """The column `of`, (T, S) by place."""
    at, places = pd.MultiIndex.from_frame(lines[["arm", "sparsity", "epochs"]]).factorize()
    values = np.full((len(places), len(tasks), len(seeds)), math.nan)
    task = pd.Index(tasks).get_indexer(pd.Index(lines.task))
    seed = np.searchsorted(seeds, lines.seed.to_numpy())
    values[at, task, seed] = lines[of].to_numpy(float)
    return {Place(*place): values[i] for i, place in enumerate(places)}


def _lines(models: pd.DataFrame, seeds: list[int]) -> dict[Place, Indices]:
    """Which lines of answers `models` are, (S,) by place."""
    of_study = models[~models.own.astype(bool) & models.seed.isin(seeds)]
    lines = of_study.assign(
        task="", epochs=of_study.position.fillna(NO_EPOCHS), line=of_study.index
    )
    by_place = _arrays(lines, "line", [""], seeds)
    return {place: np.nan_to_num(of[0], nan=-1).astype(np.intp) for place, of in by_place.items()}


@dataclass(frozen=True, eq=False)
class Seeds:
    """Lines of values (L, S) of seeds, of what is measured on no sample of examples."""

    values: Floats
    berts: Sequence[str]
    index: pd.Index
    """(L,), what each line is of."""

    @classmethod
    def of(cls, m: Measured, lines: pd.DataFrame) -> Seeds:
        """Of lines whose columns are seeds of `m`, those that all seeds have; where there are none,
        the lines of the seed that has the most."""
        lines = lines.dropna(axis=1, how="all")
        whole = lines.dropna()
        if whole.empty and not lines.empty:
            whole = lines[[lines.notna().sum().idxmax()]].dropna()
        return cls(
            whole.to_numpy(float), [m.berts[int(str(seed))] for seed in whole.columns], whole.index
        )

    @property
    def n(self) -> str:
        seeds = counted(len(self.berts), "seed")
        return f"n = {seeds} of {counted(len(set(self.berts)), 'BERT')}"

    @property
    def one_training(self) -> str:
        """What one seed leaves open, in words; else empty."""
        return ONE_SEED if len(self.berts) == 1 else ""

    def summed(
        self, weights: Floats, of: Callable[[Floats], Floats] = np.asarray
    ) -> list[Estimate]:
        """The mean of each sum of `weights` (N, L) over the lines, or over what `of` makes of them.
        Of one seed it is exact: nothing but the seed is left to chance."""
        if not self.values.size:
            return []
        found = mean_of_seeds(weights @ of(self.values), self.berts)
        return [replace(one, error=0.0) for one in found] if len(self.berts) == 1 else found

    def estimates(self) -> list[Estimate]:
        """The mean of each line."""
        return self.summed(np.eye(len(self.values)))

    def mean(self) -> list[Estimate]:
        """That over all lines; nothing without any."""
        lines = len(self.values)
        return self.summed(np.full((1, lines), 1 / max(lines, 1)))


@dataclass(frozen=True, eq=False)
class Points:
    """Tasks and seeds of a study that have all that is compared."""

    measured: Measured
    task_indices: Indices
    seed_indices: Indices

    @property
    def tasks(self) -> list[str]:
        return [self.measured.tasks[i] for i in self.task_indices]

    @property
    def seeds(self) -> list[int]:
        return [self.measured.seeds[i] for i in self.seed_indices]

    @property
    def berts(self) -> list[str]:
        return [self.measured.berts[seed] for seed in self.seeds]

    @property
    def n(self) -> str:
        """What a mean is over, in words."""
        seeds, berts = counted(len(self.seeds), "seed"), len(set(self.berts))
        of_berts = f" of {counted(berts, 'BERT')}"
        return f"n = {seeds}{of_berts}, each a mean over {counted(len(self.tasks), 'task')}"

    @property
    def one_training(self) -> str:
        """What one seed leaves open, in words; else empty."""
        return ONE_SEED if len(self.seeds) == 1 else ""

    @cached_property
    def by_examples(self) -> dict[str, tuple[list[Place], Floats]]:
        """By task, the places at which answers of all these seeds are known, and the covariances
        that the draw of dev examples gives to the mean accuracies there."""
        found = {}
        for task in self.tasks:
            if (answers := self.measured.answers.get(task)) is not None:
                every = self.measured.lines_of_answers[task]
                lines = {place: of[self.seed_indices] for place, of in every.items()}
                known = [place for place, of in lines.items() if (of >= 0).all()]
                if known:
                    right = answers.right[np.stack([lines[place] for place in known])]
                    found[task] = known, covariances_of_examples(right)
        return found

    def mean(self, arm: str, sparsities: Collection[float], epochs: float = NO_EPOCHS) -> Contrast:
        """The accuracy of `arm`, a mean over `sparsities` and tasks."""
        weight = np.full(len(self.task_indices), 1 / len(self.task_indices) / len(sparsities))
        return Contrast(self, {Place(arm, at, epochs): weight for at in sparsities})

    def of(self, place: Place) -> Contrast:
        """The accuracy at a place, a mean over tasks."""
        return self.mean(place.arm, [place.sparsity], place.epochs)

    def above_floor(self, accuracy: Contrast) -> Contrast | None:
        """How far an accuracy is above `Measured.floor`; None where that is unknown."""
        floor = self.measured.floor.reindex(self.tasks)
        return None if floor.isna().any() else replace(accuracy, constant=-float(floor.mean()))

    def transfer(self) -> Contrast | None:
        """What pre-training is worth: the dense model's accuracy above the best of what was never
        pre-trained, the mean over tasks. None where nothing of the kind is known of one of them.
        """
        baseline = self.measured.baseline.reindex(self.tasks)
        if baseline.isna().any():
            return None
        dense = self.mean(PRUNE_PRETRAIN, [0.0])
        return replace(dense, constant=-float(baseline.mean()))


@dataclass(frozen=True, eq=False)
class Contrast:
    """A weighted sum of accuracies of each seed at `points`, and a constant."""

    points: Points
    weights: Mapping[Place, Floats]
    """(T,) by place."""
    constant: float = 0.0

    def __add__(self, other: Contrast) -> Contrast:
        zero = np.zeros(len(self.points.task_indices))
        weights = {
            place: self.weights.get(place, zero) + other.weights.get(place, zero)
            for place in {**self.weights, **other.weights}
        }
        return replace(self, weights=weights, constant=self.constant + other.constant)

    def __mul__(self, factor: float | Floats) -> Contrast:
        """All weights times a factor, or the weights of each task times its own (T,)."""
        weights = {place: weight * factor for place, weight in self.weights.items()}
        return replace(self, weights=weights, constant=self.constant * float(np.mean(factor)))

    def __sub__(self, other: Contrast) -> Contrast:
        return self + other * -1.0

    @cached_property
    def values(self) -> Floats:
        """(S,)"""
        points = self.points
        every = np.stack([points.measured.accuracies[place] for place in self.weights])
        of = every[:, points.task_indices][:, :, points.seed_indices]
        total: Floats = np.einsum("pts,pt->s", of, np.stack(list(self.weights.values())))
        return total + self.constant

    @property
    def by_task(self) -> Floats:
        """(T,): the mean over seeds of what each task has, as if all tasks were it."""
        points = self.points
        tasks = len(points.task_indices)
        total = np.full(tasks, self.constant)
        for place, weight in self.weights.items():
            of = points.measured.accuracies[place]
            means = of[points.task_indices][:, points.seed_indices].mean(axis=1)
            total = total + tasks * weight * means
        return total

    @cached_property
    def variance_of_examples(self) -> float:
        """What the draw of dev examples adds to the variance."""
        return sum(self._of_task(i, task) for i, task in enumerate(self.points.tasks))

    def _of_task(self, i: int, task: str) -> float:
        weights = {place: of[i] for place, of in self.weights.items() if of[i] != 0}
        if not weights:
            return 0.0
        places, covariances = self.points.by_examples.get(task, ([], None))
        if covariances is None or not set(weights) <= set(places):
            return self._bound(i, task, weights)
        of_places = np.array([weights.get(place, 0.0) for place in places])
        return max(float(of_places @ covariances @ of_places), 0.0)

    def _bound(self, i: int, task: str, weights: Mapping[Place, float]) -> float:
        """The most that it can be without knowing who is right where: what is added moves as one,
        what is subtracted moves as one, and one moves apart from the other."""
        facts = self.points.measured.facts
        if task not in facts.index or "dev examples" not in facts:
            return math.inf
        size, index = float(facts["dev examples"][task]), self.points.task_indices[i]
        sides = {True: 0.0, False: 0.0}
        for place, weight in weights.items():
            shares = self.points.measured.accuracies[place][index, self.points.seed_indices]
            share = float(shares.mean())
            sides[bool(weight > 0)] += abs(weight) * math.sqrt(max(share * (1 - share), 0.0) / size)
        return sides[True] ** 2 + sides[False] ** 2

    def estimate(self) -> Estimate:
        """The mean over BERTs, seeds and examples."""
        return estimates([self])[0]


def estimates(contrasts: Sequence[Contrast], *, pooled: bool = False) -> list[Estimate]:
    """The means of contrasts at the same points; with `pooled` as if one variance over seeds was
    theirs (see `mean_of_seeds`)."""
    values = np.stack([contrast.values for contrast in contrasts])
    of_seeds = mean_of_seeds(values, contrasts[0].points.berts, pooled=pooled)
    return [
        with_examples(one, contrast.variance_of_examples)
        for one, contrast in zip(of_seeds, contrasts, strict=True)
    ]
