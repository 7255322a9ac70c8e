"""Answers: which dev examples of a task each fine-tuned model of a study gets right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bertprune.base.errors import UserError
from bertprune.evidence import gathering
from bertprune.experiments.studies import Study
from bertprune.protocol.predictions import Predictions
from bertprune.protocol.rows import where

_OF_MODEL = ["arm", "sparsity", "seed", "bert", "position", "learning_rate", "run", "own"]


@dataclass(frozen=True, eq=False)
class Answers:
    """What R fine-tuned models answer on the E dev examples of a task, each after its last epoch
    at its best learning rate, as `scores.best_accuracies` has it.

    Columns of matrices are examples, by their index in the dev set as it is read.
    """

    task: str
    models: pd.DataFrame
    """(R lines, in the order of the matrices, indexed from 0) with the columns arm, sparsity, seed,
    bert, position, learning_rate, run and own, as `gathering.rows_of` has them. Models of another
    `bert` began with another BERT, and are independent; `position` is the epochs before pruning in
    the arm over these, NaN in others."""
    predicted: NDArray[np.uint16]
    """(R, E), numbers of classes."""
    labels: NDArray[np.uint16]
    """(E,)."""
    lengths: NDArray[np.uint16]
    """(E,), in tokens, as the model reads them."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """(R, E): whether the model gives the example's label; its mean over E is the accuracy."""
        return self.predicted == self.labels

    def right_of(self, **wanted: object) -> NDArray[np.bool_] | None:
        """(E,): the line of `right` of the one model with the `wanted` columns of `models`, as
        `right_of(arm=PRUNE_PRETRAIN, sparsity=0.5, seed=0)`; None where its predictions are not
        stored. Raises ValueError if there are several such models."""
        found = where(self.models, **wanted).index
        if len(found) > 1:
            raise ValueError(f"{len(found)} models of {self.task} have {wanted}")
        return self.right[found[0]] if len(found) else None


def answers_of(study: Study) -> dict[str, Answers | None]:
    """By task of the study's rows, what its models answer, of runs done here and of published ones
    (see `gathering.rows_of`); None for a task of which no run has its predictions stored: those of
    former editions have not. A model whose run has none is no line of `Answers.models`.

    Raises UserError without any rows, and if runs of a task have other dev sets.
    """
    of_runs = gathering.predictions_of(study)
    tasks = [run.parameters.task for run in study.plan() if hasattr(run.parameters, "task")]
    named = dict.fromkeys(name for of_run in tasks for name in of_run)
    found = answers_in(of_runs)
    return {task: found.get(task) for task in named}


def answers_in(found: Predictions) -> dict[str, Answers]:
    """By task, what the models answer whose predictions are `found`, with the columns of
    `gathering.predictions_of`. Raises UserError if runs of a task have other dev sets."""
    return {str(task): _answers(str(task), lines) for task, lines in found.groupby("task")}


def at_best_rate(found: Predictions) -> Predictions:
    """The lines of `found` of the learning rate at which a run is most accurate on a task, of
    equals the lowest: the paper's choice, as in `scores.best_accuracies`."""
    accuracies = [
        float(np.mean(predicted == labels))
        for predicted, labels in zip(found.predicted, found.labels, strict=True)
    ]
    ordered = found.assign(accuracy=accuracies).sort_values(
        ["accuracy", "learning_rate"], ascending=[True, False], kind="stable"
    )
    best = ordered.groupby(["run", "arm", "task"], sort=False).tail(1)
    return found.loc[best.index.sort_values()]


def check_examples(found: Predictions) -> None:
    """Raise UserError if the predictions of a task are not of one dev set."""
    first = found.iloc[0]
    for run, labels in zip(found.run, found.labels, strict=True):
        if not np.array_equal(labels, first.labels):
            raise UserError(
                f"{run} and {first.run} were evaluated on other dev sets of {first.task}: a study "
                "has one for each task"
            )


def _answers(task: str, found: Predictions) -> Answers:
    best = at_best_rate(found)
    check_examples(best)
    models = best[_OF_MODEL].reset_index(drop=True)
    predicted = np.stack(list(best.predicted))
    return Answers(task, models, predicted, best.labels.iloc[0], best.lengths.iloc[0])
