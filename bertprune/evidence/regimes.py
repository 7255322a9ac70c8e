"""Where the regimes of pruning begin and end: boundaries found by confidence intervals.

The paper (section 4) reads three of them off its curves: a low range in which pruning costs
nothing, a middle in which deleting information explains the loss, so that taking the masks off
does not help, and a high range in which it does. Here a boundary is a sparsity at which a mean
difference is told from zero by Student's t over seeds, one-sided at 95 %. What is paired is a
seed's mean over its tasks, since these start from one pruned model and are not independent.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from bertprune.base.words import percent
from bertprune.evidence import results
from bertprune.evidence.claims.run_checks import NO_EFFECT
from bertprune.evidence.results import AVERAGE, pretraining_losses
from bertprune.protocol.arms import INFORMATION_DELETION, PRUNE_PRETRAIN, RANDOM_PRUNING
from bertprune.protocol.rows import Rows

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean paired difference with its one-sided bounds."""

    mean: float
    lower: float
    upper: float
    seeds: int

    @property
    def is_loss(self) -> bool:
        return self.upper < 0

    @property
    def is_gain(self) -> bool:
        return self.lower > 0


Differences = dict[float, Difference]
"""By sparsity, ascending."""


def mean_difference(differences: pd.Series) -> Difference:
    """The mean of the seeds' differences with its two one-sided bounds at 95 % (Student's t).

    With fewer than two seeds the bounds are infinite: nothing is told from zero.
    """
    seeds, mean = len(differences), float(differences.mean())
    if seeds < 2:
        return Difference(mean, -math.inf, math.inf, seeds)
    half = float(differences.std()) / math.sqrt(seeds) * float(stats.t.ppf(CONFIDENCE, seeds - 1))
    return Difference(mean, mean - half, mean + half, seeds)


def against(
    scores: pd.DataFrame, arm: str, other: str, *, dense: bool = False, beyond: bool = False
) -> Differences:
    """By sparsity, how much more accurate `arm` is than `other`: the mean over the tasks that both
    have of all seeds, by seed. With `dense` the other is its dense model, at sparsity 0. Accuracies
    are shares. At sparsity 0, where nothing is pruned, it is what the arm's epochs gain by
    themselves; with `beyond` that is taken off, of the same task and seed, at the sparsities where
    it is known of all of them. What a reader has added does not count.
    """
    single = _of_study(scores[scores.task != AVERAGE])
    one = single[(single.arm == arm) & ((single.sparsity > 0) | (arm != other))]
    two = single[single.arm == other]
    two = two[two.sparsity == 0].drop(columns="sparsity") if dense else two
    on = ["task", "seed"] if dense else ["task", "seed", "sparsity"]
    paired = one.merge(two, on=on, suffixes=("", "_other"))
    paired["difference"] = paired.accuracy - paired.accuracy_other
    if beyond:
        alone = paired[paired.sparsity == 0][["task", "seed", "difference"]]
        paired = paired[paired.sparsity > 0].merge(
            alone, on=["task", "seed"], suffixes=("", "_0"), how="left"
        )
        paired["difference"] -= paired.pop("difference_0")
        cells = paired.groupby("sparsity").difference
        paired = paired[cells.transform("count") == cells.transform("size")]
    having = paired.groupby(["sparsity", "task"]).seed.transform("nunique")
    paired = paired[having == paired.groupby("sparsity").seed.transform("nunique")]
    by_seed = paired.groupby(["sparsity", "seed"], as_index=False).difference.mean()
    return _by_sparsity(by_seed.difference, by_seed.sparsity)


def loss_increase(losses: pd.DataFrame) -> Differences:
    """By sparsity, how much higher the pre-training dev loss is than the dense model's (nats),
    paired by seed."""
    ours = _of_study(losses[losses.arm == PRUNE_PRETRAIN])
    dense = ours[ours.sparsity == 0].set_index("seed").loss
    pruned = ours[(ours.sparsity > 0) & ours.seed.isin(dense.index)]
    increase = pruned.loss - pruned.seed.map(dense)
    return _by_sparsity(increase, pruned.sparsity)


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
        """Highest sparsity up to which no loss of accuracy is told from zero."""
        return _last_before(self.fall, lambda d: d.is_loss)

    @property
    def loss_low_until(self) -> float | None:
        """Highest sparsity up to which no rise of the pre-training loss is told from zero."""
        return _last_before(self.rise, lambda d: d.is_gain)

    @property
    def middle(self) -> tuple[float, ...]:
        """Sparsities with a loss of accuracy that taking the masks off changes by less than a
        point, by both bounds."""
        return tuple(
            at
            for at, d in self.gain.items()
            if d.lower > -NO_EFFECT and d.upper < NO_EFFECT and at in self.fall
            if self.fall[at].is_loss
        )

    @property
    def helped(self) -> tuple[float, ...]:
        """Sparsities at which taking the masks off helps, beyond what its epochs gain where nothing
        is pruned."""
        told = [at for at, d in self.gain.items() if d.is_gain and at > 0]
        if 0.0 in self.gain:
            told = [at for at in told if at in self.beyond and self.beyond[at].is_gain]
        return tuple(told)

    @property
    def random_worse(self) -> tuple[float, ...]:
        """Sparsities at which random pruning is worse than magnitude pruning."""
        return tuple(at for at, d in self.random.items() if d.is_loss)

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html.escape(line)}</p>" for line in self.in_words())

    def in_words(self) -> list[str]:
        """A sentence or two for each range, and for random pruning."""
        low = "Low range: "
        if not _can_tell(self.fall):
            low += "it cannot be told where accuracy begins to fall."
        elif self.low_until is None:
            low += "none, accuracy falls at the lowest sparsity."
        else:
            low += f"no loss of accuracy is told from zero up to {percent(self.low_until)}."
        if not _can_tell(self.rise):
            low += " Nor can it be told where the pre-training loss begins to rise."
        elif self.loss_low_until is None:
            low += " The pre-training loss rises at the lowest sparsity."
        else:
            until = percent(self.loss_low_until)
            low += f" No rise of the pre-training loss is told up to {until}."
        middle, high, random = "Middle: ", "High range: ", "Random pruning "
        if not _can_tell(self.gain):
            middle += "it cannot be told what taking the masks off does."
            high += "nor where that begins to help."
        else:
            middle += (
                f"at {_listed(self.middle)} accuracy is lost and taking the masks off changes less "
                "than a point."
                if self.middle
                else "at no sparsity is it told that accuracy is lost and taking the masks off "
                "changes less than a point."
            )
            high += (
                f"taking the masks off helps at {_listed(self.helped)}"
                if self.helped
                else "none, taking the masks off is not told to help at any sparsity"
            )
            high += ", beyond what its epochs gain alone." if 0.0 in self.gain else "."
        if not _can_tell(self.random):
            random += "cannot be compared."
        elif self.random_worse:
            random += f"is worse than magnitude pruning at {_listed(self.random_worse)}."
        else:
            random += "is nowhere worse than magnitude pruning, as far as can be told."
        return [low, middle, high, random]


def regimes(scores: pd.DataFrame, losses: pd.DataFrame) -> Regimes:
    """The regimes of a study; `scores` and `losses` as `results` gives them."""
    return Regimes(
        fall=against(scores, PRUNE_PRETRAIN, PRUNE_PRETRAIN, dense=True),
        rise=loss_increase(losses),
        gain=against(scores, INFORMATION_DELETION, PRUNE_PRETRAIN),
        beyond=against(scores, INFORMATION_DELETION, PRUNE_PRETRAIN, beyond=True),
        random=against(scores, RANDOM_PRUNING, PRUNE_PRETRAIN),
    )


def compared(studies: Mapping[str, Rows]) -> pd.DataFrame:
    """The dense model and the boundaries of several studies, a line each."""
    lines = {}
    for name, found in studies.items():
        scores, losses, bits = results.scores(found), pretraining_losses(found), results.bits(found)
        dense = scores[(scores.arm == PRUNE_PRETRAIN) & (scores.sparsity == 0)]
        known = bits[(bits.arm == PRUNE_PRETRAIN) & (bits.sparsity == 0) & (bits["sort"] == "all")]
        here = regimes(scores, losses)
        lines[name] = {
            "bits recalled, dense": f"{known.bits.mean():,.0f}",
            "accuracy, dense (%)": f"{100 * dense[dense.task != AVERAGE].accuracy.mean():.1f}",
            "no loss of accuracy up to": _told(here.fall, [here.low_until]),
            "no rise of loss up to": _told(here.rise, [here.loss_low_until]),
            "masks off helps at": _told(here.gain, here.helped),
            "random worse at": _told(here.random, here.random_worse),
            "seeds": scores.seed.nunique(),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("study")


def table(differences: Differences, scale: float = 100) -> pd.DataFrame:
    """What a page shows of differences: in points of accuracy, or in units of 1 / `scale`."""
    lines = {
        percent(sparsity): {
            "mean": f"{scale * one.mean:+.2f}",
            "one-sided 95 % bounds": f"{scale * one.lower:+.2f} and {scale * one.upper:+.2f}",
            "seeds": one.seeds,
        }
        for sparsity, one in differences.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("sparsity")


def _listed(sparsities: Sequence[float | None]) -> str:
    return ", ".join(percent(one) for one in sparsities if one is not None) or "–"


def _told(differences: Differences, boundaries: Sequence[float | None]) -> str:
    """The boundaries that `differences` have, where they can have any."""
    return _listed(boundaries) if _can_tell(differences) else "cannot be told"


def _can_tell(differences: Differences) -> bool:
    """Whether there are differences, of two seeds at least."""
    return bool(differences) and min(d.seeds for d in differences.values()) > 1


def _of_study(measured: pd.DataFrame) -> pd.DataFrame:
    """Without the runs that `results.rows_of` marks as the reader's own."""
    return measured[~measured["own"].astype(bool)] if "own" in measured else measured


def _by_sparsity(differences: pd.Series, sparsity: pd.Series) -> Differences:
    return {
        at: mean_difference(differences[sparsity == at])
        for at in sorted(float(one) for one in sparsity.unique())
    }


def _last_before(differences: Differences, test: Callable[[Difference], bool]) -> float | None:
    """The highest sparsity before the first one at which `test` is true."""
    last = None
    for sparsity, difference in differences.items():
        if test(difference):
            break
        last = sparsity
    return last
