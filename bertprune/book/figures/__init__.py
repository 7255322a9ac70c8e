"""Figures: from rows to pictures that say what they show and which study or run made them.

Each is imported from its module, so that a new one is listed nowhere. Here is what pages share:
what stands where one is missing, and the commands for a point.
"""

from __future__ import annotations

import html
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bertprune.base.errors import UserError
from bertprune.book.drawing.picture import Sketch
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import GRID, Study
from bertprune.protocol.notebook_parameters import CONTRACTS, Finetune, as_values, parse
from bertprune.protocol.pruning_methods import MAGNITUDE


@dataclass(frozen=True)
class Missing:
    """A figure that a study has no rows for; a page says so in its place."""

    why: str

    def _repr_html_(self) -> str:
        return f"<p><em>Missing: {html.escape(self.why)}.</em></p>"


def drawn(show: Callable[[], Any]) -> Any:
    """What `show` gives that is of no study, a figure drawn, or that it is missing."""
    try:
        found = show()
    except UserError as error:
        return Missing(str(error))
    return found.drawn("") if isinstance(found, Sketch) else found


def own_point(study: Study, what: str) -> str:
    """The commands that add a point of the reader's own to a study: of the notebook `what`, at a
    sparsity that the study has not, on SST-2 where it has that; for "dense", another seed of the
    dense model; for "average", on all tasks, since a mean needs them. A comment says where text and
    tasks are downloaded first."""
    grid = study.grid
    notebook, settings = what, dict[str, Any]()
    if what == "burn_in":
        settings["burn_in_seed"] = 1
    elif what != "dense":
        settings["sparsity"] = next(at for at in _OWN if at not in grid["sparsity"])
    else:
        settings["sparsity"] = 0
        settings["seed"] = max(grid.get("seed", [0])) + 1
    if what in ("dense", "average"):
        notebook = "finetune"
    words = ["bertprune", "run", notebook, "--study", study.given_as or study.name]
    each: list[dict[str, Any]] = [{}]
    if issubclass(CONTRACTS[notebook], Finetune) and (tasks := grid.get("task")):
        names = [name for one in tasks for name in ([one] if isinstance(one, str) else one)]
        each = [{"task": of} for of in tasks]
        if what != "average":
            each = [{"task": "sst2" if "sst2" in names else names[0]}]
    commands = [shlex.join([*words, *_given(settings | of_task)]) for of_task in each]
    commands[0] += "" if study.has_language() else "  # downloads text and tasks"
    return "\n".join(commands)


def same_point(of_file: Study, run: Run) -> str:
    """The command that does `run` again, given the study as its file has it: with what it needs,
    unless it is there."""
    contract, values = type(run.parameters), as_values(run.parameters)
    settings = {name: values[name] for name in (*GRID, "method") if name in values}
    if settings.get("method") == MAGNITUDE:
        del settings["method"]
    usual = parse(contract, of_file.values_for(contract, settings))
    others = as_values(Run.of(usual).parameters)
    settings |= {name: of for name, of in values.items() if of != others[name]}
    words = ["bertprune", "run", run.notebook, "--study", of_file.given_as or of_file.name]
    return shlex.join([*words, *_given(settings)])


def _given(settings: Mapping[str, Any]) -> list[str]:
    """Settings as a command has them."""
    words = []
    for name, value in settings.items():
        shown = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
        words += ["-p", name, shown]
    return words


_OWN = (0.45, 0.35, 0.55, 0.65, 0.25)
