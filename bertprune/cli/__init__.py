"""The command line: `bertprune run | train | sweep | status | results | ledger | power | cost |
bench | import | export | ship | book`. What takes seconds to import is imported by the command that
needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from bertprune.base import paths
from bertprune.base.errors import UserError, full_disk_is_user_error
from bertprune.base.machine import prepare_process
from bertprune.base.words import output_takes_every_character
from bertprune.cli.costs import bench, cost
from bertprune.cli.one_run import run, train
from bertprune.cli.outcome import book, ledger, power, results
from bertprune.cli.sweeping import status, sweep
from bertprune.cli.to_and_from import export, import_, ship


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it did what was asked, 2 for a user's mistake, 130 if interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        prepare_process(paths.cache_folder() / "home")
        output_takes_every_character()
        with (
            full_disk_is_user_error(paths.root()),
            commands.make_context("bertprune", given) as context,
        ):
            return int(commands.invoke(context) or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (UserError, click.ClickException) as error:
        said = error.format_message() if isinstance(error, click.ClickException) else error
        print(f"error: {said}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output, a pager say, has gone: nothing to say, and nobody to say it to.
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or error}{where}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\nstopped. {stop} Give the same command again to go on.", file=sys.stderr)
        return 130


@click.group(
    no_args_is_help=False,
    commands=[
        run,
        train,
        sweep,
        status,
        results,
        ledger,
        power,
        cost,
        bench,
        import_,
        export,
        ship,
        book,
    ],
)
def commands() -> None:
    """Weight pruning of BERT and its effect on transfer, as a re-executable book."""
