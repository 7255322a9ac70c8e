"""The paper's claims, each with its test.

A claim that does not hold is a result, not a mistake: a test gives a verdict and raises nothing.
Tests of one run read its rows; tests of a study read its summary (`results.summary`).
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from bertprune.rows import Rows, final

NO_EFFECT = 0.01
"""A difference in accuracy up to this, one point, counts as none."""

LEAST_SEEDS = 3
"""With fewer seeds a study's claims get no verdict."""


@dataclass(frozen=True)
class Verdict:
    """What a test said of a claim; `holds` is None where the data cannot say."""

    claim: str
    holds: bool | None
    evidence: str

    @property
    def word(self) -> str:
        return {True: "holds here", False: "does not hold here", None: "cannot be told"}[self.holds]

    def _repr_html_(self) -> str:
        claim, evidence = html.escape(self.claim), html.escape(self.evidence)
        return f"<p><strong>{claim}: {self.word}.</strong><br>{evidence}</p>"


class Verdicts(tuple[Verdict, ...]):
    """Several, shown below each other."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return "".join(verdict._repr_html_() for verdict in self)


# Tests of one run.


def learns(rows: Rows, vocabulary_size: int) -> Verdict:
    """Whether pre-training has brought the dev loss below that of guessing."""
    loss = _value(rows, "loss")
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
    start, end = _value(before, "loss"), _value(rows, "loss")
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
        "; ".join(
            f"{task}: dev accuracy {accuracy[task]:.3f}, most frequent label {share:.3f}"
            for task, share in majority.items()
        )
        + ".",
    )


def fits_training_set(rows: Rows) -> Verdict:
    """Whether a model does better on its training set than on the dev set, on every task."""
    dev = final(rows)
    dev = dev[(dev.split == "dev") & (dev.metric == "accuracy")]
    best = dev.loc[dev.groupby("task").value.idxmax()].set_index("task")
    train = {
        task: _value(
            rows[(rows.task == task) & (rows.learning_rate == rate)], "accuracy", split="train"
        )
        for task, rate in best.learning_rate.items()
    }
    return Verdict(
        "The model has room to fit the training set",
        all(train[task] > value for task, value in best.value.items()),
        "; ".join(
            f"{task}: accuracy {train[task]:.3f} in training, {value:.3f} on dev"
            for task, value in best.value.items()
        )
        + ".",
    )


def keeps_accuracy(before: Rows, rows: Rows) -> Verdict:
    """Whether accuracy after pruning is that of before, up to one point, on every task."""
    dense, pruned = _best_accuracy(before), _best_accuracy(rows)
    return Verdict(
        "Pruning the fine-tuned model costs no accuracy",
        all(pruned[task] >= dense[task] - NO_EFFECT for task in pruned),
        "; ".join(
            f"{task}: dense {dense[task]:.3f}, pruned {pruned[task]:.3f} "
            f"({pruned[task] - dense[task]:+.3f})"
            for task in pruned
        )
        + ".",
    )


# Tests of a study.


def of_study(summary: pd.DataFrame) -> Verdicts:
    """The paper's claims about accuracy against sparsity, tested on a study's summary.

    Means over seeds are compared, over all tasks and all sparsities that a claim speaks of.
    """
    return Verdicts(
        [
            _compare(
                summary,
                "Up to 40 % of the weights can go without effect on transfer",
                "prune_pretrain",
                None,
                lambda sparsity: 0.0 < sparsity <= 0.4,
                lambda differences: bool(differences.min() >= -NO_EFFECT),
            ),
            _compare(
                summary,
                "From 40 to 60 % deleting information explains the whole loss: "
                "taking the masks off does not help",
                "information_deletion",
                "prune_pretrain",
                lambda sparsity: 0.4 <= sparsity <= 0.6,
                lambda differences: bool(differences.mean() <= NO_EFFECT),
            ),
            _compare(
                summary,
                "From 70 % on taking the masks off gives part of the accuracy back",
                "information_deletion",
                "prune_pretrain",
                lambda sparsity: 0.7 <= sparsity < 1.0,
                lambda differences: bool(differences.mean() > 0),
            ),
            _compare(
                summary,
                "Pruning after fine-tuning is no better than pruning while pre-training",
                "prune_after_finetune",
                "prune_pretrain",
                lambda sparsity: 0.0 < sparsity < 1.0,
                lambda differences: bool(differences.mean() <= NO_EFFECT),
            ),
            _compare(
                summary,
                "Pruning at random is worse at every sparsity",
                "random_pruning",
                "prune_pretrain",
                lambda sparsity: 0.0 < sparsity < 1.0,
                lambda differences: bool((differences.groupby("sparsity").mean() < 0).all()),
            ),
        ]
    )


def _compare(
    summary: pd.DataFrame,
    claim: str,
    arm: str,
    other: str | None,
    is_meant: Callable[[float], bool],
    test: Callable[[pd.Series], bool],
) -> Verdict:
    """Test the differences in accuracy, `arm` − `other` (None: the dense model), at those
    sparsities that are meant."""
    single = summary[(summary.task != "average") & summary.sparsity.map(is_meant)]
    accuracy = single.set_index(["arm", "sparsity", "task"])
    if arm not in single.arm.array or (other is not None and other not in single.arm.array):
        return Verdict(claim, None, "The study has no runs at these sparsities.")
    one = accuracy.loc[arm]
    differences = one.difference if other is None else one.accuracy - accuracy.loc[other].accuracy
    differences = differences.dropna()
    if differences.empty:
        return Verdict(claim, None, "The study has no runs to compare with.")
    if (differences == 0).all():
        return Verdict(claim, None, "No difference anywhere: these models have learned nothing.")
    seeds = int(single[single.arm == arm].seeds.min())
    evidence = (
        f"Difference in accuracy, {100 * differences.mean():+.1f} points on average, from "
        f"{100 * differences.min():+.1f} to {100 * differences.max():+.1f} over "
        f"{len(differences)} points (task × sparsity) with {seeds} seed{'s' * (seeds > 1)} each."
    )
    if seeds < LEAST_SEEDS:
        few = f" A verdict takes {LEAST_SEEDS} seeds: fewer do not tell a difference from chance."
        return Verdict(claim, None, evidence + few)
    return Verdict(claim, test(differences), evidence)


def _value(rows: Rows, metric: str, split: str = "dev") -> float:
    """The final value of a metric that the rows have once."""
    last = final(rows)
    return float(last[(last.metric == metric) & (last.split == split)].value.item())


def _best_accuracy(rows: Rows) -> dict[str, float]:
    """By task, the best dev accuracy over learning rates after the last epoch."""
    last = final(rows)
    dev = last[(last.metric == "accuracy") & (last.split == "dev")]
    return {str(task): float(value) for task, value in dev.groupby("task").value.max().items()}
