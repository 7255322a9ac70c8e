"""What a claim is: the paper's words, the rule that decides on it, and what its test finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bertprune.base.words import SPACE, percent
from bertprune.evidence.statistics import NO_EFFECT, Cells, Difference, Sample, beyond, sample
from bertprune.protocol import rows
from bertprune.protocol.rows import Rows, where

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"

ROUNDING = 1e-9
"""Sums of printed decimals differ from their bounds in the last bit."""

USUAL_EPOCHS = 3
"""Epochs of fine-tuning in the paper's protocol."""


@dataclass(frozen=True)
class Finding:
    """What a test made of rows."""

    verdict: str
    statistic: str = "missing"
    n: str = ""
    lower: float = math.nan
    upper: float = math.nan
    unit: str = ""
    reason: str = ""


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


def is_told_beyond(gains: Cells, control: Cells, margin: float = 0.0) -> bool:
    """Whether a gain of more than `margin` is told, and beyond what the arm's epochs gain alone. It
    is not where only a part of the cells has a control."""
    left = gains if control.empty else beyond(gains, control).dropna()
    told = [sample(cells).difference.lower > margin for cells in (gains, left)]
    return all(told) and len(left) == len(gains)


# What they say.

WIDE = "the bounds leave both open"
UNLEARNED = "no difference anywhere: these models have learned nothing"
EPOCHS_ALONE = "not told from what the arm's epochs gain alone"

POINT = f"{100 * NO_EFFECT:g} point"
UNLESS_ALONE = (
    " A gain counts where it is told beyond what the arm's epochs gain, of the same task and seed,"
    " with nothing pruned."
)
SPELLED = {0.1: "tenth", 0.5: "half", 2 / 3: "two thirds", 2: "twice", 3: "three"}
"""Numbers of rules in words."""


def in_percent(share: float) -> str:
    """A share as rules have it: `30 %`."""
    return f"{100 * share:g} %"


def no_rows(what: str) -> Finding:
    return Finding(OPEN, reason=f"no rows of {what}")


def finding(of: Sample, statistic: str, verdict: str, reason: str = "") -> Finding:
    """With the bounds of a difference in accuracy, in points; too small a sample overrules."""
    if of.lack:
        verdict, reason = OPEN, of.lack
    d = of.difference
    if verdict == OPEN:
        reason = reason or WIDE
    return Finding(verdict, statistic, of.n, 100 * d.lower, 100 * d.upper, "points", reason)


def points(d: Difference) -> str:
    """In points of accuracy, with the bounds that there are."""
    if math.isnan(d.mean):
        return "missing"
    bounds = f" [{100 * d.lower:+.2f}, {100 * d.upper:+.2f}]" if math.isfinite(d.lower) else ""
    return f"{100 * d.mean:+.2f}{bounds} points"


def alone(gains: Cells, control: Cells) -> str:
    """The control in words, and what is gained beyond it."""
    if control.empty:
        return ""
    by_itself, more = (
        points(sample(of).difference) for of in (control, beyond(gains, control).dropna())
    )
    return f"; its epochs alone, nothing pruned, {by_itself}; beyond that {more}"


def levels(sparsities: Iterable[float]) -> str:
    """`30 %, 50 %`."""
    return ", ".join(percent(at) for at in sorted(sparsities))


def parts_at_levels(parts: Mapping[str, Sequence[float]]) -> str:
    """What is the case, and at which sparsities."""
    return "; ".join(f"{what} at {levels(at)}" for what, at in parts.items() if at)


def of_all(share: float) -> str:
    """A share as findings have it."""
    return "missing" if math.isnan(share) else f"{100 * share:.1f}{SPACE}%"
