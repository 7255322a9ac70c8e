"""The cost of a study: sums worked out by hand, and unit costs that are measured and used."""

import dataclasses
import json
import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bertprune import cli
from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.experiments import studies
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import Study
from bertprune.model import loading
from bertprune.model.shape import Shape, shape_of
from bertprune.protocol import notebook_parameters
from bertprune.protocol.evaluation import EVALUATIONS_OF_A_TRAINING, PRETRAINING_EVALUATION_BATCH
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.schedule import Schedule
from bertprune.speed.cost import amounts_of_work as work
from bertprune.speed.cost import estimate, measuring_costs, timed_steps, unit_costs
from bertprune.speed.cost.unit_costs import Line, Machine
from bertprune.speed.cost.what_to_measure import Request

from ..finished import write_record

STUDY = """
title: By hand
description: One arm of a small model.
parameters:
  model: prajjwal1/bert-tiny
  text: [somebody/text]
  task_data: nyu-mll/glue
  max_length_tokens: 20
  dev_examples: 640
  burn_in_steps: 100
  pretrain_batch_size: 10
  pretrain_steps: 200
  ramp_steps: 40
  pruning_frequency_steps: 10
  epochs: 2
  batch_size: 10
  learning_rates: [1e-4, 2e-4]
grid: {sparsity: [0.5], task: [cola], seed: [0]}
arms: {prune_pretrain: {}}
"""

TINY = Shape(2, 128, 1, 30_522)

INVENTED = {
    work.PRETRAINING_STEP: Line(0.5, 0.01),
    work.PRETRAINING_EVALUATION: Line(0.0, 0.001),
    work.FINETUNING_STEP: Line(0.1),
    work.FINETUNING_EVALUATION: Line(1.0),
    work.MASK_UPDATE: Line(3.0),
    work.TASK_TOKENISING: Line(0.0),
    work.TEXT: Line(0.0),
    work.PAIRING: Line(0.0),
    work.NOTEBOOK: Line(2.0),
    **{work.fixed(notebook): Line(7.0) for notebook in notebook_parameters.CONTRACTS},
}

# Steps, evaluations of 10 batches of 20 tokens each, what is done without steps.
_EVALUATION_S = PRETRAINING_EVALUATION_BATCH * 20 * 0.001
BURN_IN_S = 100 * 2.5 + EVALUATIONS_OF_A_TRAINING * 10 * _EVALUATION_S + 7
DENSE_S = 200 * 2.5 + EVALUATIONS_OF_A_TRAINING * 10 * _EVALUATION_S + 7
# Features of two models over 10 batches; updates at steps 0, 10, 20, 30, 40.
PRUNED_S = DENSE_S + 2 * 10 * _EVALUATION_S + 5 * 3
# 8,551 examples are 856 batches of 10 and 34 of 256, 1,043 are 5 of 256; at two learning rates.
FINETUNE_S = 2 * (2 * 856 * 0.1 + (2 * 5 + 34) * 1.0 + 7)
NOTEBOOKS_S = 4 * 2.0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without runs."""
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    for folder in ("notebooks", "book"):
        (tmp_path / folder).symlink_to(Path(__file__).parents[2] / folder)
    (tmp_path / "by-hand.yaml").write_text(STUDY)
    return tmp_path


def machine(cores: int = 1, **options: Any) -> Machine:
    return Machine("invented", cores, {(TINY, 1): INVENTED}, **options)


def by_hand(*changes: str) -> Study:
    return studies.load("by-hand.yaml", changes)


def seconds(*changes: str) -> float:
    return 3600 * estimate.estimate(by_hand(*changes).plan(), machine()).hours()


def test_the_sum_is_right_to_the_second(root: Path) -> None:
    found = estimate.estimate(by_hand().plan(), machine())
    assert list(found.runs.work_s) == pytest.approx([BURN_IN_S, DENSE_S, PRUNED_S, FINETUNE_S])
    total = BURN_IN_S + DENSE_S + PRUNED_S + FINETUNE_S + NOTEBOOKS_S
    assert total == pytest.approx(2148.0)
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
    crowded = estimate.estimate(plan, machine(cores=2), workers=3).crowded_work_s()
    assert crowded.sum() == pytest.approx(found.runs.work_s.sum())


def test_more_workers_than_cores_make_runs_longer(root: Path) -> None:
    plan = by_hand("seed=[0, 1, 2]").plan()
    found = estimate.estimate(plan, machine(cores=2), workers=3)
    longer = found.crowded_work_s() / found.runs.work_s
    assert dict(zip(found.runs.notebook, longer, strict=True)) == {
        "burn_in": 1.0,
        "prune_pretrain": 1.5,
        "finetune": 1.5,
    }


def test_what_is_done_is_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = by_hand().plan()
    _finish(plan[0], wall_time_s=770.0)
    found = estimate.estimate(plan, machine())
    assert list(found.left.runs.run) == plan[1:]
    assert 3600 * (found.hours() - found.left.hours()) == pytest.approx(BURN_IN_S + 2)
    assert found.left.wall_s() == pytest.approx(found.wall_s() - BURN_IN_S - 2)
    monkeypatch.setattr(unit_costs, "published", machine)
    compared = estimate.against_runs(by_hand())
    assert list(compared.index) == [("burn_in", ""), ("sum", "")]
    assert list(compared["needed (min)"]) == [round(770 / 60, 2)] * 2
    assert list(compared.ratio) == [round(BURN_IN_S / 770, 2)] * 2


def _finish(run: Run, wall_time_s: float) -> None:
    write_record(run, wall_time_s=wall_time_s)


@pytest.mark.parametrize(("ramp", "frequency"), [(0, 1), (40, 10), (45, 10), (3, 7)])
def test_mask_updates_are_those_of_the_schedule(ramp: int, frequency: int) -> None:
    p = notebook_parameters.PrunePretrain(
        sparsity=0.5, pretrain_steps=60, ramp_steps=ramp, pruning_frequency_steps=frequency
    )
    schedule = Schedule(final=0.5, end_step=ramp, frequency_steps=frequency)
    counted = [one.times for one in work.run_work(Run.of(p)) if one.unit == work.MASK_UPDATE]
    assert counted == [sum(map(schedule.is_update, range(60)))]


def test_sizes_of_models() -> None:
    base = shape_of(notebook_parameters.BurnIn(model="google-bert/bert-base-uncased"))
    # The checkpoint's own number, with the decoder tied.
    assert base.parameters == 110_106_428
    shipped = shape_of(notebook_parameters.BurnIn(model="lab"))
    real = loading.load_pretraining_model("lab", seed=0)
    assert shipped.parameters == sum(weight.numel() for weight in real.parameters())
    assert shipped.prunable == sum(weight.numel() for weight in prunable_matrices(real).values())
    # Two for each weight of 12 layers of 12 × 768², and attention to 128 positions.
    assert base.flop_per_token(128) == 12 * (2 * 12 * 768**2 + 4 * 128 * 768)


def test_sizes_of_tasks_at_hand() -> None:
    size = work.task_size("cola", notebook_parameters.Finetune(text=("lab",), task_data="lab"))
    assert (size.train, size.dev) == (600, 500)
    assert not size.examples_assumed and not size.tokens_assumed
    assert 4 < size.mean_length_tokens < 20


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model=somebody/bert", "the shape of model 'somebody/bert' is not known"),
        ("task=[somebodys]", "the size of task 'somebodys' is not known"),
    ],
)
def test_what_only_the_hub_knows(root: Path, change: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        estimate.estimate(by_hand(change).plan(), machine())


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


def test_a_gpu_follows_from_its_rate(root: Path) -> None:
    """32 × 128 tokens of BERT-Base at 35 % of 312 TFLOP/s, and 5 ms."""
    base = Shape(12, 768, 1, 30_522)
    step = unit_costs.named("a100").lines(base, 1)[work.PRETRAINING_STEP]
    tokens = 32 * 128
    logits = 0.15 * 2 * 768 * (768 + 30_522)
    flop = 3 * tokens * (base.flop_per_token(128) + logits)
    assert step.seconds(tokens) == pytest.approx(0.005 + flop / (0.35 * 312e12))
    with pytest.raises(UserError, match="unknown device 'a1000': did you mean 'a100'"):
        unit_costs.named("a1000")


def test_another_shape_is_scaled(root: Path) -> None:
    same = machine().lines(TINY, 4)
    assert same == INVENTED
    wider = machine().lines(Shape(2, 256, 1, 30_522), 1)
    assert wider[work.NOTEBOOK] == INVENTED[work.NOTEBOOK]
    assert wider[work.MASK_UPDATE].fixed_s > 3.0
    assert wider[work.PRETRAINING_STEP].per_token_s > 2 * 0.01


def test_a_line_through_two_measurements() -> None:
    assert unit_costs.through((100, 3.0), (200, 5.0)) == Line(1.0, 0.02)
    # Noise: the larger batch alone counts.
    assert unit_costs.through((100, 6.0), (200, 5.0)) == Line(0.0, 0.025)
    assert unit_costs.through((100, 1.0), (200, 5.0)) == Line(0.0, 0.025)
    assert unit_costs.through((200, 5.0), (200, 5.0)) == Line(0.0, 0.025)


def test_measured_unit_costs_are_positive_and_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    def steps(request: Request) -> dict[str, Line]:
        asked.append(request)
        return timed_steps.steps(request)

    of_runs = {unit: INVENTED[unit] for unit in [work.NOTEBOOK, *_fixed_units()]}
    monkeypatch.setattr(measuring_costs, "_side_by_side", steps)
    monkeypatch.setattr(measuring_costs, "runs_without_steps", lambda request: of_runs)
    changes = ["model=", "tokenizer=lab", "text=[lab:0:200]", "task_data=lab", "hidden_size=8"]
    plan = by_hand(*changes).plan()
    here = measuring_costs.for_plan(plan, 1)
    (lines,) = here.table.values()
    assert lines.keys() == INVENTED.keys()
    assert all(line.seconds(1000) > 0 for line in lines.values())
    assert [(one.size.hidden_size, one.max_length_tokens) for one in asked] == [(8, 20)]
    found = estimate.estimate(plan, here, 1)
    burn_in = found.runs.iloc[0]
    expected = unit_costs.seconds(work.run_work(burn_in.run), lines)
    assert burn_in.work_s + burn_in.notebook_s == pytest.approx(expected)

    # Kept for the next time, until asked for anew.
    assert measuring_costs.for_plan(plan, 1) == here
    assert len(asked) == 1
    measuring_costs.for_plan(plan, 1, again=True)
    assert len(asked) == 2


def _fixed_units() -> list[str]:
    return [work.fixed(notebook) for notebook in notebook_parameters.CONTRACTS]


def test_published_costs_are_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "published", lambda name: root / f"{name}.csv")
    with pytest.raises(UserError, match="bertprune cost STUDY --publish"):
        unit_costs.published()
    unit_costs.publish(machine(cores=4))
    other = Machine("invented", 4, {(Shape(1, 8, 1, 100), 2): INVENTED})
    unit_costs.publish(other)
    again = unit_costs.published()
    assert again.cores == 4
    assert again.table == {(TINY, 1): INVENTED, (Shape(1, 8, 1, 100), 2): INVENTED}


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


def test_the_page(root: Path) -> None:
    study = studies.load("lab")
    shown = estimate.of_studies(study)
    assert list(shown.index.get_level_values("study")) == [
        name for name in estimate.SHOWN for _ in range(2)
    ]
    assert set(shown["runs"]) >= {len(study.plan())}
    assert list(shown[""]) == [unit_costs.MEASURED, unit_costs.ASSUMED] * len(estimate.SHOWN)
    assert len(estimate.by_arm(study)) == len(estimate.by_arm(study, "a100")) > 5
    assert len(estimate.against_runs(study)) == 0
    against = estimate.against_published()
    assert (
        list(against.index) == ["lab", "glue-tiny", "english"]
        and against.ratio.between(0.2, 5).all()
    )


def test_the_page_takes_task_sizes_from_published_rows(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "published", lambda name: root / f"{name}.csv")
    monkeypatch.setattr(unit_costs, "published", machine)
    study = by_hand()
    monkeypatch.setattr(studies, "load", lambda name: study)
    monkeypatch.setattr(studies, "names", lambda: ["by-hand.yaml"])
    monkeypatch.setattr(estimate, "SHOWN", ("by-hand",))
    assert estimate.counted_for(study) == {}
    assert set(estimate.of_studies(study)["task sizes"]) == {"GLUE in full, assumed"}
    assert len(estimate.against_published()) == 0

    (root / "by-hand.csv").touch()
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
    assert line == {
        "estimated (min)": round(work_s / 60, 1),
        "of runs": 4,
        "needed (min)": 20.0,
        "of runs then": 3,
        "ratio": round(work_s / 1200, 2),
    }
    # What was executed here has the data that is here.
    _finish(study.plan()[0], wall_time_s=1.0)
    assert estimate.counted_for(study) == {}
