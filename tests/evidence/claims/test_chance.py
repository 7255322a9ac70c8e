"""Means with their uncertainty: against scipy, and by how often bounds cover what is true."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from bertprune.evidence.claims.chance import (
    Estimate,
    Floats,
    covariances_of_examples,
    holm,
    mean_of_seeds,
    with_examples,
)
from bertprune.evidence.claims.claim import FAILS, HOLDS, Part, decide

REPLICATES = 2000
ALLOWED = 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPLICATES)
"""Misses of a one-sided bound at 95 %, with three standard errors of the simulation."""
FOUR_BERTS = [seed % 4 for seed in range(16)]


def test_seeds_of_one_bert_are_students() -> None:
    values = np.array([0.1, -0.2, 0.4, 0.3])
    (found,) = mean_of_seeds(values[None], [""] * 4)
    low, high = stats.t.interval(0.9, 3, loc=values.mean(), scale=stats.sem(values))
    assert (found.lower, found.upper) == pytest.approx((low, high))
    test = stats.ttest_1samp(values, 0.2, alternative="less")
    assert found.below(0.2) == pytest.approx(float(test.pvalue))
    assert found.above(0.2) == pytest.approx(1 - float(test.pvalue))


def test_where_there_are_several_berts_their_means_are_students() -> None:
    values = np.random.default_rng(0).normal(size=16)
    means = [values[np.array(FOUR_BERTS) == bert].mean() for bert in range(4)]
    (found,) = mean_of_seeds(values[None], FOUR_BERTS)
    low, high = stats.t.interval(0.9, 3, loc=np.mean(means), scale=stats.sem(means))
    assert (found.lower, found.upper) == pytest.approx((low, high))


def test_one_seed_tells_nothing_of_seeds() -> None:
    (found,) = mean_of_seeds(np.array([[-0.5]]), [""])
    assert (found.lower, found.upper) == (-math.inf, math.inf)
    of_examples = with_examples(found, 0.04)
    assert of_examples.error == pytest.approx(0.2) and math.isinf(of_examples.freedom)


def test_what_is_exact_is_told() -> None:
    exact = Estimate(0.02, 0.0, 3)
    assert (exact.lower, exact.upper) == (0.02, 0.02)
    assert (exact.above(), exact.below(), exact.above(0.03)) == (0, 1, 1)


def test_what_is_detectable_is_told_in_four_of_five_studies() -> None:
    found = Estimate(0.0, 0.5, 15)
    noncentral = stats.nct.sf(stats.t.ppf(0.95, 15), 15, found.detectable / 0.5)
    assert float(noncentral) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("of_berts", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("common", [0.0, 0.7])
def test_pooled_bounds_cover(of_berts: float, common: float) -> None:
    """Three lines of 16 seeds on 4 BERTs: whatever BERTs and lines have in common."""
    generator = np.random.default_rng(1)
    misses = np.zeros(3)
    for _ in range(REPLICATES):
        noise = (
            generator.normal(size=(3, 16)) + of_berts * generator.normal(size=(3, 4))[:, FOUR_BERTS]
        )
        shared = generator.normal(size=16) + of_berts * generator.normal(size=4)[FOUR_BERTS]
        values = math.sqrt(1 - common) * noise + math.sqrt(common) * shared
        misses += [one.upper < 0 for one in mean_of_seeds(values, FOUR_BERTS, pooled=True)]
    assert (misses / REPLICATES < ALLOWED).all()


def test_pooling_tells_more() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=(200, 3, 16))
    halves = [
        [
            np.mean([one.upper - one.mean for one in mean_of_seeds(of, FOUR_BERTS, pooled=pooled)])
            for of in values
        ]
        for pooled in (False, True)
    ]
    assert np.mean(halves[1]) < 0.95 * np.mean(halves[0])


def variance_of(answers: Floats) -> float:
    """That the draw of examples gives to the mean of answers (S, E)."""
    return float(covariances_of_examples(answers[None])[0, 0])


@pytest.mark.parametrize("of_examples", [0.0, 0.5])
@pytest.mark.parametrize("of_seeds", [0.0, 0.02])
@pytest.mark.parametrize("berts", [1, 4])
def test_bounds_cover_other_seeds_and_other_examples(
    of_examples: float, of_seeds: float, berts: int
) -> None:
    """Two tasks, 8 seeds, 60 examples: a difference of right answers whose true mean is 0. BERTs
    differ as seeds do, and in which examples they get right."""
    generator, bert_of = np.random.default_rng(3), np.arange(8) % berts
    misses = 0
    for _ in range(REPLICATES // 2):
        tasks = [
            generator.normal(size=(8, 60))
            + of_examples * generator.normal(size=60)
            + of_seeds * math.sqrt(60) * generator.normal(size=(8, 1))
            + of_seeds * math.sqrt(60) * generator.normal(size=(berts, 1))[bert_of] * (berts > 1)
            + of_examples * generator.normal(size=(berts, 60))[bert_of] * (berts > 1)
            for _ in range(2)
        ]
        values = sum(task.mean(axis=1) for task in tasks)[None]
        (of,) = mean_of_seeds(values, bert_of.tolist())
        misses += with_examples(of, sum(max(variance_of(task), 0) for task in tasks)).upper < 0
    assert misses / (REPLICATES // 2) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPLICATES * 2)


def test_the_variance_of_examples_is_that_of_their_means_for_many_seeds() -> None:
    generator = np.random.default_rng(4)
    common = generator.normal(size=200)
    answers = common + 3 * generator.normal(size=(50, 200))
    assert variance_of(answers) == pytest.approx(common.var() / 200, rel=0.5)
    assert variance_of(common[None]) == pytest.approx(common.var(ddof=1) / 200)


@pytest.mark.parametrize("common", [0.0, 0.9])
def test_one_of_many_parts_refutes_no_more_often_than_one_alone(common: float) -> None:
    """Ten parts, just at their margin, of 16 seeds on 8 BERTs that differ as seeds do."""
    generator = np.random.default_rng(5)
    berts = [seed % 8 for seed in range(16)]
    verdicts = Counter[str]()
    for _ in range(REPLICATES):
        own, shared = (
            generator.normal(size=(n, 16)) + generator.normal(size=(n, 8))[:, berts]
            for n in (10, 1)
        )
        values = math.sqrt(1 - common) * own + math.sqrt(common) * shared
        found = mean_of_seeds(values, berts)
        parts = [Part(str(i), "", one.below(), one.above()) for i, one in enumerate(found)]
        verdicts[decide(parts)[0]] += 1
    assert verdicts[FAILS] / REPLICATES < ALLOWED and verdicts[HOLDS] / REPLICATES < ALLOWED
    assert verdicts[FAILS] / REPLICATES > 0.01  # corrected, and not more than needed


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
