"""Results of a study: its rows gathered from the runs, and summarised by arm, sparsity and task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bertprune import contracts, rows, studies
from bertprune.contracts import Results
from bertprune.errors import UserError
from bertprune.rows import PRETRAINING, Rows
from bertprune.studies import Study

AVERAGE = "average"
"""The task of scores that are means over all tasks of the study."""

DENSE_ARM = "prune_pretrain"
"""The arm whose point at sparsity 0 is the dense model that all others are compared with."""

# Which arm's pre-trained models an arm starts from, where these are pruned.
_PRETRAINED_BY = {
    "prune_pretrain": "prune_pretrain",
    "information_deletion": "prune_pretrain",
    "random_pruning": "random_pruning",
}


def study_of(namespace: Mapping[str, Any]) -> Study:
    """The study that the parameters cell of the results notebook names.

    Called with the notebook's `globals()`; raises UserError for bad parameters.
    """
    parameters = contracts.parse_namespace(Results, namespace)
    return studies.load(parameters.study, parameters.changes)


def rows_of(study: Study) -> Rows:
    """Rows of all runs of the study's plan that are done, with the columns notebook and run.

    Raises UserError if none is done.
    """
    plan = study.plan()
    found = [run.rows() for run in plan if run.is_done()]
    if not found:
        raise UserError(
            f"none of the {len(plan)} runs of study {study.name} is done: execute them with "
            f"`{study.command('sweep')}`"
        )
    gathered = pd.concat(found, ignore_index=True)
    return gathered[["notebook", *rows.COLUMNS, "run"]]


def scores(found: Rows) -> pd.DataFrame:
    """Dev accuracy by arm, sparsity, task and seed: the *best* over learning rates, as the paper
    has it, of the accuracies after the last epoch.

    With several tasks there is also the task "average", where an arm has a score on all of them.
    Raises UserError if the rows have no such accuracy.
    """
    last = rows.final(found)
    dev = last[(last.task != PRETRAINING) & (last.split == "dev") & (last.metric == "accuracy")]
    if dev.empty:
        raise UserError("no accuracy yet: no fine-tuning run of the study is done")
    point = ["arm", "sparsity", "task", "seed"]
    best = dev.groupby(point, as_index=False).agg(accuracy=("value", "max"))
    tasks = best.task.nunique()
    if tasks < 2:
        return best
    over_tasks = best.groupby(["arm", "sparsity", "seed"], as_index=False).agg(
        accuracy=("accuracy", "mean"), tasks=("task", "size")
    )
    whole = over_tasks[over_tasks.tasks == tasks].drop(columns="tasks")
    return pd.concat([best, whole.assign(task=AVERAGE)], ignore_index=True)


def pretraining_losses(found: Rows) -> pd.DataFrame:
    """Dev loss (MLM + NSP, nats) at the end of pre-training, by arm, sparsity and seed.

    The burnt-in model is none of the arms.
    """
    last = rows.final(found)
    loss = last[(last.task == PRETRAINING) & (last.split == "dev") & (last.metric == "loss")]
    loss = loss[loss.arm != "burn_in"]
    return loss.rename(columns={"value": "loss"})[["arm", "sparsity", "seed", "loss"]].reset_index(
        drop=True
    )


def summary(found: Rows) -> pd.DataFrame:
    """The accuracy table of a study: one line for each arm, sparsity and task.

    `accuracy` (a share) is the mean over seeds of the dev accuracy after the last epoch, for each
    seed the best over learning rates, as in the paper: a best, so it flatters all arms alike.
    `std` is over the `seeds` (none for one seed), `dense` the accuracy of the unpruned model,
    `difference` = accuracy − dense, `pretraining_loss` the mean dev loss of the pre-trained model
    that the arm starts from (none for prune_after_finetune, which starts from the dense one).
    """
    table = (
        scores(found)
        .groupby(["arm", "sparsity", "task"], as_index=False)
        .agg(accuracy=("accuracy", "mean"), std=("accuracy", "std"), seeds=("seed", "nunique"))
    )
    dense = table[(table.arm == DENSE_ARM) & (table.sparsity == 0)].set_index("task").accuracy
    table["dense"] = table.task.map(dense).astype("float64")
    table["difference"] = table.accuracy - table.dense
    losses = pretraining_losses(found).groupby(["arm", "sparsity"]).loss.mean()
    started_from = pd.MultiIndex.from_arrays([table.arm.map(_PRETRAINED_BY), table.sparsity])
    table["pretraining_loss"] = losses.reindex(started_from).to_numpy()
    return table
