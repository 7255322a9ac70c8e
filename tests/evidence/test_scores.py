"""Results: scores, the summary, and what the tables and claims make of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from bertprune.base.errors import UserError
from bertprune.book import tables
from bertprune.evidence import gathering, scores
from bertprune.evidence.claims import run_checks
from bertprune.experiments import studies
from bertprune.model import loading
from bertprune.protocol import rows
from bertprune.protocol.arms import COMPARED, EPOCHS_BEFORE_PRUNING
from bertprune.protocol.rows import PRETRAINING, Rows
from bertprune.protocol.views import View, parameters_of, parameters_of_run

SPARSITIES = (0.0, 0.3, 0.6, 0.9)
ARMS = COMPARED
BASELINES = pd.DataFrame(
    {"majority": [0.5, 0.6], "bag of words": [0.55, 0.9], "dev examples": [900, 2500]},
    index=["sst2", "cola"],
)


def made_up(
    *,
    seeds: int = 1,
    tasks: tuple[str, ...] = ("sst2", "cola"),
    rates: tuple[float, ...] = (1e-3,),
    slope: float = 0.2,
) -> Rows:
    """Rows of all arms: accuracy 0.9 − slope · sparsity², a little better at larger rates."""
    parts = []
    for arm in ARMS:
        for sparsity in SPARSITIES if arm != "from_scratch" else (0.0,):
            for seed in range(seeds):
                point: dict[str, Any] = {"arm": arm, "sparsity": sparsity, "seed": seed}
                if arm in ("prune_pretrain", "random_pruning", "from_scratch"):
                    if arm == "random_pruning" and sparsity == 0:
                        continue
                    history = [
                        {
                            "step": step,
                            "split": "dev",
                            "metric": "loss",
                            "value": 5 - step / 10 + sparsity,
                        }
                        for step in (10, 20)
                    ]
                    parts.append(rows.of_history(history, learning_rate=1e-3, **point))
                for task in tasks:
                    for rate in rates:
                        accuracy = 0.9 - slope * sparsity**2 + rate - 0.01 * seed
                        history = [
                            {"step": 5 * epoch, "epoch": epoch, "split": split, "metric": metric}
                            | {"value": accuracy - 0.1 * (epoch == 1) + 0.05 * (split == "train")}
                            for epoch in (1, 2)
                            for split in ("dev", "train")[:epoch]
                            for metric in ("accuracy", "loss")
                        ]
                        parts.append(
                            rows.of_history(history, task=task, learning_rate=rate, **point)
                        )
    return rows.join(parts)


def test_a_score_is_the_best_rate_after_the_last_epoch() -> None:
    scored = scores.scores(made_up(rates=(1e-3, 3e-3, 2e-3)))
    dense = scored[(scored.sparsity == 0) & (scored.task == "sst2")]
    assert np.allclose(dense.accuracy, 0.9 + 3e-3)
    # One more learning rate can only be a better one.
    fewer = scores.scores(made_up(rates=(1e-3,)))
    assert (scored.accuracy >= fewer.accuracy).all()


def test_training_losses_are_those_of_the_best_learning_rate() -> None:
    point: dict[str, Any] = {"arm": "prune_pretrain", "task": "sst2", "sparsity": 0.0, "seed": 0}
    parts = []
    for rate, accuracy, loss in ((1e-3, 0.8, 0.1), (2e-3, 0.9, 0.2), (3e-3, 0.9, 0.3)):
        history = [
            {"epoch": 1, "step": 9, "split": "dev", "metric": "accuracy", "value": accuracy},
            {"epoch": 1, "step": 9, "split": "train", "metric": "loss", "value": loss},
        ]
        parts.append(rows.of_history(history, learning_rate=rate, **point))
    assert scores.training_losses(rows.join(parts)).loss.tolist() == [0.2]


def test_an_accuracy_that_is_no_number_is_not_the_best() -> None:
    found = made_up(rates=(1e-3, 3e-3))
    best = (found.metric == "accuracy") & (found.learning_rate == 3e-3)
    lacking = found.assign(value=found.value.mask(best))
    pd.testing.assert_frame_equal(
        scores.scores(lacking), scores.scores(found[found.learning_rate == 1e-3])
    )


def test_what_is_trained_before_pruning_for_other_times_is_no_training_loss_of_the_study() -> None:
    found = made_up()
    longer = found[found.arm == "prune_after_finetune"]
    longer = longer.assign(arm=EPOCHS_BEFORE_PRUNING, position=1.0)
    pd.testing.assert_frame_equal(
        scores.training_losses(rows.join([found, longer])), scores.training_losses(found)
    )


def test_the_average_is_over_all_tasks_or_not_at_all() -> None:
    found = made_up()
    average = scores.scores(found).query("task == 'average'")
    assert len(average) == len(scores.scores(made_up(tasks=("sst2",))))
    lacking = found[~((found.task == "cola") & (found.arm == "prune_after_finetune"))]
    assert "prune_after_finetune" not in scores.scores(lacking).query("task == 'average'").arm.array
    assert "average" not in scores.scores(made_up(tasks=("sst2",))).task.array


def test_summary_has_dense_sparse_difference_seeds_and_deviation() -> None:
    table = scores.summary(made_up(seeds=3))
    assert set(table.seeds) == {3}
    assert np.allclose(table["std"], 0.01)
    assert np.allclose(table.difference, table.accuracy - table.dense)
    assert np.allclose(table.difference, -0.2 * table.sparsity**2)
    assert scores.summary(made_up(seeds=1))["std"].isna().all()


def test_a_difference_is_from_the_dense_model_of_the_same_seed() -> None:
    # Seed 1 is a point worse everywhere, and only one arm has it.
    found = made_up(seeds=2)
    found = found[(found.arm == "prune_pretrain") | (found.seed == 0)]
    table = scores.summary(found)
    assert np.allclose(table.difference, -0.2 * table.sparsity**2)
    assert np.allclose(table.accuracy - table.dense, table.difference)
    shown = tables.summary_table(table)
    assert set(shown.loc["pruned while pre-training"].seeds) == {"2"}
    lacking = found[(found.arm != "prune_pretrain") | (found.sparsity > 0) | (found.seed == 1)]
    unpaired = scores.summary(lacking).query("arm == 'information_deletion'")
    assert unpaired.difference.isna().all() and set(unpaired.pairs) == {0}


def _recovering(curves: Mapping[tuple[float, int], tuple[float, ...]]) -> rows.Rows:
    """Dev losses after 10, 60, 70 and 100 steps, by sparsity and seed."""
    return rows.join(
        rows.of_history(
            [
                {"split": "dev", "metric": "loss", "epoch": 0, "step": step, "value": loss}
                for step, loss in zip((10, 60, 70, 100), losses, strict=True)
            ],
            arm="prune_pretrain",
            sparsity=sparsity,
            learning_rate=1e-3,
            seed=seed,
        )
        for (sparsity, seed), losses in curves.items()
    )


def test_recovery_is_against_the_dense_model_of_the_same_seed_and_over_the_last_steps() -> None:
    curves = {
        (0.0, 0): (3.0, 2.0, 1.9, 1.8),
        (0.0, 1): (3.0, 2.5, 2.5, 2.4),
        (0.5, 0): (5.0, 4.0, 3.5, 2.4),
        (0.5, 1): (5.0, 4.0, 3.0, 2.8),
        (0.9, 0): (5.0, 6.0, 5.5, 5.0),
        # Without a dense model.
        (0.9, 7): (5.0, 8.0, 7.0, 6.0),
    }
    got = scores.recovery(_recovering(curves))
    half, most = got.loc[0.5], got.loc[0.9]
    assert (half.loss, half.rise, half.falling) == pytest.approx((2.6, 0.5, 0.65))
    assert half.falling_more == pytest.approx(0.55)
    assert half.rise_std == pytest.approx(0.2 / 2**0.5)
    assert (most.loss, most.rise, most.seeds, most.pairs) == pytest.approx((5.5, 3.2, 2, 1))
    table = tables.recovery_table(got)
    assert table.loc["50\N{NO-BREAK SPACE}%", "above dense"] == "+0.500 ± 0.141"
    assert table.loc["90\N{NO-BREAK SPACE}%", "seeds"] == "2, 1 of them compared"
    no_dense = tables.recovery_table(scores.recovery(_recovering({(0.9, 0): (1, 2, 3, 4)})))
    assert list(no_dense["above dense"]) == ["–"]


def test_without_curves_there_is_no_recovery() -> None:
    found = _recovering({(0.0, 0): (3.0, 2.0, 1.9, 1.8)})
    ends = found[found.step == 100]
    assert scores.recovery(ends).empty
    with pytest.raises(UserError, match="curves are missing"):
        tables.recovery_table(scores.recovery(ends))


def test_the_ramp_is_that_of_the_pruned_models() -> None:
    # The dense model of the lab, which is its first, has none.
    assert gathering.ramp_steps(studies.load("lab")) == 40
    assert gathering.ramp_steps(studies.load("english-burn-in")) == 0


def test_repeatability_is_pooled_over_the_cells_that_have_several_seeds() -> None:
    found = made_up(seeds=3, tasks=("sst2",))
    few = found[(found.arm == "prune_pretrain") | (found.seed == 0)]
    (line,) = scores.repeatability(few).itertuples()
    # Seeds are 0.00, 0.01 and 0.02 below: a deviation of 0.01. The limit of two runs is 2.77 times.
    assert line.Index == "sst2" and line.cells == len(SPARSITIES)
    assert line.std == pytest.approx(0.01) and line.limit == pytest.approx(0.0277, abs=1e-4)
    # A cell of two seeds has one degree of freedom, one of three has two: (2·10⁻⁴ + ½·10⁻⁴) / 3.
    two = few[(few.sparsity == 0) | ((few.sparsity == 0.3) & (few.seed < 2))]
    (line,) = scores.repeatability(two).itertuples()
    assert line.cells == 2 and line.std == pytest.approx((2.5e-4 / 3) ** 0.5)
    assert scores.repeatability(found.assign(own=found.seed > 0)).empty
    with pytest.raises(UserError, match="one seed"):
        tables.seeds_apart(scores.repeatability(made_up()))


def test_pretraining_loss_is_that_of_the_model_that_an_arm_starts_from() -> None:
    table = scores.summary(made_up())
    after = table.arm == "prune_after_finetune"
    assert table[after].pretraining_loss.isna().all()
    assert np.allclose(table[~after].pretraining_loss, 3 + table[~after].sparsity)


def test_no_accuracy_is_said_plainly() -> None:
    found = made_up()
    with pytest.raises(UserError, match="no fine-tuning run"):
        scores.summary(found[found.task == rows.PRETRAINING])


def test_a_study_without_runs_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").symlink_to(Path(__file__).parents[2] / "notebooks")
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    study = studies.load("ci", ["sparsity=[0.0, 0.5]"])
    with pytest.raises(UserError, match=r"bertprune sweep ci --set 'sparsity=\[0.0, 0.5\]'"):
        gathering.rows_of(study)


@pytest.mark.parametrize(
    ("namespace", "message"),
    [({"study": "glue-tyni"}, "glue-tiny"), ({"study": 3}, "must be a text")],
)
def test_the_notebook_of_results_is_checked(namespace: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        gathering.study_of(namespace)


def test_results_are_a_view_and_no_run() -> None:
    from bertprune.protocol import notebook_parameters

    assert parameters_of("results") is View
    with pytest.raises(UserError, match="is no run"):
        parameters_of_run("results")
    with pytest.raises(UserError, match="did you mean 'study'"):
        notebook_parameters.parse(View, {"stduy": "ci"})


def test_the_table_shows_every_point_and_what_is_missing() -> None:
    table = tables.summary_table(scores.summary(made_up(seeds=2)))
    # None pruned at random to 0 %, and one line of what was never pre-trained.
    assert len(table) == 4 * len(SPARSITIES) - 1 + 1
    assert (
        table.loc[("pruned while pre-training", "60\N{NO-BREAK SPACE}%"), "sst2"]
        == "82.4 ± 0.7 (-7.2)"
    )
    after = table.xs("pruned after fine-tuning", level="arm")
    assert set(after["pre-training loss"]) == {"–"}
    text = tables.summary_text(scores.summary(made_up()))
    assert len(text.splitlines()) == 1 + len(scores.summary(made_up()))


def test_task_scores_mark_one_best_rate_a_task() -> None:
    of_run = made_up(rates=(1e-3, 2e-3)).query("arm == 'information_deletion' and sparsity == 0.6")
    table = tables.task_scores(of_run)
    assert list(table.index) == [(task, rate) for task in ("sst2", "cola") for rate in (1e-3, 2e-3)]
    assert list(table.best.groupby("task").agg("".join)) == ["✓", "✓"]
    assert (table.xs(2e-3, level="learning_rate").best == "✓").all()


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


def test_global_sparsity_is_counted_over_all_matrices() -> None:
    matrices = pd.DataFrame({"weights": [100, 100], "pruned": [90, 10]}, index=["a", "b"])
    assert run_checks.is_exactly_sparse(matrices, 0.5, "global").holds
    assert not run_checks.is_exactly_sparse(matrices, 0.5, "matrix").holds


def test_claims_of_a_run() -> None:
    found = made_up(tasks=("sst2",))

    def run(arm: str, sparsity: float, task: str) -> Rows:
        return found[(found.arm == arm) & (found.sparsity == sparsity) & (found.task == task)]

    dense = run("prune_pretrain", 0.0, rows.PRETRAINING)
    sparse = run("prune_pretrain", 0.9, rows.PRETRAINING)
    assert run_checks.recovers(dense, dense).holds
    assert not run_checks.recovers(dense, sparse).holds
    assert run_checks.learns(dense, 1000).holds
    assert not run_checks.learns(dense, 2).holds
    tuned = run("prune_after_finetune", 0.9, "sst2")
    assert run_checks.keeps_accuracy(tuned, tuned).holds
    assert not run_checks.keeps_accuracy(run("prune_pretrain", 0.0, "sst2"), tuned).holds
    assert run_checks.fits_training_set(tuned).holds
    assert run_checks.beats_majority(tuned, {"sst2": pd.Series([0, 0, 1])}).holds
    assert not run_checks.beats_majority(tuned, {"sst2": pd.Series([0] * 9 + [1])}).holds


def _changed(found: Rows, arm: str, change: float) -> Rows:
    """Rows with the accuracies of the pruned models of `arm` changed."""
    meant = (found.arm == arm) & (found.metric == "accuracy") & (found.sparsity > 0)
    return found.assign(value=found.value + change * meant)


def test_what_a_reader_adds_is_marked_and_leaves_averages_alone() -> None:
    found = made_up().assign(own=False)
    dense = found[(found.arm == "prune_pretrain") & (found.sparsity == 0)]
    more = dense.assign(sparsity=0.45, own=True)
    one_task = more[more.task.isin([PRETRAINING, sorted(set(found.task) - {PRETRAINING})[0]])]
    other = more[more.task != PRETRAINING].assign(task="of-my-own", sparsity=0.0)
    both = pd.concat([found, one_task, other], ignore_index=True)
    scored = scores.scores(both)
    assert set(scored[scored.own].sparsity) == {0.0, 0.45}
    before = scores.scores(found)
    average = scored[scored.task == "average"].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        average, before[before.task == "average"].reset_index(drop=True), check_dtype=False
    )
    summary = scores.summary(both)
    assert set(summary[summary.own].sparsity) == {0.0, 0.45}
    shown = tables.summary_table(summary).to_string()
    assert shown.count("†") == summary.own.sum()


def probed(bits: dict[str, float], *, arm: str, sparsity: float, seed: int) -> Rows:
    history = [
        {"step": 9, "split": "probe", "metric": f"{name}_bits", "value": value}
        for name, value in bits.items()
    ] + [{"step": 9, "split": "probe", "metric": "facts_recall", "value": 0.5}]
    return rows.of_history(history, arm=arm, sparsity=sparsity, learning_rate=1e-3, seed=seed)


def test_bits_by_sort_and_without_burn_in() -> None:
    one = {"facts": 10.0, "kinds": 2.0, "all": 12.0}
    parts = [probed(one, arm=arm, sparsity=0.5, seed=0) for arm in ("burn_in", "random_pruning")]
    found = scores.bits(rows.join([*parts, made_up()]))
    assert set(found.arm) == {"random_pruning"}
    assert dict(zip(found["sort"], found.bits, strict=True)) == one
    with pytest.raises(UserError, match="no model was asked what it recalls"):
        scores.bits(made_up())


def test_each_model_is_set_beside_what_it_started_from() -> None:
    parts = [
        probed({"all": 100.0 * (1 - sparsity) + seed}, arm=arm, sparsity=sparsity, seed=seed)
        for arm in ("prune_pretrain", "random_pruning")
        for sparsity in SPARSITIES
        for seed in (0, 1)
    ]
    bits = scores.bits(rows.join(parts))
    scored = scores.scores(made_up(seeds=2))
    found = scores.with_bits(scored, bits)
    deleted = found[(found.arm == "information_deletion") & (found.task == "sst2")]
    assert len(deleted) == len(SPARSITIES) * 2
    assert (deleted.bits == 100.0 * (1 - deleted.sparsity) + deleted.seed).all()
    # Pruned after fine-tuning, a model has no bits of its own.
    assert "prune_after_finetune" not in set(found.arm)


def test_transfer_is_paired_by_seed() -> None:
    found = scores.scores(made_up(seeds=3))
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
    found = made_up(seeds=3)
    found = found[(found.arm != "from_scratch") | (found.seed == 1)]
    line = tables.transfer(scores.scores(found), BASELINES).loc["sst2"]
    assert line["pre-trained"] == line["never pre-trained"] == "89.1" and line["seeds"] == 1


def test_the_table_of_bits_ends_with_the_content() -> None:
    parts = [
        probed({"facts": 10.0, "all": 12.0}, arm="prune_pretrain", sparsity=0.5, seed=seed)
        for seed in (0, 1)
    ]
    table = tables.bits_table(scores.bits(rows.join(parts)), {"facts": 20.0})
    assert list(table["facts"]) == ["10 ± 0", "20"]
    assert list(table["all"]) == ["12 ± 0", "20"]


def test_what_was_measured_of_the_whole_model_by_epoch() -> None:
    history = [
        {"epoch": epoch, "split": "weights", "metric": "movement_mean", "part": part, "step": epoch}
        | {"value": 0.01 * epoch if part == "" else 1.0}
        for epoch in (1, 2)
        for part in ("", "pooler.dense")
    ]
    point: dict[str, Any] = {"arm": "prune_pretrain", "sparsity": 0.0, "seed": 0}
    found = rows.of_history(history, task="cola", learning_rate=1e-3, **point)
    table = tables.by_epoch(found, "movement_mean")
    assert table.to_dict("index") == {("cola", 1e-3): {1: 1.0, 2: 2.0}}
    assert tables.by_epoch(found, "mask_difference").empty
