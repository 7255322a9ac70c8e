"""The paper's rows, altered or as if of several seeds, and what a claim makes of them."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from bertprune.evidence import paper
from bertprune.evidence.claims import CLAIMS, ledger
from bertprune.evidence.claims.ledger import Entry
from bertprune.protocol import rows
from bertprune.protocol.rows import Rows


def entries(found: Rows) -> dict[str, Entry]:
    return {entry.key: entry for entry in ledger.ledger(found)}


@functools.cache
def papers() -> dict[str, Entry]:
    """Those of the paper's own rows."""
    return entries(paper.rows())


def entry(key: str, found: Rows) -> Entry:
    """One claim alone, with its own test."""
    claim = next(claim for claim in CLAIMS if claim.key == key)
    return ledger.entry(claim, claim.test(found))


def is_accuracy(found: Rows, arm: str) -> "pd.Series[bool]":
    return (found.arm == arm) & (found.split == "dev") & (found.metric == "accuracy")


def with_change(arm: str, change: float, where: Callable[[Rows], Any] = lambda found: True) -> Rows:
    """The paper's rows with another accuracy of one arm."""
    found = paper.rows()
    found.loc[is_accuracy(found, arm) & where(found), "value"] += change
    return found


def several(seeds: int, found: Rows | None = None) -> Rows:
    """The paper's rows, or those `found`, as if of several seeds: accuracies of each with a little
    noise. Of one seed they are as they are."""
    base = paper.rows() if found is None else found
    if seeds == 1:
        return base
    generator = np.random.default_rng(0)
    parts = [base[base.seed == 0].assign(seed=seed) for seed in range(seeds)]
    for part in parts:
        accuracy = (part.split == "dev") & (part.metric == "accuracy")
        part.loc[accuracy, "value"] += generator.normal(0, 0.001, int(accuracy.sum()))
    return rows.join(parts)


def without(found: Rows, arm: str) -> Rows:
    """Those less the accuracies of `arm`."""
    return found[(found.arm != arm) | (found.metric != "accuracy")]
