"""Views: chapters about a whole study. They read runs, and are none themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bertprune.base.errors import UserError, check_known
from bertprune.protocol.fields import parameter
from bertprune.protocol.notebook_parameters import CONTRACTS, BurnIn, Contract


@dataclass(frozen=True, kw_only=True)
class View(Contract):
    """The parameters that the notebook of each chapter takes."""

    notebook: ClassVar[str] = "a chapter"

    studies: tuple[str, ...] = parameter(
        ("lab", "english"), "studies side by side: names in notebooks/studies, or YAML files"
    )
    changes: tuple[str, ...] = parameter(
        (), "settings that change the first of them, as --set gives them to the commands"
    )


@dataclass(frozen=True)
class Chapter:
    """A notebook about studies as a whole."""

    notebook: str
    question: str
    """What it answers."""
    needs_language: bool = False
    """Whether there is such a chapter only where one of the studies is about a lab language."""
    beside: tuple[str, ...] = ()
    """Whose published rows it shows too; without them there is no such chapter."""


CHAPTERS = {
    chapter.notebook: chapter
    for chapter in (
        Chapter("results", "How much can be pruned?"),
        Chapter("lost_examples", "Which examples are lost when a model is pruned?"),
        Chapter("information", "Is information lost, or capacity?"),
        Chapter("timing", "Prune once, or anew for each task?"),
        Chapter("weights", "Which weights are pruned, and how far does fine-tuning move them?"),
        Chapter("saving", "What does pruning save, on disk and in time?"),
        Chapter(
            "ledger", "Which of the paper's claims hold, and what are its numbers beside ours?"
        ),
        Chapter(
            "again",
            "How do I run one point, or my own model and data? How near does a second run come?",
        ),
        Chapter("dense", "What does the dense model know, before anything is pruned?"),
        Chapter("comparison", "How do the curves compare with the paper's, drop against drop?"),
        Chapter("lab_language", "What is there to know in a lab language?", needs_language=True),
        Chapter(
            "lab_checks",
            "Is it the same in another language, and with less text?",
            needs_language=True,
            beside=("lab-another", "lab-small-text"),
        ),
        Chapter(
            "as_run",
            "Which difference between the paper's text and its scripts changes what is found?",
            needs_language=True,
            beside=(
                "lab-written",
                "lab-run-restarts",
                "lab-run-masks",
                "lab-run-adam",
                "lab-run-epochs",
                "lab-run-warmup",
                "lab-run-random",
                "lab-run",
            ),
        ),
        Chapter("cost", "What does a study take: hours, memory, disk?"),
        Chapter("bench", "How fast is it, beside what one would take instead?", beside=("bench",)),
    )
}
"""All chapters by notebook, in the order of the book."""


def parameters_of(notebook: str) -> type[Contract]:
    """What `notebook` takes, a run's or a chapter's. Raises UserError naming the closest one."""
    check_known("unknown notebook", [notebook], [*CONTRACTS, *CHAPTERS])
    return CONTRACTS.get(notebook, View)


def parameters_of_run(notebook: str) -> type[BurnIn]:
    """What a `notebook` takes that is executed as a run. Raises UserError for any other."""
    contract = parameters_of(notebook)
    if not issubclass(contract, BurnIn):
        raise UserError(f"{notebook} is no run, but a view of studies: `bertprune run {notebook}`")
    return contract
