"""Baselines: what a task gives away without any language."""

import pandas as pd
import pytest

from bertprune.data.glue import Task
from bertprune.data.tasks import TaskData
from bertprune.evidence.baselines import bag_of_words, majority, of_study
from bertprune.experiments import studies


def data(train: list[tuple[str, int]], dev: list[tuple[str, int]]) -> TaskData:
    task = Task("own", ("sentence",), ("no", "yes"))
    columns = ["sentence", "label"]
    return TaskData(task, pd.DataFrame(train, columns=columns), pd.DataFrame(dev, columns=columns))


def test_majority_is_of_the_dev_set() -> None:
    found = data([("a", 0)] * 9 + [("b", 1)], [("a", 1)] * 3 + [("b", 0)])
    assert majority(found) == 0.75


def test_a_bag_of_words_sees_words_and_not_their_order() -> None:
    words = data([("good .", 1), ("bad .", 0)] * 8, [("good !", 1), ("bad ?", 0)])
    assert bag_of_words(words) == 1.0
    order = data([("a b", 1), ("b a", 0)] * 8, [("a b", 1), ("b a", 0)])
    assert bag_of_words(order) == 0.5


def test_a_bag_of_words_sees_which_words_both_sentences_have() -> None:
    task = Task("own", ("one", "two"), ("no", "yes"))
    pairs = [(w, v, int(w == v)) for w in "abcdefgh" for v in "abcdefgh"]
    frame = pd.DataFrame(pairs * 3, columns=["one", "two", "label"])
    assert bag_of_words(TaskData(task, frame, frame)) > 0.95


@pytest.mark.parametrize("task", ["cola", "qnli"])
def test_the_lab_gives_nothing_away(task: str) -> None:
    study = studies.load("lab", [f"task={task}", "seed=0"])
    found = of_study(study)
    assert list(found.index) == [task]
    assert found["bag of words"][task] < found.majority[task] + 0.03
