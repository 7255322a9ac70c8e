"""The ledger: each claim of the paper with its number, ours, and the verdict of a fixed rule.

The paper's statistic and ours come from the same code: a rule (see `claims`) is a function of what
was measured, and the paper's numbers are such rows too (see `paper`).
"""

from __future__ import annotations

import functools
import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from bertprune.base.errors import UserError
from bertprune.base.shown import Prose, Sentence
from bertprune.base.words import SPACE, counted
from bertprune.evidence import baselines, gathering, paper
from bertprune.evidence.answers import answers_in, answers_of
from bertprune.evidence.claims import CLAIMS, ON_ACCURACY
from bertprune.evidence.claims.claim import OPEN, SIGNS, UNTESTED, Claim, Finding
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.published import Published, predictions_of, rows_of
from bertprune.evidence.scores import without_own
from bertprune.experiments import studies
from bertprune.experiments.studies import Study
from bertprune.model.shape import shape_of
from bertprune.protocol.rows import PRETRAINING, Rows


class Entry(NamedTuple):
    """A line of the ledger. Bounds are NaN where there are none, and in `unit`."""

    key: str
    claim: str
    paper: str
    rule: str
    ours: str
    n: str
    lower: float
    upper: float
    unit: str
    verdict: str
    reason: str
    """Why it cannot be told, or which part decided; else empty."""
    says: str
    """What was found, in a sentence."""
    detectable: float
    """The smallest effect that is detected with 80 % power, in `unit`."""
    mean: float
    """The effect that the bounds are of, in `unit`."""
    margin: float
    """Up to which size, in `unit`, an effect counts as none or as little."""


class Ledger(tuple[Entry, ...]):
    """Claims with their verdicts; a notebook's last line shows them."""

    __slots__ = ()

    def of(self, *keys: str) -> Ledger:
        """Only the claims with these keys."""
        return Ledger(entry for entry in self if entry.key in keys)

    def count(self, verdict: object) -> int:
        """How many claims have this verdict."""
        return sum(entry.verdict == verdict for entry in self)

    def _repr_html_(self) -> str:
        return "".join(_shown(entry) for entry in _ordered(self))


def _ordered(entries: Iterable[Entry]) -> list[Entry]:
    """By verdict, those that are refuted first."""
    return sorted(entries, key=lambda entry: list(SIGNS).index(entry.verdict))


def _here(entry: Entry) -> str:
    """Our numbers, what they are over, and where a verdict is open what could be detected."""
    said = entry.ours + (f" ({entry.n})" if entry.n else "")
    if entry.verdict != OPEN or math.isnan(entry.lower) or not entry.detectable > 0:
        return said
    least = f"{entry.detectable:.2f} {entry.unit}"
    return f"{said}; the smallest effect detectable with 80 % power: {least}"


def _shown(entry: Entry) -> str:
    """An entry for a page: what was found and the verdict, with both numbers and the rule folded
    below them."""
    reason = f": {entry.reason}." if entry.reason else ""
    claim, says, verdict, reason, rule = map(
        html.escape, (entry.claim, entry.says, entry.verdict, reason, entry.rule)
    )
    # A line for each of several numbers.
    theirs, here = (
        "<br>".join(map(html.escape, said.split("; "))) for said in (entry.paper, _here(entry))
    )
    return (
        f"<p><strong>{entry.key}. {claim}</strong><br>{says}<br>"
        f"<strong>{SIGNS[entry.verdict]} {verdict} here</strong>{reason}</p>"
        f'<details style="margin-bottom: 2em"><summary>Numbers and rule of {entry.key}</summary>'
        f"<ul><li>Paper: {theirs}</li><li>Here: {here}</li><li>Rule: {rule}</li></ul></details>"
    )


def verdicts(ledgers: Mapping[str, Ledger]) -> pd.DataFrame:
    """The verdicts of several studies side by side, a line for each claim."""
    columns = {
        name: {entry.key: f"{SIGNS[entry.verdict]}{SPACE}{entry.verdict}" for entry in entries}
        for name, entries in ledgers.items()
    }
    claims = {entry.key: entry.claim for entries in ledgers.values() for entry in entries}
    return pd.DataFrame({"claim": claims} | columns)


def ledger(measured: Measured, *keys: str) -> Ledger:
    """The paper's claims with these keys, or all from C1 to C14, tested on what a study measured,
    which may lack anything."""
    return Ledger(_entry_of(claim, measured) for claim in CLAIMS if claim.key in keys or not keys)


def _entry_of(claim: Claim, measured: Measured) -> Entry:
    """The line of a claim, with the scale at which something was found."""
    ours = claim.of(measured)
    if ours.says and measured.scale:
        ours = ours._replace(says=f"{measured.scale}: {ours.says}")
    return entry(claim, ours)


def measured(study: Study, found: Rows) -> Measured:
    """What a study measured, of its rows `found` (see `gathering.rows_of`).

    Runs that a reader added to the grid do not count: a rule that is fixed beforehand is no use if
    runs are added until it is met.
    """
    if gathering.is_shown_as_published(study):
        return published(study.name)
    every = pd.concat([found, gathering.masks_between_seeds(study)], ignore_index=True)
    of_study = without_own(every).drop(columns="own", errors="ignore")
    return Measured.of(of_study, baselines.of_study(study), answers_of(study), _scale(study))


def _scale(study: Study) -> str:
    """The study, and the size of its BERT where that is at hand."""
    try:
        shape = shape_of(study.typical().parameters)
    except UserError:
        return study.title
    return f"{study.title} (a BERT of {shape.layers} layers × {shape.hidden_size})"


def published(name: str) -> Measured:
    """What the study of this name measured, as it was published."""
    tasks = pd.DataFrame.from_dict(Published.read(name).tasks, orient="index")
    answers = answers_in(predictions_of(name).assign(own=False))
    return Measured.of(rows_of(name), tasks, answers, _scale(studies.load(name)))


def of_paper() -> Measured:
    """What the paper's own tables have."""
    return Measured.of(paper.rows(), paper.facts_of_tasks())


def on_tasks(measured: Measured, tasks: Sequence[str]) -> Prose | Sentence:
    """The claims about accuracy by the same rules on `tasks` alone, beside the verdicts on all
    tasks: verdicts and our number. A sentence where there is nothing to compare."""
    found = measured.rows
    if not tasks:
        return Sentence("On no task of this study is the dense model above all of these.")
    if set(found.task) <= {*tasks, PRETRAINING}:
        return Sentence(
            "On all tasks of this study the dense model is above all of these, so the verdicts are "
            "the ones above."
        )
    of_tasks = measured.part(found[found.task.isin([*tasks, PRETRAINING])])
    on_all, alone = (
        Ledger(_entry_of(claim, of) for claim in ON_ACCURACY) for of in (measured, of_tasks)
    )
    name = f"{', '.join(tasks)} alone"
    table = verdicts({"all tasks": on_all, name: alone}).drop(columns="claim")
    return Prose(table.assign(**{f"numbers of {name}": list(map(_here, alone))}), is_list=True)


LEAST_TO_HALVE = 4
"""Seeds: each half has two then."""


def on_halves(measured: Measured) -> Prose | Sentence:
    """The verdicts on all seeds of a study, on the first half of them and on the second, and what
    the halves say to each other. No pruning or fine-tuning is in both, but a BERT may be. A
    sentence where there are fewer than `LEAST_TO_HALVE` seeds."""
    found = measured.rows
    # Not those that have a BERT, and nothing on it yet.
    seeds = sorted(found.seed[found.task != PRETRAINING].unique())
    if len(seeds) < LEAST_TO_HALVE:
        return Sentence(f"It takes {LEAST_TO_HALVE} seeds to compare two halves of them.")
    middle = len(seeds) // 2
    one, two = (
        ledger(measured.part(found[found.seed.isin(half)]))
        for half in (seeds[:middle], seeds[middle:])
    )
    named = {
        "all seeds": ledger(measured),
        f"seeds {seeds[0]} to {seeds[middle - 1]}": one,
        f"seeds {seeds[middle]} to {seeds[-1]}": two,
    }
    said = [
        _of_halves(first.verdict, second.verdict) for first, second in zip(one, two, strict=True)
    ]
    berts = ({measured.berts[seed] for seed in half} for half in (seeds[:middle], seeds[middle:]))
    shared = counted(len(set.intersection(*berts)), "BERT")
    table = verdicts(named).drop(columns="claim")
    return Prose(table.assign(**{f"the halves ({shared} in both)": said}), is_list=True)


def _of_halves(one: str, two: str) -> str:
    """What they say to each other where both decide."""
    if {one, two} & {OPEN, UNTESTED}:
        return "not comparable"
    return "agree" if one == two else "contradict each other"


@functools.cache
def _of_paper(claim: Claim) -> Finding:
    """What the claim's test makes of the paper's own tables."""
    return claim.of(of_paper())


def entry(claim: Claim, ours: Finding) -> Entry:
    """The line of a claim, of which `ours` was found."""
    theirs = _of_paper(claim)
    numbers = f"{theirs.statistic} ({theirs.n}): by this rule {theirs.verdict}"
    said = [claim.stated, numbers if theirs.n else ""]
    return Entry(claim.key, claim.says, "; ".join(filter(None, said)), claim.rule, *ours)


def table(entries: Iterable[Entry]) -> pd.DataFrame:
    """The ledger as a table, a line each, for a CSV or a page."""
    return pd.DataFrame(list(entries), columns=list(Entry._fields))


def text(entries: Iterable[Entry], width: int = 100) -> str:
    """The ledger for a terminal."""
    paragraphs = []
    for entry in _ordered(entries):
        lines = (
            f"{entry.key}  {entry.verdict.upper()}" + (f": {entry.reason}" if entry.reason else ""),
            f"  {entry.claim}",
            *filter(None, [f"  {entry.says}" if entry.says else ""]),
            f"  Paper: {entry.paper}",
            f"  Here: {_here(entry)}",
            f"  Rule: {entry.rule}",
        )
        filled = (textwrap.fill(line, width, subsequent_indent="      ") for line in lines)
        paragraphs.append("\n".join(filled))
    return "\n\n".join(paragraphs)
