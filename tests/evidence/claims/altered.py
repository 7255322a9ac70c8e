"""The paper's rows, altered or as if of several seeds, and what a claim makes of them."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from bertprune.evidence import paper
from bertprune.evidence.claims import CLAIMS, ledger
from bertprune.evidence.claims.claim import Finding
from bertprune.evidence.claims.ledger import Entry
from bertprune.evidence.claims.measured import Measured
from bertprune.protocol import rows
from bertprune.protocol.rows import Rows

MANY = paper.facts_of_tasks().assign(**{"dev examples": 10**9})
"""The paper's tasks with so many dev examples that their draw changes nothing."""


def entries(found: Rows, facts: pd.DataFrame | None = None) -> dict[str, Entry]:
    known = paper.facts_of_tasks() if facts is None else facts
    return {entry.key: entry for entry in ledger.ledger(Measured.of(found, known))}


@functools.cache
def papers() -> dict[str, Entry]:
    """Those of the paper's own rows."""
    return entries(paper.rows())


def entry(key: str, found: Rows, facts: pd.DataFrame | None = MANY) -> Finding:
    """What one claim alone finds, by its own test."""
    claim = next(claim for claim in CLAIMS if claim.key == key)
    return claim.test(found, facts)


def is_accuracy(found: Rows, arm: str) -> "pd.Series[bool]":
    return (found.arm == arm) & (found.split == "dev") & (found.metric == "accuracy")


def with_change(arm: str, change: float, where: Callable[[Rows], Any] = lambda found: True) -> Rows:
    """The paper's rows with another accuracy of one arm."""
    found = paper.rows()
    found.loc[is_accuracy(found, arm) & where(found), "value"] += change
    return found


def several(seeds: int, found: Rows | None = None, berts: int = 1, noise: float = 0.001) -> Rows:
    """The paper's rows, or those `found`, as if of several seeds: values of each with a little
    noise, dealt out to BERTs. Of one seed they are as they are."""
    base = paper.rows() if found is None else found
    if seeds == 1:
        return base
    generator = np.random.default_rng(0)
    parts = [
        base[base.seed == 0].assign(seed=seed, bert=f"bert{seed % berts}") for seed in range(seeds)
    ]
    for part in parts:
        for what in ("accuracy", "loss"):
            of_dev = (part.split == "dev") & (part.metric == what)
            part.loc[of_dev, "value"] += generator.normal(0, noise, int(of_dev.sum()))
    return pd.concat([rows.join([]), *parts], ignore_index=True)


def without(found: Rows, arm: str) -> Rows:
    """Those less the accuracies of `arm`."""
    return found[(found.arm != arm) | (found.metric != "accuracy")]
