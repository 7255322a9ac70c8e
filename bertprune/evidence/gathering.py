"""The rows of a study, gathered from runs of this machine and from what was published."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from bertprune.base.errors import UserError
from bertprune.base.shown import Sentence
from bertprune.base.words import counted, listed, percent, ranges
from bertprune.evidence import published
from bertprune.evidence.published import Published
from bertprune.experiments import execution, studies
from bertprune.experiments.runs import Run, lineage
from bertprune.experiments.studies import Study
from bertprune.protocol import notebook_parameters, predictions, rows
from bertprune.protocol.arms import (
    BURN_IN,
    EPOCHS_BEFORE_PRUNING,
    PRUNE_PRETRAIN,
    arm_of,
    bert_of,
    words_of_arm,
)
from bertprune.protocol.notebook_parameters import Finetune, PrunePretrain
from bertprune.protocol.predictions import Predictions
from bertprune.protocol.record import Execution
from bertprune.protocol.rows import ANOTHER_SEED, PRETRAINING, WHOLE, Metric, Rows, Split, where
from bertprune.protocol.views import View


def studies_of(namespace: Mapping[str, Any]) -> list[Study]:
    """The studies that the parameters cell of a chapter's notebook names.

    Called with the notebook's `globals()`; raises UserError for bad parameters.
    """
    return execution.studies_of(notebook_parameters.parse_namespace(View, namespace))


def rows_of(study: Study) -> Rows:
    """Rows of all runs of the study that are done, with the columns notebook, run, bert: the BERT
    that the run begins with (see `arms.bert_of`), and own: whether the run is the reader's own (see
    `Study.own_runs`).

    Those over how long a model was fine-tuned before it was pruned have an arm of their own, and
    these epochs as their position. Where the study is not whole here, runs that were published as
    they would be now have their published rows (see `published_runs`), and where no run is done,
    all have them; raises UserError if there are none either.
    """
    gathered = _gathered(study, Run.rows, published.rows_of)
    return gathered[["notebook", *rows.COLUMNS, "run", "bert", "own"]]


def masks_between_seeds(study: Study) -> Rows:
    """By how much masks differ that were pruned gradually from one BERT to one sparsity by two
    seeds, those of each run done here and of the next seed: rows as `rows_of` has them."""
    # Here, since it takes seconds, and most pages do not need it.
    from bertprune.analysis.pruned_parts import difference
    from bertprune.model.loading import load_masks, load_pretraining_model

    alike: dict[tuple[str, float], list[tuple[Run, PrunePretrain]]] = {}
    elsewhere = published_runs(study)
    for run in dict.fromkeys(study.needed_for(PRUNE_PRETRAIN)):
        p = run.parameters
        if not isinstance(p, PrunePretrain) or isinstance(p, Finetune) or not 0 < p.sparsity < 1:
            continue
        if run not in elsewhere and run.is_done() and run.model_folder.is_dir():
            alike.setdefault((_bert_of(run), p.sparsity), []).append((run, p))
    found = [rows.join([])]
    for (bert, sparsity), of_seeds in alike.items():
        if len(of_seeds) < 2:
            continue
        folders = [run.model_folder for run, _ in of_seeds]
        model = load_pretraining_model(str(folders[0]), seed=0)
        masks = [load_masks(folder, model) for folder in folders]
        for (run, p), own, others in zip(of_seeds, masks, [*masks[1:], masks[0]], strict=True):
            (whole,) = [one for one in difference(own, others) if one["part"] == WHOLE]
            of_run = rows.of_history(
                [whole | {"part": ANOTHER_SEED, "step": p.pretrain_steps}],
                arm=PRUNE_PRETRAIN,
                sparsity=sparsity,
                learning_rate=p.pretrain_learning_rate,
                seed=p.seed,
            )
            found.append(of_run.assign(notebook=run.notebook, run=run.id, bert=bert, own=False))
    return pd.concat(found, ignore_index=True)


def predictions_of(study: Study) -> Predictions:
    """Predictions (see `predictions`) of those of these runs that have theirs stored, with the
    columns position, run, bert and own as rows have them."""
    return _gathered(study, _predictions, published.predictions_of)


def _predictions(run: Run) -> Predictions:
    found = run.predictions()
    if found is None:
        found = predictions.join([])
    return found.assign(position=math.nan, run=run.id)


def _gathered(
    study: Study, of_run: Callable[[Run], Rows], of_published: Callable[[str], Rows]
) -> Rows:
    """What runs that are done have, and what of others was published, with the column own."""
    if is_shown_as_published(study):
        return of_published(study.name).assign(own=False)
    by_arm, over_epochs = _runs_shown(study)
    own, elsewhere = study.own_runs(), published_runs(study)
    found = [
        of_run(run).assign(bert=_bert_of(run), own=run in own)
        for run in [*by_arm, *own]
        if run.is_done() and run not in elsewhere
    ]
    found += [
        of_run(run).assign(
            bert=_bert_of(run),
            own=False,
            arm=EPOCHS_BEFORE_PRUNING,
            position=float(run.parameters.epochs),
        )
        for run in over_epochs
        if run.is_done() and run not in elsewhere and isinstance(run.parameters, Finetune)
    ]
    if elsewhere:
        before = _in_parts(of_published(study.name))
        for needed, part in zip((by_arm, over_epochs), before, strict=True):
            ids = {run.id for run in needed if run in elsewhere}
            found.append(part[part.run.isin(ids)].assign(own=False))
    if not found:
        raise UserError(
            f"none of the {len(study.plan())} runs of study {study.name} is done: execute them "
            f"with `{study.command('sweep')}`"
        )
    # What has no lines has no kinds of values either.
    return pd.concat([part for part in found if len(part)] or found, ignore_index=True)


def _bert_of(run: Run) -> str:
    return bert_of(run.parameters.model, run.parameters.burn_in_seed)


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
    parts = _in_parts(published.rows_of(study.name))
    for needed, before in zip(_runs_shown(study), parts, strict=True):
        ids = set(before.run)
        lacking |= {run for run in needed if run.id not in ids}
    return {run: record for run, record in records.items() if run not in lacking}


def _published_as_now(study: Study) -> dict[Run, Execution]:
    """The published records of runs of the study that would be the same now, done here or not."""
    if not _comes_with_book(study):
        return {}
    records = {record.id: record for record in Published.read(study.name).records}
    return {
        run: records[run.id]
        for run in study.plan()
        if run.id in records and run.is_made_with(records[run.id].parameters)
    }


def _runs_shown(study: Study) -> tuple[list[Run], list[Run]]:
    """The runs whose rows show the arms of the study, with what these need, and those whose rows
    show how long a model was fine-tuned before it was pruned."""
    arms = (arm for arm in study.arms if arm != EPOCHS_BEFORE_PRUNING)
    by_arm = {needed for arm in arms for needed in study.needed_for(arm)}
    return [run for run in study.plan() if run in by_arm], study.runs_of(EPOCHS_BEFORE_PRUNING)


def _in_parts(before: Rows) -> tuple[Rows, Rows]:
    """Of what was published `before` that of the one and of the other."""
    is_over_epochs = before.arm == EPOCHS_BEFORE_PRUNING
    return before[~is_over_epochs], before[is_over_epochs]


def provenance(study: Study, found: Rows) -> Sentence:
    """Where the study's rows `found` come from, for its pages: runs of this machine, or published
    ones; and which are missing."""
    return Sentence(" ".join([_source(study), *missing(study, found)]))


def _source(study: Study) -> str:
    if is_shown_as_published(study):
        facts = published.overview([study.name]).loc[study.name]
        return (
            f"Published rows of {facts.runs} runs: {facts['work (min)']} minutes of work on "
            f"{facts['device × threads']}, finished {facts.finished}, by {facts.code} code. "
            f"Settings other than those of the study’s file: {facts['changed by --set']}."
        )
    plan, before = study.plan(), published_runs(study)
    done = [run for run in plan if run.is_done() and run not in before]
    imported = sum(bool(run.record().imported) for run in done)
    source = f"{imported} of them imported, the others " if imported else ""
    own = len(study.own_runs())
    added = f", and {own} that the reader has added" if own else ""
    here = f"{source}done on this machine{added}"
    if not before:
        return f"{len(done):,} of {len(plan):,} runs of this study, {here}."
    devices = ", ".join(Published.read(study.name).devices)
    twice = sum(run.is_done() for run in before)
    said = [
        f"{len(before):,} of {len(plan):,} runs of this study came with the book ({devices}).",
        f"{twice:,} of them were done on this machine too." if twice else "",
        f"{len(done):,} more: {here}." if done or own else "",
        f"{left:,} are missing." if (left := len(plan) - len(before) - len(done)) else "",
    ]
    return " ".join(filter(None, said))


def missing(study: Study, found: Rows) -> list[str]:
    """Which cells of the study there is no accuracy of, yet, in its rows `found`, in a sentence for
    all arms that lack the same: sparsities, or epochs before pruning, with tasks where only some
    lack, by seed."""
    found = where(found, split=Split.DEV, metric=Metric.ACCURACY)
    before = found.position.where(found.arm == EPOCHS_BEFORE_PRUNING, 0.0)
    there = set(zip(found.arm, found.sparsity, before, found.seed, found.task, strict=True))
    lacking: defaultdict[str, list[str]] = defaultdict(list)
    for arm, runs in _fine_tunings(as_shown(study)).items():
        lacking[_missing_of(arm, runs, there)].append(words_of_arm(arm))
    everywhere = {arm for arms in lacking.values() for arm in arms}
    return [
        f"Missing: {of}." if set(arms) == everywhere else f"Missing, {listed(arms)}: {of}."
        for of, arms in lacking.items()
        if of
    ]


def _fine_tunings(study: Study) -> dict[str, list[Finetune]]:
    given = {
        arm: [run.parameters for run in dict.fromkeys(study.runs_of(arm))] for arm in study.arms
    }
    return {arm: [p for p in of if isinstance(p, Finetune)] for arm, of in given.items()}


def _missing_of(arm: str, runs: Iterable[Finetune], there: Collection[tuple[Any, ...]]) -> str:
    """What is missing of `arm`; empty if all its cells are `there`."""
    is_over_epochs = arm == EPOCHS_BEFORE_PRUNING
    tasks: set[str] = set()
    lacking: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for p in runs:
        # Where nothing is pruned, pruning at random is pruning while pre-training.
        of_rows = arm if is_over_epochs else arm_of(p)
        place = (of_rows, p.sparsity, float(p.epochs) if is_over_epochs else 0.0, p.seed)
        after = f" after {counted(p.epochs, 'epoch')}" if is_over_epochs else ""
        lacking[p.seed, percent(p.sparsity) + after] += [
            task for task in p.task if (*place, task) not in there
        ]
        tasks |= set(p.task)
    points: defaultdict[int, list[str]] = defaultdict(list)
    for (seed, point), of_point in lacking.items():
        if of_point:
            is_whole = len(of_point) == len(tasks)
            points[seed].append(point if is_whole else f"{point} ({listed(of_point)})")
    every = defaultdict(list)
    for seed, point in lacking:
        every[seed].append(point)
    seeds: defaultdict[str, list[int]] = defaultdict(list)
    for seed, of_seed in points.items():
        seeds["all" if of_seed == every[seed] else listed(of_seed)].append(seed)
    return "; ".join(
        f"{lacks} of seed{'s' * (len(those) > 1)} {ranges(those)}" for lacks, those in seeds.items()
    )


def has_published(study: Study) -> bool:
    """Whether rows of just this study came with the book: of the one of this name that lies in the
    project, not of a reader's file that is called the same."""
    return _comes_with_book(study) and not study.changes


def _comes_with_book(study: Study) -> bool:
    is_of_project = (study.given_as or study.name) in studies.names()
    return is_of_project and published.is_published(study.name)


def is_shown_as_published(study: Study) -> bool:
    """Whether all rows shown of the study are published ones: they are there, and no run is done
    here."""
    return has_published(study) and not any(run.is_done() for run in study.plan())


def as_shown(study: Study) -> Study:
    """The study with the settings that the rows shown of it were made with: published rows may have
    been made with other text, say, than its file names."""
    if is_shown_as_published(study):
        return studies.load(study.given_as or study.name, Published.read(study.name).changes)
    return study


def ramp_steps(study: Study) -> int:
    """The steps over which weights are taken away from the pruned models of the study; 0 where none
    is pruned in pre-training."""
    runs = as_shown(study).runs_of(PRUNE_PRETRAIN)
    given = [run.parameters for run in runs]
    return max(
        (p.ramp_steps for p in given if isinstance(p, Finetune) and p.sparsity > 0), default=0
    )


_PLACE = ["run", "arm", "sparsity", "task", "seed", "learning_rate", "metric"]
_TWICE = [*_PLACE, "published", "again", "published_on", "again_on"]


def executed_again(study: Study) -> pd.DataFrame:
    """What runs of the study gave when they were `published`, and what they gave when they were
    executed `again`, with the same parameters, code, data and seed, to six digits: by run, arm,
    sparsity, task, learning_rate, seed and metric, dev accuracy (a share) after fine-tuning and dev
    loss (nats) after pre-training; `published_on` and `again_on` name the machines.

    Those executed again here, and those that were when the study was published. Without lines where
    there are neither.
    """
    if not _comes_with_book(study):
        return pd.DataFrame(columns=_TWICE)
    records = _published_as_now(study)
    noted = pd.DataFrame(Published.read(study.name).executed_again, columns=_TWICE)
    if not has_published(study):
        # Of a study that is changed, what the change leaves as it is.
        noted = noted[noted.run.isin([run.id for run in records])]
    before, _ = _in_parts(published.rows_of(study.name))
    both = [noted]
    for run, record in records.items():
        if run.is_done() and not record.is_training_of(run.record()):
            once, again = (
                ends_of(before[before.run == run.id]),
                ends_of(run.rows().assign(run=run.id)),
            )
            pairs = once.rename(columns={"value": "published"}).merge(
                again.rename(columns={"value": "again"}), on=_PLACE
            )
            machines = {"published_on": record.machine, "again_on": run.record().machine}
            both.append(pairs.assign(**machines)[_TWICE])
    found = pd.concat([pairs for pairs in both if len(pairs)] or [noted], ignore_index=True)
    return found.drop_duplicates([*_PLACE, "again_on"], keep="last", ignore_index=True)


def ends_of(found: Rows) -> pd.DataFrame:
    """What trainings that are pruned or compared end with on the dev set, to six digits: accuracy
    (a share) after fine-tuning, loss (nats) after pre-training."""
    dev = where(found[found.arm != BURN_IN], split=Split.DEV)
    measured = dev.task.eq(PRETRAINING).map({True: Metric.LOSS, False: Metric.ACCURACY})
    last = rows.final(dev[dev.metric == measured])
    rounded = last.value.map(lambda exact: float(f"{exact:.6g}"))
    return last.assign(value=rounded)[[*_PLACE, "value"]]


def still_to_publish(study: Study, before: Collection[Run]) -> list[Run]:
    """The runs of the study that are neither published, as those in `before` are, nor done here,
    with what they need.

    Raises UserError if nothing of it is published as it would be now.
    """
    if not before:
        raise UserError(
            f"no run of study {study.name} is published as it would be now, with the same "
            "data, settings and code, or all are done here: leave out --unpublished"
        )
    plan = study.plan()
    missing = [one for one in plan if one not in before and not one.is_current()]
    wanted = {needed for one in missing for needed in [*lineage(one), one]}
    return [one for one in plan if one in wanted]
