"""The command line: `bertprune run | train | sweep | status | results | ledger | cost | bench |
import | export | ship | book`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from bertprune.base import paths
from bertprune.base.errors import UserError, full_disk_is_user_error
from bertprune.experiments import runs, studies
from bertprune.experiments.runs import Run, lineage
from bertprune.experiments.timekeeping import progress_in_words
from bertprune.protocol import notebook_parameters
from bertprune.protocol.views import CHAPTERS, View, parameters_of, parameters_of_run

# A stack of small models fills a GPU; more of them only take more memory.
_AT_ONCE_ON_GPU = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it did what was asked, 2 for a user's mistake, 130 if interrupted."""
    try:
        options = _parser().parse_args(arguments)
        with full_disk_is_user_error(paths.root()):
            return int(options.command(options) or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output, a pager say, has gone: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or error}{where}", file=sys.stderr)
        return 2
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
    sweep.add_argument(
        "--at-once",
        type=int,
        default=None,
        metavar="N",
        help="models that train as one where runs differ in seed and pruning alone "
        f"(default: {_AT_ONCE_ON_GPU} on a GPU, 1 elsewhere)",
    )
    sweep.add_argument(
        "--unpublished",
        action="store_true",
        help="only runs that book/published lacks, with what they need",
    )
    sweep.add_argument("--dry-run", action="store_true", help="list the runs, and do nothing")

    status = command("status", _status, "Say which runs of a study are done, in work or missing.")
    _add_study(status)

    results = command("results", _results, "Print the results of a study, or write its rows.")
    _add_study(results)
    results.add_argument(
        "--csv", type=_file_to_write, metavar="FILE", help="write all rows to FILE"
    )
    results.add_argument(
        "--publish", action="store_true", help="write the final rows to book/published"
    )

    ledger = command("ledger", _ledger, "Test the paper's claims on the results of a study.")
    _add_study(ledger)
    ledger.add_argument(
        "--of-paper", action="store_true", help="test them on the paper's own numbers instead"
    )
    ledger.add_argument(
        "--csv", type=_file_to_write, metavar="FILE", help="write the ledger to FILE"
    )

    cost = command("cost", _cost, "Say what a study costs: time, memory and disk, by arm.")
    _add_study(cost)
    cost.add_argument(
        "--device",
        metavar="NAME",
        help="a machine other than this one: book, which the book was made on, or a GPU "
        "(a100, h100, h200, v100, rtx4090, t4), for which rates are assumed, not measured",
    )
    cost.add_argument("--workers", type=int, default=None, help="as for sweep")
    cost.add_argument("--measure", action="store_true", help="measure this machine anew")
    cost.add_argument("--csv", type=_file_to_write, metavar="FILE", help="write the table to FILE")
    cost.add_argument(
        "--publish", action="store_true", help="write this machine's costs to book/published"
    )

    bench = command("bench", _bench, "Time what we do beside what a user would pick instead.")
    bench.add_argument("cases", nargs="*", metavar="CASE", help="what to time (default: all)")
    bench.add_argument("--list", action="store_true", help="show the cases, and do nothing")
    bench.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="of both sides (default: all)"
    )
    bench.add_argument("--repeats", type=int, default=5, help="times each side (default: 5)")
    bench.add_argument(
        "--task-data", metavar="FOLDER", help="SST-2 in GLUE's layout (default: made-up phrases)"
    )
    bench.add_argument(
        "--csv", metavar="FILE", help="write the rows to FILE (default: runs/bench/measured.csv)"
    )
    bench.add_argument(
        "--publish", action="store_true", help="write them to book/published too, for its page"
    )

    take = command("import", _import, "Take over runs made elsewhere, with their records.")
    take.add_argument(
        "sources",
        nargs="+",
        metavar="FOLDER_OR_ARCHIVE",
        help="another project or its runs/, or a .tar.gz of it",
    )
    take.add_argument("--dry-run", action="store_true", help="say what would come, and do nothing")

    export = command("export", _export, "Pack the runs of a study that are done, for `import`.")
    export.add_argument("study", help="name or YAML file")
    export.add_argument("file", type=_file_to_write, metavar="FILE.tar.gz")
    _add_changes(export)
    export.add_argument(
        "--without-models", action="store_true", help="leave out what later runs start from"
    )

    ship = command("ship", _ship, "Write a model as a folder of its own, with a model card.")
    ship.add_argument(
        "model", metavar="RUN_OR_MODEL_FOLDER", help="as prune_pretrain/0.60-seed0-..., or a folder"
    )
    ship.add_argument("destination", metavar="DESTINATION", help="a folder that is not there yet")
    ship.add_argument(
        "--precision", choices=("bf16", "float32"), default="bf16", help="(default: bf16)"
    )

    book = command("book", _book, "Build the book from the executed notebooks of a study.")
    _add_study(book)
    return parser


def _add_notebook(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notebook", help=", ".join([*notebook_parameters.CONTRACTS, *CHAPTERS]))
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
    _add_changes(parser)


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a parameter of the study, or a list of its grid",
    )


def _file_to_write(named: str) -> Path:
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


def _named_run(options: argparse.Namespace) -> Run:
    contract = parameters_of_run(options.notebook)
    values = _typed_values(options)
    if options.study is not None:
        values = studies.load(options.study).values_for(contract, values)
    return Run.of(notebook_parameters.parse(contract, values))


def _typed_values(options: argparse.Namespace) -> dict[str, Any]:
    return {name: studies.parse_value(value) for name, value in options.parameters}


def _run(options: argparse.Namespace) -> int:
    from bertprune.experiments.execution import execute_in_order, execute_view

    contract = parameters_of(options.notebook)
    if options.list:
        print(notebook_parameters.parameters_cell(contract))
        return 0
    if chapter := CHAPTERS.get(options.notebook):
        named = {"study": options.study} if options.study else {}
        parameters = notebook_parameters.parse(View, named | _typed_values(options))
        print(execute_view(chapter, parameters))
        return 0
    run = _named_run(options)
    run.check_inputs()
    execute_in_order([*lineage(run), run], models_of=[run])
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
    from bertprune.evidence import results
    from bertprune.experiments.sweep import local_workers, sweep, thread_counts

    study = studies.load(options.study, options.changes)
    plan = study.plan()
    workers = _default_workers() if options.workers is None else options.workers
    at_once = _default_at_once() if options.at_once is None else options.at_once
    for name, value in (("--workers", workers), ("--at-once", at_once)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    for run in {_inputs(run): run for run in plan}.values():
        run.check_inputs()
    # Bits depend on the threads, and these on the whole plan.
    threads = thread_counts(plan, workers)
    published: Collection[Run] = ()
    if options.unpublished or options.dry_run:
        published = results.published_runs(study)
    if options.unpublished:
        if not published:
            raise UserError(
                f"no run of study {study.name} is published as it would be now, with the same "
                "data, settings and code, or all are done here: leave out --unpublished"
            )
        missing = [run for run in plan if run not in published and not run.is_current()]
        wanted = {needed for run in missing for needed in [*lineage(run), run]}
        plan = [run for run in plan if run in wanted]
    if options.dry_run:
        return _show_status(plan, published)
    with local_workers(workers) as executor:
        try:
            outcome = sweep(plan, executor, threads, at_once)
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


def _default_at_once() -> int:
    import torch

    return _AT_ONCE_ON_GPU if torch.cuda.is_available() else 1


def _inputs(run: Run) -> tuple[object, ...]:
    """What of a run's parameters is looked up outside: equal ones need no second look."""
    names = ("text", "model", "tokenizer", "task", "task_data")
    return tuple(getattr(run.parameters, name, None) for name in names)


def _status(options: argparse.Namespace) -> int:
    from bertprune.evidence import results

    study = studies.load(options.study, options.changes)
    return _show_status(study.plan(), results.published_runs(study))


def _show_status(plan: Sequence[Run], published: Collection[Run]) -> int:
    for run in plan:
        print(f"{run.id:<60} {_state(run)}{', published' if run in published else ''}")
    done = sum(run.is_done() for run in plan)
    others = sum(run in published and not run.is_done() for run in plan)
    print(f"{done} of {len(plan)} runs are done{f', {others} others published' if others else ''}")
    return 0


def _state(run: Run) -> str:
    if run.is_current():
        return "done" if run.has_model() else "done, without its model"
    if run.is_done():
        return "done, page out of date"
    if not run.partial_folder.exists():
        return "missing"
    return progress_in_words(run.partial_folder) or "begun"


def _results(options: argparse.Namespace) -> int:
    from bertprune.book import tables
    from bertprune.evidence import publish, results

    study = studies.load(options.study, options.changes)
    if options.publish:
        print(publish.publish(study))
        return 0
    found = results.rows_of(study)
    if options.csv is not None:
        with full_disk_is_user_error(options.csv):
            found.to_csv(options.csv, index=False)
        print(f"{len(found)} rows in {options.csv}")
    else:
        print(results.provenance(study), end="\n\n")
        print(tables.summary_text(results.summary(found)))
    return 0


def _ledger(options: argparse.Namespace) -> int:
    from bertprune.evidence import paper, results
    from bertprune.evidence.claims import ledger

    if options.of_paper:
        found, source = paper.rows(), "The paper's own numbers."
    else:
        study = studies.load(options.study, options.changes)
        found, source = results.rows_of(study), results.provenance(study)
    entries = ledger.ledger(found)
    if options.csv is not None:
        with full_disk_is_user_error(options.csv):
            ledger.table(entries).to_csv(options.csv, index=False)
        print(f"{len(entries)} claims in {options.csv}")
    else:
        print(f"{source}\n\n{ledger.text(entries)}")
    return 0


def _cost(options: argparse.Namespace) -> int:
    from bertprune.speed.cost import estimate, measure, units

    study = studies.load(options.study, options.changes)
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers must be at least 1, got {options.workers}")
    if options.device is not None and (options.measure or options.publish):
        raise UserError("--measure and --publish are about this machine: leave out --device")
    plan = study.plan()
    if options.device is not None:
        found = estimate.estimate(plan, units.named(options.device), options.workers)
    else:
        here = measure.for_plan(plan, options.workers, again=options.measure)
        found = estimate.estimate(plan, here, options.workers)
        if options.publish:
            print(units.publish(here))
    if options.csv is not None:
        with full_disk_is_user_error(options.csv):
            found.table().to_csv(options.csv, index=False)
        print(f"{len(found.table())} lines in {options.csv}")
    else:
        print(estimate.text(found, study))
    return 0


def _bench(options: argparse.Namespace) -> int:
    from bertprune.speed.bench import run

    if options.list:
        print(run.listed())
        return 0
    file = Path(options.csv) if options.csv else paths.runs_folder() / "bench" / "measured.csv"
    run.bench(
        options.cases,
        threads=options.threads,
        repeats=options.repeats,
        task_data=options.task_data or "",
        file=file,
        publish=options.publish,
    )
    return 0


def _import(options: argparse.Namespace) -> int:
    from bertprune.experiments import archive

    found = [
        one
        for source in options.sources
        for one in archive.import_runs(paths.expanded(source), dry_run=options.dry_run)
    ]
    print(archive.summary(found, dry_run=options.dry_run))
    return 1 if any(one.what == archive.REFUSED for one in found) else 0


def _export(options: argparse.Namespace) -> int:
    from bertprune.experiments import archive

    study = studies.load(options.study, options.changes)
    count = archive.export(study, options.file, with_models=not options.without_models)
    print(f"{count} of {len(study.plan())} runs of {study.name} in {options.file}")
    return 0


def _ship(options: argparse.Namespace) -> int:
    from bertprune.book import model_card

    destination = paths.expanded(options.destination)
    print(model_card.ship(options.model, destination, precision=options.precision))
    return 0


def _book(options: argparse.Namespace) -> int:
    from bertprune.book import build

    print(build.build(studies.load(options.study, options.changes)))
    return 0
