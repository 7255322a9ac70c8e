"""The commands about speed: `cost` and `bench`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.machine import usable_cores
from bertprune.cli.arguments import CSV, WORKERS, about_study, write_csv
from bertprune.experiments.studies import Study


@click.command()
@about_study
@click.option(
    "--device",
    metavar="NAME",
    help="A machine other than this one: book, which the book was made on, or a GPU (a100, h100, "
    "h200, v100, rtx4090, t4), for which rates are assumed, not measured.",
)
@WORKERS
@click.option("--measure", is_flag=True, help="Measure this machine anew.")
@CSV
@click.option("--publish", is_flag=True, help="Write this machine's costs to book/published.")
def cost(
    study: Study,
    device: str | None,
    workers: int | None,
    measure: bool,
    file: Path | None,
    publish: bool,
) -> None:
    """Say what a study costs: time, memory and disk, by arm."""
    from bertprune.speed.cost import estimate, measuring_costs, unit_costs

    if device is not None and (measure or publish):
        raise UserError("--measure and --publish are about this machine: leave out --device")
    plan = study.plan()
    if device is not None:
        found = estimate.estimate(plan, unit_costs.named(device), workers)
    else:
        here = measuring_costs.for_plan(plan, workers, again=measure)
        found = estimate.estimate(plan, here, workers)
        if publish:
            print(unit_costs.publish(here))
    if file:
        write_csv(found.table(), file, "lines")
    else:
        print(estimate.text(found, study))


@click.command()
@click.argument("cases", nargs=-1, metavar="[CASE]...")
@click.option("--list", "only_list", is_flag=True, help="Show the cases, and do nothing.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=usable_cores,
    help="Of both sides (default: all).",
)
@click.option("--repeats", type=click.IntRange(1), default=5, help="Times each side (default: 5).")
@click.option(
    "--task-data",
    metavar="FOLDER",
    default="",
    help="SST-2 in GLUE's layout (default: made-up phrases).",
)
@click.option("--csv", metavar="FILE", help="Where the rows go (default: runs/bench/measured.csv).")
@click.option("--publish", is_flag=True, help="Write them to book/published too, for its page.")
def bench(cases: Sequence[str], only_list: bool, csv: str | None, **options: Any) -> None:
    """Time what we do beside what a user would pick instead; by default all CASEs."""
    from bertprune.speed.bench import benchmark

    if only_list:
        print(benchmark.listed())
        return
    file = Path(csv) if csv else paths.runs_folder() / "bench" / "measured.csv"
    benchmark.bench(cases, file=file, **options)
