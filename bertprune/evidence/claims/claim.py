"""What a claim is: the paper's words, the rule that decides on it, and what its test finds.

A claim is made of parts, and each part of what would bear it out and what would refute it. Both
are one-sided tests at 5 %. A claim **holds** where every part is borne out: all must pass, so that
none is corrected (intersection-union; Berger, 1982). It is **refuted** where any part is: one of
several decides, so that these are corrected for their number (Holm, 1979). Else it is
**undecided**. That there is no effect is never concluded from an effect that is not significant:
both bounds, or the one that the claim is about, have to lie inside a margin. Where rows do not
have what a claim is about it is **not tested**.

Margins are shares of what is at stake (see `Beside`), whose own uncertainty counts with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from bertprune.base.words import SPACE, percent, signed
from bertprune.evidence.answers import Answers
from bertprune.evidence.claims.chance import CONFIDENCE, Estimate, holm
from bertprune.evidence.claims.measured import (
    Contrast,
    Measured,
    Points,
    Seeds,
    estimates,
)
from bertprune.protocol import rows
from bertprune.protocol.rows import Rows, where

HOLDS, FAILS, OPEN = "holds", "refuted", "undecided"
UNTESTED = "not tested"
"""For want of rows, or since the model is not of a shape that the claim is about."""

SIGNS = {FAILS: "✗", HOLDS: "✓", OPEN: "?", UNTESTED: "–"}
"""What turns the paper's reading around comes first."""

LEVEL = round(1 - CONFIDENCE, 10)
"""At which a part is borne out or refuted."""

ROUNDING = 1e-9
"""Sums of printed decimals differ from their bounds in the last bit."""

USUAL_EPOCHS = 3
"""Epochs of fine-tuning in the paper's protocol."""

NO_EFFECT = 0.05
"""The share of what pre-training is worth, in accuracy or in loss, up to which a change counts as
none. In the paper's table 1 pruning to 30 and 40 %, which it says has no effect, costs 0.3 and
2.3 % of it in accuracy and 0.7 and 2.0 % in loss; pruning to 60 %, which it says has one, costs 7.5
and 7.7 %. (There it is the distance to the model that was pruned at random to 90 %.)"""


class Finding(NamedTuple):
    """What a test made of rows. Bounds are NaN where there are none, and in `unit`."""

    statistic: str = "not measured"
    n: str = ""
    lower: float = math.nan
    upper: float = math.nan
    unit: str = ""
    verdict: str = UNTESTED
    reason: str = ""
    """Why it cannot be told, or which part decided; else empty."""
    says: str = ""
    """What was found, in a sentence."""
    detectable: float = math.nan
    """The smallest effect that is detected with 80 % power, in `unit`."""
    mean: float = math.nan
    """The effect that the bounds are of, in `unit`."""
    margin: float = math.nan
    """Up to which size, in `unit`, an effect counts as none or as little."""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the rule that decides in words, and as a function of rows."""

    key: str
    says: str
    rule: str
    of: Callable[[Measured], Finding]
    """What is found in what a study measured."""
    stated: str = ""
    """The paper's number as it says it, where its tables do not have it."""

    def test(
        self,
        found: Rows,
        facts: pd.DataFrame | None = None,
        answers: Mapping[str, Answers | None] | None = None,
    ) -> Finding:
        """What is found in rows; `facts` of tasks and `answers` as `Measured.of` has them."""
        return self.of(Measured.of(found, facts, answers))


def claim(
    key: str, says: str, rule: str, stated: str = ""
) -> Callable[[Callable[[Measured], Finding]], Claim]:
    """Makes the test below it the claim `key`."""
    return lambda test: Claim(key, says, rule, test, stated)


# What decides.


class Part(NamedTuple):
    """A part of a claim, with the chance of what was found if it were not so, `supports`, and if it
    were, `refutes`: of small chances the one bears it out, the other speaks against it. NaN where
    rows do not have it."""

    says: str
    contrary: str
    """What is found where it is refuted. Both are clauses that `where` ends."""
    supports: float
    refutes: float
    where: str = ""
    """A sparsity, a task: parts that say the same are named together."""
    lacks: str = "such rows"
    """What is not there where they are NaN."""


def than(says: str) -> tuple[str, str]:
    """A part that something is less, and its contrary, that it is more."""
    return says.format("less"), says.format("more")


def decide(parts: Sequence[Part]) -> tuple[str, str]:
    """The verdict on a claim that is made of `parts`, and the reason: what was found instead, what
    is not told, or which rows are missing."""
    tested = [part for part in parts if not math.isnan(part.supports)]
    missing = [part for part in parts if math.isnan(part.supports)]
    # An effect that is told is there, if it is smaller than the margin or not.
    corrected = holm([1.0 if part.supports <= LEVEL else part.refutes for part in tested])
    refuted = [part for part, p in zip(tested, corrected, strict=True) if p <= LEVEL]
    untold = [part for part in tested if not part.supports <= LEVEL]
    if tested and not untold and not missing:
        return HOLDS, ""
    if refuted:
        return FAILS, "; ".join(_together((part.contrary, part.where) for part in refuted))
    lacks = dict.fromkeys(part.lacks for part in missing)
    said = _together((f"whether {part.says}", part.where) for part in untold)
    said += [
        f"{clause} (not tested: no {lack})"
        for lack in lacks
        for clause in _together(
            (f"whether {part.says}", part.where) for part in missing if part.lacks == lack
        )
    ]
    return OPEN, "; ".join(said)


def _together(clauses: Iterable[tuple[str, str]]) -> list[str]:
    """Those that begin alike as one: `accuracy is lower at 10 %, 20 %`."""
    ends: dict[str, list[str]] = {}
    for clause, end in clauses:
        ends.setdefault(clause, []).append(end)
    return [f"{clause} {', '.join(dict.fromkeys(of))}".rstrip() for clause, of in ends.items()]


@dataclass(frozen=True)
class Beside:
    """An effect beside what is at stake, a share of which is its margin.

    Whether it is beyond the margin is asked of effect ± margin in one (Fieller, 1954), so that the
    uncertainty of the stake is in it.
    """

    effect: Estimate
    stake: Estimate
    less: Estimate
    """Effect − margin."""
    more: Estimate
    """Effect + margin."""

    @property
    def margin(self) -> float:
        """The mean margin; NaN where the stake is not detected."""
        return (self.more.mean - self.effect.mean) if self.stake.above() <= LEVEL else math.nan

    @property
    def share(self) -> float:
        """The effect as a share of the stake; NaN where that is not told from zero."""
        return self.effect.mean / self.stake.mean if self.stake.above() <= LEVEL else math.nan

    def no_gain(self, says: str, contrary: str, where: str = "") -> Part:
        """That the effect is no gain beyond the margin."""
        refutes = max(self.less.above(), self.stake.above())
        return Part(says, contrary, self.less.below(), refutes, where)

    def no_loss(self, says: str, contrary: str, where: str = "") -> Part:
        """That the effect is no loss beyond the margin."""
        refutes = max(self.more.below(), self.stake.above())
        return Part(says, contrary, self.more.above(), refutes, where)

    def none(self, says: str, contrary: str, where: str = "") -> Part:
        """That the effect is inside the margin: equivalence, by two one-sided tests."""
        gain, loss = self.no_gain(says, contrary), self.no_loss(says, contrary)
        supports, refutes = max(gain.supports, loss.supports), min(gain.refutes, loss.refutes)
        return Part(says, contrary, supports, refutes, where)

    def gain(self, says: str, contrary: str, where: str = "") -> Part:
        """That the effect is a gain; what is told to be below the margin is none."""
        return Part(says, contrary, self.effect.above(), self.less.below(), where)

    def loss(self, says: str, contrary: str, where: str = "") -> Part:
        """That the effect is a loss; what is told to be above the margin is none."""
        return Part(says, contrary, self.effect.below(), self.more.above(), where)


def beside(
    effects: Sequence[Contrast], stakes: Sequence[Contrast], share: float, *, pooled: bool = False
) -> list[Beside]:
    """Each effect beside its stake, of which `share` is the margin; `pooled` as `estimates`."""
    margins = [stake * share for stake in stakes]
    found = (
        estimates(of, pooled=pooled)
        for of in (
            effects,
            stakes,
            [e - m for e, m in zip(effects, margins, strict=True)],
            [e + m for e, m in zip(effects, margins, strict=True)],
        )
    )
    return [Beside(*of) for of in zip(*found, strict=True)]


# What the tests read.


def at_end(found: Rows, **place: object) -> Rows:
    """The last rows of each curve at a place: a split, metric, arm, and what else (see `where`)."""
    return rows.final(where(found, **place))


# What they say.

SPELLED = {
    0.05: "twentieth",
    0.1: "tenth",
    0.125: "eighth",
    0.25: "quarter",
    0.5: "half",
    2 / 3: "two thirds",
    2: "twice",
    3: "three",
}
"""Numbers of rules in words."""


def in_percent(share: float) -> str:
    """A share as rules have it: `30 %`."""
    return f"{100 * share:g} %"


def no_rows(what: str) -> Finding:
    return Finding(reason=f"no rows of {what}", verdict=UNTESTED)


def points(d: Estimate, scale: float = 100, unit: str = " points", sign: str = "+") -> str:
    """In points of accuracy, or in units of 1 / `scale`, with the bounds that there are."""
    if math.isnan(d.mean):
        return "not measured"
    if d.error == 0 or not math.isfinite(d.error):
        return _number(scale * d.mean, 2, sign) + unit
    lower, upper = scale * d.lower, scale * d.upper
    # More digits where both bounds would else read the same.
    digits = next((n for n in range(2, 6) if signed(lower, n) != signed(upper, n)), 6)
    mean, *bounds = (_number(one, digits, sign) for one in (scale * d.mean, lower, upper))
    return f"{mean} [{f',{SPACE}'.join(bounds)}]{unit}"


def _number(value: float, digits: int, sign: str = "+") -> str:
    """As `signed`, without a plus where `sign` is "". What rounds to zero is zero."""
    said = signed(round(value, digits) + 0.0, digits)
    return said if sign else said.removeprefix("+")


def size(d: Estimate) -> str:
    """How big an effect is, in points, without its sign."""
    return f"{100 * abs(d.mean):.1f} points"


def levels(sparsities: Iterable[float]) -> str:
    """`30 %, 50 %`."""
    return ", ".join(percent(at) for at in sorted(sparsities))


def of_all(share: float, sign: str = "") -> str:
    """A share as findings have it; with the `sign` "+" a change."""
    return f"{_number(100 * share, 1, sign)}{SPACE}%"


def beside_transfer(stake: Estimate) -> str:
    """A sentence after one about an effect: how large the transfer is beside it."""
    if stake.above() > LEVEL:
        return "No transfer is detected."
    return f"The transfer is {size(stake)}."


def bounds_of(d: Estimate, scale: float = 100) -> tuple[float, float]:
    """Both bounds in units of 1 / `scale`; NaN where there are none."""
    if not math.isfinite(d.error):
        return math.nan, math.nan
    return scale * d.lower, scale * d.upper


def decided(
    parts: Sequence[Part],
    *,
    says: str,
    statistic: str,
    at: Points | Seeds,
    of: Estimate,
    margin: float,
    lack: str = "",
    stake: str = "transfer",
    unit: str = "points",
    scale: float = 100,
) -> Finding:
    """The finding on a claim that is made of `parts`, tested over what `at` says; its bounds are
    those of the estimate `of`, in units of 1 / `scale`, which is beside a `margin` as
    `Finding.margin` has it, not scaled yet, a share of the `stake`. What there is a `lack` of
    leaves it open.
    """
    verdict, reason = (OPEN, lack) if lack else decide(parts)
    has_no_margin = verdict == OPEN and not lack and math.isnan(margin)
    reasons = [
        reason,
        f"without a detected {stake} there is no margin" if has_no_margin else "",
        at.one_training if verdict != OPEN else "",
    ]
    return Finding(
        statistic,
        at.n,
        *bounds_of(of, scale),
        unit,
        verdict,
        "; ".join(each for each in reasons if each),
        says,
        scale * of.detectable,
        scale * of.mean,
        scale * margin,
    )
