"""Kernels: the processes that notebooks are executed in.

A process of its own for each notebook keeps runs apart, but importing what all of them need takes
it seconds. The kernels of a sweep are therefore *forked*: each worker has a nursery, a process that
has imported that once and used none of it, and that becomes two whenever a kernel is wanted.

A page shows what its run says, on whatever machine: a kernel reads nobody's settings, neither files
of IPython, Jupyter and matplotlib nor variables of the environment.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import subprocess
import sys
import traceback
import weakref
from collections.abc import Mapping
from contextlib import chdir, suppress
from importlib import import_module
from typing import IO, Any, NoReturn

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

# What the nursery imports: all that takes long, and nothing of this package. Its modules are read
# anew by each kernel, since a run is named after the code as it is when the run starts.
_IMPORTED_ONCE = (
    "accelerate",
    "ipykernel.kernelapp",
    "matplotlib.backends.backend_svg",
    "nbformat",
    "pyarrow.parquet",
    "scipy.stats",
    "seaborn",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
)

# A user's own kernel of that name might be another Python.
_SPEC = KernelSpec(
    argv=[
        *(sys.executable, "-c", f"from {__name__} import start; start()"),
        *("-f", "{connection_file}"),
    ],
    language="python",
)

# What settings would be read from, instead of any that the user has.
_OWN_SETTINGS = {
    "MATPLOTLIBRC": os.devnull,
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
_SETTINGS_OF = ("IPYTHON", "JUPYTER_", "PANDAS_")


def manager(
    folder: str, log: IO[str], settings: Mapping[str, str], *, forked: bool
) -> type[AsyncKernelManager]:
    """The class of managers whose kernels talk through files in `folder`, and have the environment
    variables `settings` beside those of this process that are no settings of their own.

    Nobody else on the machine can talk to them, and kernels that start at the same moment cannot
    take each other's. What a kernel's process itself says, when it is stopped say, is for `log`
    alone. Where forking is not safe, a `forked` kernel is started like any other.
    """
    places = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    environment = _environment() | dict.fromkeys(places, folder) | dict(settings)

    class FileSocketKernelManager(AsyncKernelManager):
        transport = "ipc"
        kernel_spec = _SPEC

        def _ip_default(self) -> str:
            return f"{folder}/kernel"

        def _connection_file_default(self) -> str:
            return f"{folder}/kernel.json"

        def start_kernel(self, **options: Any) -> Any:
            kind = _ForkingProvisioner if forked and can_fork() else LocalProvisioner
            self.provisioner = kind(kernel_spec=self.kernel_spec, parent=self)
            return self._async_start_kernel(**options, env=environment, stderr=log)

    return FileSocketKernelManager


def _environment() -> dict[str, str]:
    """The environment of this process, less the user's settings of what a page is made with."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS_OF)}
    return kept | _OWN_SETTINGS


def can_fork() -> bool:
    """Whether a process that has imported all this can be forked: on Linux, without a GPU.

    A driver that an import asked what is there would not survive a fork; and where there is a GPU,
    runs are so long that a start's seconds do not matter.
    """
    # Not above: the nursery imports this module, and nothing else of the package.
    from bertprune.base.machine import may_have_gpu

    if sys.platform != "linux" or may_have_gpu():
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        # An old kernel, or a sandbox that forbids it.
        return False
    return True


class _ForkingProvisioner(LocalProvisioner):
    """Asks the nursery for a kernel, where its base class starts a new Python."""

    process: Any

    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:
        log = options["stderr"]
        self.cwd = options.get("cwd") or os.getcwd()
        wanted = {
            "arguments": cmd[cmd.index("-f") :],
            "environment": options["env"],
            "cwd": str(self.cwd),
            "log": os.path.abspath(log.name),
        }
        try:
            self.process = _ForkedKernel(_nursery.fork(wanted, log))
        except (OSError, ValueError):
            # The nursery has died, for lack of memory say: the run shall not suffer from it.
            return await super().launch_kernel(cmd, **options)
        # A kernel leads a process group, forked or not, and signals go to all of it.
        self.pid = self.pgid = self.process.pid
        return self.connection_info


class _ForkedKernel:
    """The process of a forked kernel, with what a provisioner needs of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        # Becomes readable when the process ends, and stays its own when another gets its number.
        self._handle = os.pidfd_open(pid)
        weakref.finalize(self, os.close, self._handle)

    def poll(self) -> int | None:
        """None while it lives. How it ended only the nursery could know, and nobody asks."""
        return 0 if select.select([self._handle], [], [], 0)[0] else None

    def wait(self) -> int:
        select.select([self._handle], [], [])
        return 0

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)


class _Nursery:
    """The nursery as its worker sees it; it is started when it is first needed.

    It ends when its standard input does, which is when the worker ends in whatever way. Its
    kernels notice that within a second and end too.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def fork(self, wanted: dict[str, Any], log: IO[str]) -> int:
        """The process id of a new kernel. Raises OSError or ValueError if there is none."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import serve; serve()"],
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                # Ctrl-C is for the worker alone.
                start_new_session=True,
            )
            atexit.register(self._process.communicate)
        requests, answers = self._process.stdin, self._process.stdout
        assert requests and answers
        try:
            requests.write(json.dumps(wanted) + "\n")
            requests.flush()
            return int(answers.readline())
        except BaseException:
            # An answer that comes too late must not be taken for the next one.
            self._process.kill()
            raise


_nursery = _Nursery()


def serve() -> None:
    """Be the nursery: for each line of the standard input fork a kernel, and print its id."""
    _import_matplotlib()
    for module in _IMPORTED_ONCE:
        # A kernel that needs what is not there says so better.
        with suppress(ImportError):
            import_module(module)
    _read_conversions()
    # None of it is ever garbage, and to look through it would copy the memory that all share.
    gc.freeze()
    # Nobody asks how a kernel ended, so the system need not keep it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    nursery = os.getpid()
    for line in sys.stdin:
        if pid := os.fork():
            print(pid, flush=True)
        else:
            _be_kernel(nursery, **json.loads(line))
    os._exit(0)


def _read_conversions() -> None:
    """Have transformers build its table of renamed weights, half a second, before the forks."""
    with suppress(ImportError):
        from transformers.conversion_mapping import get_checkpoint_conversion_mapping

        get_checkpoint_conversion_mapping("bert")


def start() -> None:
    """Be a kernel that was not forked."""
    _import_matplotlib()
    _be_ipython(sys.argv[1:])


def _import_matplotlib() -> None:
    """Import it where it finds no settings: it looks for them in the current folder first."""
    with suppress(ImportError), chdir("/"):
        import_module("matplotlib")


def _be_ipython(arguments: list[str]) -> None:
    from ipykernel.kernelapp import IPKernelApp

    class PlainKernelApp(IPKernelApp):
        """Without the files that IPython and its like would read before the first cell."""

        def load_config_file(self, *_: Any, **__: Any) -> None:
            pass

        def _run_startup_files(self) -> None:
            pass

    PlainKernelApp.launch_instance([*arguments, "--HistoryManager.enabled=False"])


def _be_kernel(
    nursery: int, arguments: list[str], environment: dict[str, str], cwd: str, log: str
) -> NoReturn:
    """Take on what a process is given at its start, then be a kernel to the end."""
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with open(os.devnull, "rb") as nothing, open(log, "ab") as said:
            for stream, file in enumerate((nothing, said, said)):
                os.dup2(file.fileno(), stream)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)

        import torch

        # OpenMP read the variable when the nursery imported it.
        if threads := environment.get("OMP_NUM_THREADS"):
            torch.set_num_threads(int(threads))
        _be_ipython([*arguments, f"--IPKernelApp.parent_handle={nursery}"])
        atexit._run_exitfuncs()
    except Exception:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        # Not on in the nursery's code, and without a second for taking apart what was imported.
        os._exit(0)
