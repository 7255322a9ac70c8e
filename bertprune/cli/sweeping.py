"""The commands about all runs of a study: `sweep` and `status`."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

import click

from bertprune.base.machine import usable_cores
from bertprune.cli.arguments import DRY_RUN, LIVE, WORKERS, about_study
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import Study
from bertprune.experiments.timekeeping import progress_in_words

# A stack of small models fills a GPU; more of them only take more memory.
_AT_ONCE_ON_GPU = 16


@click.command()
@about_study
@WORKERS
@click.option(
    "--at-once",
    type=click.IntRange(1),
    metavar="N",
    help="Models that train as one where runs differ in seed and pruning alone "
    f"(default: {_AT_ONCE_ON_GPU} on a GPU, 1 elsewhere).",
)
@click.option(
    "--unpublished",
    is_flag=True,
    help="Only runs that book/published lacks, with what they need.",
)
@LIVE
@DRY_RUN
def sweep(
    study: Study,
    workers: int | None,
    at_once: int | None,
    unpublished: bool,
    live: bool,
    dry_run: bool,
) -> int:
    """Execute the notebooks of a study that are not done yet."""
    import torch

    from bertprune.evidence import gathering
    from bertprune.experiments.sweep import local_workers, sweep, thread_counts

    gpu = torch.cuda.is_available()
    # A notebook that starts or ends leaves its core idle; on a GPU they would share its memory.
    workers = workers or (1 if gpu else usable_cores() + 1)
    at_once = at_once or (_AT_ONCE_ON_GPU if gpu else 1)
    plan = study.plan()
    # Equal inputs need no second look.
    for one in {one.inputs: one for one in plan}.values():
        one.check_inputs()
    # Bits depend on the threads, and these on the whole plan.
    threads = thread_counts(plan, workers)
    published = gathering.published_runs(study) if unpublished or dry_run else {}
    if live:
        plan = study.live_part().plan()
    if unpublished:
        plan = gathering.still_to_publish(study, published)
    if dry_run:
        _show_status(plan, published)
        return 0
    with local_workers(workers) as executor:
        try:
            outcome = sweep(plan, executor, threads, at_once)
        except KeyboardInterrupt:
            executor.shutdown(cancel_futures=True)
            raise
    print(
        f"{len(outcome.done)} executed, {len(outcome.skipped)} done before, "
        f"{len(outcome.failed)} failed"
    )
    for name, reason in outcome.failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if outcome.failed else 0


@click.command()
@about_study
def status(study: Study) -> None:
    """Say which runs of a study are done, in work or missing."""
    from bertprune.evidence import gathering

    _show_status(study.plan(), gathering.published_runs(study))


def _show_status(plan: Sequence[Run], published: Collection[Run]) -> None:
    for one in plan:
        print(f"{one.id:<60} {_state(one)}{', published' if one in published else ''}")
    done = sum(one.is_done() for one in plan)
    others = sum(one in published and not one.is_done() for one in plan)
    print(f"{done} of {len(plan)} runs are done{f', {others} others published' if others else ''}")


def _state(one: Run) -> str:
    if one.is_current():
        return "done" if one.has_model() else "done, without its model"
    if one.is_done():
        return "done, page out of date"
    if not one.partial_folder.exists():
        return "missing"
    return progress_in_words(one.partial_folder) or "begun"
