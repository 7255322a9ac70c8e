"""What chance can do: means over BERTs, seeds and dev examples, with their uncertainty.

Three draws are left to chance: which BERT was pre-trained, which seed pruned and fine-tuned it, and
which examples the dev set has. A number stands for all three: it is a mean over tasks, and its
standard error says how far another BERT, other seeds and other examples would move it.

Seeds lie within BERTs: all of one BERT share what is peculiar to it, so it is BERTs that are
counted where there are two or more. All models of a study answer the same examples, so examples
are crossed with seeds (Obuchowski & Rockette, 1995, have readers and cases in this way).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

CONFIDENCE = 0.95
"""Of each one-sided bound."""

POWER = 0.8
"""With which an effect is told that counts as detectable."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error, and the degrees of freedom of that (infinite where it is known).

    The error is infinite where nothing says how large it is.
    """

    mean: float
    error: float
    freedom: float

    @property
    def lower(self) -> float:
        """The one-sided bound."""
        return self.mean - self._half()

    @property
    def upper(self) -> float:
        """The one-sided bound."""
        return self.mean + self._half()

    @property
    def detectable(self) -> float:
        """The smallest effect that would be told from zero in `POWER` of such studies."""
        return (_quantile(CONFIDENCE, self.freedom) + _quantile(POWER, self.freedom)) * self.error

    def __sub__(self, value: float) -> Estimate:
        return replace(self, mean=self.mean - value)

    def above(self, value: float = 0.0) -> float:
        """The chance of a mean as high as this where the true one is `value` or below."""
        if self.error == 0:
            return float(self.mean <= value)
        t = (self.mean - value) / self.error
        # The functions themselves: those of `scipy.stats` take a hundred times as long.
        if math.isinf(self.freedom):
            return float(special.ndtr(-t))
        return float(special.stdtr(self.freedom, -t))

    def below(self, value: float = 0.0) -> float:
        """The chance of a mean as low as this where the true one is `value` or above."""
        return replace(self, mean=-self.mean).above(-value)

    def _half(self) -> float:
        return _quantile(CONFIDENCE, self.freedom) * self.error


def _quantile(chance: float, freedom: float) -> float:
    if math.isinf(freedom):
        return float(special.ndtri(chance))
    return float(special.stdtrit(freedom, chance))


def mean_of_seeds(
    values: Floats, berts: Sequence[object], *, pooled: bool = False
) -> list[Estimate]:
    """The mean of each line of `values` (L, S), of S seeds, over BERTs and seeds.

    `berts` (S,) says which seed is of which BERT. With two BERTs or more it is their means that
    are sampled, with one its seeds. Of a single seed the error is infinite.

    With `pooled` all lines have one variance, the mean of theirs. Lines share their seeds, so the
    degrees of freedom are fewer than all lines' together (Box, 1954).
    """
    units = _units(np.atleast_2d(values), berts)
    lines, n = units.shape
    means = units.mean(axis=1)
    if n < 2:
        return [Estimate(float(mean), math.inf, 1) for mean in means]
    covariance = np.atleast_2d(np.cov(units))
    variances, freedom = np.diag(covariance), float(n - 1)
    if pooled and lines > 1:
        variances, freedom = np.full(lines, variances.mean()), _pooled_freedom(covariance, n - 1)
    errors = np.sqrt(variances / n)
    return [
        Estimate(float(mean), float(error), freedom)
        for mean, error in zip(means, errors, strict=True)
    ]


def _units(values: Floats, berts: Sequence[object]) -> Floats:
    """The means (L, B) of each BERT's seeds; of one BERT the values themselves."""
    names = sorted(set(berts), key=str)
    if len(names) < 2:
        return values
    member = np.array([[bert == name for bert in berts] for name in names], float)
    means: Floats = values @ (member / member.sum(axis=1, keepdims=True)).T
    return means


def _pooled_freedom(covariance: Floats, freedom: int) -> float:
    """Of the mean of the variances of lines with this sample covariance: `freedom` where they move
    as one, and as many times that as there are lines where each moves for itself (Greenhouse &
    Geisser, 1959, whose estimate errs to the low side)."""
    square = float((covariance**2).sum())
    return freedom * (float(np.trace(covariance)) ** 2 / square if square > 0 else 1.0)


def covariances_of_examples(answers: NDArray[np.bool_] | Floats) -> Floats:
    """The covariances (P, P) that the draw of dev examples gives to P means.

    `answers` (P, S, E) has what each of S seeds adds to each mean on each of E examples. Where
    there are several seeds, what seeds and examples have in common only together is in the seeds'
    spread already, and is taken off.
    """
    places, seeds, examples = answers.shape
    by_example = answers.mean(axis=1)
    covariances = np.atleast_2d(np.cov(by_example)) / examples
    if seeds > 1:
        by_seed = answers.mean(axis=2)
        means = by_seed.mean(axis=1)
        # Of right and wrong, single precision counts exactly.
        flat = answers.reshape(places, -1).astype(np.float32)
        rest = (flat @ flat.T).astype(np.float64)
        rest -= seeds * by_example @ by_example.T + examples * by_seed @ by_seed.T
        rest += seeds * examples * np.outer(means, means)
        freedom = (seeds - 1) * (examples - 1)
        covariances = covariances - rest / freedom / (seeds * examples)
    return covariances


def with_examples(of_seeds: Estimate, variance: float) -> Estimate:
    """The estimate with the variance that dev examples add. Of one seed it is that of examples
    alone: it does not say how seeds differ.

    The distance of the bound is the root of the sum of the squared distances that both would have
    alone (Zou & Donner, 2008), and the degrees of freedom are those that give it. Satterthwaite's
    would be too many where few BERTs happen to lie close together.
    """
    if math.isinf(of_seeds.error):
        return Estimate(of_seeds.mean, math.sqrt(variance), math.inf)
    own, both = of_seeds.error**2, of_seeds.error**2 + variance
    if variance == 0 or both == 0:
        return of_seeds
    alone = _quantile(CONFIDENCE, of_seeds.freedom), _quantile(CONFIDENCE, math.inf)
    distance = math.sqrt((alone[0] ** 2 * own + alone[1] ** 2 * variance) / both)
    freedom = float(special.stdtridf(CONFIDENCE, distance))
    return Estimate(of_seeds.mean, math.sqrt(both), freedom if freedom > 0 else math.inf)


def holm(chances: Sequence[float]) -> list[float]:
    """Chances of several tests, of which any decides, corrected for their number (Holm, 1979)."""
    order = np.argsort(chances)
    corrected = np.asarray(chances, float)[order] * np.arange(len(chances), 0, -1)
    back = np.empty_like(corrected)
    back[order] = np.minimum(np.maximum.accumulate(corrected), 1.0)
    return [float(chance) for chance in back]
