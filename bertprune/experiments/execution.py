"""Executing the notebook of one run with papermill, and what a notebook begins with."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import nbformat

from bertprune.base import paths
from bertprune.base.errors import UserError, full_disk_is_user_error
from bertprune.base.fingerprint import template_cells
from bertprune.experiments import studies
from bertprune.experiments.lock import locked
from bertprune.experiments.runs import (
    EXPECTED_RUN,
    LOG_FILE,
    NOTEBOOK_FILE,
    Run,
    lineage,
    to_execute,
)
from bertprune.experiments.studies import Study
from bertprune.protocol import notebook_parameters
from bertprune.protocol.notebook_parameters import Contract
from bertprune.protocol.views import CHAPTERS, Chapter, View, parameters_of_run

# How long it may be on macOS; on Linux it is 107.
_SOCKET_PATH_BYTES = 103

# Where there is room for sockets if TMPDIR has none.
_SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


class KernelKilled(UserError):
    """A notebook's kernel was killed, for lack of memory perhaps, or with the machine."""


def begin(notebook: str, namespace: Mapping[str, Any]) -> Run:
    """The run of `notebook` with the parameters that the notebook's variables have.

    Called by a notebook with `globals()` after its parameters cell. An upstream run that is not
    done yet is executed first, as on the command line. Raises UserError for bad parameters.
    """
    run = Run.of(notebook_parameters.parse_namespace(parameters_of_run(notebook), namespace))
    # Those that this one starts are kernels of other runs.
    if expected := os.environ.pop(EXPECTED_RUN, ""):
        if expected != run.id:
            raise UserError(
                f"code or data have changed while {expected} waited for its turn, which makes it "
                f"{run.id}: give the same command again"
            )
    else:
        # A command has checked them already, for all its runs at once.
        run.check_inputs()
    models_of = [] if run.is_trained() else run.needs
    missing = [
        upstream
        for upstream in lineage(run)
        if not upstream.is_done() or (upstream in models_of and not upstream.has_model())
    ]
    if missing:
        print(f"This run starts from {len(missing)} that must be executed first.")
        execute_in_order(missing, models_of)
    return run


def execute_in_order(runs: Sequence[Run], models_of: Iterable[Run] = ()) -> None:
    """Execute those of `runs` that are not done, or lack a model that is needed (see
    `runs.to_execute`), one after another, showing their progress."""
    for run in to_execute(runs, models_of):
        print(f"{run.id}", file=sys.stderr)
        execute(run, show=sys.stderr)


def execute(
    run: Run,
    *,
    threads: int | None = None,
    show: IO[str] | None = None,
    forked: bool = False,
    wait: bool = True,
) -> bool:
    """Execute the notebook of `run`; its result appears in `run.folder`, whole or not at all.

    Where another process executes it, this one waits for it, or without `wait` raises InWork.
    Gives whether there was anything left to execute then.

    `threads` is how many the kernel may use (all cores by default); what the notebook prints goes
    to the run's log and to `show`. A `forked` kernel pays where this process executes several
    notebooks. Raises UserError if the notebook fails, with what it said.
    """
    executed = run.partial_folder / NOTEBOOK_FILE
    with run.only_here(wait=wait):
        if run.is_current() and run.has_model():
            return False
        with full_disk_is_user_error(executed):
            run.reopen()
        started = time.monotonic()
        _execute_notebook(
            run.parameters,
            run.notebook,
            executed,
            run.id,
            threads=threads,
            show=show,
            forked=forked,
        )
        run.finish(executed, time.monotonic() - started)
    return True


def execute_view(
    chapter: Chapter, parameters: View, *, threads: int | None = None, forked: bool = False
) -> Path:
    """Execute the notebook of a chapter; gives the executed one, which appears whole or not at all.

    Raises UserError for unknown studies, or ones that have no such chapter, before a kernel starts,
    and if the notebook fails. `threads` and `forked` as for `execute`.
    """
    shown = studies_of(parameters)
    study = shown[0]
    if chapter.needs_language and not any(one.has_language() for one in shown):
        study.language()
    folder = paths.runs_folder() / chapter.notebook / study.name
    unfinished = folder / f"unfinished-{NOTEBOOK_FILE}"
    name = f"{chapter.notebook} of {study.name}"
    with locked(name, folder / ".lock"):
        (folder / LOG_FILE).unlink(missing_ok=True)
        _execute_notebook(
            parameters, chapter.notebook, unfinished, name, threads=threads, forked=forked
        )
        unfinished.replace(folder / NOTEBOOK_FILE)
    return folder / NOTEBOOK_FILE


def studies_of(view: View) -> list[Study]:
    """The studies that a chapter shows. Raises UserError as `studies.load` does, and for none."""
    if not view.studies:
        raise UserError("studies is empty: name at least one")
    first, *others = view.studies
    return [studies.load(first, view.changes), *map(studies.load, others)]


def view_of(study: Study) -> View:
    """The parameters of the chapters of a study's book: it, and published ones beside it."""
    beside = [one for one in study.beside if one != study.name and paths.published(one).exists()]
    return View(studies=(study.given_as or study.name, *beside), changes=study.changes)


def chapters_of(study: Study) -> list[Chapter]:
    """The chapters that the book of `study` has."""
    shown = [study, *map(studies.load, view_of(study).studies[1:])]
    of_lab = any(one.has_language() for one in shown)
    return [
        chapter
        for chapter in CHAPTERS.values()
        if (of_lab or not chapter.needs_language)
        and study.name not in chapter.beside
        and all(paths.published(name, ".json").exists() for name in chapter.beside)
    ]


def flaw_of(notebook: Path) -> str | None:
    """What is wrong with an executed notebook: it failed, or is partial; None if nothing is."""
    content = nbformat.read(notebook, as_version=4)
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    for cell in code:
        for output in cell.outputs:
            if output.output_type == "error":
                return f"its notebook failed: {output.ename}: {output.evalue}"
    if content.metadata.get("papermill", {}).get("exception"):
        return "its notebook failed"
    left = sum(cell.metadata.get("papermill", {}).get("status") != "completed" for cell in code)
    return f"its notebook is partial: {left} of {len(code)} cells not completed" if left else None


def tidy(file: Path) -> None:
    """Take out of an executed notebook what is no result: progress bars, paths of this machine."""
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    settings = notebook.metadata.get("papermill", {})
    for name in ("input_path", "output_path"):
        settings[name] = Path(settings.get(name) or "").name
    nbformat.write(notebook, file)


def _execute_notebook(
    parameters: Contract,
    notebook: str,
    output: Path,
    name: str,
    *,
    threads: int | None,
    forked: bool,
    show: IO[str] | None = None,
) -> None:
    """Execute a notebook as `output`, with a log beside it; messages call it `name`."""
    with warnings.catch_warnings():
        # Its progress bar asks for ipywidgets, which nobody needs here.
        warnings.simplefilter("ignore")
        import papermill

    from bertprune.experiments import kernels

    template_cells(notebook)
    settings = {
        "BERTPRUNE_ROOT": str(paths.root()),
        EXPECTED_RUN: name,
        "TOKENIZERS_PARALLELISM": "true",
    }
    if threads is not None:
        settings |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with full_disk_is_user_error(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    with (
        _failures_in_words(name, output.parent),
        _kernel_folder() as folder,
        (output.parent / LOG_FILE).open("a", encoding="utf-8") as log,
    ):
        said_to = _Both(log, show)
        papermill.execute_notebook(
            str(paths.template(notebook)),
            str(output),
            parameters=notebook_parameters.as_values(parameters),
            kernel_name="python3",
            # What a notebook that another editor saved may lack.
            language="python",
            cwd=str(paths.root()),
            progress_bar=False,
            # Not after every cell, since what counts is there only when the last one is done.
            request_save_on_cell_execute=False,
            stdout_file=said_to,
            stderr_file=said_to,
            kernel_manager_class=kernels.manager(folder, log, settings, forked=forked),
        )
    with full_disk_is_user_error(output):
        tidy(output)


@contextmanager
def _failures_in_words(name: str, folder: Path) -> Iterator[None]:
    """Turn what ended the notebook of `name`, whose log is in `folder`, into a UserError."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        yield
    except PapermillExecutionError as error:
        said = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
        if error.ename == "KeyboardInterrupt":
            raise KeyboardInterrupt(error.evalue) from None
        raise UserError(f"{name} failed: {said} (all it said: {folder})") from error
    except RuntimeError as error:
        # For one that dies at its start the library has no class of its own.
        if not (isinstance(error, DeadKernelError) or "Kernel died" in str(error)):
            raise
        raise KernelKilled(
            f"{name}: its kernel was killed, perhaps for lack of memory; give the same "
            f"command again to go on from its last checkpoint (log: {folder / LOG_FILE})"
        ) from error


@contextmanager
def _kernel_folder() -> Iterator[str]:
    """A private folder for the files of one kernel, gone at the end.

    It is where other temporary files are, or where the path of a socket is not too long for the
    system. Raises UserError where there is no such place.
    """
    # The sockets are called kernel-1 to kernel-5.
    room = _SOCKET_PATH_BYTES - len("/bertprune-________/kernel-5")
    for place in (tempfile.gettempdir(), *_SHORT_PLACES):
        if len(os.fsencode(place)) <= room and os.access(place, os.W_OK | os.X_OK):
            break
    else:
        raise UserError(
            f"a kernel's sockets need a folder whose path has at most {room} bytes, which "
            f"{tempfile.gettempdir()} has not: name a shorter one in TMPDIR"
        )
    with tempfile.TemporaryDirectory(prefix="bertprune-", dir=place) as folder:
        yield folder


class _Both:
    """A text stream that writes to a file, and to another stream where there is one that somebody
    reads."""

    def __init__(self, file: IO[str], other: IO[str] | None) -> None:
        self._file, self._other = file, other

    def write(self, text: str) -> None:
        self._file.write(text)
        if self._other:
            with suppress(BrokenPipeError):
                self._other.write(text)

    def flush(self) -> None:
        self._file.flush()
        if self._other:
            with suppress(BrokenPipeError):
                self._other.flush()
