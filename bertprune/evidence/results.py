"""Results of a study: its rows gathered from the runs, and summarised by arm, sparsity and task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.book.tables import Sentence
from bertprune.experiments import studies
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import Study
from bertprune.protocol import notebook_parameters, rows
from bertprune.protocol.arms import ARMS, BURN_IN, EPOCHS_BEFORE_PRUNING, PRUNE_PRETRAIN
from bertprune.protocol.notebook_parameters import Finetune
from bertprune.protocol.record import Execution
from bertprune.protocol.rows import PRETRAINING, Rows
from bertprune.protocol.views import View
from bertprune.training import dispatch

AVERAGE = "average"
"""The task of scores that are means over all tasks of the study."""

LAST_SHARE = 0.3
"""The end of pre-training, a share of its steps, that shows whether the loss still falls."""

# What a fine-tuned model is told by, but for its learning rate.
_POINT = ["arm", "sparsity", "task", "seed"]


_PRETRAINED_BY = {name: arm.pretrained_by for name, arm in ARMS.items() if arm.pretrained_by}


def study_of(namespace: Mapping[str, Any]) -> Study:
    """The study that the parameters cell of a view's notebook names.

    Called with the notebook's `globals()`; raises UserError for bad parameters.
    """
    parameters = notebook_parameters.parse_namespace(View, namespace)
    return studies.load(parameters.study, parameters.changes)


def rows_of(study: Study) -> Rows:
    """Rows of all runs of the study that are done, with the columns notebook, run, and own: whether
    the run is the reader's own (see `Study.own_runs`).

    Those over how long a model was fine-tuned before it was pruned have an arm of their own, and
    these epochs as their position. Where the study is not whole here, runs that were published as
    they would be now have their published rows (see `published_runs`), and where no run is done,
    all have them; raises UserError if there are none either.
    """
    if is_shown_as_published(study):
        return published([study.name])[study.name].assign(own=False)
    protocol, over_epochs = _shown(study)
    own, elsewhere = study.own_runs(), published_runs(study)
    found = [
        run.rows().assign(own=run in own)
        for run in [*protocol, *own]
        if run.is_done() and run not in elsewhere
    ]
    found += [
        run.rows().assign(
            own=False, arm=EPOCHS_BEFORE_PRUNING, position=float(run.parameters.epochs)
        )
        for run in over_epochs
        if run.is_done() and run not in elsewhere and isinstance(run.parameters, Finetune)
    ]
    if elsewhere:
        for needed, before in zip((protocol, over_epochs), _published_parts(study), strict=True):
            ids = {run.id for run in needed if run in elsewhere}
            found.append(before[before.run.isin(ids)].assign(own=False))
    if not found:
        raise UserError(
            f"none of the {len(study.plan())} runs of study {study.name} is done: execute them "
            f"with `{study.command('sweep')}`"
        )
    gathered = pd.concat(found, ignore_index=True)
    return gathered[["notebook", *rows.COLUMNS, "run", "own"]]


def published_runs(study: Study) -> dict[Run, Execution]:
    """Runs of a study that is not whole here which were published as they would be now, of the same
    parameters, code and data, each with its record; in the order of the plan.

    What is published stays as it is until all runs are done here: its parts belong together, and
    the same runs on another machine may come out a little otherwise (see `executed_again`).
    """
    if all(run.is_done() for run in study.plan()):
        return {}
    records = _published_as_now(study)
    if not records:
        return {}
    lacking = set()
    # A run that two figures show has rows for each.
    for needed, before in zip(_shown(study), _published_parts(study), strict=True):
        ids = set(before.run)
        lacking |= {run for run in needed if run.id not in ids}
    return {run: record for run, record in records.items() if run not in lacking}


def _published_as_now(study: Study) -> dict[Run, Execution]:
    """The published records of runs of the study that would be the same now, done here or not."""
    if not _comes_with_book(study):
        return {}
    records = {
        record.id: record for record in map(Execution.of, facts_of(study.name).get("records", []))
    }
    return {
        run: records[run.id]
        for run in study.plan()
        if run.id in records and run.is_made_with(records[run.id].parameters)
    }


def _shown(study: Study) -> tuple[list[Run], list[Run]]:
    """The runs whose rows show the arms of the study, with what these need, and those whose rows
    show how long a model was fine-tuned before it was pruned."""
    arms = (arm for arm in study.arms if arm != EPOCHS_BEFORE_PRUNING)
    protocol = {needed for arm in arms for needed in study.needed_for(arm)}
    return [run for run in study.plan() if run in protocol], study.runs_of(EPOCHS_BEFORE_PRUNING)


def _published_parts(study: Study) -> tuple[Rows, Rows]:
    """The published rows of the one and of the other."""
    before = published([study.name])[study.name]
    is_over_epochs = before.arm == EPOCHS_BEFORE_PRUNING
    return before[~is_over_epochs], before[is_over_epochs]


def provenance(study: Study) -> Sentence:
    """Where the study's rows come from, for its pages: runs of this machine, or published ones."""
    if is_shown_as_published(study):
        facts = published_facts([study.name]).loc[study.name]
        return Sentence(
            f"Published rows of {facts.runs} runs: {facts['work (min)']} minutes of work on "
            f"{facts['device × threads']}, finished {facts.finished}, by {facts.code} code. "
            f"Changed by --set: {facts['changed by --set']}."
        )
    plan, before = study.plan(), published_runs(study)
    done = [run for run in plan if run.is_done() and run not in before]
    imported = sum(bool(run.record().imported) for run in done)
    where = f"{imported} of them imported, the others " if imported else ""
    own = len(study.own_runs())
    added = f", and {own} that the reader has added" if own else ""
    here = f"{where}executed on this machine{added}"
    if not before:
        return Sentence(f"{len(done)} of {len(plan)} runs of this study, {here}.")
    devices = ", ".join(facts_of(study.name)["devices"])
    return Sentence(
        f"{len(before)} of {len(plan)} runs of this study as they were published, by the same code "
        f"({devices}); {len(done)} more, {here}; {len(plan) - len(before) - len(done)} missing."
    )


def has_published(study: Study) -> bool:
    """Whether rows of just this study came with the book: of the one of this name that lies in the
    project, not of a reader's file that is called the same."""
    return _comes_with_book(study) and not study.changes


def _comes_with_book(study: Study) -> bool:
    is_of_project = (study.given_as or study.name) in studies.names()
    return is_of_project and paths.published(study.name).exists()


def is_shown_as_published(study: Study) -> bool:
    """Whether all rows shown of the study are published ones: they are there, and no run is done
    here."""
    return has_published(study) and not any(run.is_done() for run in study.plan())


def as_shown(study: Study) -> Study:
    """The study with the settings that the rows shown of it were made with: published rows may have
    been made with other text, say, than its file names."""
    if is_shown_as_published(study):
        return studies.load(study.given_as or study.name, facts_of(study.name)["changes"])
    return study


def published_facts(names: Iterable[str]) -> pd.DataFrame:
    """When, where and from what the published rows of studies were made, a line each; `code` says
    whether each run would be what this edition's code gives."""
    lines = {}
    present = {dispatch.code_of(kind) for kind in notebook_parameters.CONTRACTS.values()}
    for name in names:
        facts = facts_of(name)
        lines[name] = {
            "finished": facts["finished"][:10],
            "runs": facts["runs"],
            "work (min)": f"{facts['work_s'] / 60:.0f}",
            "device × threads": ", ".join(facts["devices"]),
            "torch": facts["versions"]["torch"],
            "code": "this edition's"
            if present.issuperset(facts["code"])
            else "an earlier edition's",
            "changed by --set": ", ".join(facts["changes"]) or "–",
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("study")


def facts_of(name: str) -> dict[str, Any]:
    """What `publishing.publish` wrote beside the published rows of a study. Raises UserError if it
    cannot be read."""
    file = paths.published(name).with_suffix(".json")
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file} is damaged ({error}): take it from the repository again, or execute the study "
            "and publish it"
        ) from error


def published(names: Iterable[str]) -> dict[str, Rows]:
    """The rows that `publishing.publish` wrote of studies, by name.

    Raises UserError if there are none.
    """
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
    others = (name for name in study.beside if name != study.name)
    return published(name for name in others if paths.published(name).exists())


def best_accuracies(found: Rows) -> pd.DataFrame:
    """Dev accuracy after the last epoch by arm, sparsity, task, seed and position: the *best* over
    learning rates, as the paper has it, with the learning rate that gives it, of equals the lowest,
    and `own`, whether a reader has added it. In the order of `found`."""
    dev = found[(found.task != PRETRAINING) & (found.split == "dev") & (found.metric == "accuracy")]
    dev = rows.final(dev if "own" in dev else dev.assign(own=False)).dropna(subset="value")
    ordered = dev.sort_values(["value", "learning_rate"], ascending=[True, False])
    point = ["arm", "sparsity", "task", "seed", "position"]
    best = ordered.groupby(point, dropna=False, sort=False).tail(1).sort_index()
    return best.rename(columns={"value": "accuracy"})[[*point, "learning_rate", "accuracy", "own"]]


def scores(found: Rows) -> pd.DataFrame:
    """The best accuracies (see `best_accuracies`) by arm, sparsity, task and seed, with averages.

    Raises UserError if the rows have no such accuracy.
    """
    best = best_accuracies(found[found.arm != EPOCHS_BEFORE_PRUNING])
    if best.empty:
        raise UserError("no accuracy yet: no fine-tuning run of the study is done")
    best = best.sort_values(_POINT)[[*_POINT, "accuracy", "own"]]
    return with_averages(best.reset_index(drop=True), "accuracy")


def training_losses(found: Rows) -> pd.DataFrame:
    """Loss over the whole training set (nats) after the last epoch, by arm, sparsity, task and
    seed, at the learning rate whose dev accuracy is best; `own` as for `best_accuracies`."""
    train = found[(found.arm != EPOCHS_BEFORE_PRUNING) & (found.task != PRETRAINING)]
    train = rows.final(train[(train.split == "train") & (train.metric == "loss")])
    losses = train.rename(columns={"value": "loss"})[[*_POINT, "learning_rate", "loss"]]
    best = best_accuracies(found[found.arm != EPOCHS_BEFORE_PRUNING])
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
    loss = found[(found.task == PRETRAINING) & (found.split == "dev") & (found.metric == "loss")]
    loss = rows.final(loss[loss.arm != BURN_IN])
    loss = loss if "own" in loss else loss.assign(own=False)
    columns = ["arm", "sparsity", "seed", "loss", "own"]
    return loss.rename(columns={"value": "loss"})[columns].reset_index(drop=True)


def recovery_curves(found: Rows) -> pd.DataFrame:
    """Dev loss (MLM + NSP, nats) while models are pruned in pre-training, and after: sparsity,
    seed, step, value. Runs of which there is the end alone are left out, and what the reader added.
    """
    of = found[(found.task == PRETRAINING) & (found.split == "dev") & (found.metric == "loss")]
    of = of[(of.arm == PRUNE_PRETRAIN) & ~of.own] if "own" in of else of[of.arm == PRUNE_PRETRAIN]
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


def ramp_steps(study: Study) -> int:
    """The steps over which weights are taken away from the pruned models of the study; 0 where none
    is pruned in pre-training."""
    runs = as_shown(study).runs_of(PRUNE_PRETRAIN)
    given = [run.parameters for run in runs]
    return max(
        (p.ramp_steps for p in given if isinstance(p, Finetune) and p.sparsity > 0), default=0
    )


def bits(found: Rows) -> pd.DataFrame:
    """Bits of the lab language that each pre-trained model recalls, by arm, sparsity, seed and
    sort (see `lab.probe`); `all` is their sum. Raises UserError if no model was asked."""
    probed = found[(found.split == "probe") & found.metric.str.endswith("_bits")]
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
    together = together.rename(columns={"arm": "started_from"})
    started = measured.assign(started_from=measured.arm.map(_PRETRAINED_BY))
    return started.merge(together, on=["started_from", "sparsity", "seed"])


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
    scored = scores(found)
    dense = scored[(scored.arm == PRUNE_PRETRAIN) & (scored.sparsity == 0)]
    losses = pretraining_losses(found).rename(columns={"arm": "started_from"})
    keyed = scored.assign(started_from=scored.arm.map(_PRETRAINED_BY))
    keyed = keyed.merge(
        dense[["task", "seed", "accuracy"]].rename(columns={"accuracy": "dense"}),
        on=["task", "seed"],
        how="left",
    ).merge(losses.drop(columns="own"), on=["started_from", "sparsity", "seed"], how="left")
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


def executed_again(study: Study) -> pd.DataFrame:
    """What runs of the study gave when they were `published`, and what they gave when they were
    executed `again`, with the same parameters, code, data and seed, to six digits: by run, arm,
    sparsity, task, learning_rate, seed and metric, dev accuracy (a share) after fine-tuning and dev
    loss (nats) after pre-training; `published_on` and `again_on` name the machines.

    Those executed again here, and those that were when the study was published. Without lines where
    there are neither.
    """
    place = ["run", *_POINT, "learning_rate", "metric"]
    columns = [*place, "published", "again", "published_on", "again_on"]
    if not _comes_with_book(study):
        return pd.DataFrame(columns=columns)
    records = _published_as_now(study)
    noted = pd.DataFrame(facts_of(study.name).get("executed_again", []), columns=columns)
    if not has_published(study):
        # Of a study that is changed, what the change leaves as it is.
        noted = noted[noted.run.isin([run.id for run in records])]
    before, _ = _published_parts(study)
    both = [noted]
    for run, record in records.items():
        if run.is_done() and not record.is_training_of(run.record()):
            devices = {"published_on": record.machine, "again_on": run.record().machine}
            once, again = (_ends(found) for found in (before[before.run == run.id], run.rows()))
            pairs = once.merge(again, on=place[1:], suffixes=("_once", "_again"))
            values = {"value_once": "published", "value_again": "again"}
            both.append(pairs.rename(columns=values).assign(run=run.id, **devices)[columns])
    found = pd.concat([pairs for pairs in both if len(pairs)] or [noted], ignore_index=True)
    return found.drop_duplicates([*place, "again_on"], keep="last", ignore_index=True)


def _ends(found: Rows) -> pd.DataFrame:
    """What trainings that are pruned or compared end with on the dev set."""
    is_loss = (found.task == PRETRAINING) & (found.metric == "loss")
    is_accuracy = (found.task != PRETRAINING) & (found.metric == "accuracy")
    of_arms = (found.arm != BURN_IN) & (found.split == "dev")
    last = rows.final(found[of_arms & (is_loss | is_accuracy)])
    rounded = last.value.map(lambda exact: float(f"{exact:.6g}"))
    return last.assign(value=rounded)[[*_POINT, "learning_rate", "metric", "value"]]
