"""The command line: `bertprune run | train | sweep | status | results | ledger | cost | bench |
import | export | ship | book`."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bertprune.base import paths
from bertprune.base.errors import UserError, full_disk_is_user_error
from bertprune.base.machine import prepare_process, usable_cores
from bertprune.base.words import output_takes_every_character
from bertprune.experiments import runs, studies
from bertprune.experiments.runs import Run, lineage
from bertprune.experiments.studies import Study
from bertprune.experiments.timekeeping import progress_in_words
from bertprune.protocol import notebook_parameters
from bertprune.protocol.views import CHAPTERS, View, parameters_of, parameters_of_run

# What takes seconds to import is imported by the command that needs it.

if TYPE_CHECKING:
    import pandas as pd

# A stack of small models fills a GPU; more of them only take more memory.
_AT_ONCE_ON_GPU = 16

Command = Callable[..., Any]


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


@click.group(no_args_is_help=False)
def commands() -> None:
    """Weight pruning of BERT and its effect on transfer, as a re-executable book."""


# What several commands take.


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


def _about_study(function: Command) -> Command:
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


def _about_run(function: Command) -> Command:
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


_CSV = click.option(
    "--csv", "file", type=_file_to_write, metavar="FILE", help="Write all of it to FILE."
)


def _write_csv(table: pd.DataFrame, file: Path, what: str) -> None:
    with full_disk_is_user_error(file):
        table.to_csv(file, index=False)
    print(f"{len(table)} {what} in {file}")


_WORKERS = click.option(
    "--workers",
    type=click.IntRange(1),
    help="Notebooks side by side (default: one more than the cores it may use, one on a GPU).",
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what there is to do, and do nothing.")
_NOTEBOOKS = f"NOTEBOOK is one of {', '.join([*notebook_parameters.CONTRACTS, *CHAPTERS])}."


# One run.


@commands.command(epilog=_NOTEBOOKS)
@_about_run
@click.option("--list", "only_list", is_flag=True, help="Show its parameters, and do nothing.")
def run(
    notebook: str, parameters: Sequence[tuple[str, str]], study: str | None, only_list: bool
) -> None:
    """Execute one notebook, and first what it starts from."""
    from bertprune.experiments.execution import execute_in_order, execute_view

    contract = parameters_of(notebook)
    if only_list:
        if notebook in CHAPTERS:
            print(f"# {CHAPTERS[notebook].question}")
        print(notebook_parameters.parameters_cell(contract, with_choices=True))
    elif chapter := CHAPTERS.get(notebook):
        named = {"study": study} if study else {}
        view = notebook_parameters.parse(View, named | _typed(parameters))
        print(execute_view(chapter, view))
    else:
        one = _named_run(notebook, parameters, study)
        one.check_inputs()
        execute_in_order([*lineage(one), one], models_of=[one])
        print(one.folder / runs.NOTEBOOK_FILE)


@commands.command(epilog=_NOTEBOOKS)
@_about_run
def train(notebook: str, parameters: Sequence[tuple[str, str]], study: str | None) -> None:
    """Do the work of one notebook without the notebook, for `accelerate launch -m bertprune`."""
    one = _named_run(notebook, parameters, study)
    one.check_inputs()
    one.check_needs()
    one.work()
    print(f"{one.id} is trained; `bertprune run` with the same parameters makes its page")


def _typed(parameters: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {name: studies.parse_value(value) for name, value in parameters}


def _named_run(notebook: str, parameters: Sequence[tuple[str, str]], study: str | None) -> Run:
    contract = parameters_of_run(notebook)
    values = _typed(parameters)
    if study is not None:
        values = studies.load(study).values_for(contract, values)
    return Run.of(notebook_parameters.parse(contract, values))


# All runs of a study.


@commands.command()
@_about_study
@_WORKERS
@click.option(
    "--at-once",
    type=click.IntRange(1),
    metavar="N",
    help="Models that train as one where runs differ in seed and pruning alone "
    f"(default: {_AT_ONCE_ON_GPU} on a GPU, 1 elsewhere).",
)
@click.option(
    "--unpublished",
    is_flag=True,
    help="Only runs that book/published lacks, with what they need.",
)
@_DRY_RUN
def sweep(
    study: Study, workers: int | None, at_once: int | None, unpublished: bool, dry_run: bool
) -> int:
    """Execute the notebooks of a study that are not done yet."""
    import torch

    from bertprune.evidence import gathering
    from bertprune.experiments.sweep import local_workers, sweep, thread_counts

    gpu = torch.cuda.is_available()
    # A notebook that starts or ends leaves its core idle; on a GPU they would share its memory.
    workers = workers or (1 if gpu else usable_cores() + 1)
    at_once = at_once or (_AT_ONCE_ON_GPU if gpu else 1)
    plan = study.plan()
    # Equal inputs need no second look.
    for one in {one.inputs: one for one in plan}.values():
        one.check_inputs()
    # Bits depend on the threads, and these on the whole plan.
    threads = thread_counts(plan, workers)
    published = gathering.published_runs(study) if unpublished or dry_run else {}
    if unpublished:
        plan = gathering.still_to_publish(study, published)
    if dry_run:
        _show_status(plan, published)
        return 0
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


@commands.command()
@_about_study
def status(study: Study) -> None:
    """Say which runs of a study are done, in work or missing."""
    from bertprune.evidence import gathering

    _show_status(study.plan(), gathering.published_runs(study))


def _show_status(plan: Sequence[Run], published: Collection[Run]) -> None:
    for one in plan:
        print(f"{one.id:<60} {_state(one)}{', published' if one in published else ''}")
    done = sum(one.is_done() for one in plan)
    others = sum(one in published and not one.is_done() for one in plan)
    print(f"{done} of {len(plan)} runs are done{f', {others} others published' if others else ''}")


def _state(one: Run) -> str:
    if one.is_current():
        return "done" if one.has_model() else "done, without its model"
    if one.is_done():
        return "done, page out of date"
    if not one.partial_folder.exists():
        return "missing"
    return progress_in_words(one.partial_folder) or "begun"


# What a study gives.


@commands.command()
@_about_study
@_CSV
@click.option("--publish", is_flag=True, help="Write the final rows to book/published.")
def results(study: Study, file: Path | None, publish: bool) -> None:
    """Print the results of a study, or write its rows."""
    from bertprune.book import tables
    from bertprune.evidence import gathering, publishing, scores

    if publish:
        print(publishing.publish(study))
        return
    found = gathering.rows_of(study)
    if file:
        _write_csv(found, file, "rows")
    else:
        print(gathering.provenance(study), end="\n\n")
        print(tables.summary_text(scores.summary(found)))


@commands.command()
@_about_study
@click.option("--of-paper", is_flag=True, help="Test them on the paper's own numbers instead.")
@_CSV
def ledger(study: Study, of_paper: bool, file: Path | None) -> None:
    """Test the paper's claims on the results of a study."""
    from bertprune.evidence import gathering, paper
    from bertprune.evidence.claims import ledger

    if of_paper:
        found, source = paper.rows(), "The paper's own numbers."
    else:
        found, source = gathering.rows_of(study), gathering.provenance(study)
    entries = ledger.ledger(found)
    if file:
        _write_csv(ledger.table(entries), file, "claims")
    else:
        print(f"{source}\n\n{ledger.text(entries)}")


@commands.command()
@_about_study
@click.option(
    "--device",
    metavar="NAME",
    help="A machine other than this one: book, which the book was made on, or a GPU (a100, h100, "
    "h200, v100, rtx4090, t4), for which rates are assumed, not measured.",
)
@_WORKERS
@click.option("--measure", is_flag=True, help="Measure this machine anew.")
@_CSV
@click.option("--publish", is_flag=True, help="Write this machine's costs to book/published.")
def cost(
    study: Study,
    device: str | None,
    workers: int | None,
    measure: bool,
    file: Path | None,
    publish: bool,
) -> None:
    """Say what a study costs: time, memory and disk, by arm."""
    from bertprune.speed.cost import estimate, measuring_costs, unit_costs

    if device is not None and (measure or publish):
        raise UserError("--measure and --publish are about this machine: leave out --device")
    plan = study.plan()
    if device is not None:
        found = estimate.estimate(plan, unit_costs.named(device), workers)
    else:
        here = measuring_costs.for_plan(plan, workers, again=measure)
        found = estimate.estimate(plan, here, workers)
        if publish:
            print(unit_costs.publish(here))
    if file:
        _write_csv(found.table(), file, "lines")
    else:
        print(estimate.text(found, study))


@commands.command()
@_about_study
def book(study: Study) -> None:
    """Build the book from the executed notebooks of a study."""
    from bertprune.book import build

    print(build.build(study))


# Beside studies.


@commands.command()
@click.argument("cases", nargs=-1, metavar="[CASE]...")
@click.option("--list", "only_list", is_flag=True, help="Show the cases, and do nothing.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=usable_cores,
    help="Of both sides (default: all).",
)
@click.option("--repeats", type=click.IntRange(1), default=5, help="Times each side (default: 5).")
@click.option(
    "--task-data",
    metavar="FOLDER",
    default="",
    help="SST-2 in GLUE's layout (default: made-up phrases).",
)
@click.option("--csv", metavar="FILE", help="Where the rows go (default: runs/bench/measured.csv).")
@click.option("--publish", is_flag=True, help="Write them to book/published too, for its page.")
def bench(cases: Sequence[str], only_list: bool, csv: str | None, **options: Any) -> None:
    """Time what we do beside what a user would pick instead; by default all CASEs."""
    from bertprune.speed.bench import benchmark

    if only_list:
        print(benchmark.listed())
        return
    file = Path(csv) if csv else paths.runs_folder() / "bench" / "measured.csv"
    benchmark.bench(cases, file=file, **options)


@commands.command(name="import")
@click.argument("sources", nargs=-1, required=True, metavar="FOLDER_OR_ARCHIVE...")
@_DRY_RUN
def import_(sources: Sequence[str], dry_run: bool) -> int:
    """Take over runs made elsewhere, with their records: of another project or its runs/, or a
    .tar.gz of it."""
    from bertprune.experiments import archive

    found = [
        one
        for source in sources
        for one in archive.import_runs(paths.expanded(source), dry_run=dry_run)
    ]
    print(archive.summary(found, dry_run=dry_run))
    return 1 if any(one.what == archive.REFUSED for one in found) else 0


@commands.command()
@_about_study
@click.argument("file", type=_file_to_write, metavar="FILE.tar.gz")
@click.option("--without-models", is_flag=True, help="Leave out what later runs start from.")
def export(study: Study, file: Path, without_models: bool) -> None:
    """Pack the runs of a study that are done, for `import`."""
    from bertprune.experiments import archive

    count = archive.export(study, file, with_models=not without_models)
    print(f"{count} of {len(study.plan())} runs of {study.name} in {file}")


@commands.command()
@click.argument("model", metavar="RUN_OR_MODEL_FOLDER")
@click.argument("destination")
@click.option(
    "--precision", type=click.Choice(["bf16", "float32"]), default="bf16", help="(default: bf16)"
)
def ship(model: str, destination: str, precision: str) -> None:
    """Write a model, of a run as prune_pretrain/0.60-seed0-... or in a folder, as a folder of its
    own that is not there yet, with a model card."""
    from bertprune.book import model_card

    print(model_card.ship(model, paths.expanded(destination), precision=precision))
