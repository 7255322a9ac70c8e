"""The rules by which the paper's claims are tested, a function of tidy rows each.

The rules and their constants were fixed against the paper's own numbers, on which they give "holds"
wherever its tables can decide. Accuracies of an earlier edition of the lab were known by then, what
is measured of weights, masks and features was not. A verdict is computed, never typed.

What is sampled is seeds: a seed's value is its mean over the tasks and sparsities that a claim
speaks of, since these start from one pre-trained model. With one seed it is tasks, three at least,
and the finding says so. Bounds are one-sided, at 95 % each, by Student's t; several levels tested
side by side are not corrected for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from scipy import stats

from bertprune.base.words import percent
from bertprune.evidence import results
from bertprune.evidence.claims import accuracy_lines
from bertprune.evidence.claims.run_checks import NO_EFFECT
from bertprune.evidence.regimes import CONFIDENCE, Difference, mean_difference
from bertprune.protocol import rows
from bertprune.protocol.arms import (
    EPOCHS_BEFORE_PRUNING,
    FROM_SCRATCH,
    INFORMATION_DELETION,
    PRUNE_AFTER_FINETUNE,
    PRUNE_PRETRAIN,
    RANDOM_PRUNING,
)
from bertprune.protocol.rows import PRETRAINING, Rows

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"

# No verdict with fewer seeds and fewer tasks than these: two values tell nothing from chance.
LEAST_SEEDS = 3
LEAST_TASKS = 3
# C1 speaks of 30 to 40 %: the paper's own loss is told from zero at 40 %, so 30 % is tested.
LOW_UNTIL = 0.3
# C1: up to this share of the dense model's pre-training loss a rise counts as none.
NO_RISE = 0.05
# C2, C3: the ranges, both ends included; C3 has no end.
MIDDLE = (0.4, 0.6)
HIGH_FROM = 0.7
# C3: the tasks with much training data and with little.
LARGE_TASKS = ("mnli", "qqp")
SMALL_TASKS = ("sst2", "cola")
# C4: from where information is lost, how near (nats) the dense model's training loss counts as
# reached, and the share of cells that must reach it. The paper misses it at 4 of 30.
DELETED_FROM = 0.4
SAME_TRAINING_LOSS = 0.01
LEAST_MATCHED = 0.5
# C5: with less it is not called a straight line, be it bent or noisy. The paper's five have 0.97
# and more.
LEAST_R2 = 0.8
# C6: where features begin to diverge, and how much faster they must from there on.
DIVERGE_FROM = 0.4
TIMES_FASTER = 2
# C8: share of the mask's entries.
FEW_ENTRIES = 0.06
# C9: "0 to 4 %" as the paper rounds it; where "high" magnitudes begin; and the share of all
# movement that one epoch must bring.
LITTLE_MOVEMENT = 0.045
TOP_FROM = 0.9
SETTLED = 2 / 3
# The epochs of the paper's protocol. C9: with fewer the first is a large part of all, settled or
# not. C10: epochs before pruning that more are compared with.
USUAL_EPOCHS = 3
# C12: share of a head beyond the model's rate.
MUCH_MORE = 0.10
# C13: the share of matrices meant by "almost every", and what near normal, mean 0 and std 0.03 to
# 0.05 are, each half a unit of the last digit or so beyond.
ALMOST_EVERY = 0.9
MEAN_NEAR_ZERO = 0.1
STD_RANGE = (0.025, 0.055)
NEAR_NORMAL_KURTOSIS = 1.0
# C14: "about 21 %".
EMBEDDINGS_SHARE = (0.205, 0.219)

# Sums of printed decimals differ from their bounds in the last bit.
_ROUNDING = 1e-9


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


# What the tests read.

_Cells = pd.DataFrame
"""Values that are compared: task, seed, value, and what else they are by, mostly sparsity."""


def _measured(found: Rows, task: str | None, split: str, metric: str, arm: str | None) -> Rows:
    """The last rows of each curve of a metric; `task` None: of all tasks but pre-training."""
    of = found[(found.split == split) & (found.metric == metric)]
    of = of[of.task != PRETRAINING] if task is None else of[of.task == task]
    return rows.final(of if arm is None else of[of.arm == arm])


def _differences(
    found: Rows, arm: str, other: str = PRUNE_PRETRAIN, *, dense: bool = False
) -> _Cells:
    """Accuracy of `arm` minus that of `other`, with `dense` minus that of `other` at sparsity 0:
    task, sparsity in (0, 1), seed, value. Only where both are."""
    best = results.best_accuracies(found)
    one = best[(best.arm == arm) & (best.sparsity > 0) & (best.sparsity < 1)]
    two = best[best.arm == other]
    two = two[two.sparsity == 0].drop(columns="sparsity") if dense else two
    on = ["task", "seed"] if dense else ["task", "seed", "sparsity"]
    both = one.merge(two, on=on, suffixes=("", "_other"))
    return both.assign(value=both.accuracy - both.accuracy_other)[
        ["task", "sparsity", "seed", "value"]
    ]


def _unpruned(found: Rows, arm: str) -> _Cells:
    """Accuracy of `arm` minus the dense model's at sparsity 0: what its epochs gain, with nothing
    pruned: task, seed, value. The paper's table 1 has such runs too."""
    best = results.best_accuracies(found)
    dense = best[best.sparsity == 0]
    on = ["task", "seed"]
    one, two = (dense[dense.arm == name][[*on, "accuracy"]] for name in (arm, PRUNE_PRETRAIN))
    both = one.merge(two, on=on, suffixes=("", "_dense"))
    return both.assign(value=both.accuracy - both.accuracy_dense)[[*on, "value"]]


def _less(gains: _Cells, control: _Cells) -> _Cells:
    """What is gained beyond the control's of the same task and seed, where both are."""
    both = gains.merge(control, on=["task", "seed"], suffixes=("", "_alone"))
    return both.assign(value=both.value - both.value_alone)[list(gains.columns)]


def _beyond(gains: _Cells, control: _Cells, margin: float = 0.0) -> bool:
    """Whether a gain of more than `margin` is told, and beyond what the arm's epochs gain alone. It
    is not where only a part of the cells has a control."""
    left = gains if control.empty else _less(gains, control)
    told = [_sample(cells).difference.lower > margin for cells in (gains, left)]
    return all(told) and len(left) == len(gains)


def _alone(gains: _Cells, control: _Cells) -> str:
    """The control in words, and what is gained beyond it."""
    if control.empty:
        return ""
    alone, beyond = (_points(_sample(of).difference) for of in (control, _less(gains, control)))
    return f"; its epochs alone, nothing pruned, {alone}; beyond that {beyond}"


@dataclass(frozen=True)
class _Sample:
    """A mean with its bounds, and what they were taken over."""

    difference: Difference
    n: str
    lack: str
    """Why it is too small for a verdict; else empty."""
    sparsities: tuple[float, ...]

    def points(self, name: str = "") -> str:
        """In points of accuracy."""
        return f"{name}{_points(self.difference)}"


def _sample(cells: _Cells) -> _Sample:
    """The sample in `cells`: the seeds' means over the places that all seeds have, or where there
    is one seed the tasks' means."""
    place = [name for name in cells.columns if name not in ("seed", "value")]
    seeds = cells.seed.nunique()
    shared = cells[cells.groupby(place).seed.transform("nunique") == seeds]
    tasks = shared.task.nunique()
    if shared.empty:
        nothing = Difference(math.nan, -math.inf, math.inf, 0)
        return _Sample(nothing, f"{seeds} seeds", "the seeds have no point in common", ())
    if seeds > 1:
        values = shared.groupby("seed").value.mean()
        n = f"n = {seeds} seeds, each a mean over {_counted(tasks, 'task')}"
    else:
        values = shared.groupby("task").value.mean()
        n = f"n = {_counted(tasks, 'task')}, one seed"
    lack = ""
    if 1 < seeds < LEAST_SEEDS:
        lack = f"{seeds} seeds are too few"
    elif seeds == 1 and tasks < LEAST_TASKS:
        lack = _TOO_FEW
    sparsities = sorted(set(shared.sparsity)) if "sparsity" in shared else []
    return _Sample(mean_difference(values), n, lack, tuple(sparsities))


def _points(d: Difference) -> str:
    """In points of accuracy, with the bounds that there are."""
    if math.isnan(d.mean):
        return "missing"
    bounds = f" [{100 * d.lower:+.2f}, {100 * d.upper:+.2f}]" if math.isfinite(d.lower) else ""
    return f"{100 * d.mean:+.2f}{bounds} points"


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


def _no_rows(what: str) -> Finding:
    return Finding(OPEN, reason=f"no rows of {what}")


_TOO_FEW = f"fewer than {LEAST_SEEDS} seeds and fewer than {LEAST_TASKS} tasks"
_WIDE = "the bounds leave both open"
_UNLEARNED = "no difference anywhere: these models have learned nothing"
_EPOCHS = "not told from what the arm's epochs gain alone"


def _finding(sample: _Sample, statistic: str, verdict: str, reason: str = "") -> Finding:
    """With the bounds of a difference in accuracy, in points; too small a sample overrules."""
    if sample.lack:
        verdict, reason = OPEN, sample.lack
    d = sample.difference
    if verdict == OPEN:
        reason = reason or _WIDE
    return Finding(verdict, statistic, sample.n, 100 * d.lower, 100 * d.upper, "points", reason)


# The tests, C1 to C14.


def _low_range(found: Rows) -> Finding:
    cells = _differences(found, PRUNE_PRETRAIN, dense=True)
    low = cells[cells.sparsity <= LOW_UNTIL]
    if low.empty:
        return _no_rows(f"accuracy up to {percent(LOW_UNTIL)} and of the dense model")
    rises = _loss_rises(found)
    falls = {at: _sample(of) for at, of in _by_sparsity(cells)}
    tested = {at: fall for at, fall in falls.items() if at <= LOW_UNTIL}
    shown = {
        percent(at): (fall, ", pre-training loss " + _rise(rises, at))
        for at, fall in falls.items()
        if at <= max(LOW_UNTIL, MIDDLE[0])
    }
    # What is small beside what pre-training is worth: below that of no pre-training nothing falls.
    if not (scratch := _unpruned(found, FROM_SCRATCH)).empty:
        shown["never pre-trained"] = (_sample(scratch), "")
    is_mixed = len({fall.n for fall, _ in shown.values()}) > 1
    statistic = "; ".join(
        fall.points(f"{name}: accuracy ") + f" ({fall.n})" * is_mixed + rise
        for name, (fall, rise) in shown.items()
    )
    at_worst = min(tested, key=lambda at: tested[at].difference.lower)
    worst = tested[at_worst]
    lost = [at for at, fall in tested.items() if fall.difference.upper < -NO_EFFECT]
    risen = [at for at in tested if rises.get(at, 0) > NO_RISE + _ROUNDING]
    told = [at for at, fall in tested.items() if fall.difference.is_loss]
    verdict, reason = OPEN, _WIDE
    if lacks := [fall.lack for fall in tested.values() if fall.lack]:
        reason = lacks[0]
    elif (low.value == 0).all():
        reason = _UNLEARNED
    elif lost or risen:
        verdict = FAILS
        reason = _joined({"accuracy is lost": lost, "pre-training loss rises": risen})
    elif not set(tested) <= set(rises):
        reason = "no rows of pre-training loss at " + _listed(set(tested) - set(rises))
    elif worst.difference.lower > -NO_EFFECT:
        verdict, reason = HOLDS, _joined({"a loss inside the margin is told": told})
    finding = _finding(worst, statistic, verdict, reason)
    return replace(finding, n=f"lowest at {percent(at_worst)}") if is_mixed else finding


def _loss_rises(found: Rows) -> dict[float, float]:
    """By sparsity the mean rise of pre-training dev loss, as a share of the dense model's."""
    ours = found[(found.arm == PRUNE_PRETRAIN) & (found.metric == "loss")]
    losses = results.pretraining_losses(ours)
    dense = losses[losses.sparsity == 0].set_index("seed").loss
    pruned = losses[(losses.sparsity > 0) & losses.seed.isin(dense.index)]
    rise = pruned.loss / pruned.seed.map(dense).astype(float) - 1
    means = rise.groupby(pruned.sparsity).mean().dropna()
    return {float(str(at)): float(of) for at, of in means.items()}


def _rise(rises: Mapping[float, float], at: float) -> str:
    return f"{100 * rises[at]:+.1f}\N{NO-BREAK SPACE}%" if at in rises else "missing"


def _middle(found: Rows) -> Finding:
    gains = _between(_differences(found, INFORMATION_DELETION), *MIDDLE)
    falls = _between(_differences(found, PRUNE_PRETRAIN, dense=True), *MIDDLE)
    # The loss at other points is not what these gains could explain.
    falls = falls.merge(gains[["task", "sparsity", "seed"]])
    if gains.empty or falls.empty:
        return _no_rows("accuracy with masks on and off from 40 to 60 %, and of the dense model")
    gain, fall = _sample(gains), _sample(falls)
    statistic = f"{gain.points('masks off ')}; {fall.points('to explain: ')}"
    control = _unpruned(found, INFORMATION_DELETION)
    statistic += f"; at {_listed(gain.sparsities)}" + _alone(gains, control)
    d, verdict, reason = gain.difference, OPEN, ""
    if fall.lack:
        reason = fall.lack
    elif not fall.difference.is_loss:
        reason = "no loss to explain is told from zero"
    elif _beyond(gains, control, NO_EFFECT) or d.upper < -NO_EFFECT:
        verdict = FAILS
    elif d.lower > NO_EFFECT:
        reason = _EPOCHS
    elif d.lower > -NO_EFFECT and d.upper < NO_EFFECT:
        verdict = HOLDS
    return _finding(gain, statistic, verdict, reason)


def _high_range(found: Rows) -> Finding:
    gains = _between(_differences(found, INFORMATION_DELETION), HIGH_FROM, 1)
    if gains.empty:
        return _no_rows("accuracy with masks on and off from 70 %")
    gain = _sample(gains)
    more = _large_less_small(gains)
    control = _unpruned(found, INFORMATION_DELETION)
    statistic = gain.points("masks off ") + _alone(gains, control)
    if more is None:
        reason = "no rows of a large and of a small task that all seeds have"
        return _finding(gain, statistic, OPEN, reason)
    statistic += f"; large tasks less small {_points(more)}; at {_listed(gain.sparsities)}"
    parts = {"masks off helps": gain.difference, "more on large tasks": more}
    against = [name for name, d in parts.items() if d.upper < 0]
    untold = [name for name, d in parts.items() if not d.is_gain]
    verdict = FAILS if against else OPEN if untold else HOLDS
    reason = "the contrary is told of: " + ", ".join(against) if against else ""
    if untold and not against:
        reason = "not told: " + ", ".join(untold)
    if verdict == HOLDS and not _beyond(gains, control):
        verdict, reason = OPEN, _EPOCHS
    return _finding(gain, statistic, verdict, reason)


def _large_less_small(gains: _Cells) -> Difference | None:
    """How much larger gains are on large tasks than on small ones: by seed, or of one seed between
    the cells of the two (Welch's t). None where one of the two is missing."""
    size = dict.fromkeys(LARGE_TASKS, "large") | dict.fromkeys(SMALL_TASKS, "small")
    sized = gains.assign(size=gains.task.map(size)).dropna(subset=["size"])
    large, small = sized[sized["size"] == "large"], sized[sized["size"] == "small"]
    if large.empty or small.empty:
        return None
    if gains.seed.nunique() < 2:
        return _welch(large.value, small.value)
    having = sized.groupby(["task", "sparsity"]).seed.transform("nunique")
    shared = sized[having == gains.seed.nunique()]
    means = shared.pivot_table(index="seed", columns="size", values="value")
    if not {"large", "small"} <= set(means.columns):
        return None
    return mean_difference(means.large - means.small)


def _welch(one: pd.Series, two: pd.Series) -> Difference:
    """The difference of two means with its one-sided bounds, without equal variances."""
    mean = float(one.mean() - two.mean())
    if min(len(one), len(two)) < 2:
        return Difference(mean, -math.inf, math.inf, 1)
    errors = [float(of.var()) / len(of) for of in (one, two)]
    total = sum(errors)
    if total == 0:
        return Difference(mean, mean, mean, 1)
    freedom = total**2 / sum(e**2 / (len(of) - 1) for e, of in zip(errors, (one, two), strict=True))
    half = math.sqrt(total) * float(stats.t.ppf(CONFIDENCE, freedom))
    return Difference(mean, mean - half, mean + half, 1)


def _fitted_and_lost(found: Rows) -> Finding:
    differences = _differences(found, INFORMATION_DELETION, dense=True)
    losses = results.training_losses(found)
    deleted = losses[(losses.arm == INFORMATION_DELETION) & (losses.sparsity >= DELETED_FROM)]
    dense = losses[(losses.arm == PRUNE_PRETRAIN) & (losses.sparsity == 0)].drop(columns="sparsity")
    both = deleted.merge(dense, on=["task", "seed"], suffixes=("", "_dense"))
    both = both.merge(differences, on=["task", "seed", "sparsity"])
    if both.empty:
        return _no_rows("training loss and accuracy under information deletion and of dense models")
    excess = (both.loss - both.loss_dense).groupby([both.task, both.sparsity]).mean()
    matched = excess[excess <= SAME_TRAINING_LOSS + _ROUNDING].index
    share = f"{len(matched)} of {len(excess)} cells reach the dense model's training loss"
    if len(matched) < LEAST_MATCHED * len(excess):
        return Finding(OPEN, share, reason="training loss not matched")
    places = pd.MultiIndex.from_frame(both[["task", "sparsity"]])
    cells = both[places.isin(matched)][["task", "sparsity", "seed", "value"]]
    lost, control = _sample(cells), _unpruned(found, INFORMATION_DELETION)
    d = lost.difference
    verdict = HOLDS if d.is_loss else FAILS if _beyond(cells, control) else OPEN
    reason = _EPOCHS if verdict == OPEN and d.is_gain else ""
    beside = f"training loss there {excess[matched].mean():+.2f} nats from the dense model's"
    statistic = f"{share}; {beside}; accuracy there {lost.points()}{_alone(cells, control)}"
    return _finding(lost, statistic, verdict, reason)


def _lines(found: Rows) -> Finding:
    lines = accuracy_lines.line_fits(found)
    if lines.empty:
        return _no_rows("accuracy under information deletion and pre-training loss")
    told = lines.dropna(subset=["slope"])
    seeds = accuracy_lines.points(found).seed.nunique()
    each = ", ".join(f"{task} {n}" for task, n in zip(lines.task, lines.points, strict=True))
    n = f"n = {each} points, {_counted(seeds, 'seed')}"
    if seeds < LEAST_SEEDS and len(lines) < LEAST_TASKS:
        return Finding(OPEN, n=n, reason=_TOO_FEW)
    if len(told) < len(lines) or len(lines) < 2:
        reason = "a line takes three points, and a comparison two tasks"
        return Finding(OPEN, n=n, reason=reason)
    common = accuracy_lines.common_slope(found)
    statistic = "points per nat: " + "; ".join(
        _in_words(told, accuracy_lines.cost_of_pruning(found))
    )
    statistic += f"; one slope for all: p = {common.p:.2g}"
    upward = list(told[told.lower > 0].task)
    crooked = list(told[(told.upper < 0) & (told.r2 < LEAST_R2)].task)
    flat = list(told[(told.lower <= 0) & (told.upper >= 0)].task)
    parts = {"rises on": upward, f"r² below {LEAST_R2} on": crooked}
    verdict, reason = HOLDS, ""
    if upward or crooked:
        verdict, reason = FAILS, "; ".join(f"{k} {', '.join(v)}" for k, v in parts.items() if v)
    elif flat:
        verdict, reason = OPEN, "no slope is told from zero on " + ", ".join(flat)
    elif not common.p < 1 - CONFIDENCE:
        verdict, reason = OPEN, "one slope for all tasks is not ruled out"
    flattest = told.sort_values("upper").iloc[-1]
    return Finding(
        verdict,
        statistic,
        n,
        100 * float(flattest.lower),
        100 * float(flattest.upper),
        f"points per nat, {flattest.task}",
        reason,
    )


def _in_words(lines: pd.DataFrame, cost: pd.DataFrame) -> list[str]:
    """Each line with what pruning costs by it, where the rows say that."""
    before, after = (percent(sparsity) for sparsity in accuracy_lines.MORE_PRUNING)
    described = []
    for task, of in lines.merge(cost, on="task").set_index("task").astype(float).iterrows():
        slope = f"{100 * of.slope:+.2f} [{100 * of.lower:+.2f}, {100 * of.upper:+.2f}]"
        from_to = f"{before} to {after} {100 * of.change:+.1f} points"
        costs = "" if math.isnan(of.change) else f", {from_to}"
        off = f"{100 * of.off:.2f} points off the line"
        described.append(f"{task} {slope}, r² {of.r2:.2f}, {off}{costs}")
    return described


def _features(found: Rows) -> Finding:
    cosine = _measured(found, PRETRAINING, "features", "cosine_similarity", PRUNE_PRETRAIN)
    cosine = cosine[cosine.sparsity > 0]
    away = 1 - cosine.pivot_table(index="seed", columns="sparsity", values="value").dropna()
    levels = [float(at) for at in away.columns]
    below = [at for at in levels if at <= DIVERGE_FROM]
    above = [at for at in levels if at > DIVERGE_FROM]
    if away.empty or not below or not above:
        return _no_rows(f"features on both sides of {percent(DIVERGE_FROM)}, of the same seeds")
    knee, end = max(below), max(above)
    at_knee, at_end = away.iloc[:, levels.index(knee)], away.iloc[:, levels.index(end)]
    slow, fast = at_knee / knee, (at_end - at_knee) / (end - knee)
    d = mean_difference(fast - TIMES_FASTER * slow)
    statistic = (
        f"1 − cosine grows {slow.mean():.3f} per unit of sparsity up to {percent(knee)}, "
        f"{fast.mean():.3f} from there to {percent(end)}"
    )
    verdict, reason = (HOLDS, "") if d.is_gain else (FAILS, "") if d.is_loss else (OPEN, _WIDE)
    if d.seeds < LEAST_SEEDS:
        verdict = OPEN
        reason = f"fewer than {LEAST_SEEDS} seeds at all sparsities, and features are of no task"
    n = f"n = {_counted(d.seeds, 'seed')}, each a mean over layers"
    return Finding(verdict, statistic, n, d.lower, d.upper, "per unit of sparsity", reason)


def _after_finetuning(found: Rows) -> Finding:
    cells = _differences(found, PRUNE_AFTER_FINETUNE)
    if cells.empty:
        return _no_rows("accuracy of models pruned after fine-tuning, and while pre-training")
    return _is_no_better(cells, _unpruned(found, PRUNE_AFTER_FINETUNE))


def _is_no_better(cells: _Cells, control: _Cells, between: str = "") -> Finding:
    """Whether the differences tell no gain of a point; one that is told beyond the control's
    refutes."""
    sample = _sample(cells)
    d = sample.difference
    verdict = FAILS if _beyond(cells, control) else HOLDS if d.upper < NO_EFFECT else OPEN
    reason = _EPOCHS if verdict == OPEN and d.is_gain else ""
    if (cells.value == 0).all():
        verdict, reason = OPEN, _UNLEARNED
    statistic = f"{sample.points()}{between}; at {_listed(sample.sparsities)}"
    statistic += f"; by task {_by_task(cells)}" + _alone(cells, control)
    return _finding(sample, statistic, verdict, reason)


def _by_task(cells: _Cells) -> str:
    """The mean of each task, in points."""
    means = cells.groupby("task", sort=False).value.mean()
    return ", ".join(f"{task} {100 * mean:+.2f}" for task, mean in means.items())


def _masks(found: Rows) -> Finding:
    masks = _measured(found, None, "masks", "mask_difference", PRUNE_AFTER_FINETUNE)
    masks = masks[(masks.part == "") & (masks.sparsity > 0) & (masks.sparsity < 1)]
    if masks.empty:
        return _no_rows("mask differences")
    cells = {}
    for (at, task, rate), of in masks.groupby(["sparsity", "task", "learning_rate"]):
        place = float(str(at)), str(task), float(str(rate))
        by_seed = of.groupby("seed").value.mean()
        d = mean_difference(by_seed)
        cells[place] = Difference(d.mean, d.mean, d.mean, 1) if d.seeds < 2 else d
    worst = max(cells.values(), key=lambda d: d.upper)
    over = [place for place, d in cells.items() if d.lower > FEW_ENTRIES]
    means = [d.mean for d in cells.values()]
    seeds, tasks = masks.seed.nunique(), masks.task.nunique()
    verdict, reason = OPEN, _WIDE
    if seeds < LEAST_SEEDS and tasks < LEAST_TASKS:
        reason = _TOO_FEW
    elif over:
        sparsity, task, _ = over[0]
        verdict, reason = FAILS, f"more at {percent(sparsity)} on {task}"
        reason += f", and at {_counted(len(over) - 1, 'other point')}" * (len(over) > 1)
    elif worst.upper < FEW_ENTRIES:
        verdict, reason = HOLDS, ""
    statistic = f"{_share(min(means))} to {_share(max(means))} of the entries differ"
    n = f"{len(cells)} points (sparsity × task × learning rate), {_counted(seeds, 'seed')}"
    bounds = 100 * worst.lower, 100 * worst.upper
    return Finding(verdict, statistic, n, *bounds, "% of the entries, worst point", reason)


def _movement(found: Rows) -> Finding:
    dense = found[
        (found.arm == PRUNE_PRETRAIN) & (found.sparsity == 0) & (found.task != PRETRAINING)
    ]
    moved = dense[(dense.split == "weights") & (dense.metric == "movement_mean")]
    whole = moved[moved.part == ""]
    if whole.empty:
        return _no_rows("movement in the sort order")
    curve = ["task", "learning_rate", "seed"]
    last = rows.final(whole)
    all_of = last.groupby(curve).value.mean()
    sample = _sample(of_usual_length(last)[[*curve, "value"]])
    d = sample.difference
    parts = [f"moved {_share(d.mean)} on average"]
    failed = [] if d.mean < LITTLE_MOVEMENT else ["moves more"]
    untested = []

    top = rows.final(moved[(moved.part == "starting position") & (moved.position > TOP_FROM)])
    of_top = top.groupby(curve).value.mean()
    if of_top.empty:
        untested.append("by starting position")
    else:
        rest = all_of.reindex(of_top.index).mean()
        parts.append(f"the top tenth {_share(of_top.mean())} where all move {_share(rest)}")
        failed += [] if of_top.mean() < rest else ["high magnitudes move no less"]

    first = whole[whole.epoch == 1].groupby(curve).value.mean()
    later = last[last.epoch >= USUAL_EPOCHS].groupby(curve).value.mean()
    ratio = (first / later).dropna()
    if ratio.empty:
        untested.append(f"the first epoch, as no training has {USUAL_EPOCHS}")
    else:
        settled = ratio.index.unique("task")
        parts.append(
            f"{100 * ratio.mean():.0f}\N{NO-BREAK SPACE}% of it in the first epoch "
            f"({_counted(len(settled), 'task')} of {USUAL_EPOCHS} epochs or more)"
        )
        failed += [] if ratio.mean() >= SETTLED else ["it does not settle in one epoch"]

    verdict, reason = (FAILS, "; ".join(failed)) if failed else (HOLDS, "")
    if sample.lack:
        verdict, reason = OPEN, sample.lack
    elif untested:
        reason = "; ".join([*failed, "not tested: " + ", ".join(untested)])
    bounds = 100 * d.lower, 100 * d.upper
    return Finding(verdict, "; ".join(parts), sample.n, *bounds, "% of the matrix", reason)


def of_usual_length(last: Rows) -> Rows:
    """Of the last rows of curves those after a task's fewest epochs: a fine-tuning that goes on
    beyond the protocol's, as that of figure 4, is there to show how it settles."""
    return last[last.epoch == last.groupby("task").epoch.transform("min")]


def _longer(found: Rows) -> Finding:
    best = results.best_accuracies(found)
    ours = best[(best.arm == EPOCHS_BEFORE_PRUNING) & (best.position >= 1)]
    shorter = sorted(set(ours.position) - {ours.position.max()})
    if not shorter:
        return _no_rows("pruning after different numbers of epochs, two at least")
    usual = min(shorter, key=lambda epochs: abs(epochs - USUAL_EPOCHS))
    long = ours[ours.position == ours.position.max()]
    both = long.merge(ours[ours.position == usual], on=["task", "seed", "sparsity"])
    if both.empty:
        return _no_rows("one seed and task at two numbers of epochs")
    cells = both.assign(value=both.accuracy_x - both.accuracy_y)
    between = f" after {long.position.max():g} epochs less after {usual:g}"
    cells = cells[["task", "sparsity", "seed", "value"]]
    return _is_no_better(cells, cells[:0], between)


def _random(found: Rows) -> Finding:
    cells = _differences(found, RANDOM_PRUNING)
    if cells.empty:
        return _no_rows("accuracy of models pruned at random, and by magnitude")
    levels = {at: _sample(of) for at, of in _by_sparsity(cells)}
    overall = _sample(cells)
    better = [at for at, level in levels.items() if level.difference.is_gain and not level.lack]
    no_worse = [at for at, level in levels.items() if not level.difference.mean < 0]
    verdict, reason = OPEN, _WIDE
    if better:
        verdict, reason = FAILS, f"better at {_listed(better)}"
    elif no_worse:
        reason = f"no worse on average at {_listed(no_worse)}"
    elif overall.difference.is_loss:
        verdict, reason = HOLDS, ""
    levels = {at: level for at, level in levels.items() if level.sparsities}
    means = ", ".join(f"{percent(at)} {100 * s.difference.mean:+.1f}" for at, s in levels.items())
    return _finding(overall, f"{overall.points()}; by sparsity {means}", verdict, reason)


def _heads(found: Rows) -> Finding:
    heads = _measured(found, PRETRAINING, "heads", "pruned_share", PRUNE_PRETRAIN)
    heads = heads[(heads.sparsity > 0) & (heads.sparsity < 1)]
    if heads.empty:
        return _no_rows("pruned shares of attention heads")
    by_head = heads.groupby(["sparsity", "part"], as_index=False).value.mean()
    by_head["excess"] = by_head.value - by_head.sparsity
    worst = by_head.loc[by_head.excess.idxmax()]
    of_worst = heads[(heads.sparsity == worst.sparsity) & (heads.part == worst.part)]
    d = mean_difference((of_worst.value - of_worst.sparsity).reset_index(drop=True))
    bounds = (100 * d.lower, 100 * d.upper) if d.seeds > 1 else (math.nan, math.nan)
    verdict = HOLDS if worst.excess <= MUCH_MORE + _ROUNDING else FAILS
    statistic = (
        f"at most {100 * worst.excess:+.1f} points beyond the model's rate: {worst.part} "
        f"at {percent(float(worst.sparsity))}"
    )
    n = f"{heads.part.nunique()} heads × {_counted(heads.sparsity.nunique(), 'sparsity level')}"
    n += f", {_counted(heads.seed.nunique(), 'seed')}"
    return Finding(verdict, statistic, n, *bounds, "points, worst head")


def _weights(found: Rows) -> Finding:
    metrics = ["weight_mean", "weight_std", "weight_kurtosis"]
    dense = found[
        (found.arm == PRUNE_PRETRAIN) & (found.sparsity == 0) & (found.task == PRETRAINING)
    ]
    dense = rows.final(dense[(dense.split == "weights") & dense.metric.isin(metrics)])
    by_matrix = dense.pivot_table(index="part", columns="metric", values="value")
    by_matrix = by_matrix.reindex(columns=metrics).dropna(subset=metrics[:2])
    if by_matrix.empty:
        return _no_rows("means and standard deviations of the weights")
    centred = by_matrix.weight_mean.abs() <= MEAN_NEAR_ZERO * by_matrix.weight_std
    shares = {
        "mean near 0": float(centred.mean()),
        "std in range": float(by_matrix.weight_std.between(*STD_RANGE).mean()),
    }
    reasons = []
    kurtosis = by_matrix.weight_kurtosis.dropna()
    if len(kurtosis):
        shares["near normal"] = float((kurtosis.abs() < NEAR_NORMAL_KURTOSIS).mean())
    else:
        reasons.append("not tested: near normal")
    failed = [name for name, share in shares.items() if share < ALMOST_EVERY]
    if failed:
        reasons.insert(0, "too few: " + ", ".join(failed))
    statistic = ", ".join(f"{name}: {_share(share)}" for name, share in shares.items())
    low, high = by_matrix.weight_std.min(), by_matrix.weight_std.max()
    statistic += f" of the matrices; std from {low:.3f} to {high:.3f}"
    verdict = FAILS if failed else HOLDS
    n = f"n = {len(by_matrix)} matrices, {_counted(dense.seed.nunique(), 'seed')}"
    return Finding(verdict, statistic, n, reason="; ".join(reasons))


def _memory(found: Rows) -> Finding:
    parts = bert_parameters()
    base = parts["word embeddings"] / sum(parts.values())
    verdict = HOLDS if EMBEDDINGS_SHARE[0] <= base <= EMBEDDINGS_SHARE[1] else FAILS
    memory = _measured(found, PRETRAINING, "weights", "memory_bytes", PRUNE_PRETRAIN)
    by_seed = memory[memory.sparsity == 0].pivot_table(index="seed", columns="part", values="value")
    ours = "missing"
    if "word embeddings" in by_seed:
        ours = _share(float((by_seed["word embeddings"] / by_seed.sum(axis=1)).mean()))
    return Finding(
        verdict,
        f"BERT-Base's shape {_share(base)}; this study's model {ours}",
        f"counted, {sum(parts.values()):,} parameters of BERT-Base",
        reason="the verdict is about BERT-Base's shape, whatever the study",
    )


def bert_parameters(
    *,
    vocabulary: int = 30522,
    positions: int = 512,
    segments: int = 2,
    layers: int = 12,
    hidden: int = 768,
    intermediate: int = 3072,
) -> dict[str, int]:
    """Parameters of a BERT for pre-training by part, as a formula; the default is BERT-Base.

    Biases count with their matrices, and the word embeddings once: the MLM decoder is tied to
    them. All are of one size, so their shares are those of the memory.
    """
    square = hidden * hidden + hidden
    norm = 2 * hidden
    return {
        "word embeddings": vocabulary * hidden,
        "position and segment embeddings": (positions + segments) * hidden,
        "attention": layers * 4 * square,
        "feed-forward": layers * (2 * hidden * intermediate + intermediate + hidden),
        "pooler": square,
        "LayerNorm": norm + layers * 2 * norm,
        # The MLM head's dense layer, its LayerNorm and the decoder's bias, and the NSP head.
        "heads": square + norm + vocabulary + 2 * hidden + 2,
    }


def _between(cells: _Cells, low: float, high: float) -> _Cells:
    return cells[(cells.sparsity >= low) & (cells.sparsity <= high)]


def _by_sparsity(cells: _Cells) -> list[tuple[float, _Cells]]:
    return [(float(str(at)), of) for at, of in cells.groupby("sparsity")]


def _listed(sparsities: Iterable[float]) -> str:
    return ", ".join(percent(at) for at in sorted(sparsities))


def _joined(parts: Mapping[str, Sequence[float]]) -> str:
    return "; ".join(f"{what} at {_listed(at)}" for what, at in parts.items() if at)


def _share(share: float) -> str:
    if math.isnan(share):
        return "missing"
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


_UNLESS_ALONE = (
    " A gain counts where it is told beyond what the arm's epochs gain, of the same task and seed,"
    " with nothing pruned."
)

CLAIMS = (
    Claim(
        "C1",
        "Up to 30 to 40 % of the weights can go with no effect on pre-training loss or transfer.",
        "At every sparsity up to 30 % the lower bound of the change in accuracy from the dense "
        "model is above -1 point, and the pre-training loss rises by 5 % at most. It does not hold "
        "where an upper bound is below -1 point or the loss rises by more. The paper's own loss of "
        "accuracy is told from zero at 40 %, so that is not tested.",
        _low_range,
    ),
    Claim(
        "C2",
        "From 40 to 60 % deleting information explains the whole loss: taking the masks off "
        "changes nothing.",
        "A loss to explain is told from zero at the same points, and both bounds of what taking "
        "the masks off changes are within 1 point. It does not hold where both lie beyond 1 point "
        "on one side." + _UNLESS_ALONE,
        _middle,
    ),
    Claim(
        "C3",
        "From 70 % taking the masks off gives part of the accuracy back, more on the large tasks "
        "(MNLI, QQP) than on the small ones (SST-2, CoLA).",
        "The gain, and what large tasks gain more than small ones, are both told from zero; the "
        "second over seeds, or with one seed between cells (task × sparsity). It does not hold "
        "where the contrary of one is." + _UNLESS_ALONE,
        _high_range,
    ),
    Claim(
        "C4",
        "Models with information deleted reach the dense model's training loss and are still less "
        "accurate.",
        "From 40 % on at least half of the cells (task × sparsity) come within 0.01 nats of the "
        "dense model's training loss or below it, and in these cells a loss of accuracy is told "
        "from zero. It does not hold where a gain is." + _UNLESS_ALONE,
        _fitted_and_lost,
    ),
    Claim(
        "C5",
        "Under information deletion accuracy falls along a straight line with pre-training loss, "
        "with a slope that depends on the task.",
        "Every task's slope is negative with a two-sided 95 % interval below zero and r² of 0.8 or "
        "more, and one slope for all tasks is rejected at 5 %. It does not hold where a slope is "
        "told to rise, or a slope told from zero has less r².",
        _lines,
    ),
    Claim(
        "C6",
        "Features stay those of the unpruned model up to 40 % and diverge from there.",
        "1 − mean cosine grows at least twice as fast per unit of sparsity above 40 % as up to "
        "40 %, by the bounds over seeds, three at least; the two meet at the study's highest "
        "sparsity up to 40 %. It does not hold where the bounds say less.",
        _features,
        "a bend at about 40 % (its figure 2; its tables have no number)",
    ),
    Claim(
        "C7",
        "Pruning after fine-tuning is no better than pruning while pre-training.",
        "Over all shared sparsities the upper bound of what it gains is below 1 point. It does not "
        "hold where a gain is told from zero." + _UNLESS_ALONE,
        _after_finetuning,
    ),
    Claim(
        "C8",
        "Which weights are pruned changes little by fine-tuning: less than 6 % of the mask.",
        "At every sparsity, task and learning rate the upper bound over seeds, or the value of one "
        "seed, is below 6 %. It does not hold where a lower bound is above.",
        _masks,
        "less than 6 % at every sparsity, task and learning rate (its figure 3; its tables have no "
        "number)",
    ),
    Claim(
        "C9",
        "Fine-tuning moves weights by 0 to 4 % of the sort order on average, those of high "
        "magnitude least, and most of it in the first epoch.",
        "The mean over tasks and learning rates is below 4.5 %, the top tenth of starting "
        "positions moves less than all do, and the first of three epochs or more brings two "
        "thirds. Parts without rows are named and not tested.",
        _movement,
    ),
    Claim(
        "C10",
        "Fine-tuning for longer before pruning does not help.",
        "After the most epochs before pruning, less after the usual three or nearest to it, the "
        "upper bound of the change in accuracy is below 1 point. It does not hold where a gain is "
        "told from zero.",
        _longer,
        "no gain from 0 to 12 epochs at 60 % (its figure 3; its tables have no number)",
    ),
    Claim(
        "C11",
        "Pruning at random is worse than by magnitude at every sparsity.",
        "The mean difference is negative at every shared sparsity, and told from zero over all. It "
        "does not hold where a gain is told at one.",
        _random,
    ),
    Claim(
        "C12",
        "No attention head is pruned much more than the model.",
        "At every sparsity no head's share, its mean over seeds, is more than 10 points above the "
        "model's. Every head is counted, none is sampled: one seed is enough.",
        _heads,
        "none in its figure 4; its tables have no number",
    ),
    Claim(
        "C13",
        "Almost every matrix is near normal, with mean 0 and standard deviation 0.03 to 0.05.",
        "Three parts, each of at least 90 % of the matrices: the mean is within a tenth of the "
        "standard deviation from 0; the standard deviation is from 0.025 to 0.055; the excess "
        "kurtosis is within 1, where rows have it.",
        _weights,
    ),
    Claim(
        "C14",
        "Word embeddings are about 21 % of BERT-Base's memory.",
        "Counted from BERT-Base's shape their share is from 20.5 to 21.9 %.",
        _memory,
        "about 21 %",
    ),
)
"""What the paper claims, in our words. The texts of the rules say what the constants above say."""
