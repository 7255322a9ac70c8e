"""Publishing: what the pages of a study show, written where the book finds it without any run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.evidence import answers, baselines, gathering
from bertprune.evidence.published import Published
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

    Where the study is not whole here, what was published before as it would be now stays, and runs
    that are done here are added: a study may be made on several machines, one after the other.
    Raises UserError for a study that has no file in `notebooks/studies`, unless all of its runs are
    done or published, and if nothing would be added, or something be lost.
    """
    if study.given_as not in studies.names():
        raise UserError(
            f"{study.given_as or study.name} cannot be published: only a study of "
            f"notebooks/studies can, {', '.join(studies.names())}"
        )
    plan, before = study.plan(), gathering.published_runs(study)
    if missing := [run.id for run in plan if not run.is_done() and run not in before]:
        raise UserError(
            f"study {study.name} is not whole, {len(missing)} of {len(plan)} runs are missing "
            f"({missing[0]}, ...): execute them with `{study.command('sweep')}"
            f"{' --unpublished' if before else ''}`"
        )
    if before:
        _check_addition(study, before)
    records: list[Execution] = [before.get(run) or run.record() for run in plan]
    versions = [run.record().versions for run in plan if run not in before]
    if before:
        versions.append(Published.read(study.name).versions)
    # These look at what was published before.
    again, found = gathering.executed_again(study), gathering.rows_of(study)
    predicted = gathering.predictions_of(study)
    again = again[again.run.isin([run.id for run in plan])]
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


def _check_addition(study: Study, before: Collection[Run]) -> None:
    """Raise UserError unless the study has all runs that are published, `before` or done here, and
    others besides."""
    plan = study.plan()
    kept = {run.id for run in plan if run in before or run.is_done()}
    records = Published.read(study.name).records
    if lost := [record.id for record in records if record.id not in kept]:
        raise UserError(
            f"{len(lost)} of the {len(records)} published runs of {study.name} would be lost "
            f"({lost[0]}, ...): this study has no such runs, and not all of its own are done here"
        )
    if len(plan) == len(before):
        raise UserError(f"all {len(plan)} runs of study {study.name} are published: nothing to add")


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
    keep &= ~is_of_matrix | found.part.isin([WHOLE, "starting position"])
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
