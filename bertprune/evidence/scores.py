"""Scores: accuracies and losses of a study's rows by arm, sparsity, task and seed."""

from __future__ import annotations

import pandas as pd

from bertprune.base.errors import UserError
from bertprune.protocol import rows
from bertprune.protocol.arms import (
    ARMS,
    BURN_IN,
    BY_SPARSITY,
    EPOCHS_BEFORE_PRUNING,
    FROM_SCRATCH,
    PRUNE_PRETRAIN,
)
from bertprune.protocol.rows import PRETRAINING, Metric, Rows, Split, where

AVERAGE = "average"
"""The task of scores that are means over all tasks of the study."""

WORD_FREQUENCIES = "loss_of_word_frequencies"
"""The metric of rows that say which loss the frequencies of words alone give (`baselines`)."""

LAST_SHARE = 0.3
"""The end of pre-training, a share of its steps, that shows whether the loss still falls."""

# What a fine-tuned model is told by, but for its learning rate.
_POINT = ["arm", "sparsity", "task", "seed"]

_PRETRAINED_BY = {name: arm.pretrained_by for name, arm in ARMS.items() if arm.pretrained_by}


def best_accuracies(found: Rows) -> pd.DataFrame:
    """Dev accuracy after the last epoch by arm, sparsity, task, seed and position: the *best* over
    learning rates, as the paper has it, with the learning rate that gives it, of equals the lowest,
    and `own`, whether a reader has added it. In the order of `found`."""
    dev = where(found, split=Split.DEV, metric=Metric.ACCURACY)
    dev = rows.final(_with_own(dev[dev.task != PRETRAINING])).dropna(subset="value")
    ordered = dev.sort_values(["value", "learning_rate"], ascending=[True, False])
    point = ["arm", "sparsity", "task", "seed", "position"]
    best = ordered.drop_duplicates(point, keep="last").sort_index()
    return best.rename(columns={"value": "accuracy"})[[*point, "learning_rate", "accuracy", "own"]]


def scores(found: Rows) -> pd.DataFrame:
    """The best accuracies (see `best_accuracies`) by arm, sparsity, task and seed, with averages.

    Raises UserError if the rows have no such accuracy.
    """
    best = best_accuracies(found)
    best = best[best.arm != EPOCHS_BEFORE_PRUNING]
    if best.empty:
        raise UserError("no accuracy yet: no fine-tuning run of the study is done")
    best = best.sort_values(_POINT)[[*_POINT, "accuracy", "own"]]
    return with_averages(best.reset_index(drop=True), "accuracy")


def changes(scored: pd.DataFrame) -> pd.DataFrame:
    """`scores` with the `change` of each arm from its own accuracy at 0 %, of the same task and
    seed, where nothing is pruned; from the dense model's where an arm has none. What has neither is
    left out."""
    place = ["arm", "task", "seed"]
    at_zero = where(scored, sparsity=0, arm=BY_SPARSITY).set_index(place).accuracy
    own = pd.MultiIndex.from_frame(scored[place])
    dense = pd.MultiIndex.from_frame(scored[place].assign(arm=PRUNE_PRETRAIN))
    start = at_zero.reindex(own).fillna(at_zero.reindex(dense).set_axis(own)).to_numpy()
    return scored.assign(change=scored.accuracy.to_numpy() - start).dropna(subset=["change"])


def training_losses(found: Rows, best: pd.DataFrame | None = None) -> pd.DataFrame:
    """Loss over the training set, or a sample of it, after the last epoch (nats), by arm, sparsity,
    task and seed, at the learning rate whose dev accuracy is best; `own` as for `best_accuracies`,
    which need not be found again where they are given."""
    train = where(found, split=Split.TRAIN, metric=Metric.LOSS)
    losses = rows.final(train[train.task != PRETRAINING]).rename(columns={"value": "loss"})[
        [*_POINT, "learning_rate", "loss"]
    ]
    best = best_accuracies(found) if best is None else best
    best = best[best.arm != EPOCHS_BEFORE_PRUNING]
    return best.merge(losses, on=[*_POINT, "learning_rate"])[[*_POINT, "loss", "own"]]


def with_averages(measured: pd.DataFrame, name: str) -> pd.DataFrame:
    """`measured`, lines by arm, sparsity, task and seed, and with several tasks besides those of
    the task "average": the mean of the column `name` where an arm has it of all tasks."""
    # A task that only the reader has taken up is no part of the study's average.
    of_study = set(measured[~measured.own].task) or set(measured.task)
    if len(of_study) < 2:
        return measured
    over_tasks = (
        measured[measured.task.isin(of_study)]
        .groupby(["arm", "sparsity", "seed"], as_index=False)
        .agg(**{name: (name, "mean"), "own": ("own", "any"), "tasks": ("task", "size")})
    )
    whole = over_tasks[over_tasks.tasks == len(of_study)].drop(columns="tasks")
    return pd.concat([measured, whole.assign(task=AVERAGE)], ignore_index=True)


def pretraining_losses(found: Rows) -> pd.DataFrame:
    """Dev loss (MLM + NSP, nats) at the end of pre-training, by arm, sparsity and seed; `own` as
    for `best_accuracies`.

    The burnt-in model is none of the arms.
    """
    loss = where(found, task=PRETRAINING, split=Split.DEV, metric=Metric.LOSS)
    loss = _with_own(rows.final(loss[loss.arm != BURN_IN]))
    columns = ["arm", "sparsity", "seed", "loss", "own"]
    return loss.rename(columns={"value": "loss"})[columns].reset_index(drop=True)


def recovery_curves(found: Rows) -> pd.DataFrame:
    """Dev loss (MLM + NSP, nats) while models are pruned in pre-training, and after: sparsity,
    seed, step, value. Runs of which there is the end alone are left out, and what the reader added.
    """
    place = {"arm": PRUNE_PRETRAIN, "task": PRETRAINING, "split": Split.DEV}
    of = where(without_own(found), metric=Metric.LOSS, **place)
    points = of.groupby(["sparsity", "seed"]).step.transform("nunique")
    return of[points > 1][["sparsity", "seed", "step", "value"]].reset_index(drop=True)


def recovery(found: Rows) -> pd.DataFrame:
    """How far pre-training had recovered when it ended, a line for each sparsity, in nats of dev
    loss: `loss` in the end; `rise` ± `rise_std`, by how much that is above the dense model's of the
    same seed; `falling`, by how much it came down in about the last `LAST_SHARE` of the steps; and
    `falling_more`, by how much more than the dense model's. Means over `seeds`, differences over
    those of them, `pairs`, that have a dense model. No lines without curves.

    Rates fall to 0 over the steps, so each curve is flat where it ends: `falling_more` tells what
    was not yet made up for, not what more steps would bring.
    """
    curves = recovery_curves(found)
    lines = []
    for (sparsity, seed), curve in curves.groupby(["sparsity", "seed"]):
        losses = curve.set_index("step").value.sort_index()
        late = losses.index[abs(losses.index - (1 - LAST_SHARE) * losses.index[-1]).argmin()]
        lines.append((sparsity, seed, losses.iloc[-1], losses[late] - losses.iloc[-1]))
    by_seed = pd.DataFrame(lines, columns=["sparsity", "seed", "loss", "falling"])
    dense = by_seed[by_seed.sparsity == 0].drop(columns="sparsity")
    paired = by_seed.merge(dense, on="seed", how="left", suffixes=("", "_dense"))
    paired["rise"] = paired.loss - paired.loss_dense
    paired["falling_more"] = paired.falling - paired.falling_dense
    return paired.groupby("sparsity").agg(
        loss=("loss", "mean"),
        rise=("rise", "mean"),
        rise_std=("rise", "std"),
        falling=("falling", "mean"),
        falling_more=("falling_more", "mean"),
        seeds=("loss", "count"),
        pairs=("rise", "count"),
    )


def bits(found: Rows) -> pd.DataFrame:
    """Bits of the lab language that each pre-trained model recalls, by arm, sparsity, seed and
    sort (see `lab.probe`); `all` is their sum. Raises UserError if no model was asked."""
    probed = where(found, split=Split.PROBE)
    probed = probed[probed.metric.str.endswith("_bits")]
    probed = rows.final(probed[probed.arm != BURN_IN])
    if probed.empty:
        raise UserError(
            "no model was asked what it recalls: that takes text of a lab language, its tokenizer "
            "(leave tokenizer empty), and positions enough for the longest question"
        )
    return probed.assign(sort=probed.metric.str.removesuffix("_bits"), bits=probed.value)[
        ["arm", "sparsity", "seed", "sort", "bits"]
    ].reset_index(drop=True)


def with_bits(measured: pd.DataFrame, recalled: pd.DataFrame) -> pd.DataFrame:
    """`measured`, lines by arm, sparsity and seed, with the `bits` in all that the pre-trained
    model recalls which the arm starts from; lines without such a model are left out."""
    together = recalled[recalled["sort"] == "all"].drop(columns="sort")
    return _with_pretrained(measured, together).dropna(subset="bits", ignore_index=True)


def _with_pretrained(measured: pd.DataFrame, pretrained: pd.DataFrame) -> pd.DataFrame:
    """`measured` with what `pretrained` has of the pre-trained model that the arm starts from."""
    started = measured.assign(started_from=measured.arm.map(_PRETRAINED_BY))
    of_start = pretrained.rename(columns={"arm": "started_from"})
    return started.merge(of_start, on=["started_from", "sparsity", "seed"], how="left")


def with_dense(measured: pd.DataFrame, name: str) -> pd.DataFrame:
    """`measured` with `dense`, what the dense model of the same task and seed has of `name`; NaN
    where there is none."""
    dense = where(measured, arm=PRUNE_PRETRAIN, sparsity=0)[["task", "seed", name]]
    return measured.merge(dense.rename(columns={name: "dense"}), on=["task", "seed"], how="left")


def summary(found: Rows) -> pd.DataFrame:
    """The accuracy table of a study: one line for each arm, sparsity and task.

    `accuracy` (a share) is the mean over seeds of the dev accuracy after the last epoch, for each
    seed the best over learning rates, as in the paper: a best, so it flatters all arms alike.
    `std` is over the `seeds` (none for one seed). Arms may have different seeds, so each is
    compared with its own: `dense` is the accuracy of the unpruned models of the same seeds,
    `difference` the mean of accuracy − dense, over as many `pairs`. `pretraining_loss` is the mean
    dev loss of the pre-trained models that the arm starts from (none for prune_after_finetune,
    which starts from the dense one), and `own` whether a reader has added one of the runs.
    """
    scored = with_dense(scores(found), "accuracy")
    keyed = _with_pretrained(scored, pretraining_losses(found).drop(columns="own"))
    return (
        keyed.assign(difference=keyed.accuracy - keyed.dense)
        .groupby(["arm", "sparsity", "task"], as_index=False)
        .agg(
            accuracy=("accuracy", "mean"),
            std=("accuracy", "std"),
            seeds=("seed", "nunique"),
            own=("own", "any"),
            dense=("dense", "mean"),
            difference=("difference", "mean"),
            pairs=("difference", "count"),
            pretraining_loss=("loss", "mean"),
        )
    )


def repeatability(found: Rows) -> pd.DataFrame:
    """How far two runs of one cell fall apart that differ in nothing but the seed, a line for each
    task: `cells` (arm × sparsity) with two seeds or more; `std`, the standard deviation over seeds,
    pooled over these cells; and `limit` = 1.96 · √2 · std, within which two runs are in 95 of 100
    cases (the repeatability limit of ISO 5725-6). Both are shares. No lines where there is one
    seed.
    """
    scored = scores(found)
    by_cell = scored[~scored.own].groupby(["task", "arm", "sparsity"], sort=False).accuracy
    cells = by_cell.agg(["var", "count"]).query("count > 1")
    freedom = cells["count"] - 1
    by_task = (cells["var"] * freedom).groupby("task", sort=False).sum()
    std = (by_task / freedom.groupby("task", sort=False).sum()) ** 0.5
    table = pd.DataFrame({"cells": cells.groupby("task", sort=False).size(), "std": std})
    return table.assign(limit=1.96 * 2**0.5 * table["std"])


def pretrained_and_not(scored: pd.DataFrame) -> pd.DataFrame:
    """By task and seed the accuracy of the dense model, `accuracy_dense`, and of one that was never
    pre-trained, `accuracy_scratch`, of the seeds that both have."""
    dense = where(scored, arm=PRUNE_PRETRAIN, sparsity=0)
    return dense.merge(
        where(scored, arm=FROM_SCRATCH), on=["task", "seed"], suffixes=("_dense", "_scratch")
    )


def worth_pretraining(scored: pd.DataFrame, baselines: pd.DataFrame) -> list[str]:
    """The tasks on which pre-training is worth something: those on which the dense model is, on
    average, above the one that was never pre-trained, and above the `majority` and `bag of words`
    that `baselines` has by task, as shares."""
    of = ["accuracy_dense", "accuracy_scratch"]
    means = pretrained_and_not(scored).groupby("task", sort=False)[of].mean()
    both = means.join(baselines[["majority", "bag of words"]], how="inner")
    others = both.drop(columns="accuracy_dense").max(axis=1)
    return list(both.index[both.accuracy_dense > others])


def of_usual_length(last: Rows) -> Rows:
    """Of the last rows of curves those after a task's fewest epochs: a fine-tuning that goes on
    beyond the protocol's, as that of figure 4, is there to show how it settles."""
    return last[last.epoch == last.groupby("task").epoch.transform("min")]


def without_own(measured: pd.DataFrame) -> pd.DataFrame:
    """`measured` without what `gathering.rows_of` marks as the reader's own."""
    return measured[~measured.own.astype(bool)] if "own" in measured else measured


def _with_own(found: Rows) -> Rows:
    """`found` with the column `own`: without it none is."""
    return found if "own" in found else found.assign(own=False)
