"""What was found where one thing, or all, was done as the authors' scripts did it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bertprune.base.shown import Prose
from bertprune.base.words import percent
from bertprune.evidence.claims import ledger
from bertprune.evidence.claims.ledger import Ledger
from bertprune.evidence.scores import recovery
from bertprune.experiments import studies
from bertprune.protocol.rows import Rows

CLAIMS = ("C2", "C3", "C4", "C7", "C9", "C11")
"""Those that a rate, a mask or a ramp may decide."""


def levelling(rows: Mapping[str, Rows]) -> Prose:
    """Whether the loss levels out: for each study, by its name, and sparsity, the dev loss (nats)
    that pre-training ends with, and by how much it came down in about the last 30 % of the steps.
    Means over seeds."""
    lines = {
        _title(name): {
            percent(float(str(sparsity))): f"{of.loss:.3f} ({-of.falling:+.3f})"
            for sparsity, of in recovery(found).iterrows()
        }
        for name, found in rows.items()
    }
    return Prose(pd.DataFrame.from_dict(lines, orient="index").rename_axis("study"))


def verdicts(ledgers: Mapping[str, Ledger]) -> Prose:
    """The verdicts of each study, by its name, a line each."""
    of_claims = {_title(name): entries.of(*CLAIMS) for name, entries in ledgers.items()}
    return Prose(ledger.verdicts(of_claims).drop(columns="claim").T.rename_axis("study"))


def numbers(ledgers: Mapping[str, Ledger]) -> Prose:
    """Our number for each of these claims in each study, by its name."""
    lines = [
        (f"{entry.key}. {entry.claim}", _title(name), entry.ours, entry.n)
        for claim in CLAIMS
        for name, entries in ledgers.items()
        for entry in entries.of(claim)
    ]
    table = pd.DataFrame(lines, columns=["claim", "study", "here", "over"])
    return Prose(table.set_index(["claim", "study"]))


def _title(name: str) -> str:
    return studies.load(name).title
