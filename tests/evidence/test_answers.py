"""Answers: the models of a study by dev example, at the rates that their scores are of."""

import math

import numpy as np
import pytest

from bertprune.base.errors import UserError
from bertprune.evidence import answers, gathering, scores
from bertprune.experiments import studies
from bertprune.protocol import predictions
from bertprune.protocol.predictions import Predictions

from .. import made_up

LABELS = [0, 1, 0, 1]


def line(predicted: list[int], run: str = "a", rate: float = 1e-3, **other: object) -> Predictions:
    """What a run predicts on CoLA."""
    examples = {"predicted": predicted, "labels": LABELS, "lengths": [5, 6, 7, 8]}
    point = {"arm": "prune_pretrain", "task": "cola", "sparsity": 0.5, "seed": 0}
    place = {**point, "learning_rate": rate, **other}
    table = predictions.of({**examples, "epoch": 3, **other}, place)
    return table.assign(run=run, position=math.nan, bert="lab-seed0", own=False)


@pytest.mark.parametrize(
    ("by_rate", "best"),
    [
        ({1e-3: [0, 1, 0, 0], 5e-4: [0, 1, 0, 1]}, 5e-4),
        ({1e-3: [0, 1, 0, 1], 5e-4: [0, 1, 0, 0]}, 1e-3),
        # Of equals the lowest, in whichever order they stand.
        ({1e-3: [0, 1, 0, 0], 5e-4: [0, 1, 1, 1], 8e-4: [0, 0, 0, 0]}, 5e-4),
        ({5e-4: [0, 1, 0, 0], 1e-3: [0, 1, 1, 1]}, 5e-4),
    ],
)
def test_the_rate_is_that_of_the_score(by_rate: dict[float, list[int]], best: float) -> None:
    found = predictions.join([line(given, rate=rate) for rate, given in by_rate.items()])
    (rate,) = answers.at_best_rate(found).learning_rate
    accuracy = {rate: float(np.mean(np.equal(given, LABELS))) for rate, given in by_rate.items()}
    rows = made_up.made(
        {(rate, 3): value for rate, value in accuracy.items()},
        "learning_rate epoch",
        arm="prune_pretrain",
        task="cola",
        split="dev",
        metric="accuracy",
    )
    assert rate == best == scores.best_accuracies(rows).learning_rate.item()


def test_models_stand_in_the_order_of_the_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    over_epochs = line([1, 1, 1, 1], "b", arm="epochs_before_pruning").assign(position=4.0)
    found = [line([0, 1, 0, 0]), line([0, 0, 0, 0], "b", sparsity=0.9), over_epochs]
    monkeypatch.setattr(gathering, "predictions_of", lambda study: predictions.join(found))
    of = answers.answers_of(studies.load("ci"))
    # No run of the other task has its predictions.
    assert list(of) == ["cola", "sst2"] and of["sst2"] is None
    cola = of["cola"]
    assert cola is not None
    assert cola.labels.tolist() == LABELS and cola.lengths.tolist() == [5, 6, 7, 8]
    assert cola.models.run.tolist() == ["a", "b", "b"] and cola.right.shape == (3, 4)
    right = cola.right_of(arm="prune_pretrain", sparsity=0.5, seed=0)
    assert right is not None and right.tolist() == [True, True, True, False]
    before = cola.right_of(position=4.0)
    assert before is not None and before.tolist() == [False, True, False, True]
    assert cola.right_of(sparsity=0.7) is None
    with pytest.raises(ValueError, match="2 models of cola have"):
        cola.right_of(arm="prune_pretrain")


def test_a_task_has_one_dev_set(monkeypatch: pytest.MonkeyPatch) -> None:
    other = line([0, 1, 0, 0], "b", labels=[0, 1, 1, 1])
    found = predictions.join([line([0, 1, 0, 0]), other])
    monkeypatch.setattr(gathering, "predictions_of", lambda study: found)
    with pytest.raises(UserError, match="b and a were evaluated on other dev sets of cola"):
        answers.answers_of(studies.load("ci"))
