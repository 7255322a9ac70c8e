"""The commands about all runs of a study: `sweep` and `status`."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from bertprune.base.errors import UserError
from bertprune.base.machine import usable_cores
from bertprune.cli.arguments import DRY_RUN, LIVE, WORKERS, about_study
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import Study
from bertprune.experiments.timekeeping import progress_in_words

if TYPE_CHECKING:
    from bertprune.experiments.sweep.scheduling import Outcome

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
@click.option(
    "--threads",
    type=click.IntRange(1),
    metavar="N",
    help="Threads of each run (default: on this machine its cores, shared by those side by side; "
    "one on a cluster). Equal threads give equal rows.",
)
@click.option(
    "--cluster",
    "place",
    metavar="PLACE",
    help="Execute them on a Dask cluster: local:N, the address or the file of a scheduler, or a "
    "queueing system of Dask's configuration (slurm, pbs, sge, lsf ...).",
)
@DRY_RUN
def sweep(
    study: Study,
    workers: int | None,
    at_once: int | None,
    unpublished: bool,
    live: bool,
    threads: int | None,
    place: str | None,
    dry_run: bool,
) -> int:
    """Execute the notebooks of a study that are not done yet."""
    from bertprune.evidence import gathering

    if place and workers:
        raise UserError("--workers is about this machine, and a cluster has its own: leave it out")
    stages = study.by_stage()
    # Equal inputs need no second look.
    for one in {one.inputs: one for one in stages}.values():
        one.check_inputs()
    published = gathering.published_runs(study) if unpublished or dry_run else {}
    plan = study.live_part().plan() if live else list(stages)
    if unpublished:
        plan = gathering.still_to_publish(study, published)
    if dry_run:
        _show_status(plan, published)
        return 0
    if place and plan:
        outcome = _on_cluster(place, plan, stages, threads or 1, at_once)
    else:
        outcome = _here(stages, plan, workers, threads, at_once)
    print(
        f"{len(outcome.done)} executed, {len(outcome.skipped)} done before, "
        f"{len(outcome.failed)} failed"
    )
    for name, reason in outcome.failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if outcome.failed else 0


def _here(
    stages: Mapping[Run, int],
    plan: Sequence[Run],
    workers: int | None,
    threads: int | None,
    at_once: int | None,
) -> Outcome:
    """A sweep of `plan`, of a study whose runs have these `stages`, on this machine."""
    import torch

    from bertprune.experiments.sweep.local import local_workers, thread_counts
    from bertprune.experiments.sweep.scheduling import sweep

    gpu = torch.cuda.is_available()
    # A notebook that starts or ends leaves its core idle; on a GPU they would share its memory.
    workers = workers or (1 if gpu else usable_cores() + 1)
    # Bits depend on the threads, and these on the whole plan.
    counts = dict.fromkeys(plan, threads) if threads else thread_counts([*stages], workers)
    with local_workers(workers) as executor:
        try:
            at_once = at_once or (_AT_ONCE_ON_GPU if gpu else 1)
            return sweep(plan, executor, counts, at_once, stages)
        except KeyboardInterrupt:
            executor.shutdown(cancel_futures=True)
            raise


def _on_cluster(
    place: str,
    plan: Sequence[Run],
    stages: Mapping[Run, int],
    threads: int,
    at_once: int | None,
) -> Outcome:
    from bertprune.experiments.sweep.cluster import cluster
    from bertprune.experiments.sweep.scheduling import sweep
    from bertprune.speed.cost.amounts_of_work import memory_bytes

    def memory(run: Run, on_gpu: bool) -> float:
        try:
            return memory_bytes(run.parameters, on_gpu=on_gpu)
        except UserError:
            # Of a task that is not at hand: nothing is known, so nothing is asked.
            return 0.0

    with cluster(place, plan, memory, threads) as workers:
        at_once = at_once or (_AT_ONCE_ON_GPU if workers.trains_on_gpu else 1)
        return sweep(plan, workers, dict.fromkeys(plan, threads), at_once, stages)


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
