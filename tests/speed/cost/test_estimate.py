"""What a study costs: sums worked out by hand, the command, the page."""

import dataclasses
import json
import socket
from pathlib import Path

import pandas as pd
import pytest

from bertprune import cli
from bertprune.base import paths
from bertprune.experiments import studies
from bertprune.speed.cost import estimate, unit_costs

from ...finished import write_record
from .by_hand import (
    BURN_IN_S,
    DENSE_S,
    FINETUNE_S,
    NOTEBOOKS_S,
    PRUNED_S,
    by_hand,
    machine,
)


def seconds(*changes: str) -> float:
    return 3600 * estimate.estimate(by_hand(*changes).plan(), machine()).hours()


def test_the_sum_is_right_to_the_second(root: Path) -> None:
    found = estimate.estimate(by_hand().plan(), machine())
    assert list(found.runs.work_s) == pytest.approx([BURN_IN_S, DENSE_S, PRUNED_S, FINETUNE_S])
    total = BURN_IN_S + DENSE_S + PRUNED_S + FINETUNE_S + NOTEBOOKS_S
    assert total == pytest.approx(2120.0)
    assert 3600 * found.hours() == pytest.approx(total)
    # One after another on one core.
    assert found.wall_s() == pytest.approx(total)
    table = found.table()
    assert table.hours.iloc[-1] == pytest.approx(table.hours.iloc[:-1].sum())
    assert list(table.runs) == [0, 1, 2, 1, 4]


def test_a_setting_changes_it_in_proportion(root: Path) -> None:
    more_steps = seconds("pretrain_steps=400") - seconds()
    assert more_steps == pytest.approx(2 * 200 * 2.5)
    one_rate = seconds() - seconds("learning_rates=[1e-4]")
    assert one_rate == pytest.approx(FINETUNE_S / 2)
    another_seed = seconds("seed=[0, 1]") - seconds()
    assert another_seed == pytest.approx(DENSE_S + PRUNED_S + FINETUNE_S + 3 * 2)


def test_runs_side_by_side_share_the_cores(root: Path) -> None:
    """Two seeds: pairs of runs on two cores, but burn-in alone."""
    plan = by_hand("seed=[0, 1]").plan()
    found = estimate.estimate(plan, machine(cores=2), workers=2)
    pairs = DENSE_S + PRUNED_S + FINETUNE_S + 3 * 2
    assert found.wall_s() == pytest.approx(BURN_IN_S + 2 + pairs)
    # Burn-in has both cores, and its unit costs are those of the closest that was measured.
    assert 3600 * found.hours() == pytest.approx(2 * (BURN_IN_S + 2) + 2 * pairs)


@pytest.mark.parametrize(
    ("seeds", "longer"), [([0, 1], {1.0}), ([0, 1, 2], {1.0, 1.5}), ([0, 1, 2, 3], {1.0, 1.5})]
)
def test_more_workers_than_cores_make_runs_longer(
    root: Path, seeds: list[int], longer: set[float]
) -> None:
    """Three workers on two cores, where as many runs wait; burn-in is alone."""
    plan = by_hand(f"seed={seeds}").plan()
    found = estimate.estimate(plan, machine(cores=2), workers=3)
    assert set(found.crowded_work_s() / found.runs.work_s) == longer


def test_what_is_done_is_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = by_hand().plan()
    write_record(plan[0], wall_time_s=770.0)
    found = estimate.estimate(plan, machine())
    assert list(found.left.runs.run) == plan[1:]
    assert 3600 * (found.hours() - found.left.hours()) == pytest.approx(BURN_IN_S + 2)
    assert found.left.wall_s() == pytest.approx(found.wall_s() - BURN_IN_S - 2)
    monkeypatch.setattr(unit_costs, "published", machine)
    compared = estimate.against_runs(by_hand())
    assert list(compared.index) == [("burn_in", ""), ("sum", "")]
    assert list(compared["needed (minutes)"]) == [round(770 / 60, 2)] * 2
    assert list(compared.ratio) == [round(BURN_IN_S / 770, 2)] * 2


def test_tasks_have_as_many_examples_as_were_counted_elsewhere(root: Path) -> None:
    plan = by_hand().plan()
    finetune = estimate.estimate(plan, machine(), counted={"cola": (100, 300)}).runs.iloc[-1]
    # Ten batches to train on, one of 256 to evaluate, and two of the dev set; at two rates.
    assert finetune.work_s == pytest.approx(2 * (2 * 10 * 0.1 + (2 * 2 + 1) * 1.0 + 7))
    other = estimate.estimate(plan, machine(), counted={"sst2": (100, 300)}).runs.iloc[-1]
    assert other.work_s == pytest.approx(FINETUNE_S)


def test_what_is_assumed_of_tasks_is_said(root: Path) -> None:
    plan = by_hand().plan()
    whole, tokens, _ = estimate.assumptions(plan)
    assert whole.endswith("GLUE's in full (training + dev examples): cola 8,551 + 1,043.")
    assert "tokens examples of cola have is assumed" in tokens
    assert estimate.assumptions(plan, {"cola": (100, 300)})[0] == tokens


def test_the_paper_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    study = studies.load("paper")
    plan = study.plan()
    cpu = estimate.estimate(plan, unit_costs.named("book"))
    gpu = estimate.estimate(plan, unit_costs.named("a100"))
    assert cpu.hours() > gpu.hours() > 100
    # Twenty dense models of 440 MB at least, five tasks at four learning rates.
    assert cpu.disk_bytes() > 20 * 440e6
    assert "NVIDIA A100, assumed, not measured" in estimate.text(gpu, study)


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / "cost.csv"
    assert cli.main(["cost", "ci", "--device", "book", "--csv", str(file)]) == 0
    table = pd.read_csv(file)
    assert table.notebook.iloc[-1] == "sum"
    assert table.runs.iloc[-1] == len(studies.load("ci").plan())
    assert table.hours.iloc[-1] == pytest.approx(table.hours.iloc[:-1].sum())
    assert cli.main(["cost", "ci", "--device", "book", "--set", "sparsity=[0.5]"]) == 0
    assert "core-hours" in capsys.readouterr().out
    assert cli.main(["cost", "ci", "--device", "book", "--measure"]) == 2
    assert "leave out --device" in capsys.readouterr().err
    assert cli.main(["cost", "ci", "--device", "book", "--workers", "0"]) == 2


def test_the_page(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    against = estimate.against_published()
    assert list(against.index) == ["lab", "glue-tiny", "english"]
    assert against.ratio.between(0.2, 5).all()

    study = studies.load("ci")
    monkeypatch.setattr(estimate, "SHOWN", ("glue-tiny",))
    shown = estimate.of_studies(study)
    assert list(shown.index.get_level_values("study")) == ["ci", "ci", "glue-tiny", "glue-tiny"]
    assert shown["runs"].iloc[0] == len(study.plan())
    assert list(shown[""]) == [unit_costs.MEASURED, unit_costs.ASSUMED] * 2
    assert len(estimate.by_arm(study)) == len(estimate.by_arm(study, "a100")) > 5
    assert len(estimate.against_runs(study)) == 0


def test_the_page_takes_task_sizes_from_published_rows(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "published", lambda name, end="": root / f"{name}{end}")
    monkeypatch.setattr(unit_costs, "published", machine)
    study = by_hand()
    monkeypatch.setattr(studies, "load", lambda name: study)
    monkeypatch.setattr(studies, "names", lambda: ["by-hand.yaml"])
    monkeypatch.setattr(estimate, "SHOWN", ("by-hand",))
    assert estimate.counted_for(study) == {}
    assert set(estimate.of_studies(study)["task sizes"]) == {"GLUE in full, assumed"}
    assert len(estimate.against_published()) == 0

    (root / "by-hand").touch()
    tasks = {"cola": {"majority": 0.6, "train examples": 100, "dev examples": 300}}
    facts = {"changes": [], "tasks": tasks, "runs": 3, "work_s": 1200.0}
    (root / "by-hand.json").write_text(json.dumps(facts))
    assert estimate.counted_for(study) == {"cola": (100, 300)}
    # One with other settings is another study.
    assert estimate.counted_for(dataclasses.replace(study, changes=("seed=[1]",))) == {}
    assert set(estimate.of_studies(study)["task sizes"]) == {"of the published rows"}
    assert "published rows (training + dev examples): cola 100 + 300." in estimate.assumed(study)
    (line,) = estimate.against_published().to_dict("records")
    work_s = BURN_IN_S + DENSE_S + PRUNED_S + 2 * (2 * 10 * 0.1 + (2 * 2 + 1) * 1.0 + 7)
    hours = round(work_s / 3600, 1)
    assert list(line.values()) == [4, 3, hours, hours, 0.3, round(work_s / 1200, 2)]
    # What was executed here has the data that is here.
    write_record(study.plan()[0], wall_time_s=1.0)
    assert estimate.counted_for(study) == {}
