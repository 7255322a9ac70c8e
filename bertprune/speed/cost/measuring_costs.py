"""Measuring unit costs on this machine: a few steps of the real training, and a tiny real sweep.

What is measured is kept in the cache, named by machine, code, torch and what was asked, so that a
change of any of them measures anew.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib import metadata
from statistics import fmean
from typing import Any

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import read_json, write_json
from bertprune.base.fingerprint import code_key
from bertprune.base.machine import device_name, gpu_name, usable_cores
from bertprune.base.words import counted
from bertprune.experiments.runs import Run
from bertprune.experiments.sweep.local import local_workers, thread_counts
from bertprune.model.shape import Shape
from bertprune.protocol.notebook_parameters import CONTRACTS
from bertprune.speed.cost.estimate import default_workers
from bertprune.speed.cost.runs_without_steps import runs_without_steps
from bertprune.speed.cost.unit_costs import Line, Machine, Table, scaled
from bertprune.speed.cost.what_to_measure import Request, requests
from bertprune.training import dispatch

# What runs of a larger model take beside their steps is measured with a small one, and scaled.
_LARGEST_RUN_PARAMETERS = 20_000_000
_SMALL_LAYERS, _SMALL_HIDDEN_SIZE, _SMALL_HEADS = 2, 128, 2


def for_plan(plan: Sequence[Run], workers: int | None = None, *, again: bool = False) -> Machine:
    """This machine, with unit costs for the runs of `plan` in a sweep of `workers`: those stored,
    or measured now.

    `again` measures anew what is stored. What is being measured is told on stderr. Raises
    UserError if nothing trains.
    """
    # A GPU counts as one core: a sweep gives it one run at a time.
    cores = 1 if gpu_name() else usable_cores()
    machine = Machine(device_name(), cores, {}, is_gpu=bool(gpu_name()))
    threads = thread_counts(plan, workers or default_workers(machine), cores)
    return replace(machine, table=_measured(requests(threads), again))


def _measured(wanted: Sequence[Request], again: bool) -> Table:
    if not wanted:
        raise UserError("no run of the study has a training step: there is nothing to measure")
    table: Table = {}
    of_runs: dict[tuple[Shape, int | None], dict[str, Line]] = {}
    for one in wanted:
        sized = _small_enough(one)
        sort = one.size, one.language
        if sort not in of_runs:
            key = {"size": asdict(sized.size), "language": one.language}
            what = f"loading, saving and notebooks: {sized.in_words()}"
            found = _kept(key, what, partial(runs_without_steps, sized), again)
            of_runs[sort] = dict(scaled(found, sized.size, one.size))
        what = f"steps: {one.in_words()}, {counted(one.threads, 'thread')}"
        steps = _kept(asdict(one), what, partial(_side_by_side, one), again)
        table[one.size, one.threads] = of_runs[sort] | steps
    return table


def _small_enough(request: Request) -> Request:
    if request.size.parameters <= _LARGEST_RUN_PARAMETERS:
        return request
    small = replace(
        request.size, layers=_SMALL_LAYERS, hidden_size=_SMALL_HIDDEN_SIZE, heads=_SMALL_HEADS
    )
    return replace(request, size=small)


def _kept(
    key: Mapping[str, Any], what: str, measured: Callable[[], dict[str, Line]], again: bool
) -> dict[str, Line]:
    """What is stored for `key`, or else is measured now and stored."""
    identity = {
        "asked": key,
        "machine": [device_name(), usable_cores(), platform.platform()],
        "code": [dispatch.code_of(contract) for contract in CONTRACTS.values()],
        "measuring": code_key(__name__),
        "torch": metadata.version("torch"),
    }
    text = json.dumps(identity, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = paths.cache_folder() / "costs" / f"{name}.json"
    if again or not file.exists():
        print(f"measuring {what} ...", end="", flush=True, file=sys.stderr)
        started = time.monotonic()
        lines = measured()
        print(f" {time.monotonic() - started:.0f} s", file=sys.stderr)
        values = {unit: asdict(line) for unit, line in lines.items()}
        write_json(identity | {"lines": values}, file)
    stored = read_json(file)["lines"]
    return {unit: Line(**line) for unit, line in stored.items()}


def _side_by_side(request: Request) -> dict[str, Line]:
    """Unit costs while all cores are busy, as in a sweep: the means of processes side by side."""
    # It takes seconds to import, and not where all is stored.
    from bertprune.speed.cost.timed_steps import steps

    processes = 1 if gpu_name() else max(1, usable_cores() // request.threads)
    with local_workers(processes) as workers:
        found = list(workers.map(steps, [request] * processes))
    return {
        unit: Line(
            fmean(one[unit].fixed_s for one in found), fmean(one[unit].per_token_s for one in found)
        )
        for unit in found[0]
    }
