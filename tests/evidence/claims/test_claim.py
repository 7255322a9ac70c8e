"""A finding: the first case that is so decides, unless the sample is too small for any."""

import math

import pytest

from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN, WIDE, Case, finding, of_parts
from bertprune.evidence.statistics import Difference, Sample

D = Difference(0.02, 0.01, 0.03, 3)
CASES: tuple[Case, ...] = (
    (False, FAILS, "no"),
    ([], FAILS, "nothing"),
    (True, HOLDS, "yes"),
    (True, FAILS, "late"),
)


@pytest.mark.parametrize(
    ("lack", "cases", "verdict", "reason"),
    [
        ("", CASES, HOLDS, "yes"),
        ("", CASES[:2], OPEN, WIDE),
        ("too few", CASES, OPEN, "too few"),
    ],
)
def test_the_first_case_decides(
    lack: str, cases: tuple[Case, ...], verdict: str, reason: str
) -> None:
    got = finding(Sample(D, "n = 3", lack), "+2 points", *cases)
    assert (got.verdict, got.reason, got.statistic, got.n) == (
        verdict,
        reason,
        "+2 points",
        "n = 3",
    )
    assert (got.lower, got.upper, got.unit) == (1, 3, "points")


def test_one_value_has_no_bounds() -> None:
    got = finding(Sample(Difference(0.02, -math.inf, math.inf, 1), ""), "", unit="a share", scale=1)
    assert math.isnan(got.lower) and math.isnan(got.upper) and got.unit == "a share"


def test_parts_that_are_not_tested_are_named() -> None:
    assert of_parts([], []) == (HOLDS, "")
    assert of_parts([], ["one", "two"]) == (HOLDS, "not tested: one, two")
    assert of_parts(["three fails"], ["one"]) == (FAILS, "three fails; not tested: one")
