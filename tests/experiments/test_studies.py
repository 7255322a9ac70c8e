"""Studies: what they plan, and what is refused."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.data.documents import documents
from bertprune.data.tasks import load_task
from bertprune.experiments import studies
from bertprune.experiments.execution import chapters_of, view_of
from bertprune.experiments.runs import Run, lineage
from bertprune.lab.language import language
from bertprune.model import loading
from bertprune.protocol import notebook_parameters
from bertprune.protocol.arms import ARMS, FROM_SCRATCH, arm_of, seed_of
from bertprune.protocol.notebook_parameters import (
    BurnIn,
    Finetune,
    InformationDeletion,
    PruneAfterFinetune,
    PrunePretrain,
)
from bertprune.protocol.views import View


def _write(tmp_path: Path, content: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    return str(file)


MINE = """
title: Mine
parameters: {text: ['lab:0:300'], task_data: lab, burn_in_learning_rate: 1e-4}
grid: {sparsity: [0.0, 0.5], task: [sst2]}
arms: {prune_pretrain: {}, random_pruning: {}}
"""


def test_the_papers_study_has_the_papers_numbers() -> None:
    study = studies.load("paper")
    point = {"task": "mnli", "seed": 0}
    run = study.run("prune_pretrain", {**point, "sparsity": 0.6}).parameters
    assert isinstance(run, Finetune)
    assert (run.pretrain_steps, run.ramp_steps, run.burn_in_steps) == (100_000, 10_000, 15_000)
    assert run.learning_rates == (2e-5, 3e-5, 4e-5, 5e-5)
    assert (run.epochs, run.batch_size, run.pretrain_learning_rate) == (3, 32, 2e-5)
    for sparsity, epochs, recovery in ((0.6, 13, 5), (0.7, 15, 5), (0.8, 15, 7), (0.9, 15, 7)):
        deleted = study.run("information_deletion", {**point, "sparsity": sparsity}).parameters
        assert isinstance(deleted, InformationDeletion) and deleted.epochs == epochs
        after = study.run("prune_after_finetune", {**point, "sparsity": sparsity}).parameters
        assert isinstance(after, PruneAfterFinetune)
        assert (after.epochs, after.recovery_epochs) == (3, recovery)
    assert study.grid["sparsity"] == [round(0.1 * n, 1) for n in range(10)]
    assert set(study.grid["task"]) == {"mnli", "qqp", "qnli", "sst2", "cola"}


def test_the_paper_as_run_has_the_same_points_by_other_rates() -> None:
    local = ["model=", "text=[lab]", "task_data=lab"]
    written, as_run = (studies.load(name, local) for name in ("paper", "paper-as-run"))
    assert as_run.grid == written.grid and len(as_run.plan()) == len(written.plan())
    point = {"task": "qqp", "seed": 0, "sparsity": 0.9}
    other = as_run.run("prune_after_finetune", point).parameters
    assert isinstance(other, PruneAfterFinetune)
    assert other.recovery_decay_ends_epochs[-1] == other.epochs + other.recovery_epochs == 10
    assert other.pretrain_decay_ends_steps == tuple(5000 * k for k in range(1, 20))
    assert other.pretrain_decay_ends_steps[-1] == other.pretrain_steps
    random = as_run.run("random_pruning", point).parameters
    assert isinstance(random, Finetune) and random.ramp_steps == 0


def test_a_plan_has_each_run_once_and_after_what_it_needs(tmp_path: Path) -> None:
    plan = studies.load(_write(tmp_path, MINE)).plan()
    # Burn-in; dense, pruned and randomly pruned; each of the three fine-tuned.
    assert [run.notebook for run in plan] == ["burn_in"] + ["prune_pretrain"] * 3 + ["finetune"] * 3
    assert len({run.id for run in plan}) == len(plan)
    for position, run in enumerate(plan):
        assert {upstream.id for upstream in lineage(run)} <= {r.id for r in plan[:position]}


def test_a_part_of_a_study_is_executed_live(tmp_path: Path) -> None:
    seeds = MINE.replace("task: [sst2]", "task: [sst2], seed: [0, 1, 2]")
    study = studies.load(_write(tmp_path, seeds + "live: {seed: [0, 1], sparsity: 0.5}"))
    part = study.live_part()
    tuned = [run.parameters for run in part.runs_of("prune_pretrain")]
    assert [p.seed for p in tuned if isinstance(p, Finetune)] == [0, 1]
    # With what they need: the dense models, and those pruned.
    assert set(part.plan()) < set(study.plan())
    assert part.command("sweep") == f"{study.command('sweep')} --live"
    whole = studies.load(_write(tmp_path, seeds))
    assert whole.live_part().plan() == whole.plan()
    assert whole.live_part().command("sweep") == whole.command("sweep")


def test_berts_are_dealt_out_to_the_seeds(tmp_path: Path) -> None:
    dealt = MINE.replace("task: [sst2]", "task: [sst2], seed: [0, 1, 2, 3, 4], model: [lab, there]")
    file = _write(tmp_path, dealt)
    study = studies.load(file)

    tuned = [run.parameters for run in study.runs_of("prune_pretrain")]
    assert {(p.seed, p.model) for p in tuned if isinstance(p, Finetune)} == {
        (0, "lab"),
        (1, "there"),
        (2, "lab"),
        (3, "there"),
        (4, "lab"),
    }
    assert len(tuned) == 2 * 5
    # Of another BERT it has all its seeds.
    other = studies.load(file, ["model=elsewhere"])
    assert {run.parameters.model for run in other.runs_of("random_pruning")} == {"elsewhere"}
    with pytest.raises(UserError, match="model must be"):
        studies.load(file, ["model=[3]"]).plan()


def test_burn_ins_are_dealt_out_to_the_seeds(tmp_path: Path) -> None:
    dealt = MINE.replace("task: [sst2]", "task: [sst2], seed: [0, 1, 2], burn_in_seed: [10, 20]")
    dealt = dealt.replace("random_pruning: {}", "random_pruning: {}, from_scratch: {}")
    study = studies.load(_write(tmp_path, dealt))
    tuned = [run.parameters for run in study.runs_of("prune_pretrain")]
    seeds = {(p.seed, p.burn_in_seed) for p in tuned if isinstance(p, Finetune)}
    assert seeds == {(0, 10), (1, 20), (2, 10)} and len(tuned) == 2 * 3
    assert (
        sum(run.notebook == "burn_in" and run.parameters.burn_in_steps > 0 for run in study.plan())
        == 2
    )
    # What makes an arm stays: never pre-trained, each seed has random weights of its own.
    scratch = [run.parameters for run in study.runs_of("from_scratch")]
    assert {p.burn_in_seed for p in scratch} == {0, 1, 2}


def test_the_seeds_of_the_lab_are_dealt_out_evenly() -> None:
    study = studies.load("lab")
    assert len(study.grid["sparsity"]) == 10 and len(study.grid["seed"]) >= 16
    tuned = [run.parameters for run in study.runs_of("prune_pretrain")]
    on = {p.seed: p.model for p in tuned if isinstance(p, Finetune)}
    seeds_of = [sum(model == one for one in on.values()) for model in set(on.values())]
    assert len(seeds_of) >= 4 and len(set(seeds_of)) == 1
    # Two halves of the seeds have all BERTs each.
    halves = [
        {model for seed, model in on.items() if (seed < 8) is first} for first in (True, False)
    ]
    assert halves[0] == halves[1]


def test_numbers_with_exponents_are_numbers(tmp_path: Path) -> None:
    study = studies.load(_write(tmp_path, MINE))
    assert study.parameters["burn_in_learning_rate"] == 1e-4
    assert studies.parse_value("1e-4") == 1e-4
    assert studies.parse_value("[2e-5, 3E-5, -1.5e3]") == [2e-5, 3e-5, -1500.0]
    assert studies.parse_value("sst2") == "sst2"
    assert studies.parse_setting("model=") == ("model", "")


def test_settings_change_parameters_and_grid(tmp_path: Path) -> None:
    study = studies.load(
        _write(tmp_path, MINE), ["sparsity=[0.3]", "task=cola", "epochs=7", "text=[a b]"]
    )
    assert study.grid == {"sparsity": [0.3], "task": ["cola"]}
    assert study.parameters["epochs"] == 7 and study.parameters["text"] == ["a b"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("title:", "tilte:"), "unknown key 'tilte': did you mean 'title'?"),
        (("sparsity:", "sparsities:"), "grid has no key 'sparsities': did you mean 'sparsity'?"),
        (("random_pruning", "random"), "unknown arm 'random': did you mean 'random_pruning'?"),
        (("burn_in_learning_rate", "burn_in_lr"), "unknown parameter 'burn_in_lr'"),
        (("[0.0, 0.5]", "0.5"), "grid sparsity must be a list of values, got 0.5"),
        (("{prune_pretrain: {}, random_pruning: {}}", "{}"), "arms is empty"),
        (("title: Mine", "title: [Mine"), "is not valid YAML"),
        (("prune_pretrain: {}", "prune_pretrain: 3"), "parameters must be a mapping, got 3"),
        (("title: Mine", "exceptions: [{sparsity: 0.5, epochs: 2}]"), "an exception has the keys"),
        (("title: Mine", "exceptions: [{set: {epoch: 2}}]"), "unknown parameter 'epoch'"),
        (("title: Mine", "exceptions: [3]"), "an exception has the keys arm, sparsity, task"),
        (("title: Mine", "stages: {arm: prune_pretrain}"), "stages must be a list"),
        (("title: Mine", "stages: [{arm: prune_pretrain}]"), "a stage is a list of places"),
        (
            ("title: Mine", "stages: [[prune_pretrain]]"),
            "stages: runs are named by arm, sparsity",
        ),
        (("title: Mine", "live: {seed: [3]}"), "live: no run has seed 3"),
        (("title: Mine", "stages: [[{epochs: 2}]]"), "stages: runs are named by arm, sparsity"),
        (("title: Mine", "stages: [[{sparsity: 0.3}]]"), "stages: no run has sparsity 0.3"),
        (("title: Mine", "grid: {seed: [0]}"), "line 4: the key 'grid' is there twice"),
        (("prune_pretrain", "1"), "unknown arm 1: valid: epochs_before_pruning, "),
        (("prune_pretrain", "true"), "unknown arm True: valid: epochs_before_pruning, "),
        (
            ("sparsity:", "1:"),
            "grid has no key 1: valid: burn_in_seed, model, seed, sparsity, task",
        ),
        (("title: Mine", "beside: [1]"), "beside has 1: valid: ci, "),
        # A misspelt arm, values in no grid, a combination that is none of a run.
        (
            ("title: Mine", "exceptions: [{arm: random_prunin, set: {epochs: 1}}]"),
            "exceptions: no run has arm 'random_prunin': did you mean 'random_pruning'?",
        ),
        (
            ("title: Mine", "exceptions: [{sparsity: [0.5, 0.77], set: {epochs: 1}}]"),
            "exceptions: no run has sparsity 0.77: valid: 0.0, 0.5",
        ),
        (
            ("title: Mine", "exceptions: [{seed: 1, set: {epochs: 1}}]"),
            "exceptions: no run has seed 1: valid: none",
        ),
        (
            (
                "[sst2]}",
                "[[sst2, cola]]}\nexceptions: [{task: cola, set: {epochs: 1}}]",
            ),
            "no run of the study is what this is for: {'task': 'cola'",
        ),
        # What the grid says, what the notebook of the arm does not have, what makes the arm.
        (
            ("task_data: lab", "task_data: lab, sparsity: 0.3"),
            "parameters: sparsity would not be read: the grid has it too",
        ),
        (
            ("prune_pretrain: {}", "prune_pretrain: {sparsity: 0.3}"),
            "prune_pretrain: sparsity would not be read: the grid has it too",
        ),
        (
            ("title: Mine", "exceptions: [{set: {sparsity: 0.3}}]"),
            "exceptions: sparsity would not be read: the grid has it too",
        ),
        (
            ("prune_pretrain: {}", "prune_pretrain: {recovery_epochs: 3}"),
            "recovery_epochs would not be read: the notebook finetune has no such parameter",
        ),
        (
            ("title: Mine", "exceptions: [{arm: prune_pretrain, set: {recovery_epochs: 3}}]"),
            "recovery_epochs would not be read: the notebook finetune has no such parameter",
        ),
        (
            ("random_pruning: {}", "random_pruning: {method: magnitude}"),
            "method would not be read: random_pruning has a value of its own for it",
        ),
        (
            ("random_pruning: {}", "from_scratch: {burn_in_seed: 3}"),
            "burn_in_seed would not be read: from_scratch has a value of its own for it",
        ),
    ],
)
def test_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in MINE
    with pytest.raises(UserError) as error:
        studies.load(_write(tmp_path, MINE.replace(*change)))
    assert said in str(error.value)


def test_what_one_arm_would_read_is_not(tmp_path: Path) -> None:
    content = MINE + "exceptions: [{arm: random_pruning, sparsity: 0.5, set: {epochs: 4}}]\n"
    content = content.replace("task_data: lab", "task_data: lab, recovery_epochs: 2")
    plan = studies.load(_write(tmp_path, content)).plan()
    epochs = {run.slug: run.parameters.epochs for run in plan if type(run.parameters) is Finetune}
    assert epochs == {"sst2-0.00-seed0": 3, "sst2-0.50-seed0": 3, "sst2-random-0.50-seed0": 4}


def test_exceptions_of_another_study_may_be_for_what_this_one_lacks(tmp_path: Path) -> None:
    cut = "like: english\ngrid: {task: [cola]}\narms: {prune_pretrain: {}}\n"
    assert studies.load(_write(tmp_path, cut)).exceptions == studies.load("english").exceptions
    # Nor is it a mistake to leave out by hand what they are for.
    assert studies.load("paper", ["sparsity=[0.5]"]).grid["sparsity"] == [0.5]


def test_settings_on_the_command_line_are_checked_as_a_file_is(tmp_path: Path) -> None:
    mine = _write(tmp_path, MINE)
    with pytest.raises(UserError, match="--set: unknown parameter 'epoch': did you mean 'epochs'"):
        studies.load(mine, ["epoch=3"])
    with pytest.raises(UserError, match="--set: grid sparsity must be a list of values"):
        studies.load(mine, ["sparsity=[]"])
    with pytest.raises(UserError, match='learning_rates must be a number, got "1e-3,2e-3"'):
        studies.load(mine, ["learning_rates=1e-3,2e-3"]).plan()


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(MINE.encode() + b"caution: caf\xe9\n")
    with pytest.raises(UserError, match="mine.yaml is not valid YAML in UTF-8"):
        studies.load(str(tmp_path / "mine.yaml"))


def test_unknown_study() -> None:
    said = r"unknown study 'glue_tiny': did you mean 'glue-tiny'\? \(those in .*notebooks/studies"
    with pytest.raises(UserError, match=said):
        studies.load("glue_tiny")


def test_a_file_is_looked_for_here_and_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, root = tmp_path / "here", tmp_path / "project"
    for folder in (here, root):
        folder.mkdir()
        monkeypatch.chdir(folder)
    monkeypatch.setenv("BERTPRUNE_ROOT", str(root))
    _write(root, MINE)
    assert studies.load("mine.yaml").given_as == "mine.yaml"
    monkeypatch.chdir(here)
    assert studies.load("mine.yaml").given_as == "mine.yaml"
    _write(here, MINE.replace("title: Mine", "title: Nearer"))
    found = studies.load("mine.yaml")
    assert found.title == "Nearer"
    # Its pages are executed elsewhere.
    monkeypatch.chdir(root)
    assert studies.load(found.given_as).title == "Nearer"
    with pytest.raises(UserError, match=f"there is no study {root}/other.yaml"):
        studies.load("other.yaml")
    monkeypatch.chdir(here)
    with pytest.raises(UserError, match=f"{here}/other.yaml, nor {root}/other.yaml"):
        studies.load("other.yaml")


def test_a_root_that_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=f"there is no {tmp_path}/notebooks/studies: .*BERTPRUNE_"):
        studies.load("lab")


def test_a_value_out_of_range_is_found_in_the_plan(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sparsity must be at least 0, at most 1, got 1.2"):
        studies.load(_write(tmp_path, MINE), ["sparsity=[0.5, 1.2]"]).plan()


def test_a_single_run_has_the_parameters_that_it_has_in_the_study() -> None:
    study = studies.load("paper")
    given = {"sparsity": 0.8, "task": "qqp"}
    values = study.values_for(InformationDeletion, given)
    assert (values["epochs"], values["sparsity"], values["task"]) == (15, 0.8, "qqp")
    assert study.values_for(InformationDeletion, given | {"epochs": 2})["epochs"] == 2
    assert study.values_for(InformationDeletion, {})["epochs"] == 13
    assert study.values_for(Finetune, given)["epochs"] == 3
    assert "epochs" not in study.values_for(BurnIn, {})
    run = Run.of(notebook_parameters.parse(Finetune, study.values_for(Finetune, given)))
    assert run == study.run("prune_pretrain", {**given, "seed": 0})
    # What nobody knows is left for the contract to refuse.
    assert "epoch" in study.values_for(Finetune, {"epoch": 2})


@pytest.mark.parametrize(
    ("name", "task"), [("lab", ["cola", "sst2", "qnli", "qqp", "mnli"]), ("english", "cola")]
)
def test_from_scratch_is_one_dense_model_that_was_never_pre_trained(name: str, task: Any) -> None:
    study = studies.load(name, ["seed=[0]"])
    point = {"seed": 0, "task": task}
    runs = {study.run("from_scratch", {"sparsity": s, **point}) for s in (0.0, 0.5)}
    (run,) = runs
    assert arm_of(run.parameters) == FROM_SCRATCH
    assert run in study.plan()
    upstream = run.upstream
    assert upstream and arm_of(upstream.parameters) == FROM_SCRATCH
    start = upstream.upstream
    assert start and (start.parameters.model, start.parameters.burn_in_steps) == ("", 0)
    # The same shape as the model that it is compared with.
    given = next(iter(study.plan())).parameters.model
    shape = loading.load_pretraining_model(given, seed=0).config
    p = start.parameters
    assert (p.layers, p.hidden_size, p.heads) == (
        shape.num_hidden_layers,
        shape.hidden_size,
        shape.num_attention_heads,
    )
    assert p.dropout == shape.hidden_dropout_prob == shape.attention_probs_dropout_prob
    assert p.initializer_range == shape.initializer_range
    assert p.max_length_tokens == shape.max_position_embeddings


CHAPTERS = [
    *("results", "lost_examples", "information", "timing", "weights", "saving", "ledger"),
    *("again", "dense", "comparison"),
]


def test_a_study_of_a_lab_language_has_views_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "published", lambda name, suffix="": Path(__file__))
    lab = studies.load("lab", ["text=lab:3", "task_data=lab:3", "model="])
    assert lab.language() is language(3)
    assert [chapter.notebook for chapter in chapters_of(lab)] == [
        *CHAPTERS,
        "lab_language",
        "lab_checks",
        "as_run",
        "cost",
        "bench",
    ]
    assert view_of(lab) == View(studies=("lab", "english"), changes=lab.changes)
    monkeypatch.setattr(paths, "published", lambda name, suffix="": Path("/not/there"))
    assert "lab_checks" not in [chapter.notebook for chapter in chapters_of(lab)]
    assert "bench" not in [chapter.notebook for chapter in chapters_of(lab)]
    monkeypatch.undo()
    # It would show itself beside itself.
    another = chapters_of(studies.load("lab-another"))
    assert "lab_checks" not in [chapter.notebook for chapter in another]
    other = studies.load("glue-tiny")
    assert [chapter.notebook for chapter in chapters_of(other)] == [*CHAPTERS, "cost", "bench"]
    with pytest.raises(UserError, match="study glue-tiny is not about a lab language"):
        other.language()


@pytest.mark.parametrize("name", studies.names())
def test_every_study_has_a_plan_of_all_its_arms(name: str) -> None:
    study = studies.load(name)
    plan = set(study.plan())
    for arm in study.arms:
        runs = study.runs_of(arm)
        assert {type(run.parameters) for run in runs} == {ARMS[arm].parameters}
        assert set(runs) <= plan and study.typical() in plan


def test_a_study_that_is_like_another_says_where_it_differs(tmp_path: Path) -> None:
    other = "like: lab\ntitle: Mine\nparameters: {epochs: 9}\ngrid: {seed: [5]}\n"
    study, lab = studies.load(_write(tmp_path, other)), studies.load("lab")
    assert (study.name, study.title, study.description) == ("mine", "Mine", lab.description)
    assert study.parameters == {**lab.parameters, "epochs": 9}
    assert study.grid == {**lab.grid, "seed": [5]}
    assert study.arms == lab.arms and study.exceptions == lab.exceptions


def test_a_study_is_not_like_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "notebooks" / "studies"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text("like: two\n")
    (folder / "two.yaml").write_text("like: one\n")
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    with pytest.raises(UserError, match="a study cannot be like itself"):
        studies.load("one")


def test_what_makes_an_arm_is_no_exception_s_to_change(tmp_path: Path) -> None:
    content = "like: lab\nexceptions: [{sparsity: [0.0], set: {epochs: 5, burn_in_steps: 9}}]\n"
    study = studies.load(_write(tmp_path, content))
    scratch = {study.run("from_scratch", {"sparsity": s, "seed": 1}) for s in (0.0, 0.9)}
    (run,) = scratch
    assert isinstance(run.parameters, Finetune) and run.parameters.epochs == 5
    assert arm_of(run.parameters) == FROM_SCRATCH and run.parameters.burn_in_seed == 1


def test_a_study_in_stages_has_the_runs_that_they_name_stage_after_stage(tmp_path: Path) -> None:
    content = MINE.replace("task: [sst2]", "task: [sst2], seed: [0, 1, 2]")
    whole = studies.load(_write(tmp_path, content))
    content += (
        "stages: [[{seed: 0}], [{arm: prune_pretrain, seed: 1}, {sparsity: 0.0, seed: [0, 2]}]]\n"
    )
    study = studies.load(_write(tmp_path, content))
    assert set(study.plan()) < set(whole.plan())
    tuned = {arm: [run.slug for run in study.runs_of(arm)] for arm in study.arms}
    names = ["0.00-seed0", "0.00-seed1", "0.00-seed2", "0.50-seed0", "0.50-seed1"]
    assert tuned["prune_pretrain"] == [f"sst2-{name}" for name in names]
    # At 0 % nothing is pruned, at random or otherwise.
    assert tuned["random_pruning"] == [
        "sst2-0.00-seed0",
        "sst2-0.00-seed2",
        "sst2-random-0.50-seed0",
    ]
    stages = study.by_stage()
    assert list(stages) == study.plan() and sorted(stages.values()) == list(stages.values())
    # What the second needs beside its own: neither burn-in nor what is of seed 0.
    assert {run.slug for run, stage in stages.items() if stage == 1} == {
        f"{task}{name}" for name in names if "seed0" not in name for task in ("", "sst2-")
    }
    for position, run in enumerate(stages):
        assert {*lineage(run)} <= {*study.plan()[:position]}
    # One that is executed all the same is the reader's own, and other seeds are for all.
    point = {"sparsity": 0.5, "task": "sst2", "seed": 2}
    assert study.run("prune_pretrain", point) in whole.plan()
    more = studies.load(study.given_as, ["seed=[0, 5]"])
    assert len(more.runs_of("random_pruning")) == 2 + 2
    assert {seed_of(run.parameters) for run, stage in more.by_stage().items() if stage == 2} == {5}


def test_seeds_of_english_have_burn_ins_of_their_own() -> None:
    study = studies.load("english-minilm")
    plan = [run.parameters for run in study.plan()]
    pruned = [p for p in plan if type(p) is PrunePretrain and p.model]
    assert {(p.seed, p.burn_in_seed) for p in pruned} == {(seed, 10 * seed) for seed in range(5)}
    # Neither has the text in an order that another one has it in.
    orders = [p.burn_in_seed for p in plan if type(p) is BurnIn and p.model]
    orders += {p.burn_in_seed + 1 + p.seed for p in pruned}
    assert len(set(orders)) == len(orders) == 2 * 5


def test_each_stage_of_english_has_the_cells_that_were_fixed() -> None:
    study = studies.load("english-minilm")
    stages = study.by_stage()
    cells: dict[int, set[tuple[Any, ...]]] = {}
    for arm in study.arms:
        for run in study.runs_of(arm):
            p = run.parameters
            assert isinstance(p, Finetune)
            cells.setdefault(stages[run], set()).add((arm, p.seed, p.sparsity))
    pruned, scored = {"prune_pretrain", "information_deletion"}, {0.0, 0.3, 0.4, 0.5, 0.6}
    assert {seed for _, seed, _ in cells[0]} == {0} and {arm for arm, *_ in cells[0]} == {
        *study.arms
    }
    assert cells[1] == {*product(pruned, (1, 2), scored | {0.7, 0.9})}
    assert cells[2] == {*product(pruned, (3, 4), scored)}
    after = {*product(["prune_after_finetune"], (1, 2), (0.0, 0.3, 0.5, 0.7, 0.9))}
    others = {*product(["epochs_before_pruning"], (1, 2), (0.0, 0.6))}
    others |= {*product(["from_scratch"], (1, 2), [0.0])}
    assert cells[3] == after | others
    assert cells[4] == {*product(["random_pruning"], (1, 2), (0.3, 0.5, 0.7, 0.9))}


def test_without_stages_there_is_one(tmp_path: Path) -> None:
    study = studies.load(_write(tmp_path, MINE))
    assert study.by_stage() == dict.fromkeys(study.plan(), 0)


def test_a_study_is_like_one_that_exists(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="like 'labb': did you mean 'lab'"):
        studies.load(_write(tmp_path, "like: labb\n"))


def test_an_exception_for_tasks_holds_for_runs_of_these_tasks_alone(tmp_path: Path) -> None:
    content = MINE + "exceptions: [{task: [cola, sst2, mnli], set: {epochs: 8}}]\n"
    content = content.replace("task: [sst2]", "task: [[cola, sst2], [cola, qqp], mnli, qqp]")
    study = studies.load(_write(tmp_path, content))
    epochs = {
        str(task): study.run("prune_pretrain", {"sparsity": 0.5, "task": task}).parameters
        for task in (["cola", "sst2"], ["cola", "qqp"], "mnli", "qqp")
    }
    found = {task: p.epochs for task, p in epochs.items() if isinstance(p, Finetune)}
    assert list(found.values()) == [8, 3, 8, 3]


def test_arms_that_train_for_longer_have_the_dense_model_as_control() -> None:
    plan = studies.load("ci").plan()
    for contract in (InformationDeletion, PruneAfterFinetune):
        sparsities = {
            run.parameters.sparsity
            for run in plan
            if isinstance(run.parameters, contract) and run.notebook == contract.notebook
        }
        assert sparsities == {0.0, 0.5, 0.9}


def test_the_small_text_is_smaller_than_its_largest_task() -> None:
    """In words, as the study says of itself."""
    p = studies.load("lab-small-text").typical().parameters
    assert isinstance(p, Finetune)
    text = sum(len(document.split()) for document in documents(p.text))
    data = load_task("mnli", p.task_data)
    task = sum(len(words.split()) for column in data.task.columns for words in data.train[column])
    assert text * (1 - p.dev_share) < task


def test_an_arm_may_have_a_grid_of_its_own(tmp_path: Path) -> None:
    arms = "prune_pretrain: {}, epochs_before_pruning: {grid: {sparsity: [0.5], epochs: %s}}"
    mine = MINE.replace("prune_pretrain: {}, random_pruning: {}", arms)
    study = studies.load(_write(tmp_path, mine % "[0, 2]"))
    runs = study.runs_of("epochs_before_pruning")
    assert [getattr(run.parameters, "epochs", None) for run in runs] == [0, 2]
    assert {getattr(run.parameters, "sparsity", None) for run in runs} == {0.5}
    assert set(runs) <= set(study.plan())
    # Its epochs are those before pruning, of the model that it starts from too.
    assert [getattr(run.upstream.parameters, "epochs", None) for run in runs if run.upstream] == [
        0,
        2,
    ]
    assert study.runs_of("from_scratch") == []
    with pytest.raises(UserError, match="grid epochs must be a list of values, got 2"):
        studies.load(_write(tmp_path, mine % "2"))


@pytest.mark.parametrize(
    ("arm", "key"), [("prune_pretrain", "epochs"), ("epochs_before_pruning", "pretrain_steps")]
)
def test_a_grid_of_what_rows_do_not_tell_apart_is_refused(
    tmp_path: Path, arm: str, key: str
) -> None:
    mine = MINE.replace(
        "prune_pretrain: {}, random_pruning: {}", f"{arm}: {{grid: {{{key}: [1]}}}}"
    )
    with pytest.raises(UserError, match=f"{arm}: grid has no key '{key}'"):
        studies.load(_write(tmp_path, mine))
