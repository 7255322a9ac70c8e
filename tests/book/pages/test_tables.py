"""Tables: from rows, summaries and saved models to what a page shows."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from bertprune.base.errors import UserError
from bertprune.book.pages import tables
from bertprune.evidence import scores
from bertprune.evidence.claims import run_checks
from bertprune.model import loading
from bertprune.protocol import rows

from ...made_up import SPARSITIES, made, probed, study

BASELINES = pd.DataFrame(
    {"majority": [0.5, 0.6], "bag of words": [0.55, 0.9], "dev examples": [900, 2500]},
    index=["sst2", "cola"],
)


def test_the_table_shows_every_point_and_what_is_missing() -> None:
    table = tables.summary_table(scores.summary(study(seeds=2)))
    # None pruned at random to 0 %, and one line of what was never pre-trained.
    assert len(table) == 4 * len(SPARSITIES) - 1 + 1
    assert (
        table.loc[("pruned while pre-training", "60\N{NO-BREAK SPACE}%"), "sst2"]
        == "82.4 ± 0.7 (−7.2)"
    )
    after = table.xs("pruned after fine-tuning", level="arm")
    assert set(after["pre-training loss"]) == {"–"}
    text = tables.summary_text(scores.summary(study()))
    assert len(text.splitlines()) == 1 + len(scores.summary(study()))


def test_a_line_has_the_seeds_of_its_arm_and_marks_what_a_reader_added() -> None:
    found = study(seeds=2).assign(own=False)
    found = found[(found.arm == "prune_pretrain") | (found.seed == 0)]
    added = found[(found.sparsity == 0.9) & (found.arm == "random_pruning")]
    both = pd.concat([found, added.assign(sparsity=0.45, own=True)])
    shown = tables.summary_table(scores.summary(both))
    assert set(shown.loc["pruned while pre-training"].seeds) == {"2"}
    # Two tasks and their average.
    assert shown.to_string().count("†") == 3
    assert "†" in str(shown.loc[("pruned at random", "45\N{NO-BREAK SPACE}%"), "sst2"])


def test_seeds_apart_take_several() -> None:
    with pytest.raises(UserError, match="one seed"):
        tables.seeds_apart(scores.repeatability(study()))


def test_recovery_says_how_many_were_compared() -> None:
    losses = {(0.0, 0): 1.8, (0.0, 1): 2.4, (0.5, 0): 2.4, (0.5, 1): 2.8, (0.9, 0): 5.0}
    losses |= {(0.9, 7): 6.0}
    curves = made(
        {(*of, step): loss + (step < 9) for of, loss in losses.items() for step in (6, 9)},
        "sparsity seed step",
        split="dev",
        metric="loss",
    )
    table = tables.recovery_table(scores.recovery(curves))
    assert table.loc["50\N{NO-BREAK SPACE}%", "above dense"] == "+0.500 ± 0.141"
    assert table.loc["90\N{NO-BREAK SPACE}%", "seeds"] == "2, 1 of them compared"
    no_dense = tables.recovery_table(scores.recovery(curves[curves.sparsity == 0.9]))
    assert list(no_dense["above dense"]) == ["–"]
    with pytest.raises(UserError, match="curves are missing"):
        tables.recovery_table(scores.recovery(curves[curves.step == 9]))


def test_lines_are_in_points_and_none_is_a_dash() -> None:
    columns = ["task", "slope", "lower", "upper", "intercept", "r2", "off", "points"]
    fits = pd.DataFrame([("cola", -0.2, -0.3, -0.1, 1.0, 0.5, 0.01, 9)], columns=columns)
    fits.loc[1] = {"task": "sst2", "points": 2}
    table = tables.lines_table(fits)
    assert list(table.loc["cola"]) == ["−20.0 [−30.0, −10.0]", "0.50", "1.0", 9]
    assert list(table.loc["sst2"]) == ["–", "–", "–", 2]
    with pytest.raises(UserError, match="no lines"):
        tables.lines_table(fits[:0])


def test_task_scores_mark_one_best_rate_a_task() -> None:
    of_run = study(rates=(1e-3, 2e-3)).query("arm == 'information_deletion' and sparsity == 0.6")
    table = tables.task_scores(of_run)
    assert list(table.index) == [(task, rate) for task in ("sst2", "cola") for rate in (1e-3, 2e-3)]
    assert list(table.best.groupby("task").agg("".join)) == ["✓", "✓"]
    assert (table.xs(2e-3, level="learning rate").best == "✓").all()
    renamed = of_run.assign(metric=of_run.metric.replace("loss", "matthews"))
    assert "dev Matthews correlation" in tables.task_scores(renamed)


def test_dev_metrics_on_the_way_are_in_words() -> None:
    metrics = {"loss": 5.25, "mlm_loss": 5.0, "next_sentence_accuracy": 0.5}
    lines = [
        ("pretraining", "dev", metric, step, value)
        for metric, value in metrics.items()
        for step in (0, 9)
    ]
    rows = pd.DataFrame(lines, columns=["task", "split", "metric", "step", "value"])
    table = tables.loss_curve(rows)
    assert list(table) == ["loss", "masked-word loss", "next-sentence accuracy"]
    assert list(table.index) == [0, 9]


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_pruned_weights_are_counted_in_the_saved_model(tmp_path: Path, sparsity: float) -> None:
    weight = torch.randn(20, 10)
    mask = torch.arange(200).view(20, 10) >= round(sparsity * 200)
    save_file({"bert.pooler.weight": weight * mask}, tmp_path / "model.safetensors")
    save_file({"pooler.weight": mask}, tmp_path / loading.MASKS_FILE)
    table = tables.sparsity_by_matrix(tmp_path)
    assert list(table.index) == ["pooler"]
    assert table.pruned.item() == round(sparsity * 200)
    assert run_checks.is_exactly_sparse(table, sparsity, "matrix").holds
    # A weight that came back is seen, whatever the mask says.
    if sparsity:
        save_file({"bert.pooler.weight": weight}, tmp_path / "model.safetensors")
        assert not run_checks.is_exactly_sparse(
            tables.sparsity_by_matrix(tmp_path), sparsity, "matrix"
        ).holds


def test_what_was_executed_again_stands_beside_the_published_interval() -> None:
    against = pd.DataFrame(
        [
            ("prune_pretrain", 0.5, "accuracy", 0.8, 0.7, 0.9, 0.91, 2, ["cola", "sst2"]),
            ("prune_pretrain", 0.5, "loss", 0.8, 0.7, 0.9, 0.7, 2, ["pretraining"]),
        ],
        columns=["arm", "sparsity", "metric", "mean", "low", "high", "again", "seeds", "tasks"],
    )
    lines = tables.against_intervals_table(against)
    assert list(lines.published) == ["80.0 [70.0, 90.0]", "0.800 [0.700, 0.900]"]
    assert list(lines.rerun) == ["91.0", "0.700"] and list(lines.inside) == ["no", "yes"]
    assert list(lines.tasks) == ["cola, sst2", "–"]
    with pytest.raises(UserError, match="nothing was rerun"):
        tables.against_intervals_table(against.head(0))


def test_transfer_is_paired_by_seed() -> None:
    found = scores.scores(study(seeds=3))
    found.loc[found.arm == "from_scratch", "accuracy"] -= 0.2
    table = tables.transfer(found[found.sparsity == 0], BASELINES)
    assert list(table.index) == ["cola", "sst2"] or list(table.index) == ["sst2", "cola"]
    assert set(table.difference) == {"20.0 ± 0.0"}
    assert set(table.seeds) == {3}
    assert table["bag of words"]["cola"] == "90.0"
    # The dense model has 0.9 + 0.001 − 0.01, so it is below one baseline of CoLA.
    assert dict(table["above all"]) == {"sst2": "✓", "cola": "–"}
    assert scores.worth_pretraining(found, BASELINES) == ["sst2"]
    # √(0.891 · 0.109 / 900) and √(0.891 · 0.109 / 2500), in points.
    assert dict(table["standard error"]) == {"sst2": "1.0", "cola": "0.6"}


def test_transfer_is_of_the_seeds_that_both_have() -> None:
    found = study(seeds=3)
    found = found[(found.arm != "from_scratch") | (found.seed == 1)]
    line = tables.transfer(scores.scores(found), BASELINES).loc["sst2"]
    assert line["pre-trained"] == line["never pre-trained"] == "89.1" and line["seeds"] == 1


def test_the_table_of_bits_ends_with_the_content() -> None:
    parts = [probed({"facts": 10.0, "all": 12.0}, sparsity=0.5, seed=seed) for seed in (0, 1)]
    table = tables.bits_table(scores.bits(rows.join(parts)), {"facts": 20.0})
    assert list(table["facts"]) == ["10 ± 0", "20"]
    assert list(table["all"]) == ["12 ± 0", "20"]


def test_what_was_measured_of_the_whole_model_by_epoch() -> None:
    values = {
        (epoch, part): 1.0 if part else 0.01 * epoch
        for epoch in (1, 2)
        for part in ("", "pooler.dense")
    }
    found = made(values, "epoch part", task="cola", split="weights", metric="movement_mean")
    table = tables.by_epoch(found, "movement_mean")
    assert isinstance(table, pd.DataFrame)
    assert table.to_dict("index") == {("cola", 1e-3): {1: 1.0, 2: 2.0}}
    assert str(tables.by_epoch(found, "mask_difference")) == "This run did not measure it."
