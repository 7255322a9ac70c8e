"""Claims C7, C10 and C11: other ways of pruning than by magnitude while pre-training."""

from __future__ import annotations

from bertprune.base.words import percent
from bertprune.evidence import scores
from bertprune.evidence.claims.claim import (
    FAILS,
    HOLDS,
    OPEN,
    POINT,
    SPELLED,
    UNLEARNED,
    USUAL_EPOCHS,
    Finding,
    claim,
    finding,
    levels,
    no_rows,
    points,
)
from bertprune.evidence.claims.gains import EPOCHS_ALONE, UNLESS_ALONE, Gains, gains
from bertprune.evidence.statistics import NO_EFFECT, by_sparsity, sample
from bertprune.protocol.arms import EPOCHS_BEFORE_PRUNING, PRUNE_AFTER_FINETUNE, RANDOM_PRUNING
from bertprune.protocol.rows import Rows, where


@claim(
    "C7",
    "Pruning after fine-tuning is no better than pruning while pre-training.",
    f"Over all shared sparsities the upper bound of what it gains is below {POINT}. It does not "
    "hold where a gain is told from zero." + UNLESS_ALONE,
)
def after_finetuning(found: Rows) -> Finding:
    after = gains(found, PRUNE_AFTER_FINETUNE)
    if after.cells.empty:
        return no_rows("accuracy of models pruned after fine-tuning, and while pre-training")
    return _is_no_better(after)


def _is_no_better(gained: Gains, what: str = "") -> Finding:
    """Whether the differences tell no gain of a point; one that is told beyond the control's
    refutes."""
    of, values = gained.sample, gained.cells.value
    d = of.difference
    means = values.groupby(gained.cells.task, sort=False).mean()
    by_task = ", ".join(f"{task} {100 * mean:+.2f}" for task, mean in means.items())
    return finding(
        of,
        f"{points(d)}{what}; at {levels(of.sparsities)}; by task {by_task}{gained.alone()}",
        ((values == 0).all(), OPEN, UNLEARNED),
        (gained.is_told(), FAILS, ""),
        (d.upper < NO_EFFECT, HOLDS, ""),
        (d.is_gain, OPEN, EPOCHS_ALONE),
    )


@claim(
    "C10",
    "Fine-tuning for longer before pruning does not help.",
    f"After the most epochs before pruning, less after the usual {SPELLED[USUAL_EPOCHS]} or "
    f"nearest to it, the upper bound of the change in accuracy is below {POINT}. It does not hold "
    "where a gain is told from zero.",
    "no gain from 0 to 12 epochs at 60 % (its figure 3; its tables have no number)",
)
def longer_before_pruning(found: Rows) -> Finding:
    ours = where(scores.best_accuracies(found), arm=EPOCHS_BEFORE_PRUNING)
    ours = ours[ours.position >= 1]
    longest = ours.position.max()
    shorter = sorted(set(ours.position) - {longest})
    if not shorter:
        return no_rows("pruning after different numbers of epochs, two at least")
    usual = min(shorter, key=lambda epochs: abs(epochs - USUAL_EPOCHS))
    long, short = (ours[ours.position == epochs] for epochs in (longest, usual))
    both = long.merge(short, on=["task", "seed", "sparsity"])
    if both.empty:
        return no_rows("one seed and task at two numbers of epochs")
    cells = both.assign(value=both.accuracy_x - both.accuracy_y)
    cells = cells[["task", "sparsity", "seed", "value"]]
    without_control = Gains(cells, cells[:0])
    return _is_no_better(without_control, f" after {longest:g} epochs less after {usual:g}")


@claim(
    "C11",
    "Pruning at random is worse than by magnitude at every sparsity.",
    "The mean difference is negative at every shared sparsity, and told from zero over all. It "
    "does not hold where a gain is told at one.",
)
def at_random(found: Rows) -> Finding:
    gained = gains(found, RANDOM_PRUNING)
    if gained.cells.empty:
        return no_rows("accuracy of models pruned at random, and by magnitude")
    by_level = {at: sample(of) for at, of in by_sparsity(gained.cells)}
    overall = gained.sample
    better = [at for at, level in by_level.items() if level.difference.is_gain and not level.lack]
    no_worse = [at for at, level in by_level.items() if not level.difference.mean < 0]
    means = ", ".join(
        f"{percent(at)} {100 * level.difference.mean:+.1f}"
        for at, level in by_level.items()
        if level.sparsities
    )
    return finding(
        overall,
        f"{points(overall.difference)}; by sparsity {means}",
        (better, FAILS, f"better at {levels(better)}"),
        (no_worse, OPEN, f"no worse on average at {levels(no_worse)}"),
        (overall.difference.is_loss, HOLDS, ""),
    )
