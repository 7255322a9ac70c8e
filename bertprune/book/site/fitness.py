"""Which runs are fit to print: done, whole, and what the present code would give."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.experiments.execution import flaw_of
from bertprune.experiments.runs import NOTEBOOK_FILE, Run
from bertprune.experiments.studies import Study
from bertprune.protocol import notebook_parameters
from bertprune.protocol.record import RECORD_FILE, DamagedRecord, Record

_MOST_NAMED = 20


def refuse_unfit(study: Study, plan: Sequence[Run]) -> None:
    """Raise one UserError that names the runs of `plan`, runs of `study`, that are not fit to
    print; of many the first ones."""
    sweep, lines = study.command("sweep"), []
    for run in plan:
        reason, must_go = _unfit(run)
        if reason:
            first = f"rm -r {_shown_path(run.folder)} && " if must_go else ""
            lines.append(f"\n  {run.id}: {reason}. Mend: {first}{sweep}")
    if lines:
        others = len(lines) - _MOST_NAMED
        more = f"\n  and {others:,} more; --so-far makes a book of what is done" * (others > 0)
        raise UserError(
            f"no book of study {study.name}: {len(lines):,} of its {len(plan):,} runs are not fit "
            f"to print{''.join(lines[:_MOST_NAMED])}{more}"
        )


def _unfit(run: Run) -> tuple[str, bool]:
    """Why `run` is not fit to print, nothing if it is; and whether its folder must go before it is
    executed again."""
    if not (run.folder / RECORD_FILE).exists():
        return _why_missing(run), False
    try:
        if not run.is_done():
            return "it was executed when a default was a different one", False
        if not run.has_own_page():
            return "its notebook was altered after it was executed", False
        if flaw := flaw_of(run.folder / NOTEBOOK_FILE):
            return flaw, True
        if not run.is_current():
            return "its notebook, or how it draws, has changed since", False
    except (OSError, ValueError, KeyError) as error:
        return f"its record or notebook cannot be read ({error!r})", True
    return "", False


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
