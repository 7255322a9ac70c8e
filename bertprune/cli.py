"""The command line: `bertprune run | train | sweep | status | results | ledger | book`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertprune import contracts, paths, runs, studies
from bertprune.contracts import View
from bertprune.errors import UserError, full_disk_is_user_error
from bertprune.runs import Run, lineage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it did what was asked, 2 for a user's mistake, 130 if interrupted."""
    options = _parser().parse_args(arguments)
    try:
        with full_disk_is_user_error(paths.root()):
            return int(options.command(options) or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output, a pager say, has gone: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        print(f"\nstopped. {stop} Give the same command again to go on.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bertprune",
        description="Weight pruning of BERT and its effect on transfer, as a re-executable book.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(command=function)
        return sub

    run = command("run", _run, "Execute one notebook, and first what it starts from.")
    _add_notebook(run)
    run.add_argument("--list", action="store_true", help="show its parameters, and do nothing")

    train = command(
        "train",
        _train,
        "Do the work of one notebook without the notebook, for `accelerate launch -m bertprune`.",
    )
    _add_notebook(train)

    sweep = command("sweep", _sweep, "Execute the notebooks of a study that are not done yet.")
    _add_study(sweep)
    sweep.add_argument(
        "--workers",
        type=int,
        default=None,
        help="notebooks side by side (default: one more than there are cores, one on a GPU)",
    )
    sweep.add_argument("--dry-run", action="store_true", help="list the runs, and do nothing")

    status = command("status", _status, "Say which runs of a study are done, in work or missing.")
    _add_study(status)

    results = command("results", _results, "Print the results of a study, or write its rows.")
    _add_study(results)
    results.add_argument("--csv", metavar="FILE", help="write all rows to FILE")
    results.add_argument(
        "--publish", action="store_true", help="write the final rows to book/published"
    )

    ledger = command("ledger", _ledger, "Test the paper's claims on the results of a study.")
    _add_study(ledger)
    ledger.add_argument(
        "--of-paper", action="store_true", help="test them on the paper's own numbers instead"
    )
    ledger.add_argument("--csv", metavar="FILE", help="write the ledger to FILE")

    book = command("book", _book, "Build the book from the executed notebooks of a study.")
    _add_study(book)
    return parser


def _add_notebook(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notebook", help=", ".join(contracts.NOTEBOOKS))
    parser.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter; lists are written [a, b]",
    )
    parser.add_argument(
        "--study", help="take what -p does not set from this study and the first point of its grid"
    )


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", nargs="?", default="lab", help="name or YAML file (default: lab)")
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a parameter of the study, or a list of its grid",
    )


def _named_run(options: argparse.Namespace) -> Run:
    contract = contracts.contract_of_run(options.notebook)
    values = _typed_values(options)
    if options.study:
        values = studies.load(options.study).values_for(contract, values)
    return Run.of(contracts.parse(contract, values))


def _typed_values(options: argparse.Namespace) -> dict[str, Any]:
    return {name: studies.parse_value(value) for name, value in options.parameters}


def _run(options: argparse.Namespace) -> int:
    from bertprune.execution import execute_in_order, execute_view

    contract = contracts.contract_of(options.notebook)
    if options.list:
        print(contracts.parameters_cell(contract))
        return 0
    if issubclass(contract, View):
        named = {"study": options.study} if options.study else {}
        print(execute_view(contracts.parse(contract, named | _typed_values(options))))
        return 0
    run = _named_run(options)
    run.check_inputs()
    execute_in_order([*lineage(run), run])
    print(run.folder / runs.NOTEBOOK_FILE)
    return 0


def _train(options: argparse.Namespace) -> int:
    run = _named_run(options)
    run.check_inputs()
    for upstream in lineage(run):
        if not upstream.is_done():
            raise UserError(
                f"{run.id} starts from {upstream.id}, which is not done: execute it with "
                f"`bertprune run {upstream.notebook}` and the same parameters first"
            )
    run.work()
    print(f"{run.id} is trained; `bertprune run` with the same parameters makes its page")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from bertprune.sweep import local_workers, sweep, thread_counts

    plan = studies.load(options.study, options.changes).plan()
    workers = _default_workers() if options.workers is None else options.workers
    if workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}")
    for run in {_inputs(run): run for run in plan}.values():
        run.check_inputs()
    if options.dry_run:
        return _show_status(plan)
    with local_workers(workers) as executor:
        try:
            outcome = sweep(plan, executor, thread_counts(plan, workers))
        except KeyboardInterrupt:
            executor.shutdown(cancel_futures=True)
            raise
    print(
        f"{len(outcome.done)} executed, {len(outcome.skipped)} done before, "
        f"{len(outcome.failed)} failed"
    )
    for name, reason in outcome.failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if outcome.failed else 0


def _default_workers() -> int:
    """One more than there are cores, since a notebook that starts or ends leaves its core idle, but
    one alone on a GPU, whose memory they would share."""
    import torch

    return 1 if torch.cuda.is_available() else (os.cpu_count() or 1) + 1


def _inputs(run: Run) -> tuple[object, ...]:
    """What of a run's parameters is looked up outside: equal ones need no second look."""
    names = ("text", "model", "tokenizer", "task", "task_data")
    return tuple(getattr(run.parameters, name, None) for name in names)


def _status(options: argparse.Namespace) -> int:
    return _show_status(studies.load(options.study, options.changes).plan())


def _show_status(plan: Sequence[Run]) -> int:
    for run in plan:
        print(f"{run.id:<60} {_state(run)}")
    done = sum(run.is_done() for run in plan)
    print(f"{done} of {len(plan)} runs are done")
    return 0


def _state(run: Run) -> str:
    if run.is_current():
        return "done"
    if run.is_done():
        return "done, page out of date"
    if not run.partial_folder.exists():
        return "missing"
    return run.progress() or "begun"


def _results(options: argparse.Namespace) -> int:
    from bertprune import results, tables

    study = studies.load(options.study, options.changes)
    if options.publish:
        print(results.publish(study))
        return 0
    found = results.rows_of(study)
    if options.csv:
        file = Path(options.csv)
        with full_disk_is_user_error(file):
            found.to_csv(file, index=False)
        print(f"{len(found)} rows in {file}")
    else:
        print(tables.summary_text(results.summary(found)))
    return 0


def _ledger(options: argparse.Namespace) -> int:
    from bertprune import ledger, paper, results

    if options.of_paper:
        found = paper.rows()
    else:
        found = results.rows_of(studies.load(options.study, options.changes))
    entries = ledger.ledger(found)
    if options.csv:
        file = Path(options.csv)
        with full_disk_is_user_error(file):
            ledger.table(entries).to_csv(file, index=False)
        print(f"{len(entries)} claims in {file}")
    else:
        print(ledger.text(entries))
    return 0


def _book(options: argparse.Namespace) -> int:
    from bertprune import book

    print(book.build(studies.load(options.study, options.changes)))
    return 0
