"""Which runs are fit to print: done, whole, and what the present code would give."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.experiments.execution import flaw_of
from bertprune.experiments.runs import NOTEBOOK_FILE, Run
from bertprune.experiments.studies import Study
from bertprune.protocol import notebook_parameters
from bertprune.protocol.record import RECORD_FILE, DamagedRecord, Record


@dataclass(frozen=True)
class Refusal:
    """A run that is not printed: why not, and the command that mends it."""

    name: str
    reason: str
    mend: str


def refuse_unfit(study: Study) -> None:
    """Raise one UserError that names every run of `study` that is not fit to print."""
    plan = study.plan()
    refusals = [found for run in plan if (found := refusal(run, study.command("sweep")))]
    if refusals:
        lines = "".join(f"\n  {one.name}: {one.reason}. Mend: {one.mend}" for one in refusals)
        raise UserError(
            f"no book of study {study.name}: {len(refusals)} of its {len(plan)} runs are not fit "
            f"to print{lines}"
        )


def refusal(run: Run, sweep: str) -> Refusal | None:
    """Why `run` is not fit to print; None if it is. `sweep` is the command that executes it."""
    if not (run.folder / RECORD_FILE).exists():
        return Refusal(run.id, _why_missing(run), sweep)
    again = f"rm -r {_shown_path(run.folder)} && {sweep}"
    try:
        if not run.is_done():
            return Refusal(run.id, "it was executed when a default was a different one", sweep)
        if not run.has_own_page():
            return Refusal(run.id, "its notebook was altered after it was executed", sweep)
        if flaw := flaw_of(run.folder / NOTEBOOK_FILE):
            return Refusal(run.id, flaw, again)
        if not run.is_current():
            return Refusal(run.id, "its notebook, or how it draws, has changed since", sweep)
    except (OSError, ValueError, KeyError) as error:
        return Refusal(run.id, f"its record or notebook cannot be read ({error!r})", again)
    return None


def _why_missing(run: Run) -> str:
    partial = run.partial_folder / NOTEBOOK_FILE
    # What was killed while it was written cannot be read: it is unfinished, not failed.
    with suppress(OSError, ValueError):
        if (flaw := flaw_of(partial)) and "failed" in flaw:
            return flaw
    for file in sorted(run.folder.parent.glob(f"*/{RECORD_FILE}")):
        with suppress(OSError, DamagedRecord):
            if changed := _what_changed(run, Record.read(file.parent)):
                return f"{changed} changed since it was executed as {_shown_path(file.parent)}"
    return "it was begun, but not finished" if partial.parent.exists() else "it was never executed"


def _what_changed(run: Run, record: Record) -> str:
    """What makes another run of the same parameters a different one; empty if they differ."""
    then, now = record.parameters, notebook_parameters.as_values(run.parameters)
    if any(then[name] != now[name] for name in then.keys() & now.keys()):
        return ""
    names = {
        "code": "the code has",
        "data": "the data have",
        "upstream": "what it starts from has",
        "compared_with": "what it is compared with has",
    }
    made_with, makes = record.identity, run.identity
    return next((said for key, said in names.items() if made_with.get(key) != makes[key]), "")


def _shown_path(folder: Path) -> str:
    return str(folder.relative_to(paths.root()))
