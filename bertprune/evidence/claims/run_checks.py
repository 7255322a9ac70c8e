"""What a run can say of the paper's claims alone; a study's verdicts are those of `ledger`.

A claim that does not hold is a result, not a mistake: a test gives a verdict and raises nothing.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from bertprune.evidence.statistics import NO_EFFECT
from bertprune.protocol.rows import Metric, Rows, Split, final, where


@dataclass(frozen=True)
class Verdict:
    """What a test said of a claim."""

    claim: str
    holds: bool
    evidence: str

    def _repr_html_(self) -> str:
        claim, evidence = html.escape(self.claim), html.escape(self.evidence)
        word = "holds here" if self.holds else "does not hold here"
        return f"<p><strong>{claim}: {word}.</strong><br>{evidence}</p>"


def learns(rows: Rows, vocabulary_size: int) -> Verdict:
    """Whether pre-training has brought the dev loss below that of guessing."""
    loss = _dev_loss(rows)
    chance = math.log(vocabulary_size) + math.log(2)
    return Verdict(
        "The model knows more of its text than nothing",
        loss < chance,
        f"Dev loss {loss:.3f}; guessing among {vocabulary_size:,} words and two orders of "
        f"sentences costs ln {vocabulary_size} + ln 2 = {chance:.3f}.",
    )


def is_exactly_sparse(matrices: pd.DataFrame, sparsity: float, scope: str) -> Verdict:
    """Whether exactly round(sparsity · n) weights are zero: of each matrix, or where `scope` is
    global of all together (see `tables.sparsity_by_matrix`)."""
    counted = matrices if scope == "matrix" else matrices[["weights", "pruned"]].sum().to_frame().T
    wrong = int((counted.pruned != (sparsity * counted.weights).round()).sum())
    return Verdict(
        "Exactly as many weights are zero as was asked for",
        wrong == 0,
        f"{matrices.pruned.sum():,} of {matrices.weights.sum():,} prunable weights in "
        f"{len(matrices)} matrices are zero; the count is off in {wrong}.",
    )


def recovers(before: Rows, rows: Rows) -> Verdict:
    """Whether pre-training after pruning brings the dev loss back to where it was before."""
    start, end = _dev_loss(before), _dev_loss(rows)
    return Verdict(
        "Training on makes up for the weights that were pruned",
        end <= start,
        f"Dev loss {start:.3f} before pruning, {end:.3f} after it ({end - start:+.3f}).",
    )


def beats_majority(rows: Rows, labels: Mapping[str, pd.Series]) -> Verdict:
    """Whether fine-tuning gives more than the most frequent label of the dev set, on every task.

    `labels` are those of the dev set, by task.
    """
    majority = {task: of.value_counts(normalize=True).max() for task, of in labels.items()}
    accuracy = _best_accuracy(rows)
    return Verdict(
        "What pre-training left transfers",
        all(accuracy[task] > share for task, share in majority.items()),
        _by_task("dev accuracy {:.3f}, most frequent label {:.3f}", accuracy, majority),
    )


def fits_training_set(rows: Rows) -> Verdict:
    """Whether a model does better on its training set than on the dev set, on every task."""
    last = where(final(rows), metric=Metric.ACCURACY).set_index(["task", "learning_rate"])
    train = last[last.split == Split.TRAIN].value
    dev = last[last.split == Split.DEV].value
    best = dev.groupby("task").idxmax()
    trained, measured = ({str(task): of[at] for task, at in best.items()} for of in (train, dev))
    return Verdict(
        "The model has room to fit the training set",
        all(trained[task] > value for task, value in measured.items()),
        _by_task("accuracy {:.3f} in training, {:.3f} on dev", trained, measured),
    )


def keeps_accuracy(before: Rows, rows: Rows) -> Verdict:
    """Whether accuracy after pruning is that of before, up to one point, on every task."""
    dense, pruned = _best_accuracy(before), _best_accuracy(rows)
    return Verdict(
        "Pruning the fine-tuned model costs no accuracy",
        all(pruned[task] >= dense[task] - NO_EFFECT for task in pruned),
        _by_task("dense {:.3f}, pruned {:.3f} ({:+.3f})", dense, pruned),
    )


def _by_task(words: str, one: Mapping[str, float], two: Mapping[str, float]) -> str:
    """What `words` say of each task that `two` has: of the one, the two, and how they differ."""
    said = (f"{t}: {words.format(one[t], value, value - one[t])}" for t, value in two.items())
    return "; ".join(said) + "."


def _dev_loss(rows: Rows) -> float:
    """The final one, which the rows have once."""
    return float(where(final(rows), split=Split.DEV, metric=Metric.LOSS).value.item())


def _best_accuracy(rows: Rows) -> dict[str, float]:
    """By task, the best dev accuracy over learning rates after the last epoch."""
    dev = where(final(rows), split=Split.DEV, metric=Metric.ACCURACY)
    return {str(task): float(value) for task, value in dev.groupby("task").value.max().items()}
