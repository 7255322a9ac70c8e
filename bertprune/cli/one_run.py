"""The commands about one run: `run` and `train`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from bertprune.cli.arguments import about_run
from bertprune.experiments import runs, studies
from bertprune.experiments.runs import Run, lineage
from bertprune.protocol import notebook_parameters
from bertprune.protocol.views import CHAPTERS, View, parameters_of, parameters_of_run

_NOTEBOOKS = f"NOTEBOOK is one of {', '.join([*notebook_parameters.CONTRACTS, *CHAPTERS])}."


@click.command(epilog=_NOTEBOOKS)
@about_run
@click.option("--list", "only_list", is_flag=True, help="Show its parameters, and do nothing.")
def run(
    notebook: str, parameters: Sequence[tuple[str, str]], study: str | None, only_list: bool
) -> None:
    """Execute one notebook, and first what it starts from."""
    from bertprune.experiments.execution import execute_in_order, execute_view, view_of

    contract = parameters_of(notebook)
    if only_list:
        if notebook in CHAPTERS:
            print(f"# {CHAPTERS[notebook].question}")
        print(notebook_parameters.parameters_cell(contract, with_choices=True))
    elif chapter := CHAPTERS.get(notebook):
        named = {"studies": view_of(studies.load(study)).studies} if study else {}
        view = notebook_parameters.parse(View, named | _typed(parameters))
        print(execute_view(chapter, view))
    else:
        one = _named_run(notebook, parameters, study)
        one.check_inputs()
        execute_in_order([*lineage(one), one], models_of=[one])
        print(one.folder / runs.NOTEBOOK_FILE)


@click.command(epilog=_NOTEBOOKS)
@about_run
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
