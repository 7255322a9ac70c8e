"""Where the regimes of pruning begin and end: boundaries found by confidence intervals.

The paper (section 4) reads three of them off its curves: a low range in which pruning costs
nothing, a middle in which deleting information explains the loss, so that taking the masks off
does not help, and a high range in which it does. Here a boundary is a sparsity at which a mean
difference is detected by Student's t over seeds, one-sided at 95 %. What is paired is a
seed's mean over its tasks, since these start from one pruned model and are not independent.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import pandas as pd

from bertprune.base.words import NOTHING, listed, percent, signed
from bertprune.evidence import scores
from bertprune.evidence.claims.ranges import PART
from bertprune.evidence.regimes.statistics import (
    Cells,
    Difference,
    Differences,
    beyond,
    by_sparsity,
    mean_difference,
    paired,
    shared_by_seeds,
)
from bertprune.evidence.scores import AVERAGE, pretraining_losses, without_own
from bertprune.protocol.arms import INFORMATION_DELETION, PRUNE_PRETRAIN, RANDOM_PRUNING
from bertprune.protocol.rows import Rows, where


def against(
    scored: pd.DataFrame,
    arm: str,
    other: str = PRUNE_PRETRAIN,
    *,
    dense: bool = False,
    beyond_epochs: bool = False,
) -> Differences:
    """By sparsity, how much more accurate `arm` is than `other`: the mean over the tasks that both
    have of all seeds, by seed. With `dense` the other is its dense model, at sparsity 0. Accuracies
    are shares. At sparsity 0, where nothing is pruned, it is what the arm's epochs gain by
    themselves; with `beyond_epochs` that is taken off, of the same task and seed, at the sparsities
    where it is known of all of them. What a reader has added does not count.
    """
    cells = paired(without_own(scored[scored.task != AVERAGE]), arm, other, dense=dense)
    pruned = cells[cells.sparsity > 0]
    if dense:
        return _by_seed(pruned)
    if beyond_epochs:
        cells = beyond(pruned, cells[cells.sparsity == 0])
        cells = cells[cells.value.notna().groupby(cells.sparsity).transform("all")]
    return _by_seed(cells)


def loss_increase(losses: pd.DataFrame) -> Differences:
    """By sparsity, how much higher the pre-training dev loss is than the dense model's (nats),
    paired by seed."""
    cells = paired(without_own(losses), PRUNE_PRETRAIN, dense=True, of="loss")
    return _by_seed(cells[cells.sparsity > 0])


def _by_seed(cells: Cells) -> Differences:
    """By sparsity, the mean of the seeds' means over what all seeds have there."""
    shared = ((at, shared_by_seeds(of)) for at, of in by_sparsity(cells))
    return {
        at: mean_difference(of.groupby("seed").value.mean()) for at, of in shared if not of.empty
    }


# What is said where there are such sparsities, where there are none, and where it is undecided.
_LOW = (
    "no loss of accuracy is detected up to {}.",
    "none, accuracy falls at the lowest sparsity.",
    "where accuracy begins to fall is undecided.",
)
_LOSS = (
    "No rise of the pre-training loss is detected up to {}.",
    "The pre-training loss rises at the lowest sparsity.",
    "Nor can it be told where the pre-training loss begins to rise.",
)
_MIDDLE = (
    "at {} accuracy is lost and taking the masks off changes less than a quarter of that.",
    "at no sparsity is it told that accuracy is lost and taking the masks off changes less than a "
    "quarter of that.",
    "what taking the masks off does is undecided.",
)
_HIGH = (
    "taking the masks off helps at {}{alone}.",
    "none, no gain of taking the masks off is detected at any sparsity{alone}.",
    "nor where that begins to help.",
)
_RANDOM = (
    "is worse than magnitude pruning at {}.",
    "is nowhere worse than magnitude pruning, as far as can be told.",
    "cannot be compared.",
)


@dataclass(frozen=True)
class Regimes:
    """The differences that the three ranges are told by; each may be empty for want of runs."""

    fall: Differences
    """Accuracy, pruned minus dense."""
    rise: Differences
    """Pre-training dev loss, pruned minus dense."""
    gain: Differences
    """Accuracy, masks off minus masks held."""
    beyond: Differences
    """The same less what is gained at sparsity 0, where nothing is pruned, if that is known."""
    random: Differences
    """Accuracy, pruned at random minus by magnitude."""

    @property
    def low_until(self) -> float | None:
        """Highest sparsity up to which no loss of accuracy is detected."""
        return _last_before(self.fall, lambda d: d.is_loss)

    @property
    def loss_low_until(self) -> float | None:
        """Highest sparsity up to which no rise of the pre-training loss is detected."""
        return _last_before(self.rise, lambda d: d.is_gain)

    @property
    def middle(self) -> tuple[float, ...]:
        """Sparsities with a loss of accuracy that taking the masks off changes by less than a
        quarter of it, by both bounds."""
        lost = [at for at, d in self.fall.items() if d.is_loss and at in self.gain]
        return tuple(at for at in lost if self.gain[at].is_within(-PART * self.fall[at].mean))

    @property
    def helped(self) -> tuple[float, ...]:
        """Sparsities at which taking the masks off helps, beyond what its epochs gain where nothing
        is pruned."""
        parts = [self.gain, self.beyond] if 0.0 in self.gain else [self.gain]
        told = [at for at in self.gain if all(at in of and of[at].is_gain for of in parts)]
        return tuple(at for at in told if at > 0)

    @property
    def random_worse(self) -> tuple[float, ...]:
        """Sparsities at which random pruning is worse than magnitude pruning."""
        return tuple(at for at, d in self.random.items() if d.is_loss)

    def table(self) -> pd.DataFrame:
        """All differences by sparsity, in points of accuracy and nats of loss."""
        columns = {
            "accuracy, pruned − dense": (self.fall, 100),
            "loss, pruned − dense (nats)": (self.rise, 1),
            "masks off − masks held": (self.gain, 100),
            "beyond its epochs": (self.beyond, 100),
            "random − magnitude": (self.random, 100),
        }
        cells = {
            name: {at: _cell(one, scale) for at, one in of.items()}
            for name, (of, scale) in columns.items()
        }
        shown = pd.DataFrame(cells, dtype=object).sort_index().fillna(NOTHING)
        return shown.rename(index=percent).rename_axis("sparsity")

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html.escape(line)}</p>" for line in self.in_words())

    def in_words(self) -> list[str]:
        """A sentence or two for each range, and for random pruning."""
        low = _told(self.fall, self.low_until, *_LOW)
        loss = _told(self.rise, self.loss_low_until, *_LOSS)
        middle = _told(self.gain, self.middle, *_MIDDLE)
        alone = ", beyond what its epochs gain alone" if 0.0 in self.gain else ""
        high = _told(self.gain, self.helped, *_HIGH, alone=alone)
        return [
            f"Low range: {low} {loss}",
            f"Middle: {middle}",
            f"High range: {high}",
            f"Random pruning {_told(self.random, self.random_worse, *_RANDOM)}",
        ]


def regimes(scored: pd.DataFrame, losses: pd.DataFrame) -> Regimes:
    """The regimes of a study; of `scores.scores` and `scores.pretraining_losses`."""
    return Regimes(
        fall=against(scored, PRUNE_PRETRAIN, dense=True),
        rise=loss_increase(losses),
        gain=against(scored, INFORMATION_DELETION),
        beyond=against(scored, INFORMATION_DELETION, beyond_epochs=True),
        random=against(scored, RANDOM_PRUNING),
    )


def compared(studies: Mapping[str, Rows]) -> pd.DataFrame:
    """The dense model and the boundaries of several studies, a line each."""
    lines = {}
    for name, found in studies.items():
        scored = scores.scores(found)
        dense = where(scored, arm=PRUNE_PRETRAIN, sparsity=0)
        known = where(scores.bits(found), arm=PRUNE_PRETRAIN, sparsity=0, sort="all")
        here = regimes(scored, pretraining_losses(found))
        lines[name] = {
            "bits recalled, dense": f"{known.bits.mean():,.0f}",
            "accuracy, dense (%)": f"{100 * dense[dense.task != AVERAGE].accuracy.mean():.1f}",
            "no loss of accuracy up to": _told(here.fall, here.low_until),
            "no rise of loss up to": _told(here.rise, here.loss_low_until),
            "masks off helps at": _told(here.gain, here.helped),
            "random worse at": _told(here.random, here.random_worse),
            "seeds": scored.seed.nunique(),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("study")


def _cell(difference: Difference, scale: float) -> str:
    """Mean, one-sided 95 % bounds where there are several seeds, and how many there are."""
    mean, *bounds = (
        signed(scale * of, 2) for of in (difference.mean, difference.lower, difference.upper)
    )
    shown = f"{mean} [{', '.join(bounds)}]" if difference.seeds > 1 else mean
    return f"{shown} ({difference.seeds})"


def _told(
    differences: Differences,
    boundaries: float | Sequence[float] | None,
    some: str = "{}",
    none: str = NOTHING,
    unknown: str = "undecided",
    **more: str,
) -> str:
    """`some` with the boundaries that `differences` have, or `none`, and what `more` there is to
    say; `unknown` where nothing can be told, for want of two seeds."""
    if min((d.seeds for d in differences.values()), default=0) < 2:
        return unknown
    several = [boundaries] if isinstance(boundaries, float) else boundaries
    at = listed(map(percent, several or ()))
    return (some if several else none).format(at, **more)


def _last_before(differences: Differences, test: Callable[[Difference], bool]) -> float | None:
    """The highest sparsity before the first one at which `test` is true."""
    before = [*takewhile(lambda at: not test(differences[at]), differences)]
    return before[-1] if before else None
