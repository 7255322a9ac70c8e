"""Results of a study: its rows gathered from the runs, and summarised by arm, sparsity and task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bertprune import contracts, paths, rows, studies
from bertprune.contracts import Finetune, View
from bertprune.errors import UserError, full_disk_is_user_error
from bertprune.rows import PRETRAINING, Rows
from bertprune.studies import Study

AVERAGE = "average"
"""The task of scores that are means over all tasks of the study."""

DENSE_ARM = "prune_pretrain"
"""The arm whose point at sparsity 0 is the dense model that all others are compared with."""

EPOCHS_ARM = "epochs_before_pruning"
"""The arm that prunes after fine-tuning of several lengths, at one sparsity."""

# Which arm's pre-trained models an arm starts from, where these are pruned.
_PRETRAINED_BY = {
    "prune_pretrain": "prune_pretrain",
    "information_deletion": "prune_pretrain",
    "random_pruning": "random_pruning",
    "from_scratch": "from_scratch",
}


def study_of(namespace: Mapping[str, Any]) -> Study:
    """The study that the parameters cell of a view's notebook names.

    Called with the notebook's `globals()`; raises UserError for bad parameters.
    """
    parameters = contracts.parse_namespace(View, namespace)
    return studies.load(parameters.study, parameters.changes)


def rows_of(study: Study) -> Rows:
    """Rows of all runs of the study that are done, with the columns notebook, run, and own: whether
    the run is the reader's own (see `Study.own_runs`).

    Those over how long a model was fine-tuned before it was pruned have an arm of their own, and
    these epochs as their position. Where no run is done, the rows are those that were published;
    raises UserError if there are none either.
    """
    plan, own = study.plan(), study.own_runs()
    protocol = {
        needed for arm in study.arms if arm != EPOCHS_ARM for needed in study.needed_for(arm)
    }
    found = [
        run.rows().assign(own=run in own)
        for run in [*plan, *own]
        if run.is_done() and (run in protocol or run in own)
    ]
    found += [
        run.rows().assign(own=False, arm=EPOCHS_ARM, position=float(run.parameters.epochs))
        for run in study.runs_of(EPOCHS_ARM)
        if run.is_done() and isinstance(run.parameters, Finetune)
    ]
    if not found and not study.changes and paths.published(study.name).exists():
        return published([study.name])[study.name].assign(own=False)
    if not found:
        raise UserError(
            f"none of the {len(plan)} runs of study {study.name} is done: execute them with "
            f"`{study.command('sweep')}`"
        )
    gathered = pd.concat(found, ignore_index=True)
    return gathered[["notebook", *rows.COLUMNS, "run", "own"]]


def publish(study: Study) -> Path:
    """Write what the curves of a study end with to `book/published`, and beside it when, where and
    by what code that was made, so that the book shows it where nobody executes the study.

    Raises UserError for a study that has no file in `notebooks/studies`, and unless all of its
    runs are done.
    """
    if study.given_as not in studies.names():
        raise UserError(
            f"{study.given_as or study.name} cannot be published: only a study of "
            f"notebooks/studies can, {', '.join(studies.names())}"
        )
    plan = study.plan()
    if missing := [run.id for run in plan if not run.is_done()]:
        raise UserError(
            f"study {study.name} is not whole, {len(missing)} of {len(plan)} runs are missing "
            f"({missing[0]}, ...): execute them with `{study.command('sweep')}`"
        )
    file = paths.published(study.name)
    with full_disk_is_user_error(file):
        file.parent.mkdir(exist_ok=True)
        rows.write(_worth_publishing(rows_of(study)), file)
        records = [run.record() for run in plan]
        facts = {
            "changes": list(study.changes),
            "finished": max(record["finished"] for record in records),
            "runs": len(records),
            "work_s": round(sum(record["wall_time_s"] for record in records), 1),
            "devices": sorted({f"{one['device']} × {one['threads']}" for one in records}),
            "versions": records[-1]["versions"],
            "code": sorted({record["identity"]["code"] for record in records}),
        }
        file.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    return file


def _worth_publishing(found: Rows) -> Rows:
    """What curves end with, and how weights move by epoch: one seed's map of magnitudes is enough,
    and what the reader has added is not the study's."""
    found = found[~found.own].drop(columns="own")
    whole = found.part == ""
    keep = found.index.isin(rows.final(found).index)
    keep |= whole & found.metric.isin(["movement_mean", "movement_std"])
    keep &= found.metric != "running_loss"
    keep &= (found.metric != "magnitude") | (found.seed == found.seed.min())
    return found[keep]


def provenance(study: Study) -> str:
    """Where the study's rows come from, for its pages: runs of this machine, or published ones."""
    plan = study.plan()
    done = sum(run.is_done() for run in plan)
    if not done and not study.changes and paths.published(study.name).exists():
        facts = published_facts([study.name]).loc[study.name]
        return (
            f"Published rows of {facts.runs} runs: {facts['work (min)']} minutes of work on "
            f"{facts['device × threads']}, finished {facts.finished}. Changed by --set: "
            f"{facts['changed by --set']}."
        )
    own = len(study.own_runs())
    added = f", and {own} that the reader has added" if own else ""
    return f"{done} of {len(plan)} runs of this study, executed on this machine{added}."


def published_facts(names: Iterable[str]) -> pd.DataFrame:
    """When, where and from what the published rows of studies were made, a line each."""
    lines = {}
    for name in names:
        facts = json.loads(paths.published(name).with_suffix(".json").read_text())
        lines[name] = {
            "finished": facts["finished"][:10],
            "runs": facts["runs"],
            "work (min)": f"{facts['work_s'] / 60:.0f}",
            "device × threads": ", ".join(facts["devices"]),
            "torch": facts["versions"]["torch"],
            "changed by --set": ", ".join(facts["changes"]) or "–",
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("study")


def published(names: Iterable[str]) -> dict[str, Rows]:
    """The rows that `publish` wrote of studies, by name; raises UserError if there are none."""
    found = {}
    for name in names:
        file = paths.published(name)
        if not file.exists():
            raise UserError(
                f"there is no {file}: execute the study and publish it with "
                f"`bertprune sweep {name}` and `bertprune results {name} --publish`"
            )
        found[name] = rows.read(file)
    return found


def published_beside(study: Study) -> dict[str, Rows]:
    """The published rows of the studies that the book of `study` shows beside it, by name."""
    return published(name for name in study.beside if paths.published(name).exists())


def scores(found: Rows) -> pd.DataFrame:
    """Dev accuracy by arm, sparsity, task and seed: the *best* over learning rates, as the paper
    has it, of the accuracies after the last epoch; `own` says whether a reader has added it.

    With several tasks there is also the task "average", where an arm has a score on all of them.
    Raises UserError if the rows have no such accuracy.
    """
    dev = found[(found.task != PRETRAINING) & (found.split == "dev") & (found.metric == "accuracy")]
    dev = rows.final(dev[dev.arm != EPOCHS_ARM])
    if dev.empty:
        raise UserError("no accuracy yet: no fine-tuning run of the study is done")
    point = ["arm", "sparsity", "task", "seed"]
    dev = dev if "own" in dev else dev.assign(own=False)
    best = dev.groupby(point, as_index=False).agg(accuracy=("value", "max"), own=("own", "any"))
    # A task that only the reader has taken up is no part of the study's average.
    of_study = set(best[~best.own].task) or set(best.task)
    tasks = len(of_study)
    if tasks < 2:
        return best
    over_tasks = (
        best[best.task.isin(of_study)]
        .groupby(["arm", "sparsity", "seed"], as_index=False)
        .agg(accuracy=("accuracy", "mean"), own=("own", "any"), tasks=("task", "size"))
    )
    whole = over_tasks[over_tasks.tasks == tasks].drop(columns="tasks")
    return pd.concat([best, whole.assign(task=AVERAGE)], ignore_index=True)


def pretraining_losses(found: Rows) -> pd.DataFrame:
    """Dev loss (MLM + NSP, nats) at the end of pre-training, by arm, sparsity and seed; `own` as
    for `scores`.

    The burnt-in model is none of the arms.
    """
    loss = found[(found.task == PRETRAINING) & (found.split == "dev") & (found.metric == "loss")]
    loss = rows.final(loss[loss.arm != "burn_in"])
    loss = loss if "own" in loss else loss.assign(own=False)
    columns = ["arm", "sparsity", "seed", "loss", "own"]
    return loss.rename(columns={"value": "loss"})[columns].reset_index(drop=True)


def bits(found: Rows) -> pd.DataFrame:
    """Bits of the lab language that each pre-trained model recalls, by arm, sparsity, seed and
    sort (see `lab.probe`); `all` is their sum. Raises UserError if no model was asked."""
    probed = found[(found.split == "probe") & found.metric.str.endswith("_bits")]
    probed = rows.final(probed[probed.arm != "burn_in"])
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
    together = together.rename(columns={"arm": "started_from"})
    started = measured.assign(started_from=measured.arm.map(_PRETRAINED_BY))
    return started.merge(together, on=["started_from", "sparsity", "seed"])


def summary(found: Rows) -> pd.DataFrame:
    """The accuracy table of a study: one line for each arm, sparsity and task.

    `accuracy` (a share) is the mean over seeds of the dev accuracy after the last epoch, for each
    seed the best over learning rates, as in the paper: a best, so it flatters all arms alike.
    `std` is over the `seeds` (none for one seed), `dense` the accuracy of the unpruned model,
    `difference` = accuracy − dense, `pretraining_loss` the mean dev loss of the pre-trained model
    that the arm starts from (none for prune_after_finetune, which starts from the dense one), and
    `own` whether a reader has added one of the runs.
    """
    table = (
        scores(found)
        .groupby(["arm", "sparsity", "task"], as_index=False)
        .agg(
            accuracy=("accuracy", "mean"),
            std=("accuracy", "std"),
            seeds=("seed", "nunique"),
            own=("own", "any"),
        )
    )
    dense = table[(table.arm == DENSE_ARM) & (table.sparsity == 0)].set_index("task").accuracy
    table["dense"] = table.task.map(dense).astype("float64")
    table["difference"] = table.accuracy - table.dense
    losses = pretraining_losses(found).groupby(["arm", "sparsity"]).loss.mean()
    started_from = pd.MultiIndex.from_arrays([table.arm.map(_PRETRAINED_BY), table.sparsity])
    table["pretraining_loss"] = losses.reindex(started_from).to_numpy()
    return table
