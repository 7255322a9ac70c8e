"""Baselines: what can be had without any language."""

import math
from pathlib import Path

import pandas as pd
import pytest

from bertprune.data.glue import Task
from bertprune.data.tasks import TaskData
from bertprune.data.tokenizer import load_tokenizer
from bertprune.evidence.baselines import (
    bag_of_words,
    majority,
    of_burn_ins,
    of_study,
    word_frequencies,
)
from bertprune.evidence.scores import WORD_FREQUENCIES
from bertprune.experiments import studies
from bertprune.experiments.runs import Run
from bertprune.protocol.notebook_parameters import BurnIn, parse

from ..conftest import PROJECT
from ..finished import write_record


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


@pytest.fixture
def burnt_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A burn-in whose text has one word three times as often as the only other one."""
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    (tmp_path / "notebooks").symlink_to(PROJECT / "notebooks")
    document = "the the the .\n" * 40
    (tmp_path / "text.txt").write_text(f"{document}\n" * 400, encoding="utf-8")
    given = {"text": ["text.txt"], "tokenizer": "lab", "dev_share": 0.2, "max_length_tokens": 32}
    run = Run.of(parse(BurnIn, given | {"burn_in_steps": 10, "dev_examples": 200}))
    load_tokenizer("lab").save_pretrained(run.model_folder)
    write_record(run)
    return run


def test_what_word_frequencies_alone_give_is_their_entropy(burnt_in: Run) -> None:
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    # The masked words are a sample, and words that the text lacks count once each.
    assert word_frequencies(burnt_in) == pytest.approx(math.log(2) + entropy, abs=0.06)


def test_burn_ins_have_that_beside_them(burnt_in: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    study = studies.Study("mine", "Mine", "")
    monkeypatch.setattr(studies.Study, "plan", lambda self: [burnt_in])
    (level,) = of_burn_ins(study).itertuples()
    assert (level.run, level.metric, level.step) == (burnt_in.id, WORD_FREQUENCIES, 10)
    assert level.value == word_frequencies(burnt_in)
    # Those that pass a model on as it is have no curve to stand beside.
    without = Run.of(burnt_in.parameters.replace(burn_in_steps=0))
    monkeypatch.setattr(studies.Study, "plan", lambda self: [without])
    assert of_burn_ins(study).empty
