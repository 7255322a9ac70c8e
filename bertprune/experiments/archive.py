"""Runs that were made elsewhere: packing those of a study, and taking them over with their records.

What is taken over was written by others: nothing of it is executed, only files that a run leaves
are copied, and a run comes in whole, under the name that its identity gives it, or not at all.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open

from bertprune.base import paths
from bertprune.base.errors import UserError, full_disk_is_user_error
from bertprune.base.files import read_json, replacing, write_json
from bertprune.base.progress import bar
from bertprune.experiments import execution, runs
from bertprune.experiments.runs import FACTS_FILE, MODEL_FOLDER, NOTEBOOK_FILE, ROWS_FILE, Run
from bertprune.experiments.studies import Study
from bertprune.experiments.timekeeping import TRIES_FILE
from bertprune.model.precision import FLOAT32
from bertprune.protocol import notebook_parameters, predictions, rows
from bertprune.protocol.notebook_parameters import Finetune
from bertprune.protocol.predictions import PREDICTIONS_FILE
from bertprune.protocol.record import RECORD_FILE, Record, digest_of, sha256_of, utc_now
from bertprune.protocol.views import parameters_of_run
from bertprune.training import dispatch

# What a finished run needs; checkpoints, logs and half-finished parts stay where they are.
_NEEDED = (RECORD_FILE, ROWS_FILE, NOTEBOOK_FILE, FACTS_FILE)
_FILES = (*_NEEDED, PREDICTIONS_FILE, runs.PARAMETERS_FILE, TRIES_FILE)
_NAME = re.compile(r"[^./\\][^/\\]*-[0-9a-f]{10}")

# What reading a run may raise; JSON that is nested deeply, the RecursionError.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    SafetensorError,
)

T = TypeVar("T")

IMPORTED, ALREADY_HERE, REFUSED = "imported", "already here", "refused"


@dataclass(frozen=True)
class Found:
    """A run that was found elsewhere, what became of it, and what there is to say about it."""

    name: str
    what: str
    note: str = ""
    counts: bool = True
    """Whether the present code and data would give it, so that a study counts it as done."""

    def __str__(self) -> str:
        return f"{self.what:<12} {self.name}" + (f": {self.note}" if self.note else "")


# Packing.


def export(study: Study, file: Path, *, with_models: bool = True) -> int:
    """Pack the runs of `study` that are done into `file`, a .tar.gz; gives how many.

    Raises UserError if none is done, for another kind of file, and for a page that was altered,
    which nobody would take over.
    """
    if not file.name.endswith((".tar.gz", ".tgz")):
        raise UserError(f"{file} must be a .tar.gz")
    done = [run for run in study.plan() if run.is_done()]
    if not done:
        raise UserError(
            f"no run of study {study.name} is done: execute them with `{study.command('sweep')}`"
        )
    if altered := [run.id for run in done if not run.has_own_page()]:
        raise UserError(
            f"the notebooks of {', '.join(altered)} were altered after they were executed: "
            f"execute them anew with `{study.command('sweep')}`, which trains nothing again"
        )
    with replacing(file) as unfinished, tarfile.open(unfinished, "w:gz") as archive:
        for run in _bar_over("packing", done):
            for source in _files(run.folder, with_models=with_models):
                name = f"runs/{run.id}/{source.relative_to(run.folder)}"
                archive.add(source, name, recursive=False, filter=_anonymous)
    return len(done)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


# Taking over.


def import_runs(source: Path, *, dry_run: bool = False) -> list[Found]:
    """Take over all runs in `source`: a project, its runs/, or a .tar.gz of either.

    Each is verified, copied, and moved to its place by one rename; a run that is here already is
    left as it is. With `dry_run` nothing is written. Raises UserError if `source` cannot be read,
    would write outside of its folder, or has no runs.
    """
    with _opened(source) as folder:
        place = _runs_in(folder)
        if place is None:
            raise UserError(
                f"{source} has no runs: name a folder that has runs/<notebook>/<run>, or a .tar.gz "
                "of it"
            )
        if place.resolve() == paths.runs_folder().resolve():
            raise UserError(f"{source} is where the runs of this project lie: there is no other")
        candidates = [
            run
            for notebook in notebook_parameters.CONTRACTS
            for run in sorted((place / notebook).glob("[!.]*"))
            if run.is_dir()
        ]
        return [
            _taken_over(folder, _origin(source), dry_run)
            for folder in _bar_over("importing", candidates)
        ]


def _bar_over(what: str, items: Sequence[T]) -> Iterator[T]:
    with bar(what, len(items), "run") as shown:
        for item in items:
            yield item
            shown.update()


@contextmanager
def _opened(source: Path) -> Iterator[Path]:
    """`source` as a folder; an archive is unpacked where runs are in work, on the same disk."""
    if source.is_dir():
        yield source
        return
    if not source.exists():
        raise UserError(f"there is no {source}: name a folder or a .tar.gz")
    with _work_folder() as folder:
        try:
            with (
                full_disk_is_user_error(folder),
                gzip.open(source) as stream,
                tarfile.open(fileobj=stream, mode="r:") as archive,
            ):
                _unpack(archive, source, folder)
                # The checksum is at the end of the stream, behind that of the archive.
                while stream.read(1 << 20):
                    pass
        except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
            raise UserError(f"{source} cannot be read as a .tar.gz: {error}") from error
        yield folder


@contextmanager
def _work_folder() -> Iterator[Path]:
    """An empty folder on the disk of the runs, gone at the end."""
    above = paths.runs_folder() / ".partial"
    with full_disk_is_user_error(above):
        above.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="import-", dir=above) as folder:
            yield Path(folder)


def _unpack(archive: tarfile.TarFile, source: Path, folder: Path) -> None:
    """Unpack folders and plain files. Raises UserError before anything is written if there is
    anything else, a way out of `folder`, or more than the disk has room for."""
    members = archive.getmembers()
    for member in members:
        if not (member.isfile() or member.isdir()):
            raise UserError(f"{source}: {member.name} is neither a file nor a folder: not unpacked")
        if Path(member.name).is_absolute() or ".." in Path(member.name).parts:
            raise UserError(f"{source}: {member.name} would lie outside of it: not unpacked")
    size = sum(member.size for member in members)
    if size > (free := shutil.disk_usage(folder).free):
        raise UserError(
            f"{source} needs {size / 1e9:.1f} GB when unpacked, but {folder.parent} has "
            f"{free / 1e9:.1f} GB left: free some space"
        )
    # Python before 3.11.4 has none; the members have been looked at above.
    archive.extraction_filter = getattr(tarfile, "data_filter", None)
    archive.extractall(folder, members)


def _origin(source: Path) -> str:
    """What records say of where a run came from: a name, not a path of this machine."""
    resolved = source.resolve()
    return resolved.parent.name if resolved.name == "runs" else resolved.name


def _runs_in(folder: Path) -> Path | None:
    """The folder in `folder`, or one level below it, that has a folder for each notebook."""
    below = sorted(one for one in folder.iterdir() if one.is_dir())
    for place in (folder, *below, *(one / "runs" for one in below)):
        if any((place / notebook).is_dir() for notebook in notebook_parameters.CONTRACTS):
            return place
    return None


def _taken_over(folder: Path, origin: str, dry_run: bool) -> Found:
    """Take over the run in `folder`, or say why not."""
    name = f"{folder.parent.name}/{folder.name}"
    here = paths.runs_folder() / name
    try:
        record = _verified(folder, name)
    except (_Flaw, UserError) as error:
        return Found(name, REFUSED, str(error))
    except _UNREADABLE as error:
        return Found(name, REFUSED, f"it cannot be read ({error!r})")
    has_model = (folder / MODEL_FOLDER).exists()
    if (here / RECORD_FILE).exists():
        difference = _difference(here, folder)
        if difference or not has_model or (here / MODEL_FOLDER).exists():
            return Found(name, ALREADY_HERE, difference)
        if not dry_run:
            _copy_model(folder, here)
        return Found(name, IMPORTED, "its model, without which it was here already")
    if here.exists():
        return Found(name, REFUSED, "a folder of that name is here, but no run: delete it first")
    notes = []
    if why_not := _why_not_of_today(record):
        notes.append(f"not counted as done, since {why_not}")
    if not has_model and _leaves_model(record):
        notes.append("without its model: it is executed again if another run needs that")
    if PREDICTIONS_FILE not in record.files_sha256 and _predicts(record):
        notes.append("without its predictions on dev sets, which former editions did not keep")
    if not dry_run and not _copy(folder, here, record, origin):
        return Found(name, ALREADY_HERE, "since a moment")
    return Found(name, IMPORTED, "; ".join(notes), counts=not why_not)


class _Flaw(ValueError):
    """Why a run is not taken over, in words for its user."""


def _verified(folder: Path, name: str) -> Record:
    """The record of the run in `folder`. Raises _Flaw, or what reading raises, unless the run is
    whole and what its name says."""
    if any(file.is_symlink() for file in (folder, *folder.rglob("*"))):
        raise _Flaw("it has a link in it")
    if missing := [file for file in _NEEDED if not (folder / file).is_file()]:
        raise _Flaw(f"it is not whole: it has no {', '.join(missing)}")
    try:
        record = Record.of(read_json(folder / RECORD_FILE))
    except ValueError as error:
        raise _Flaw(f"its record cannot be read: {error}") from error
    of, digest = record.identity["notebook"], digest_of(record.identity)
    if record.id != name or not name.startswith(f"{of}/") or not name.endswith(f"-{digest}"):
        raise _Flaw(
            f"its name is not that of its record, which says {record.id} and has the identity "
            f"{digest}"
        )
    if not _NAME.fullmatch(folder.name) or record.notebook != of:
        raise _Flaw("its name is none of a run")
    notebook = folder / NOTEBOOK_FILE
    if sha256_of(notebook) != record.notebook_sha256:
        raise _Flaw("its notebook was altered after it was executed")
    if flaw := execution.flaw_of(notebook):
        raise _Flaw(flaw)
    # Former runs did not note them.
    if record.files_sha256:
        _check_hashes(folder, record.files_sha256)
    if rows.read(folder / ROWS_FILE).empty:
        raise _Flaw("it has no rows")
    if PREDICTIONS_FILE in record.files_sha256:
        predictions.read(folder / PREDICTIONS_FILE)
    try:
        read_json(folder / FACTS_FILE)
    except ValueError as error:
        raise _Flaw(f"its {FACTS_FILE} has no facts: {error}") from error
    for file in (folder / MODEL_FOLDER).rglob("*.safetensors"):
        with safe_open(file, framework="np"):
            pass
    return record


def _check_hashes(folder: Path, recorded: Mapping[str, str]) -> None:
    """Raise _Flaw unless rows, predictions and the model, if it came with one, are as they were
    left."""
    found = runs.file_hashes(folder)
    if not (folder / MODEL_FOLDER).exists():
        in_model = f"{MODEL_FOLDER}/"
        recorded = {name: of for name, of in recorded.items() if not name.startswith(in_model)}
    names = sorted(recorded.keys() | found.keys())
    if altered := [name for name in names if recorded.get(name) != found.get(name)]:
        raise _Flaw(f"it was altered or damaged after it was executed: {', '.join(altered)}")


def _difference(here: Path, there: Path) -> str:
    """How the rows of a run that is here differ from those of the same run elsewhere."""
    ours, theirs = rows.read(here / ROWS_FILE), rows.read(there / ROWS_FILE)
    if ours.equals(theirs):
        return ""
    of_what = [name for name in rows.COLUMNS if name != "value"]
    if not ours[of_what].equals(theirs[of_what]):
        return f"other rows, {len(theirs)} there and {len(ours)} here: ours stay"
    apart = (ours.value - theirs.value).abs()
    differs = ~((ours.value == theirs.value) | (ours.value.isna() & theirs.value.isna()))
    return (
        f"{int(differs.sum())} of {len(ours)} values differ, by up to {apart.max():.3g}: ours stay"
    )


def _leaves_model(record: Record) -> bool:
    try:
        contract = parameters_of_run(record.notebook)
        return notebook_parameters.parse(contract, record.parameters).leaves_model()
    except UserError:
        return False


def _predicts(record: Record) -> bool:
    return issubclass(parameters_of_run(record.notebook), Finetune)


def _why_not_of_today(record: Record) -> str:
    """Why the present code would not give this run; empty if it would."""
    try:
        contract = parameters_of_run(record.notebook)
        parameters = notebook_parameters.parse(contract, record.parameters)
    except UserError as error:
        return f"its parameters are not those of today ({error})"
    if record.identity["code"] != dispatch.code_of(contract):
        return "it was made by other code"
    try:
        run = Run.of(parameters)
        if run.id == record.id:
            return ""
    except UserError as error:
        # With the same data at another place it is the same run: its study will know.
        return f"whether its data are ours cannot be seen ({error}), unless a study has them"
    if (there := record.identity.get("precision", FLOAT32)) != run.precision:
        return f"it was computed in {there}, and would be in {run.precision} here"
    for key, what in (("data", "text or tasks"), ("upstream", "what it starts from")):
        if record.identity[key] != run.identity[key]:
            return f"{what} {'are' if key == 'data' else 'is'} another one here"
    return f"today it would be {run.id}"


def _copy(folder: Path, here: Path, record: Record, origin: str) -> bool:
    """Put the run in `folder` in its place by one rename, with where it came from and when; False
    where another process was faster."""
    imported = {"from": origin, "at": utc_now()}
    with _work_folder() as work:
        copy = work / "run"
        _copy_files(folder, copy)
        record.replace(imported=imported).write(copy)
        # The facts too, as a page that is made anew gets its record from them.
        write_json(read_json(copy / FACTS_FILE) | {"imported": imported}, copy / FACTS_FILE)
        here.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(copy, here)
        except OSError:
            if not (here / RECORD_FILE).exists():
                raise
            return False
    return True


def _copy_model(folder: Path, here: Path) -> None:
    """Add the model of the run in `folder` to the same run `here`, which has none."""
    with _work_folder() as work:
        _copy_files(folder, work)
        # Made by another execution, it may differ from the one that our record has.
        hashes = runs.file_hashes(work) | runs.file_hashes(here)
        Record.read(here).replace(files_sha256=hashes).write(here)
        os.replace(work / MODEL_FOLDER, here / MODEL_FOLDER)


def _copy_files(folder: Path, copy: Path) -> None:
    for file in _files(folder, with_models=True):
        target = copy / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _files(folder: Path, *, with_models: bool) -> list[Path]:
    """The files of a finished run that go with it."""
    found = [folder / name for name in _FILES if (folder / name).is_file()]
    return found + (runs.files_of_model(folder) if with_models else [])


def summary(found: list[Found], *, dry_run: bool = False) -> str:
    """What was found, in words: a line a run, and a count."""
    counts = Counter(one.what for one in found)
    parts = [f"{counts[what]} {what}" for what in (IMPORTED, ALREADY_HERE, REFUSED)]
    said = ", ".join(parts) + (" (nothing was written: a dry run)" if dry_run else "")
    if idle := sum(not one.counts for one in found):
        said += f"; {idle} not counted as done"
    return "\n".join([*map(str, found), said])
