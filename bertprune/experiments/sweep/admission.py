"""Who may work in a sweep: what a worker says of itself, and why it is refused if it is.

Rows shall not depend on which worker made them, so all must have the same code, libraries and
precision, and see the same folder; a lock that one of them holds must hold for the others. All
train on GPUs, or all on processors that round alike. GPUs of different models may still differ in
the last bits of a result: a run's record names its own.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bertprune.base import paths
from bertprune.base.fingerprint import page_key
from bertprune.base.machine import gpu_name, usable_cores
from bertprune.base.words import counted
from bertprune.experiments import timekeeping
from bertprune.experiments.lock import is_free
from bertprune.experiments.runs import Run
from bertprune.training import dispatch

_SECONDS_UNTIL_LOCK_APPEARS = 30.0


@dataclass(frozen=True)
class Edition:
    """What results and pages come from beside parameters and data."""

    versions: Mapping[str, str]
    code: Mapping[str, str]
    pages: Mapping[str, str]
    precision: Mapping[str, str]
    """What "auto" comes to, by notebook."""


def edition(runs: Iterable[Run]) -> Edition:
    """That of `runs`, here and now."""
    samples = samples_of(runs)
    versions = timekeeping.versions()
    # Of Python, Dask looks after what matters.
    del versions["python"]
    return Edition(
        # A build for CPUs and one for GPUs are the same version.
        versions={name: said.split("+")[0] for name, said in versions.items()},
        code={run.notebook: dispatch.code_of(type(run.parameters)) for run in samples},
        pages={run.notebook: page_key(run.notebook) for run in samples},
        precision={run.notebook: run.precision for run in samples},
    )


def samples_of(runs: Iterable[Run]) -> list[Run]:
    """One of `runs` for each notebook."""
    return list({run.notebook: Run(run.parameters) for run in runs}.values())


@dataclass(frozen=True)
class Worker:
    """What a worker says of itself."""

    host: str
    sees_folder: bool
    lock_holds: bool
    edition: Edition | None = None
    """None where it does not see the folder."""
    gpu: str = ""
    gpu_bytes: int = 0
    cores: int = 1
    """Those that it may use."""
    products: str = ""
    """What multiplies matrices in float32 on its processor, by which instructions."""


def introduce(runs: Iterable[Run], lock: Path) -> Worker:
    """This worker, to whom the sweep of `runs` has come, which holds `lock`."""
    host = socket.gethostname()
    if not _appears(lock):
        return Worker(host, sees_folder=False, lock_holds=False)
    return Worker(
        host,
        sees_folder=True,
        lock_holds=not is_free(lock),
        edition=edition(runs),
        gpu=gpu_name(),
        gpu_bytes=_gpu_bytes(),
        cores=usable_cores(),
        products=_products(),
    )


def _gpu_bytes() -> int:
    # Takes seconds to import.
    import torch

    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.get_device_properties(0).total_memory)


def _products() -> str:
    # Takes seconds to import.
    import torch

    from bertprune.model.products import share_of_one_dnn

    return f"{share_of_one_dnn()} with {torch.backends.cpu.get_cpu_capability()}"


def _appears(lock: Path) -> bool:
    """Whether `lock` is there; on NFS it may be when its folder is listed again."""
    end = time.monotonic() + _SECONDS_UNTIL_LOCK_APPEARS
    while not lock.exists():
        if time.monotonic() > end or not paths.root().is_dir():
            return False
        with suppress(OSError):
            os.listdir(lock.parent)
        time.sleep(0.2)
    return True


def refusal(worker: Worker, here: Edition, *, says_gpu: bool, threads: int = 1) -> str:
    """Why `worker` may not work for a sweep whose edition is `here`, and whose runs have so many
    `threads`; empty if it may. `says_gpu` is whether it was started as one that has a GPU."""
    if not worker.sees_folder or worker.edition is None:
        return (
            f"it does not see {paths.runs_folder()}: share that folder with it, or sweep there and "
            "bring the runs here by `bertprune export` and `bertprune import`"
        )
    if not worker.lock_holds:
        return (
            f"locks in {paths.runs_folder()} do not reach it, so that two workers could take the "
            "same run: have the file system mounted with flock on all machines"
        )
    if says_gpu and not worker.gpu:
        return "it was started with a GPU among its resources, but torch finds none there"
    if worker.cores < threads:
        # With fewer threads than it was to have, a run would give other bits.
        return (
            f"it may use {counted(worker.cores, 'core')}, and --threads gives each run {threads}: "
            "start it with as many cores, or give fewer threads to all"
        )
    if worker.gpu and not says_gpu:
        return (
            f"it has a GPU ({worker.gpu}) that it was not started with: start it with "
            "`--resources GPU=1`, or with CUDA_VISIBLE_DEVICES= to leave the GPU alone"
        )
    if differing := differences(asdict(here), asdict(worker.edition)):
        alike = "a --set precision=... is the same everywhere"
        return f"it has {differing}: {alike if 'precision' in differing else 'give both the same'}"
    return ""


def refusal_beside(first: Worker, worker: Worker) -> str:
    """Why `worker` may not work beside `first`, which came first and so decided where all train;
    empty if it may. Where that is on GPUs, it makes pages if it has none."""
    if worker.gpu and not first.gpu:
        return (
            f"it has a GPU ({worker.gpu}), and this sweep trains on processors, as its first "
            f"worker has none, on {first.host}: end the sweep, and give the same command again "
            "while this one is there"
        )
    if not first.gpu and worker.products != first.products:
        return (
            f"its processor multiplies by {worker.products}, and that of the first worker, on "
            f"{first.host}, by {first.products}, so rows would depend on who makes them: take "
            "machines with processors of one family"
        )
    return ""


def differences(here: Mapping[str, object], there: Mapping[str, object], what: str = "") -> str:
    """How a worker's facts, `there`, differ from those `here`, the first of them with both sides:
    `versions torch 2.12.0 where this machine has 2.13.0`; empty if they do not."""
    for name in [*here, *(name for name in there if name not in here)]:
        ours, theirs = here.get(name), there.get(name)
        called = f"{what} {name}".strip()
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            if found := differences(ours, theirs, called):
                return found
        elif ours != theirs:
            return f"{called} {theirs} where this machine has {ours}"
    return ""
