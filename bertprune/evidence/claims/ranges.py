"""Claims C1 to C4: up to where pruning costs nothing, and what information deletion explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from bertprune.base.words import SPACE, percent
from bertprune.evidence import scores
from bertprune.evidence.claims.claim import (
    EPOCHS_ALONE,
    FAILS,
    HOLDS,
    OPEN,
    POINT,
    ROUNDING,
    SPELLED,
    UNLEARNED,
    UNLESS_ALONE,
    WIDE,
    Finding,
    alone,
    claim,
    finding,
    in_percent,
    is_told_beyond,
    levels,
    no_rows,
    parts_at_levels,
    points,
)
from bertprune.evidence.statistics import (
    NO_EFFECT,
    Cells,
    Difference,
    between,
    by_sparsity,
    mean_difference,
    paired,
    sample,
    welch,
)
from bertprune.protocol.arms import FROM_SCRATCH, INFORMATION_DELETION, PRUNE_PRETRAIN
from bertprune.protocol.rows import Rows, where


def of_pruned(found: Rows, arm: str, *, dense: bool = False) -> Cells:
    """Accuracy of `arm` minus that of models pruned while pre-training, with `dense` minus that of
    the dense model: task, sparsity in (0, 1), seed, value. Only where both are."""
    cells = paired(scores.best_accuracies(found), arm, dense=dense)
    return cells[(cells.sparsity > 0) & (cells.sparsity < 1)]


def of_unpruned(found: Rows, arm: str) -> Cells:
    """Accuracy of `arm` minus the dense model's at sparsity 0: what its epochs gain, with nothing
    pruned: task, seed, value. The paper's table 1 has such runs too."""
    cells = paired(scores.best_accuracies(found), arm)
    return cells[cells.sparsity == 0].drop(columns="sparsity")


# The paper's own loss is told from zero at 40 %, so 30 % is tested.
LOW_UNTIL = 0.3
# Up to this share of the dense model's pre-training loss a rise counts as none.
NO_RISE = 0.05
# The middle range, both ends included.
MIDDLE = (0.4, 0.6)


@claim(
    "C1",
    "Up to 30 to 40 % of the weights can go with no effect on pre-training loss or transfer.",
    f"At every sparsity up to {in_percent(LOW_UNTIL)} the lower bound of the change in accuracy "
    f"from the dense model is above -{POINT}, and the pre-training loss rises by "
    f"{in_percent(NO_RISE)} at most. It does not hold where an upper bound is below -{POINT} or "
    "the loss rises by more. The paper's own loss of accuracy is told from zero at "
    f"{in_percent(MIDDLE[0])}, so that is not tested.",
)
def low_range(found: Rows) -> Finding:
    cells = of_pruned(found, PRUNE_PRETRAIN, dense=True)
    low = cells[cells.sparsity <= LOW_UNTIL]
    if low.empty:
        return no_rows(f"accuracy up to {percent(LOW_UNTIL)} and of the dense model")
    rises = _loss_rises(found)
    falls = {at: sample(of) for at, of in by_sparsity(cells)}
    tested = {at: fall for at, fall in falls.items() if at <= LOW_UNTIL}
    shown = {
        percent(at): (fall, ", pre-training loss " + _rise(rises, at))
        for at, fall in falls.items()
        if at <= max(LOW_UNTIL, MIDDLE[0])
    }
    # What is small beside what pre-training is worth: below that of no pre-training nothing falls.
    if not (scratch := of_unpruned(found, FROM_SCRATCH)).empty:
        shown["never pre-trained"] = (sample(scratch), "")
    is_mixed = len({fall.n for fall, _ in shown.values()}) > 1
    statistic = "; ".join(
        f"{name}: accuracy {points(fall.difference)}" + f" ({fall.n})" * is_mixed + rise
        for name, (fall, rise) in shown.items()
    )
    at_worst = min(tested, key=lambda at: tested[at].difference.lower)
    worst = tested[at_worst]
    lost = [at for at, fall in tested.items() if fall.difference.upper < -NO_EFFECT]
    risen = [at for at in tested if rises.get(at, 0) > NO_RISE + ROUNDING]
    told = [at for at, fall in tested.items() if fall.difference.is_loss]
    verdict, reason = OPEN, WIDE
    if lacks := [fall.lack for fall in tested.values() if fall.lack]:
        reason = lacks[0]
    elif (low.value == 0).all():
        reason = UNLEARNED
    elif lost or risen:
        verdict = FAILS
        reason = parts_at_levels({"accuracy is lost": lost, "pre-training loss rises": risen})
    elif not set(tested) <= set(rises):
        reason = "no rows of pre-training loss at " + levels(set(tested) - set(rises))
    elif worst.difference.lower > -NO_EFFECT:
        verdict, reason = HOLDS, parts_at_levels({"a loss inside the margin is told": told})
    found_out = finding(worst, statistic, verdict, reason)
    return replace(found_out, n=f"lowest at {percent(at_worst)}") if is_mixed else found_out


def _loss_rises(found: Rows) -> dict[float, float]:
    """By sparsity the mean rise of pre-training dev loss, as a share of the dense model's."""
    losses = scores.pretraining_losses(where(found, arm=PRUNE_PRETRAIN))
    dense = losses[losses.sparsity == 0].set_index("seed").loss
    pruned = losses[losses.sparsity > 0]
    rises = pruned.assign(value=pruned.loss / pruned.seed.map(dense).astype(float) - 1)
    return {at: float(of.value.mean()) for at, of in by_sparsity(rises.dropna(subset="value"))}


def _rise(rises: Mapping[float, float], at: float) -> str:
    return f"{100 * rises[at]:+.1f}{SPACE}%" if at in rises else "missing"


@claim(
    "C2",
    "From 40 to 60 % deleting information explains the whole loss: taking the masks off "
    "changes nothing.",
    "A loss to explain is told from zero at the same points, and both bounds of what taking "
    f"the masks off changes are within {POINT}. It does not hold where both lie beyond {POINT} "
    "on one side." + UNLESS_ALONE,
)
def middle_range(found: Rows) -> Finding:
    gains = between(of_pruned(found, INFORMATION_DELETION), *MIDDLE)
    falls = between(of_pruned(found, PRUNE_PRETRAIN, dense=True), *MIDDLE)
    # The loss at other points is not what these gains could explain.
    falls = falls.merge(gains[["task", "sparsity", "seed"]])
    if gains.empty or falls.empty:
        range_ = f"{100 * MIDDLE[0]:g} to {in_percent(MIDDLE[1])}"
        return no_rows(f"accuracy with masks on and off from {range_}, and of the dense model")
    gain, fall = sample(gains), sample(falls)
    control = of_unpruned(found, INFORMATION_DELETION)
    d, verdict, reason = gain.difference, OPEN, ""
    statistic = f"masks off {points(d)}; to explain: {points(fall.difference)}"
    statistic += f"; at {levels(gain.sparsities)}" + alone(gains, control)
    if fall.lack:
        reason = fall.lack
    elif not fall.difference.is_loss:
        reason = "no loss to explain is told from zero"
    elif is_told_beyond(gains, control, NO_EFFECT) or d.upper < -NO_EFFECT:
        verdict = FAILS
    elif d.lower > NO_EFFECT:
        reason = EPOCHS_ALONE
    elif d.lower > -NO_EFFECT and d.upper < NO_EFFECT:
        verdict = HOLDS
    return finding(gain, statistic, verdict, reason)


# The high range has no end.
HIGH_FROM = 0.7
# The tasks with much training data and with little.
LARGE_TASKS = ("mnli", "qqp")
SMALL_TASKS = ("sst2", "cola")


@claim(
    "C3",
    "From 70 % taking the masks off gives part of the accuracy back, more on the large tasks "
    "(MNLI, QQP) than on the small ones (SST-2, CoLA).",
    "The gain, and what large tasks gain more than small ones, are both told from zero; the "
    "second over seeds, or with one seed between cells (task × sparsity). It does not hold "
    "where the contrary of one is." + UNLESS_ALONE,
)
def high_range(found: Rows) -> Finding:
    gains = between(of_pruned(found, INFORMATION_DELETION), HIGH_FROM, 1)
    if gains.empty:
        return no_rows(f"accuracy with masks on and off from {in_percent(HIGH_FROM)}")
    gain = sample(gains)
    more = _large_less_small(gains)
    control = of_unpruned(found, INFORMATION_DELETION)
    statistic = f"masks off {points(gain.difference)}" + alone(gains, control)
    if more is None:
        reason = "no rows of a large and of a small task that all seeds have"
        return finding(gain, statistic, OPEN, reason)
    statistic += f"; large tasks less small {points(more)}; at {levels(gain.sparsities)}"
    parts = {"masks off helps": gain.difference, "more on large tasks": more}
    against = [name for name, d in parts.items() if d.upper < 0]
    untold = [name for name, d in parts.items() if not d.is_gain]
    verdict, reason = HOLDS, ""
    if against:
        verdict, reason = FAILS, "the contrary is told of: " + ", ".join(against)
    elif untold:
        verdict, reason = OPEN, "not told: " + ", ".join(untold)
    elif not is_told_beyond(gains, control):
        verdict, reason = OPEN, EPOCHS_ALONE
    return finding(gain, statistic, verdict, reason)


def _large_less_small(gains: Cells) -> Difference | None:
    """How much larger gains are on large tasks than on small ones: by seed, or of one seed between
    the cells of the two (Welch's t). None where one of the two is missing."""
    size = dict.fromkeys(LARGE_TASKS, "large") | dict.fromkeys(SMALL_TASKS, "small")
    sized = gains.assign(size=gains.task.map(size)).dropna(subset=["size"])
    large, small = sized[sized["size"] == "large"], sized[sized["size"] == "small"]
    if large.empty or small.empty:
        return None
    if gains.seed.nunique() < 2:
        return welch(large.value, small.value)
    having = sized.groupby(["task", "sparsity"]).seed.transform("nunique")
    shared = sized[having == gains.seed.nunique()]
    means = shared.pivot_table(index="seed", columns="size", values="value")
    if not {"large", "small"} <= set(means.columns):
        return None
    return mean_difference(means.large - means.small)


# From where information is lost.
DELETED_FROM = 0.4
# How near (nats) the dense model's training loss counts as reached, and the share of cells that
# must reach it. The paper misses it at 4 of 30.
SAME_TRAINING_LOSS = 0.01
LEAST_MATCHED = 0.5


@claim(
    "C4",
    "Models with information deleted reach the dense model's training loss and are still less "
    "accurate.",
    f"From {in_percent(DELETED_FROM)} on at least {SPELLED[LEAST_MATCHED]} of the cells (task × "
    f"sparsity) come within {SAME_TRAINING_LOSS:g} nats of the dense model's training loss or "
    "below it, and in these cells a loss of accuracy is told from zero. It does not hold where a "
    "gain is." + UNLESS_ALONE,
)
def fitted_and_lost(found: Rows) -> Finding:
    losses = scores.training_losses(found)
    excess_by_seed = paired(losses, INFORMATION_DELETION, dense=True, of="loss")
    both = excess_by_seed[excess_by_seed.sparsity >= DELETED_FROM].merge(
        of_pruned(found, INFORMATION_DELETION, dense=True),
        on=["task", "seed", "sparsity"],
        suffixes=("_of_loss", ""),
    )
    if both.empty:
        return no_rows("training loss and accuracy under information deletion and of dense models")
    excess = both.value_of_loss.groupby([both.task, both.sparsity]).mean()
    matched = excess[excess <= SAME_TRAINING_LOSS + ROUNDING].index
    share = f"{len(matched)} of {len(excess)} cells reach the dense model's training loss"
    if len(matched) < LEAST_MATCHED * len(excess):
        return Finding(OPEN, share, reason="training loss not matched")
    places = pd.MultiIndex.from_frame(both[["task", "sparsity"]])
    cells = both[places.isin(matched)][["task", "sparsity", "seed", "value"]]
    lost, control = sample(cells), of_unpruned(found, INFORMATION_DELETION)
    d = lost.difference
    verdict = HOLDS if d.is_loss else FAILS if is_told_beyond(cells, control) else OPEN
    reason = EPOCHS_ALONE if verdict == OPEN and d.is_gain else ""
    beside = f"training loss there {excess[matched].mean():+.2f} nats from the dense model's"
    statistic = f"{share}; {beside}; accuracy there {points(d)}{alone(cells, control)}"
    return finding(lost, statistic, verdict, reason)
