"""Figures: from rows to pictures that say what they show and which study or run made them.

Each is imported from its module, so that a new one is listed nowhere. Here is what pages share:
what stands where one is missing, and how to add a point.
"""

from __future__ import annotations

import html
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bertprune.base.errors import UserError
from bertprune.book.drawing.picture import Sketch
from bertprune.experiments.studies import Study
from bertprune.protocol.notebook_parameters import CONTRACTS, Finetune


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
    """The command that adds a point of the reader's own to a study: of the notebook `what`, at a
    sparsity that the study has not; for "dense", another seed of the dense model."""
    grid = study.grid
    notebook, settings = what, dict[str, Any]()
    if what == "burn_in":
        settings["burn_in_seed"] = 1
    elif what != "dense":
        settings["sparsity"] = next(at for at in _OWN if at not in grid["sparsity"])
    else:
        notebook, settings["sparsity"] = "finetune", 0
        settings["seed"] = max(grid.get("seed", [0])) + 1
    words = ["bertprune", "run", notebook, "--study", study.given_as or study.name]
    if issubclass(CONTRACTS[notebook], Finetune) and (tasks := grid.get("task")):
        first = tasks[0]
        settings["task"] = first if isinstance(first, str) else first[0]
    words += [word for name, of in settings.items() for word in ("-p", name, str(of))]
    return shlex.join(words)


_OWN = (0.45, 0.35, 0.55, 0.65, 0.25)
