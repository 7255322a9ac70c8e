"""What decides: all parts of a claim, or any that is refuted."""

import math

import pytest

from bertprune.evidence.claims.chance import Estimate
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN, Beside, Part, decide

TOLD, REFUTED, OPEN_PART = (0.01, 0.99), (0.99, 0.001), (0.3, 0.4)
MISSING = (math.nan, math.nan)


@pytest.mark.parametrize(
    ("parts", "verdict", "reason"),
    [
        ([TOLD, TOLD], HOLDS, ""),
        # All have to hold: none is corrected.
        ([(0.049, 1.0)] * 20, HOLDS, ""),
        ([TOLD, OPEN_PART], OPEN, "whether b"),
        ([TOLD, REFUTED], FAILS, "not b"),
        # One of several decides: these are corrected.
        ([(0.9, 0.04), (0.9, 0.9)], OPEN, "whether a; whether b"),
        ([TOLD, MISSING], OPEN, "whether b (not tested: no such rows)"),
        ([REFUTED, MISSING], FAILS, "not a"),
        # What is the same of several is said once.
        ([(0.9, 0.9)] * 3, OPEN, "whether a 0, 2; whether b 1"),
    ],
)
def test_the_verdict(parts: list[tuple[float, float]], verdict: str, reason: str) -> None:
    ends = [str(i) if len(parts) == 3 else "" for i in range(len(parts))]
    named = [
        Part("ab"[i % 2], f"not {'ab'[i % 2]}", *part, ends[i]) for i, part in enumerate(parts)
    ]
    assert decide(named) == (verdict, reason)


def beside(effect: float, stake: float = 1.0, margin: float = 0.2, error: float = 0.05) -> Beside:
    of = (effect, stake, effect - margin, effect + margin)
    return Beside(*(Estimate(mean, error, 20) for mean in of))


@pytest.mark.parametrize(
    ("effect", "none", "no_gain", "gain", "loss"),
    [
        (0.0, HOLDS, HOLDS, FAILS, FAILS),
        (0.2, OPEN, OPEN, HOLDS, FAILS),
        (0.4, FAILS, FAILS, HOLDS, FAILS),
        (-0.4, FAILS, HOLDS, FAILS, HOLDS),
    ],
)
def test_effects_beside_a_margin(
    effect: float, none: str, no_gain: str, gain: str, loss: str
) -> None:
    of = beside(effect)
    got = [decide([part("it", "not it")])[0] for part in (of.none, of.no_gain, of.gain, of.loss)]
    assert got == [none, no_gain, gain, loss]


def test_what_is_not_significant_is_not_none() -> None:
    vague = beside(0.0, error=1.0)
    assert decide([vague.none("it", "")])[0] == OPEN and decide([vague.gain("it", "")])[0] == OPEN


def test_without_a_stake_nothing_is_beyond_a_share_of_it() -> None:
    nothing = beside(0.4, stake=0.0, margin=0.0)
    assert decide([nothing.no_gain("it", "")])[0] == OPEN and math.isnan(nothing.share)
