"""The published rates of verdicts where the truth is known: written, read, and as pages show them.

They are two files of `book/published`: `power.csv` (see `rates.measure`) and `power.json`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import xxhash

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import check_readable, read_json, replacing, write_json
from bertprune.base.shown import Prose, Sentence
from bertprune.base.words import NOTHING, percent
from bertprune.evidence.claims import CLAIMS
from bertprune.evidence.power import rates
from bertprune.evidence.power.worlds import TRUTHS
from bertprune.experiments import studies
from bertprune.protocol.record import utc_now
from bertprune.protocol.rows import where

_NAME = "power"


def publish(table: pd.DataFrame) -> Path:
    """Write the table of `rates.measure`, and what it was made of, and when; gives its file."""
    file = paths.published(_NAME, ".csv")
    with replacing(file) as unfinished:
        table.to_csv(unfinished, index=False, float_format="%.6g")
    facts = {
        "rules": _rules(),
        "studies": {name: rates.design_of(name).says for name in table.study.unique()},
        "replicates": int(table.replicates.min()),
        "finished": utc_now(),
    }
    write_json(facts, paths.published(_NAME, ".json"))
    return file


def read() -> pd.DataFrame:
    """The published table. Raises UserError if it is not there, or damaged."""
    file = paths.published(_NAME, ".csv")
    check_readable(file)
    try:
        return pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file} cannot be read ({error}): take it from the repository again, or make it with "
            "`bertprune power --publish`"
        ) from error


def _rules() -> str:
    """The texts of all rules, which have their margins."""
    return xxhash.xxh64_hexdigest("\n".join(claim.rule for claim in CLAIMS).encode())


def provenance() -> Sentence:
    """Of what studies, with how many replicates, by what rules the published rates were made, and
    when; nothing where there are none."""
    file = paths.published(_NAME, ".json")
    if not file.exists():
        return Sentence("")
    facts = read_json(file)
    rules = "the present rules" if facts["rules"] == _rules() else "rules of an earlier edition"
    sizes = ". ".join(f"{_title(name)}: {says}" for name, says in facts["studies"].items())
    least, error = facts["replicates"], _error(facts["replicates"])
    return Sentence(
        f"{sizes}. By {rules}, finished {facts['finished'][:10]}: {least:,} replicates of each "
        f"truth, drawn from fixed seeds, so that a share of 5 % has a standard error of "
        f"{100 * error:.1f} points."
    )


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `rates.measure` for people, a line for each question: its margin; how often the
    right verdict is given with no effect and with twice the margin; how often a wrong "holds" and
    a wrong "refuted" are, at most; and the smallest effect that four of five studies decide on."""
    lines = []
    for (study, claim, part), of in table.groupby(["study", "claim", "part"], sort=False):
        lines_of = dict(zip(of.truth, of.to_dict("records"), strict=True))
        none, margin, twice = (lines_of[truth] for truth in TRUTHS.values())
        told = lines_of.get(rates.TOLD)
        lines.append(
            {
                "study": study,
                "claim": f"{claim}, {part}",
                "margin": _effect(margin),
                "right with no effect": _right(none),
                "right with twice the margin": _right(twice),
                "wrong “holds”": percent(of["wrong holds"].max()),
                "wrong “refuted”": percent(of["wrong refuted"].max()),
                "effect that is decided in 80 %": _effect(told) if told else NOTHING,
            }
        )
    return pd.DataFrame(lines)


def _effect(line: Mapping[Hashable, Any]) -> str:
    return f"{line['effect']:.3g} {line['unit']}"


def _right(line: Mapping[Hashable, Any]) -> str:
    return f"{percent(line[line['right']])} {line['right']}"


def shown(study: str) -> Prose | Sentence:
    """What the rules can tell in a study of this name; a sentence where no rates are published."""
    if not paths.published(_NAME, ".csv").exists():
        return Sentence("No rates are published yet: `bertprune power --publish` makes them.")
    table = where(readable(read()), study=study).drop(columns="study")
    return Prose(table.set_index("claim").rename_axis(None))


_MOST_WRONG = 0.05
"""How often a verdict may be wrong, in each direction."""


def too_often_wrong() -> Sentence:
    """By study, how large it is simulated, and which rules gave wrong verdicts more often than they
    may, by more than two standard errors; nothing where no rates are published."""
    if not paths.published(_NAME, ".csv").exists():
        return Sentence("")
    table, said = read(), []
    sizes = read_json(paths.published(_NAME, ".json"))["studies"]
    for study, of in table.groupby("study", sort=False):
        rate = of[["wrong holds", "wrong refuted"]].max(axis=1).fillna(0)
        error = _error(of.replicates)
        wrong = rate[rate > _MOST_WRONG + 2 * error]
        worst = wrong.groupby(of.claim + ", " + of["part"], sort=False).max()
        named = (f"{question} ({percent(at)})" for question, at in worst.items())
        size, *_ = sizes[study].split(",")
        said.append(f"{_title(str(study))}, simulated with {size}: {'; '.join(named) or 'none'}")
    error = percent(round(2 * _error(table.replicates.min()), 3))
    return Sentence(
        f"Rules that are wrong in more than {percent(_MOST_WRONG)} of simulated studies, by more "
        f"than the two standard errors of a simulation (up to {error}). {'. '.join(said)}."
    )


def _title(study: str) -> str:
    """What pages call it."""
    return "The paper" if study == "paper" else studies.load(study).title


def _error(replicates: Any) -> Any:
    """The standard error of a share of _MOST_WRONG in so many replicates."""
    return (_MOST_WRONG * (1 - _MOST_WRONG) / replicates) ** 0.5
