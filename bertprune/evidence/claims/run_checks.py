"""What the page of one run says of it: numbers, and no verdict that one run could not give.

The paper's claims are about many runs: a study's verdicts are those of `ledger`. Only what is
counted exactly has one here.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from bertprune.base.shown import Sentence
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


def learned(rows: Rows, vocabulary_size: int) -> Sentence:
    """How far pre-training has brought the dev loss below that of guessing."""
    loss, chance = _dev_loss(rows), math.log(vocabulary_size) + math.log(2)
    return Sentence(
        f"Dev loss {loss:.3f}; guessing among {vocabulary_size:,} words and two orders of "
        f"sentences costs ln {vocabulary_size} + ln 2 = {chance:.3f}."
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


def recovered(before: Rows, rows: Rows, sparsity: float) -> Sentence:
    """The dev loss before pruning and after recovery, or before and after training on where nothing
    was pruned."""
    start, end = _dev_loss(before), _dev_loss(rows)
    what = "pruning" if sparsity > 0 else "training on, with nothing pruned"
    return Sentence(f"Dev loss {start:.3f} before {what}, {end:.3f} after it ({end - start:+.3f}).")


def beside_majority(rows: Rows, labels: Mapping[str, pd.Series]) -> Sentence:
    """What fine-tuning gives beside the most frequent label of the dev set, on every task, with the
    standard error that the number of examples alone gives.

    `labels` are those of the dev set, by task.
    """
    said = []
    for task, accuracy in _best_accuracy(rows).items():
        of = labels[task]
        error = math.sqrt(accuracy * (1 - accuracy) / len(of))
        most = of.value_counts(normalize=True).max()
        said.append(
            f"{task}: dev accuracy {accuracy:.3f} ± {error:.3f} ({len(of):,} examples), most "
            f"frequent label {most:.3f}"
        )
    return Sentence("; ".join(said) + ".")


def on_training_set(rows: Rows) -> Sentence:
    """Accuracy on the training set and on the dev set, on every task."""
    last = where(final(rows), metric=Metric.ACCURACY).set_index(["task", "learning_rate"])
    train = last[last.split == Split.TRAIN].value
    dev = last[last.split == Split.DEV].value
    best = dev.groupby("task").idxmax()
    trained, measured = ({str(task): of[at] for task, at in best.items()} for of in (train, dev))
    return Sentence(_by_task("accuracy {:.3f} in training, {:.3f} on dev", trained, measured))


def before_and_after(before: Rows, rows: Rows) -> Sentence:
    """Dev accuracy before pruning and after recovery, on every task."""
    dense, pruned = _best_accuracy(before), _best_accuracy(rows)
    return Sentence(_by_task("before {:.3f}, after {:.3f} ({:+.3f})", dense, pruned))


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
