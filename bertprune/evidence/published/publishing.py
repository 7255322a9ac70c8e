"""Publishing: what the pages of a study show, written where the book finds it without any run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.evidence import answers, baselines, gathering
from bertprune.evidence.published import Published, is_published
from bertprune.evidence.scores import without_own
from bertprune.experiments import studies
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import Study
from bertprune.protocol import rows
from bertprune.protocol.arms import BURN_IN, PRUNE_PRETRAIN, RANDOM_PRUNING
from bertprune.protocol.predictions import Predictions
from bertprune.protocol.record import Execution
from bertprune.protocol.rows import PRETRAINING, WHOLE, Metric, Rows, Split, where


def publish(study: Study) -> Path:
    """Write what the pages of a study show to `book/published`, and beside it when, where and by
    what code that was made, run by run, so that the book shows it where nobody executes the study.

    A study need not be whole, pages name what is missing (see `gathering.missing`). Where it is not
    whole here, what was published before as it would be now stays, and runs that are done here are
    added: a study may be made on several machines, one after the other, over days. Raises UserError
    for a study that has no file in `notebooks/studies`, and if nothing would be added, or something
    be lost.
    """
    if study.given_as not in studies.names():
        raise UserError(
            f"{study.given_as or study.name} cannot be published: only a study of "
            f"notebooks/studies can, {', '.join(studies.names())}"
        )
    before = gathering.published_runs(study)
    kept = [run for run in study.plan() if run in before or run.is_done()]
    _check_addition(study, kept, before)
    records: list[Execution] = [before.get(run) or run.record() for run in kept]
    versions = [run.record().versions for run in kept if run not in before]
    if before:
        versions.append(Published.read(study.name).versions)
    # These look at what was published before.
    again, found = gathering.executed_again(study), gathering.rows_of(study)
    beside = [gathering.masks_between_seeds(study), baselines.of_burn_ins(study)]
    found = pd.concat([found, *beside], ignore_index=True)
    predicted = gathering.predictions_of(study)
    again = again[again.run.isin([run.id for run in kept])]
    Published(
        changes=list(study.changes),
        finished=max(record.finished for record in records),
        runs=len(records),
        work_s=round(sum(record.wall_time_s for record in records), 1),
        devices=sorted({record.machine for record in records}),
        versions=_joined(versions),
        code=sorted({record.identity["code"] for record in records}),
        tasks=baselines.of_study(study).to_dict(orient="index"),
        executed_again=json.loads(again.to_json(orient="records")),
        records=records,
    ).write(study.name, _worth_publishing(found), _worth_keeping(predicted))
    return paths.published(study.name)


def _check_addition(study: Study, kept: Collection[Run], before: Collection[Run]) -> None:
    """Raise UserError unless the runs that are `kept`, published `before` or done here, are all of
    the study or all that are published, and others besides."""
    plan = study.plan()
    is_whole_here = len(kept) == len(plan) and not before
    if is_published(study.name) and not is_whole_here:
        then = Published.read(study.name)
        count = len(then.records) or then.runs
        ids = {run.id for run in kept}
        if lost := count - sum(record.id in ids for record in then.records):
            raise UserError(
                f"{lost} of the {count} published runs of {study.name} would be lost: this study "
                "has no such runs, and not all of its own are done here. Execute these, or delete "
                f"{paths.published(study.name)} and what lies beside it"
            )
    if len(kept) == len(before):
        unpublished = " --unpublished" if before else ""
        raise UserError(
            f"{len(before)} of {len(plan)} runs of study {study.name} are published, and no other "
            "is done here: there is nothing to add. Execute what is missing with "
            f"`{study.command('sweep')}{unpublished}`"
        )


def _joined(versions: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The version of each library; where runs had different ones, all of them."""
    found: dict[str, set[str]] = {}
    for of_run in versions:
        for name, named in of_run.items():
            found.setdefault(name, set()).update(named.split(", "))
    return {name: ", ".join(sorted(each)) for name, each in found.items()}


def _worth_publishing(found: Rows) -> Rows:
    """What the pages of a study show: the curves of burn-in and of pre-training while pruned, what
    others end with, and how weights move by epoch.

    Values by matrix are left out where no page has them, and what shows a shape and no difference
    is one seed's. Values have six digits, but counts all of them. What the reader has added is not
    the study's.
    """
    found = without_own(found).drop(columns="own")
    is_movement = found.metric.isin([Metric.MOVEMENT_MEAN, Metric.MOVEMENT_STD])
    keep = found.index.isin(rows.final(found).index)
    keep |= (found.part == WHOLE) & is_movement
    keep &= found.metric != Metric.RUNNING_LOSS
    keep |= (found.arm == BURN_IN) & found.split.isin([Split.TRAIN, Split.DEV])
    recovery = {"task": PRETRAINING, "split": Split.DEV, "metric": Metric.LOSS}
    keep |= found.index.isin(where(found, arm=PRUNE_PRETRAIN, **recovery).index)
    is_of_matrix = is_movement | (found.metric == Metric.MASK_DIFFERENCE)
    keep &= ~is_of_matrix | found.part.isin([WHOLE, "starting position", rows.ANOTHER_SEED])
    is_shape = found.metric.isin([Metric.MAGNITUDE, "histogram"])
    is_shape |= (found.arm == RANDOM_PRUNING) & found.part.str.startswith("dimension ")
    keep &= ~is_shape | (found.seed == found.seed.min())
    kept = _with_fewer_blocks(found[keep])
    six_digits = kept[["position", "value"]].map(lambda exact: float(f"{exact:.6g}"))
    return kept.assign(**six_digits.where(kept[["position", "value"]] % 1 != 0, kept))


def _worth_keeping(predicted: Predictions) -> Predictions:
    """What scores are of: predictions at the best learning rate, without the reader's. Raises
    UserError if runs of a task have other dev sets."""
    best = answers.at_best_rate(without_own(predicted)).drop(columns="own")
    for task in best.task.unique():
        answers.check_examples(best[best.task == task])
    return best


def _with_fewer_blocks(found: Rows, most: int = 16) -> Rows:
    """`found` with `most` blocks of tokens at most in maps of magnitudes: means of neighbours."""
    maps = found[found.metric == Metric.MAGNITUDE]
    if maps.empty:
        return found
    firsts = sorted(maps.position.unique())
    joined = -(-len(firsts) // most)
    first_of = {first: firsts[at - at % joined] for at, first in enumerate(firsts)}
    maps = maps.assign(position=maps.position.map(first_of))
    columns = [name for name in maps if name != "value"]
    by_block = maps.groupby(columns, as_index=False, sort=False, dropna=False)
    means = by_block.agg(value=("value", "mean"))
    return pd.concat([found[found.metric != Metric.MAGNITUDE], means])
