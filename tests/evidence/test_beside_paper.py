"""The study beside the paper: what is known of made-up drops, and of the paper beside itself."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import beside_paper, paper, results
from bertprune.evidence.beside_paper import agreement, cells, differences, overall, shared_order
from bertprune.evidence.claims.ledger import numbers
from bertprune.experiments import studies
from bertprune.experiments.studies import Study
from bertprune.protocol import rows
from bertprune.protocol.arms import ARMS, COMPARED
from bertprune.protocol.rows import Rows

TASKS = ["mnli", "qqp", "qnli", "sst2", "cola"]


Place = tuple[str, float, str]


def table1(drops: Mapping[Place, tuple[float, float]]) -> pd.DataFrame:
    """A table as the ledger has it, of drops in points: by place the paper's and ours."""
    lines = [
        (*place, "accuracy", theirs / 100, ours / 100) for place, (theirs, ours) in drops.items()
    ]
    names = ["arm", "sparsity", "task", "quantity", "paper_drop", "our_drop"]
    return pd.DataFrame(lines, columns=names)


def along(
    task: str, theirs: Sequence[float], ours: Sequence[float]
) -> dict[Place, tuple[float, float]]:
    """Drops of one arm on a task at 10 %, 20 %, and so on."""
    pairs = enumerate(zip(theirs, ours, strict=True), start=1)
    return {("prune_pretrain", at / 10, task): pair for at, pair in pairs}


def line(made: pd.DataFrame, task: str) -> Any:
    """What a page says of the arm `prune_pretrain` on a task."""
    lines = agreement(made).reset_index()
    of_task = lines[(lines.arm == ARMS["prune_pretrain"].words) & (lines.task == task)]
    return of_task.squeeze()


MADE = table1(along("sst2", [1, 2, 3, 4], [1.5, 3, 2.5, 14]) | along("cola", [5, 6, 7], [0, 0, 0]))


def found_with(change: float, seeds: int = 1) -> Rows:
    """The paper's rows, their pruned models worse by `change` times one more than the seed."""
    parts = []
    for seed in range(seeds):
        part = paper.rows().query("seed == 0").assign(seed=seed)
        pruned = (part.metric == "accuracy") & (part.sparsity > 0)
        part.loc[pruned, "value"] -= change * (seed + 1)
        parts.append(part)
    return rows.join(parts)


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
    file.with_suffix(".json").write_text(json.dumps({"changes": [], **facts}))


# In what they agree.


def test_the_correlation_is_of_ranks() -> None:
    """Ranks 1 2 3 4 against 1 3 2 4: 1 − 6 · 2 / (4 · 15) = 0.8."""
    found = line(MADE, "sst2")
    assert found["rank correlation"] == "+0.80" and found["cells"] == 4


def test_differences_of_drops_are_in_points() -> None:
    found = line(MADE, "sst2")
    # 0.5, 1, 0.5 and 10, of which three are no more than one point.
    assert found["mean difference (points)"] == "3.0" and found["within 1 point"] == 3


def test_where_one_is_constant_there_is_no_order() -> None:
    found = line(MADE, "cola")
    assert found["rank correlation"] == "–"
    assert found["mean difference (points)"] == "6.0" and found["within 1 point"] == 0


def test_two_cells_have_no_order() -> None:
    made = table1(along("sst2", [1, 2], [1, 2]))
    assert set(agreement(made)["rank correlation"]) == {"–"}
    assert math.isnan(overall(made).correlation)
    assert overall(made).in_words() == (
        "2 of 2 cells are within 1 point of the paper's drop; of a study that loses nothing "
        "anywhere 1 would be."
    )


def test_averages_do_not_count_among_all_cells() -> None:
    whole = MADE.iloc[:4]
    more = pd.concat([whole, whole.assign(task="average", our_drop=0.9)])
    for of in (whole, more):
        assert line(of, "all cells")["cells"] == 4
        together = overall(of)
        assert (together.cells, together.near) == (4, 3)
        assert together.correlation == pytest.approx(0.8)
    assert line(more, "average")["within 1 point"] == 0


def test_dense_models_and_missing_numbers_are_no_cells() -> None:
    made = table1(
        {
            ("prune_pretrain", 0.0, "sst2"): (0, 0),
            ("prune_pretrain", 0.5, "sst2"): (1, math.nan),
            ("prune_pretrain", 0.9, "sst2"): (2, 3),
        }
    )
    assert cells(made).values.tolist() == [["prune_pretrain", 0.9, "sst2", 2.0, 3.0]]


def test_what_is_equal_in_digits_is_equal() -> None:
    """83.1 − 81.0 and 78.5 − 76.4 are 2.1 each, and 70 − 69 is one, but not as floats."""
    drops = [100 * (0.831 - 0.81), 100 * (0.785 - 0.764), 100 * (0.785 - 0.764)]
    assert drops[0] != drops[1]
    assert line(table1(along("sst2", [1, 2, 3], drops)), "sst2")["rank correlation"] == "–"
    assert 100 * (0.7 - 0.69) > 1
    assert overall(table1(along("sst2", [0], [100 * (0.7 - 0.69)]))).near == 1


def test_the_paper_agrees_with_itself() -> None:
    compared = numbers(paper.rows())["table1"]
    table = agreement(compared)
    # Four arms at nine sparsities on five tasks, and their averages.
    assert len(table) == 4 * (5 + 1 + 1)
    assert list(table.loc["information deletion"].index) == [*TASKS, "average", "all cells"]
    assert list(table.index.unique("arm")) == [
        ARMS[arm].words for arm in COMPARED if arm != "from_scratch"
    ]
    assert set(table["rank correlation"]) == {"+1.00"}
    assert set(table["mean difference (points)"]) == {"0.0"}
    assert (table["cells"] == table["within 1 point"]).all()
    assert table["cells"].tolist() == [*[9] * 6, 45] * 4
    together = overall(compared)
    assert (together.cells, together.near) == (180, 180)
    assert together.correlation == pytest.approx(1)
    order = shared_order(compared)
    assert len(order) == 9 and set(order["rank correlation"]) == {"+1.00"}
    assert set(order.arms) == {4} and set(order.tasks) == {5}


def test_a_drop_that_is_larger_all_over_has_the_same_order() -> None:
    compared = numbers(found_with(0.02))["table1"]
    assert set(agreement(compared)["mean difference (points)"]) == {"2.0"}
    together = overall(compared)
    assert (together.cells, together.near) == (180, 0)
    assert together.correlation == pytest.approx(1)


def test_cells_are_means_of_those_of_seeds() -> None:
    found = found_with(0.01, seeds=3)
    place = ["arm", "sparsity", "task"]
    by_seed = beside_paper.cells_by_seed(found)
    assert len(by_seed) == 3 * 4 * 9 * 6
    means = by_seed.groupby(place, as_index=False).ours.mean()
    both = cells(numbers(found)["table1"]).merge(means, on=place)
    assert both.ours_x.to_numpy() == pytest.approx(both.ours_y.to_numpy())
    # The mean of 1, 2 and 3 points more.
    assert (both.ours_x - both.paper).to_numpy() == pytest.approx(2)


def test_the_order_of_arms_is_over_the_tasks_that_all_have() -> None:
    arms = ["prune_pretrain", "information_deletion", "random_pruning"]
    drops: dict[Place, tuple[float, float]]
    drops = {(arm, 0.5, "sst2"): (at, -at) for at, arm in enumerate(arms, start=1)}
    # Without it in one arm, cola would turn the order of the others round.
    drops |= {(arm, 0.5, "cola"): (9.0 - at, 100.0 * at) for at, arm in enumerate(arms[:2])}
    drops |= {(arm, 0.9, "sst2"): (at, at) for at, arm in enumerate(arms[:2])}
    order = shared_order(table1(drops))
    assert order.to_numpy().tolist() == [[3, 1, "-1.00"], [2, 1, "–"]]


@pytest.mark.parametrize("lacks", ["task", "dense model", "rows"])
def test_nothing_to_compare_is_said(lacks: str) -> None:
    found = paper.rows()
    if lacks == "task":
        found = found.assign(task=found.task.where(found.task == rows.PRETRAINING, "other"))
    elif lacks == "dense model":
        found = found[found.sparsity > 0]
    else:
        found = found[:0]
    compared = numbers(found)["table1"]
    for table in (agreement, shared_order):
        with pytest.raises(UserError, match="no accuracy on a task of the paper"):
            table(compared)
    assert overall(compared).in_words().startswith("Nothing to compare: the study has no")
    assert beside_paper.cells_by_seed(found).empty


def test_overall_says_its_numbers() -> None:
    said = overall(MADE).in_words()
    assert said.startswith(
        "3 of 7 cells are within 1 point of the paper's drop; of a study that loses nothing "
        "anywhere 1 would be. Over"
    )
    assert said in overall(MADE)._repr_html_().replace("&#x27;", "'")


# In what they differ.


def test_the_papers_facts() -> None:
    # 30,522 × 768 of words, 12 layers of 12 × 768², a pooler of 768².
    assert beside_paper.BERT_BASE.prunable == 30_522 * 768 + 145 * 768**2
    assert list(PAPER_TASKS) == TASKS


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


def test_short_pairs_of_burn_in_are_said(project: Path) -> None:
    changes = ["burn_in_short_steps=6", "burn_in_short_tokens=16"]
    here = differences(studies.load("small", changes), paper.rows()).here
    said = "7, from random weights, 6 of them on pairs of 16 tokens"
    assert here["steps of burn-in"] == said


def test_a_shape_that_is_not_known_is_a_dash(project: Path) -> None:
    here = differences(studies.load("small", ["model=owner/model"]), paper.rows()).here
    assert here["layers × hidden size"] == here["vocabulary"] == "–"
    assert here["steps of burn-in"] == "7, from owner/model"


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
    assert results.has_published(study)
    own = project / "own" / "small.yaml"
    own.parent.mkdir()
    own.write_text((project / "notebooks" / "studies" / "small.yaml").read_text())
    assert not results.has_published(studies.load(str(own)))
