"""Where a sweep on a cluster finds its workers: on this machine, at a scheduler that runs already,
or in the jobs of a queue, as Dask's own configuration describes them."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertprune.base.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import dask_jobqueue
    import distributed

_LOCAL = "local:"

# A run is a task of minutes or hours, and Dask, which has never seen one, would take it for one of
# half a second: too short for a job of its own.
_LONG_TASKS = {"distributed.scheduler.unknown-task-duration": "1h"}

# Jobs that have waited for hours in a queue are not given back between two stages of a study.
_LOOKS_BEFORE_GIVING_BACK, _SECONDS_BETWEEN_LOOKS = 60, 10

# What workers of this machine do first: Ctrl-C is for the sweep, which ends them.
_IGNORES_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@dataclass(frozen=True)
class Place:
    """A cluster that is there."""

    client: distributed.Client
    has_queue: bool
    """Whether its workers come when a queue lets them, which may take hours."""


@contextmanager
def opened(place: str) -> Iterator[Place]:
    """The cluster at `place`: `local:N`, the address or the file of a scheduler, or the name of a
    queueing system. What is started for it ends with the block.

    Raises UserError where Dask is missing, or there is no such place.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise UserError(
            "--cluster needs what the extra `cluster` installs: pip install -e '.[cluster]' in the "
            "project's folder"
        ) from error
    with ExitStack() as stack:
        started: Any = None
        if place.startswith(_LOCAL):
            started = _local(_number_of(place))
        elif not (os.path.exists(place) or place.endswith(".json") or ":" in place):
            stack.enter_context(dask.config.set(_LONG_TASKS))
            started = queue(place)
            _adapt(started, place)
        if started is not None:
            stack.callback(started.close)
            client = distributed.Client(started, set_as_default=False)
        else:
            client = _connected(place)
        stack.callback(client.close)
        yield Place(client, has_queue=hasattr(started, "job_script"))


def _number_of(place: str) -> int:
    number = place.removeprefix(_LOCAL)
    if not number.isdecimal() or int(number) < 1:
        raise UserError(f"--cluster {place}: say how many workers, as in local:4")
    return int(number)


def _local(number: int) -> distributed.SpecCluster:
    """`number` worker processes on this machine, which only this machine can reach. The first ones
    have a GPU each, where there are any, and the others none."""
    # Takes seconds to import.
    import dask
    import torch
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.worker_memory import parse_memory_limit

    common = {
        "host": "127.0.0.1",
        "nthreads": 1,
        "memory_limit": parse_memory_limit("auto", 1, number, logger=logging.getLogger(__name__)),
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
        "preload": [*dask.config.get("distributed.worker.preload"), _IGNORES_CTRL_C],
    }
    # Others may be somebody else's.
    count = torch.cuda.device_count()
    ours = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    gpus = ours.split(",")[:count]
    workers: dict[int, Any] = {}
    for index in range(number):
        options: dict[str, Any] = {"name": f"local-{index}", **common}
        if gpus:
            has_gpu = index < len(gpus)
            options["env"] = {"CUDA_VISIBLE_DEVICES": gpus[index] if has_gpu else ""}
            options["resources"] = {"GPU": 1} if has_gpu else {}
        workers[index] = {"cls": Nanny, "options": options}
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"},
    }
    return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL)


def queue(name: str) -> dask_jobqueue.JobQueueCluster:
    """The cluster of the queueing system `name`, such as slurm, as `jobqueue.<name>` of Dask's
    configuration describes it. Its workers do one run at a time, whatever their cores.

    Raises UserError for a name that dask-jobqueue does not know, or a description that lacks
    something.
    """
    import dask

    on_ctrl_c = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    # From its import on, Ctrl-C would end this process as if all were done.
    signal.signal(signal.SIGINT, on_ctrl_c)
    found: Iterable[Any] = vars(dask_jobqueue).values()
    clusters = [one for one in found if hasattr(one, "job_cls")]
    kinds = {one.job_cls.config_name: one for one in clusters if one.job_cls}
    if name not in kinds:
        raise UserError(
            f"--cluster {name}: it is no address (HOST:PORT), no scheduler file, not local:N, and "
            f"no queueing system: {did_you_mean(name, kinds)}"
        )
    # The last one counts.
    arguments = [*dask.config.get(f"jobqueue.{name}.worker-extra-args"), "--nthreads", "1"]
    try:
        return kinds[name](worker_extra_args=arguments)
    except (ValueError, TypeError, OSError) as error:
        said = str(error).partition("\n")[0]
        raise UserError(
            f"jobqueue.{name} in Dask's configuration describes no cluster ({said}): it lies in "
            f"{dask.config.PATH}; the page On a cluster has an example"
        ) from error


def _adapt(cluster: dask_jobqueue.JobQueueCluster, name: str) -> None:
    """Have as many jobs as there are tasks, within the limits of Dask's configuration."""
    import dask

    command = cluster.job_cls.submit_command.split()[0]
    if shutil.which(command) is None:
        cluster.close()
        raise UserError(f"--cluster {name}: this machine has no command {command} to submit jobs")
    most = dask.config.get("distributed.adaptive.maximum")
    if most == float("inf"):
        cluster.close()
        raise UserError(
            f"--cluster {name}: say how many workers it may have at most, as "
            f"distributed.adaptive.maximum in Dask's configuration ({dask.config.PATH})"
        )
    # The first worker has to be there before there are tasks, and is asked for at once.
    least = max(1, dask.config.get("distributed.adaptive.minimum"))
    cluster.scale(least)
    # What is not given here is not taken from the configuration.
    cluster.adapt(
        minimum=least,
        maximum=most,
        interval=_SECONDS_BETWEEN_LOOKS,
        wait_count=_LOOKS_BEFORE_GIVING_BACK,
    )


def _connected(place: str) -> distributed.Client:
    from distributed import Client

    is_file = os.path.exists(place) or place.endswith(".json")
    if is_file and not os.path.isfile(place):
        raise UserError(f"--cluster {place}: there is no such scheduler file")
    where: dict[str, Any] = {"scheduler_file": place} if is_file else {"address": place}
    try:
        return Client(**where, set_as_default=False, timeout="20s")
    except (OSError, ValueError) as error:
        raise UserError(
            f"--cluster {place}: no scheduler answers there ({error}): start one with "
            f"{os.path.dirname(sys.executable)}/dask scheduler"
        ) from error
