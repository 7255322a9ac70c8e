"""What several commands take: a study, a run, a file to write."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bertprune.base.errors import UserError, full_disk_is_user_error
from bertprune.experiments import studies

if TYPE_CHECKING:
    import pandas as pd

Command = Callable[..., Any]


def file_to_write(named: str) -> Path:
    """The file `named`. Raises UserError, before any work, where it cannot be written."""
    if not named:
        raise UserError("the name of a file to write is empty: name a file")
    file = Path(named)
    # Unlike Path.is_dir and Path.exists, these never raise.
    if os.path.isdir(file):
        raise UserError(f"{file} is a folder: name a file")
    if not os.path.isdir(file.parent):
        raise UserError(f"{file} cannot be written: there is no folder {file.parent}")
    if not os.access(file if os.path.exists(file) else file.parent, os.W_OK):
        raise UserError(f"{file} may not be written by you: name a file in another folder")
    return file


def about_study(function: Command) -> Command:
    """A command about a study, which `function` is given: named, and changed by --set."""

    @click.argument("study", default="lab")
    @click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a parameter of the study (a name, or a YAML file; default: lab), or a list of "
        "its grid.",
    )
    @functools.wraps(function)
    def command(study: str, changes: Sequence[str], **options: Any) -> Any:
        return function(studies.load(study, changes), **options)

    return command


def about_run(function: Command) -> Command:
    """A command about a notebook, with parameters of it and of a study."""
    options = (
        click.argument("notebook"),
        click.option(
            "-p",
            "parameters",
            nargs=2,
            multiple=True,
            metavar="NAME VALUE",
            help="Set a parameter; lists are written [a, b].",
        ),
        click.option(
            "--study",
            help="Take what -p does not set from this study and the first point of its grid.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


CSV = click.option(
    "--csv", "file", type=file_to_write, metavar="FILE", help="Write all of it to FILE."
)


def write_csv(table: pd.DataFrame, file: Path, what: str) -> None:
    with full_disk_is_user_error(file):
        table.to_csv(file, index=False)
    print(f"{len(table)} {what} in {file}")


WORKERS = click.option(
    "--workers",
    type=click.IntRange(1),
    help="Notebooks side by side (default: one more than the cores it may use, one on a GPU).",
)
LIVE = click.option(
    "--live", is_flag=True, help="Only the part of the study that `make book` executes."
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what there is to do, and do nothing.")
