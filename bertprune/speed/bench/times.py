"""Times of inference as the benchmark's rows have them, by sparsity. Needs no torch."""

from __future__ import annotations

import pandas as pd

DENSE = "dense"
SPARSE = "sparse (CSR)"
TIME = "forward pass"
SPEED_UP = "dense time by sparse time"
BY_UNPRUNED = "time by that of the unpruned model"

SIZES = {"inference-L2": "2 layers × 128", "inference-L4": "4 layers × 256"}
"""The cases that time inference, and the size of the BERT that each has."""

_AT = " at sparsity "


def quantity_at(quantity: str, sparsity: float) -> str:
    """What the rows call `quantity`, measured at `sparsity`."""
    return f"{quantity}{_AT}{sparsity:g}"


def by_sparsity(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """What published `rows` have of `quantity` by size of the BERT, device, side and sparsity:
    value, low and high."""
    found = rows[rows.case.isin(SIZES) & rows.quantity.str.startswith(quantity + _AT)]
    sparsities = found.quantity.str.removeprefix(quantity + _AT).astype(float)
    columns = ["machine", "case", "size", "device", "side", "sparsity", "value", "low", "high"]
    named = found.assign(size=found.case.map(SIZES), sparsity=sparsities)
    return named[[*columns, "repeats", "threads"]].reset_index(drop=True)
