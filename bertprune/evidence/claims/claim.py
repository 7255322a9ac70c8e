"""What a claim is: the paper's words, the rule that decides on it, and what its test finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bertprune.base.words import SPACE, percent
from bertprune.evidence.statistics import NO_EFFECT, Difference, Sample
from bertprune.protocol import rows
from bertprune.protocol.rows import Rows, where

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"

ROUNDING = 1e-9
"""Sums of printed decimals differ from their bounds in the last bit."""

USUAL_EPOCHS = 3
"""Epochs of fine-tuning in the paper's protocol."""


class Finding(NamedTuple):
    """What a test made of rows. Bounds are NaN where there are none, and in `unit`."""

    statistic: str = "missing"
    n: str = ""
    lower: float = math.nan
    upper: float = math.nan
    unit: str = ""
    verdict: str = OPEN
    reason: str = ""
    """Why it cannot be told, or which part decided; else empty."""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the rule that decides in words, and as a function of rows."""

    key: str
    says: str
    rule: str
    test: Callable[[Rows], Finding]
    stated: str = ""
    """The paper's number as it says it, where its tables do not have it."""


def claim(
    key: str, says: str, rule: str, stated: str = ""
) -> Callable[[Callable[[Rows], Finding]], Claim]:
    """Makes the test below it the claim `key`."""
    return lambda test: Claim(key, says, rule, test, stated)


# What the tests read.


def at_end(found: Rows, **place: object) -> Rows:
    """The last rows of each curve at a place: a split, metric, arm, and what else (see `where`)."""
    return rows.final(where(found, **place))


# What they say.

WIDE = "the bounds leave both open"
UNLEARNED = "no difference anywhere: these models have learned nothing"

POINT = f"{100 * NO_EFFECT:g} point"
SPELLED = {0.1: "tenth", 0.5: "half", 2 / 3: "two thirds", 2: "twice", 3: "three"}
"""Numbers of rules in words."""


def in_percent(share: float) -> str:
    """A share as rules have it: `30 %`."""
    return f"{100 * share:g} %"


def no_rows(what: str) -> Finding:
    return Finding(reason=f"no rows of {what}")


Case = tuple[object, str, str]
"""What may be so, the verdict where it is, and the reason."""


def finding(
    of: Sample, statistic: str, *cases: Case, unit: str = "points", scale: float = 100
) -> Finding:
    """The finding of a sample, its bounds in units of 1 / `scale`. The first of `cases` that is so
    decides; where none is, the bounds leave it open, and too small a sample does in any case."""
    every = ((of.lack, OPEN, of.lack), *cases, (True, OPEN, WIDE))
    verdict, reason = next((verdict, reason) for is_so, verdict, reason in every if is_so)
    d = of.difference
    # One value alone has none.
    bounds = (scale * d.lower, scale * d.upper) if math.isfinite(d.lower) else (math.nan, math.nan)
    return Finding(statistic, of.n, *bounds, unit, verdict, reason)


def of_parts(failed: Sequence[str], untested: Sequence[str]) -> tuple[str, str]:
    """Verdict and reason of a claim in parts, of which all have to hold that rows can test."""
    lacking = ["not tested: " + ", ".join(untested)] if untested else []
    return FAILS if failed else HOLDS, "; ".join([*failed, *lacking])


def points(d: Difference) -> str:
    """In points of accuracy, with the bounds that there are."""
    if math.isnan(d.mean):
        return "missing"
    bounds = f" [{100 * d.lower:+.2f}, {100 * d.upper:+.2f}]" if math.isfinite(d.lower) else ""
    return f"{100 * d.mean:+.2f}{bounds} points"


def levels(sparsities: Iterable[float]) -> str:
    """`30 %, 50 %`."""
    return ", ".join(percent(at) for at in sorted(sparsities))


def parts_at_levels(parts: Mapping[str, Sequence[float]]) -> str:
    """What is the case, and at which sparsities."""
    return "; ".join(f"{what} at {levels(at)}" for what, at in parts.items() if at)


def of_all(share: float, sign: str = "") -> str:
    """A share as findings have it; with the `sign` "+" a change."""
    return "missing" if math.isnan(share) else f"{100 * share:{sign}.1f}{SPACE}%"
