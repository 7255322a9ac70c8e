"""In what a study differs from the paper: what is said of it, and where that is from."""

import json
from pathlib import Path

import pandas as pd
import pytest

from bertprune.base import paths
from bertprune.data.glue import PAPER_TASKS, RELEASED
from bertprune.evidence import gathering, paper
from bertprune.evidence.paper.setup import differences
from bertprune.experiments import studies
from bertprune.experiments.studies import Study
from bertprune.model.shape import BERT_BASE

from .test_agreement import found_with


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without runs, with two studies of one file's text."""
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    folder = tmp_path / "notebooks" / "studies"
    folder.mkdir(parents=True)
    settings = "layers: 3, hidden_size: 10, heads: 1, vocabulary_size: 200, burn_in_steps: 7"
    settings += ", pretrain_steps: 5000, ramp_steps: 40, pretrain_learning_rate: 2.5e-4"
    (folder / "small.yaml").write_text(
        f"parameters: {{text: [owner/text], task_data: owner/tasks, {settings}}}\n"
        "grid: {sparsity: [0.0, 0.5], task: [cola, sst2], seed: [0]}\n"
        "arms: {prune_pretrain: {}, random_pruning: {ramp_steps: 30}, from_scratch: {}}\n"
    )
    (folder / "spoken.yaml").write_text(
        "parameters: {text: [lab], task_data: lab}\n"
        "grid: {sparsity: [0.0], task: [sst2], seed: [0]}\narms: {prune_pretrain: {}}\n"
    )
    return tmp_path


def publish(study: Study, **facts: object) -> None:
    file = paths.published(study.name)
    file.parent.mkdir(parents=True)
    file.write_text("")
    paths.published(study.name, ".json").write_text(json.dumps({"changes": [], **facts}))


def test_the_papers_facts() -> None:
    # 30,522 × 768 of words, 12 layers of 12 × 768², a pooler of 768².
    assert BERT_BASE.prunable == 30_522 * 768 + 145 * 768**2


def test_the_study_of_the_paper_differs_in_no_size() -> None:
    table = differences(studies.load("paper"), paper.rows())
    for line in (
        *("layers × hidden size", "prunable weights", "vocabulary"),
        *("sentence pairs a step × longest sequence", "steps while and after pruning"),
        *("learning rate of burn-in", "learning rate while and after pruning"),
        "learning rates of fine-tuning, the best kept",
    ):
        assert table["the paper"][line] == table.here[line], line
    assert table.here["steps of burn-in"].startswith("15,000, from ")


def test_a_task_of_ours_is_not_one_of_the_papers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RELEASED, "rte", RELEASED["cola"])
    lines = differences(studies.load("small"), paper.rows()).index
    ending = ": training examples"
    tasks = [line.removesuffix(ending) for line in lines if line.endswith(ending)]
    assert tasks == list(PAPER_TASKS)


def test_what_is_here_is_of_the_pruned_models(project: Path) -> None:
    here = differences(studies.load("small"), found_with(0, seeds=2)).here
    assert here["layers × hidden size"] == "3 × 10"
    assert here["prunable weights"] == f"{200 * 10 + 37 * 100:,}"
    assert here["vocabulary"] == "200"
    assert here["text"] == "owner/text" and here["source of the tasks"] == "owner/tasks"
    assert here["steps of burn-in"] == "7, from random weights"
    over = "5,000, pruned over the first"
    assert here["steps while and after pruning"] == f"{over} 40; {over} 30"
    assert here["learning rate while and after pruning"] == "2.5e-4"
    assert here["seeds"] == "2"
    # One that is not at hand, and one that the study does not have.
    assert here["cola: training examples"] == "not counted here"
    assert here["mnli: training examples"] == "–"


def test_what_differs_by_task_is_said_by_task(project: Path) -> None:
    file = paths.root() / "notebooks" / "studies" / "small.yaml"
    mended = file.read_text().replace("task: [cola, sst2]", "task: [cola, sst2, qqp]")
    file.write_text(mended + "exceptions: [{task: [sst2, qqp], set: {epochs: 1}}]\n")
    here = differences(studies.load("small"), paper.rows()).here
    assert here["epochs of fine-tuning"] == "cola: 3. sst2, qqp: 1"
    assert here["prunable weights"] == f"{200 * 10 + 37 * 100:,}"


@pytest.mark.parametrize(
    ("changes", "size", "burn_in"),
    [
        (
            ["burn_in_short_steps=6", "burn_in_short_tokens=16"],
            "3 × 10",
            "7, from random weights, 6 of them on pairs of 16 tokens",
        ),
        # One that is not at hand.
        (["model=owner/model"], "–", "7, from owner/model"),
    ],
)
def test_what_burn_in_began_with(
    project: Path, changes: list[str], size: str, burn_in: str
) -> None:
    here = differences(studies.load("small", changes), paper.rows()).here
    assert (here["layers × hidden size"], here["steps of burn-in"]) == (size, burn_in)


def test_paths_of_this_machine_are_not_shown(project: Path) -> None:
    changes = [f"text={project}/text.txt", f"task_data={project}/tasks"]
    table = differences(studies.load("small", changes), paper.rows())
    assert table.here["text"] == "text.txt" and table.here["source of the tasks"] == "tasks"
    assert str(project) not in table.to_string()


def test_examples_at_hand_are_counted(project: Path) -> None:
    folder = project / "tasks" / "cola"
    folder.mkdir(parents=True)
    for split, count in (("train", 1234), ("validation", 5)):
        table = pd.DataFrame({"sentence": ["one"] * count, "label": [0] * count})
        table.to_parquet(folder / f"{split}.parquet")
    study = studies.load("small", ["task_data=tasks"])
    assert differences(study, paper.rows()).here["cola: training examples"] == "1,234"
    (folder / "train.parquet").unlink()
    assert differences(study, paper.rows()).here["cola: training examples"] == "not counted here"


def test_a_study_without_a_pruned_model_in_a_lab_language(project: Path) -> None:
    here = differences(studies.load("spoken"), paper.rows()[:0]).here
    assert here["sst2: training examples"] == "700"
    assert here["text"] == "lab" and here["seeds"] == "0"


def test_published_rows_are_described_as_they_were_made(project: Path) -> None:
    study = studies.load("small")
    tasks = {"cola": {"majority": 0.7, "train examples": 4321, "dev examples": 9}}
    publish(study, changes=["text=data/one.parquet", "pretrain_steps=90"], tasks=tasks)
    here = differences(study, paper.rows()).here
    assert here["text"] == "data/one.parquet"
    assert here["steps while and after pruning"].startswith("90, ")
    assert here["cola: training examples"] == "4,321"


def test_a_study_that_was_changed_is_not_as_published(project: Path) -> None:
    tasks = {"cola": {"train examples": 4321}}
    publish(studies.load("small"), changes=["text=data/one.parquet"], tasks=tasks)
    here = differences(studies.load("small", ["task_data=owner/other"]), paper.rows()).here
    assert here["text"] == "owner/text" and here["source of the tasks"] == "owner/other"
    assert here["cola: training examples"] == "not counted here"


def test_the_readers_own_runs_are_no_seeds_of_the_study(project: Path) -> None:
    found = found_with(0, seeds=3).assign(own=lambda all: all.seed == 2)
    assert differences(studies.load("small"), found).here["seeds"] == "2"


def test_seeds_are_counted_by_arm_where_they_differ(project: Path) -> None:
    found = found_with(0, seeds=3)
    found = found[(found.arm == "prune_pretrain") | (found.seed == 0)]
    here = differences(studies.load("small"), found).here["seeds"]
    assert here.startswith("pruned while pre-training: 3; information deletion: 1; ")


def test_a_file_of_ones_own_is_not_the_published_study_of_its_name(project: Path) -> None:
    study = studies.load("small")
    publish(study)
    assert gathering.has_published(study)
    own = project / "own" / "small.yaml"
    own.parent.mkdir()
    own.write_text((project / "notebooks" / "studies" / "small.yaml").read_text())
    assert not gathering.has_published(studies.load(str(own)))
