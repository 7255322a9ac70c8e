"""Replicates: rows of a design as another draw of BERTs, seeds and dev examples would give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from bertprune.evidence.answers import Answers
from bertprune.evidence.claims.measured import Measured, Place
from bertprune.evidence.power.designs import KIND, PLACE, Design, Points, starts
from bertprune.protocol.rows import COLUMNS, Rows

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

LEAST_ALIKE = 0.8
"""How much models agree on which examples are hard: the least correlation between two of them of
what decides whether they get an example right."""


@dataclass(frozen=True)
class _Counted:
    """Accuracies of a task, in the order of its models."""

    points: Places
    is_there: npt.NDArray[np.bool_]
    """(points, seeds)"""
    examples: int


@dataclass(frozen=True)
class _Chance:
    """A source of chance."""

    group: Places
    """(points,): points of one group have what is drawn in common."""
    deviation: Numbers
    """(points, 1): standard deviation."""

    def draw(self, generator: np.random.Generator, columns: int) -> Numbers:
        """(points, columns) numbers."""
        drawn = generator.standard_normal((self.group.max() + 1, columns))
        return self.deviation * drawn[self.group]


class Replicates:
    """What a study of a `design` would measure where `points` (those of the design, or some of
    them, with other values) are the truth.

    A value is what is expected at its point plus what is due to chance: the seed's, that of the
    model which was fine-tuned, and its own. BERTs differ in the same way. All are normal. An
    accuracy counts examples by a probit model: a model gets one right where what is due to chance,
    a number of the example's which all models share, and one of its own stay together below a
    threshold; so that over all models and examples just the accuracy is there that is expected.
    """

    def __init__(self, design: Design, points: Points) -> None:
        points = points.reset_index(drop=True)
        self._is_there = np.arange(points.seeds.max()) < points.seeds.to_numpy()[:, None]
        self._bert_of = np.arange(points.seeds.max()) % design.berts
        shares = points[KIND].join(design.shares, on=KIND).fillna(0)
        self._between_berts = np.sqrt(shares[["bert"]].to_numpy() * (design.berts > 1))
        variance = points["std"] ** 2
        own = variance * (1 - shares.seed - shares.start).clip(lower=0)
        self._alike, of_examples = _alike(points, own.to_numpy())
        kind = points.groupby(KIND, sort=False).ngroup()
        start = points.assign(kind=kind, start=starts(points)).groupby(["kind", "start"]).ngroup()
        sources = {
            "seed": (kind, variance * shares.seed),
            "start": (start, variance * shares.start),
            "own": (points.index, own - of_examples),
        }
        whole = np.sum([part for _, part in sources.values()], axis=0)
        self._counted = {
            str(task): _Counted(
                np.asarray(of.index), self._is_there[of.index], int(of.examples.iloc[0])
            )
            for task, of in points.dropna(subset="examples").groupby("task")
        }
        self._empty = self._without_values(design, points)
        on_scale, self._centre = self._scaled(points, whole)
        factor = np.divide(on_scale, whole, out=np.zeros_like(whole), where=whole > 0)
        self._sources = [
            _Chance(group.to_numpy(), np.sqrt(part.to_numpy() * factor)[:, None])
            for group, part in sources.values()
        ]

    def _scaled(self, points: Points, variance: Numbers) -> tuple[Numbers, Numbers]:
        """The variance (points,) over seeds of one BERT, and the centre (points, 1): of accuracies
        on the scale of their threshold."""
        is_counted = points.examples.notna().to_numpy()
        expected = points.value.to_numpy(float)
        on_scale = np.where(is_counted, _on_scale_of_threshold(expected, variance), variance)
        whole = on_scale[:, None] * (1 + self._between_berts**2)
        threshold = ndtri(np.clip(expected, 0, 1))[:, None] * np.sqrt(1 + whole)
        return on_scale, np.where(is_counted[:, None], threshold, expected[:, None])

    def _without_values(self, design: Design, points: Points) -> Measured:
        """What is measured, with the number of its row in place of each value of an array."""
        line, seed = np.nonzero(self._is_there)
        berts = [f"bert{one}" for one in self._bert_of[seed]]
        rows = rows_at(points.iloc[line], seed).assign(bert=berts)
        answers = {
            task: _answers(task, rows[np.isin(line, of.points)], of.examples)
            for task, of in self._counted.items()
            if design.has_answers
        }
        numbered = rows.assign(value=np.arange(float(len(rows))))
        return replace(Measured.of(numbered, design.facts, answers), rows=rows)

    def draw(self, generator: np.random.Generator) -> Measured:
        """One of them."""
        seeds, berts = len(self._bert_of), self._bert_of.max() + 1
        values = self._centre + sum(source.draw(generator, seeds) for source in self._sources)
        if berts > 1:
            of_bert = sum(source.draw(generator, berts) for source in self._sources)
            values += (self._between_berts * of_bert)[:, self._bert_of]
        answers: dict[str, Answers] = {}
        for task, of in self._counted.items():
            threshold = values[of.points][of.is_there]
            alike = np.broadcast_to(self._alike[of.points], of.is_there.shape)[of.is_there]
            right = _right(generator, threshold, alike, of.examples)
            accuracies = np.zeros(of.is_there.shape)
            accuracies[of.is_there] = right.mean(axis=1)
            values[of.points] = accuracies
            if without := self._empty.answers.get(task):
                answers[task] = replace(without, predicted=(~right).astype(np.uint16))
        drawn, m = values[self._is_there], self._empty
        return replace(
            m,
            rows=m.rows.assign(value=drawn),
            answers=answers,
            accuracies=_filled(m.accuracies, drawn),
            training_losses=_filled(m.training_losses, drawn),
            pretraining_losses=_filled(m.pretraining_losses, drawn),
        )


def _answers(task: str, models: Rows, examples: int) -> Answers:
    """Of examples of two classes, all of the first."""
    labels = np.zeros(examples, np.uint16)
    every = np.zeros((len(models), examples), np.uint16)
    return Answers(task, models.reset_index(drop=True).assign(own=False), every, labels, labels)


def _filled(numbers: Mapping[Place, Numbers], drawn: Numbers) -> dict[Place, Numbers]:
    """What was drawn in place of its numbers."""
    with_none = np.append(drawn, np.nan)
    of = {place: np.nan_to_num(at, nan=-1).astype(int) for place, at in numbers.items()}
    return {place: with_none[at] for place, at in of.items()}


def _right(
    generator: np.random.Generator, threshold: Numbers, alike: Numbers, examples: int
) -> npt.NDArray[np.bool_]:
    """(models, examples): what models of these thresholds get right."""
    shared, own = np.sqrt(alike), np.sqrt(1 - alike)
    hard = generator.standard_normal(examples, dtype=np.float32)
    drawn = generator.standard_normal((len(threshold), examples), dtype=np.float32)
    drawn *= own[:, None].astype(np.float32)
    drawn += np.outer(shared, hard).astype(np.float32)
    return drawn < threshold[:, None]


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_WEIGHTS /= _WEIGHTS.sum()


def _chances(expected: Numbers, correlations: Numbers) -> Numbers:
    """(points, correlations, nodes): how probable it is that a normal number stays below the
    threshold that gives `expected` in all, where one of this correlation with it is known."""
    threshold = ndtri(np.clip(expected, 0, 1))[:, None, None]
    own = np.sqrt(np.maximum(1 - correlations, 1e-12))[None, :, None]
    return ndtr((threshold - np.sqrt(correlations)[None, :, None] * _NODES) / own)


def _on_scale_of_threshold(expected: Numbers, variance: Numbers) -> Numbers:
    """The variance of chance on the scale of the threshold that gives accuracies this variance."""
    correlations = np.linspace(0, 0.95, 400)
    given = (_chances(expected, correlations) ** 2) @ _WEIGHTS - expected[:, None] ** 2
    found = [np.interp(at, line, correlations) for at, line in zip(variance, given, strict=True)]
    return np.array(found) / (1 - np.array(found))


def _alike(points: Points, own: Numbers) -> tuple[Numbers, Numbers]:
    """How alike the models of each point are, (points, 1), and the variance (points,) that their
    accuracy has from what each gets right by a chance of its own: as much as the variance `own`
    allows, but they are LEAST_ALIKE at least. 1 and 0 for what counts no examples."""
    correlations = np.append(np.linspace(LEAST_ALIKE, 0.999, 200), 1.0)
    chances = _chances(points.value.to_numpy(float), correlations)
    variance = ((chances * (1 - chances)) @ _WEIGHTS) / points.examples.to_numpy(float)[:, None]
    first = np.argmax(variance <= own[:, None] + 1e-15, axis=1)
    of_examples = np.minimum(variance[np.arange(len(points)), first], own)
    is_counted = points.examples.notna().to_numpy()
    alike = np.where(is_counted, correlations[first], 1.0)[:, None]
    return alike, np.where(is_counted, of_examples, 0.0)


def rows_at(points: Points, seed: int | Places = 0) -> Rows:
    """Rows that have just what is expected at each of the points."""
    fixed = {"seed": seed, "learning_rate": 0.0, "step": 0}
    found = points[[*PLACE, "value"]].assign(**fixed).reset_index(drop=True)
    return found[list(COLUMNS)].astype(COLUMNS)
