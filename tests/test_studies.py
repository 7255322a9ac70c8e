"""Studies: what they plan, and what is refused."""

from pathlib import Path

import pytest

from bertprune import contracts, studies
from bertprune.contracts import BurnIn, Finetune, InformationDeletion, PruneAfterFinetune
from bertprune.errors import UserError
from bertprune.runs import Run, lineage


def _write(tmp_path: Path, content: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    return str(file)


MINE = """
title: Mine
parameters: {text: [templates], task_data: templates, burn_in_learning_rate: 1e-4}
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


@pytest.mark.parametrize("name", studies.names())
def test_every_parameter_of_a_study_is_valid(name: str) -> None:
    study = studies.load(name)
    for arm in study.arms:
        for sparsity in study.grid["sparsity"]:
            study.run(arm, {"sparsity": sparsity, "task": study.grid["task"][0], "seed": 0})


def test_a_plan_has_each_run_once_and_after_what_it_needs(tmp_path: Path) -> None:
    plan = studies.load(_write(tmp_path, MINE)).plan()
    # Burn-in; dense, pruned and randomly pruned; each of the three fine-tuned.
    assert [run.notebook for run in plan] == ["burn_in"] + ["prune_pretrain"] * 3 + ["finetune"] * 3
    assert len({run.id for run in plan}) == len(plan)
    for position, run in enumerate(plan):
        assert {upstream.id for upstream in lineage(run)} <= {r.id for r in plan[:position]}


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
    ],
)
def test_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError) as error:
        studies.load(_write(tmp_path, MINE.replace(*change)))
    assert said in str(error.value)


def test_unknown_study() -> None:
    with pytest.raises(UserError, match="unknown study 'glue_tiny': did you mean 'glue-tiny'"):
        studies.load("glue_tiny")


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
    run = Run.of(contracts.parse(Finetune, study.values_for(Finetune, given)))
    assert run == study.run("prune_pretrain", {**given, "seed": 0})
    # What nobody knows is left for the contract to refuse.
    assert "epoch" in study.values_for(Finetune, {"epoch": 2})
