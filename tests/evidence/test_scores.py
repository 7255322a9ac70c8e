"""Scores: accuracies and losses of made-up rows, and what is made of them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from bertprune.base.errors import UserError
from bertprune.evidence import scores
from bertprune.protocol import rows
from bertprune.protocol.arms import EPOCHS_BEFORE_PRUNING
from bertprune.protocol.rows import PRETRAINING, Rows

from ..made_up import SPARSITIES, made, probed, study


def test_a_score_is_the_best_rate_after_the_last_epoch() -> None:
    scored = scores.scores(study(rates=(1e-3, 3e-3, 2e-3)))
    dense = scored[(scored.sparsity == 0) & (scored.task == "sst2")]
    assert np.allclose(dense.accuracy, 0.9 + 3e-3)
    # One more learning rate can only be a better one.
    fewer = scores.scores(study(rates=(1e-3,)))
    assert (scored.accuracy >= fewer.accuracy).all()


def test_training_losses_are_those_of_the_best_learning_rate() -> None:
    found = made(
        {
            (rate, *of): value
            for rate, accuracy, loss in ((1e-3, 0.8, 0.1), (2e-3, 0.9, 0.2), (3e-3, 0.9, 0.3))
            for of, value in {("dev", "accuracy"): accuracy, ("train", "loss"): loss}.items()
        },
        "learning_rate split metric",
        task="sst2",
    )
    assert scores.training_losses(found).loss.tolist() == [0.2]


def test_an_accuracy_that_is_no_number_is_not_the_best() -> None:
    found = study(rates=(1e-3, 3e-3))
    best = (found.metric == "accuracy") & (found.learning_rate == 3e-3)
    lacking = found.assign(value=found.value.mask(best))
    pd.testing.assert_frame_equal(
        scores.scores(lacking), scores.scores(found[found.learning_rate == 1e-3])
    )


def test_what_is_trained_before_pruning_for_other_times_is_no_training_loss_of_the_study() -> None:
    found = study()
    longer = found[found.arm == "prune_after_finetune"]
    longer = longer.assign(arm=EPOCHS_BEFORE_PRUNING, position=1.0)
    pd.testing.assert_frame_equal(
        scores.training_losses(rows.join([found, longer])), scores.training_losses(found)
    )


def test_the_average_is_over_all_tasks_or_not_at_all() -> None:
    found = study()
    average = scores.scores(found).query("task == 'average'")
    assert len(average) == len(scores.scores(study(tasks=("sst2",))))
    lacking = found[~((found.task == "cola") & (found.arm == "prune_after_finetune"))]
    assert "prune_after_finetune" not in scores.scores(lacking).query("task == 'average'").arm.array
    assert "average" not in scores.scores(study(tasks=("sst2",))).task.array


def test_summary_has_dense_sparse_difference_seeds_and_deviation() -> None:
    table = scores.summary(study(seeds=3))
    assert set(table.seeds) == {3}
    assert np.allclose(table["std"], 0.01)
    assert np.allclose(table.difference, table.accuracy - table.dense)
    assert np.allclose(table.difference, -0.2 * table.sparsity**2)
    assert scores.summary(study(seeds=1))["std"].isna().all()


def test_a_difference_is_from_the_dense_model_of_the_same_seed() -> None:
    # Seed 1 is a point worse everywhere, and only one arm has it.
    found = study(seeds=2)
    found = found[(found.arm == "prune_pretrain") | (found.seed == 0)]
    table = scores.summary(found)
    assert np.allclose(table.difference, -0.2 * table.sparsity**2)
    assert np.allclose(table.accuracy - table.dense, table.difference)
    lacking = found[(found.arm != "prune_pretrain") | (found.sparsity > 0) | (found.seed == 1)]
    unpaired = scores.summary(lacking).query("arm == 'information_deletion'")
    assert unpaired.difference.isna().all() and set(unpaired.pairs) == {0}


def _recovering(curves: Mapping[tuple[float, int], tuple[float, ...]]) -> Rows:
    """Dev losses after 10, 60, 70 and 100 steps, by sparsity and seed."""
    losses = {
        (*place, step): loss
        for place, curve in curves.items()
        for step, loss in zip((10, 60, 70, 100), curve, strict=True)
    }
    return made(losses, "sparsity seed step", split="dev", metric="loss")


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


def test_without_curves_there_is_no_recovery() -> None:
    found = _recovering({(0.0, 0): (3.0, 2.0, 1.9, 1.8)})
    ends = found[found.step == 100]
    assert scores.recovery(ends).empty


def test_repeatability_is_pooled_over_the_cells_that_have_several_seeds() -> None:
    found = study(seeds=3, tasks=("sst2",))
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


def test_pretraining_loss_is_that_of_the_model_that_an_arm_starts_from() -> None:
    table = scores.summary(study())
    after = table.arm == "prune_after_finetune"
    assert table[after].pretraining_loss.isna().all()
    assert np.allclose(table[~after].pretraining_loss, 3 + table[~after].sparsity)


def test_no_accuracy_is_said_plainly() -> None:
    found = study()
    with pytest.raises(UserError, match="no fine-tuning run"):
        scores.summary(found[found.task == rows.PRETRAINING])


def test_what_a_reader_adds_is_marked_and_leaves_averages_alone() -> None:
    found = study().assign(own=False)
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


def test_bits_by_sort_and_without_burn_in() -> None:
    one = {"facts": 10.0, "kinds": 2.0, "all": 12.0}
    parts = [probed(one, arm=arm, sparsity=0.5) for arm in ("burn_in", "random_pruning")]
    found = scores.bits(rows.join([*parts, study()]))
    assert set(found.arm) == {"random_pruning"}
    assert dict(zip(found["sort"], found.bits, strict=True)) == one
    with pytest.raises(UserError, match="no model was asked what it recalls"):
        scores.bits(study())


def test_each_model_is_set_beside_what_it_started_from() -> None:
    parts = [
        probed({"all": 100.0 * (1 - sparsity) + seed}, arm=arm, sparsity=sparsity, seed=seed)
        for arm in ("prune_pretrain", "random_pruning")
        for sparsity in SPARSITIES
        for seed in (0, 1)
    ]
    bits = scores.bits(rows.join(parts))
    scored = scores.scores(study(seeds=2))
    found = scores.with_bits(scored, bits)
    deleted = found[(found.arm == "information_deletion") & (found.task == "sst2")]
    assert len(deleted) == len(SPARSITIES) * 2
    assert (deleted.bits == 100.0 * (1 - deleted.sparsity) + deleted.seed).all()
    # Pruned after fine-tuning, a model has no bits of its own.
    assert "prune_after_finetune" not in set(found.arm)
