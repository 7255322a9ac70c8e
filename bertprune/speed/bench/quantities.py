"""What the benchmark's rows are called, and what is asked of them. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bertprune.base.words import NOTHING, SPACE
from bertprune.model.precision import BF16, FLOAT32

OURS = "bertprune"
"""The side that is ours."""

FASTER = "times as long as ours"
"""The quantity of a ratio row: the rival's time by ours in the same precision."""

AGAINST_BF16 = "times as long as ours in bf16"
"""That of a side in float32, ours too."""

MEMORY = "peak memory"
LESS_MEMORY = "our peak memory by the rival's"
SHARE = "share of the matrix rate"
COST_OF_PRUNING = "cost of pruning"
OFF = "weights pruned too many or too few, 50 %"
OFF_WITH_TIES = f"{OFF} of a model in bf16"
OFF_AT_ZERO = "weights pruned too many or too few, 0 %"

TORCH_LINEAR = "torch.nn.functional.linear"
ONEDNN = "oneDNN, called directly"
TRAINER = "Trainer + torch.nn.utils.prune"
PADDED = "Trainer, padded to 128"
DYNAMIC = "Trainer, dynamic padding"
GROUPED = "Trainer, dynamic padding, grouped by length"
TORCH_PRUNE = "torch.nn.utils.prune"
NNCF = "NNCF"
ONE_AFTER_ANOTHER = "bertprune, one after another"

ON_GPU = "-gpu"
"""How the names of cases end that need a GPU."""

NOT_MEASURED = "not measured"
WITHIN_THE_NOISE = "within the noise"


@dataclass(frozen=True)
class Bar:
    """A value that this project wants a row of the benchmark to reach: `asked` at least, or at
    most."""

    about: str
    case: str
    side: str
    quantity: str
    asked: float
    precision: str = FLOAT32
    """That of the row; on a GPU all are in bf16."""

    @property
    def is_at_most(self) -> bool:
        return self.quantity in (LESS_MEMORY, COST_OF_PRUNING)

    @property
    def needs_gpu(self) -> bool:
        return self.case.endswith(ON_GPU)

    def shown(self, value: float) -> str:
        """`1.30`, or as a share, `3.0 %`."""
        is_share = self.quantity in (SHARE, COST_OF_PRUNING)
        return f"{100 * value:.1f}{SPACE}%" if is_share else f"{value:.2f}"

    def verdict(self, lowest: float, highest: float) -> str:
        """Whether all repeats, from the `lowest` to the `highest`, meet the bar, or none of them,
        or whether the bar is among them: "within the noise"."""
        met = {self._is_met_by(lowest), self._is_met_by(highest)}
        if len(met) > 1:
            return WITHIN_THE_NOISE
        return "yes" if met == {True} else "no"

    def _is_met_by(self, value: float) -> bool:
        return value <= self.asked if self.is_at_most else value >= self.asked


BARS = (
    Bar("pre-training step with pruning, L2/H128", "pretrain-L2", TRAINER, FASTER, 4.5),
    Bar("pre-training step with pruning, L4/H256", "pretrain-L4", TRAINER, FASTER, 2.5),
    Bar("pre-training step in bf16, L4/H256", "pretrain-L4", TRAINER, FASTER, 3, BF16),
    Bar("pre-training step in bf16, L4/H256", "pretrain-L4", TRAINER, AGAINST_BF16, 8),
    Bar("pre-training step in bf16, L6/H384", "pretrain-L6", TRAINER, FASTER, 3, BF16),
    Bar("pre-training step in bf16, L6/H384", "pretrain-L6", TRAINER, AGAINST_BF16, 8),
    Bar("pre-training step with pruning, BERT-Base", "pretrain-base", TRAINER, FASTER, 1.3),
    Bar("what pruning adds to a step, L2/H128", "pruning", OURS, COST_OF_PRUNING, 0.03),
    Bar("what pruning adds to a step, L4/H256", "pretrain-L4", OURS, COST_OF_PRUNING, 0.03),
    Bar("fine-tuning, L2/H128", "finetune-L2", PADDED, FASTER, 8),
    Bar("fine-tuning, L2/H128", "finetune-L2", DYNAMIC, FASTER, 2),
    Bar("fine-tuning, L2/H128", "finetune-L2", GROUPED, FASTER, 1.25),
    Bar("fine-tuning, L4/H256", "finetune-L4", PADDED, FASTER, 8),
    Bar("fine-tuning, L4/H256", "finetune-L4", DYNAMIC, FASTER, 2),
    Bar("fine-tuning, L4/H256", "finetune-L4", GROUPED, FASTER, 1.25),
    Bar("share of the matrix rate, pre-training L4/H256", "pretrain-L4", OURS, SHARE, 0.6),
    Bar("share of the matrix rate, pre-training L6/H384", "pretrain-L6", OURS, SHARE, 0.6),
    Bar(
        "share of the bf16 matrix rate, pre-training L6/H384", "pretrain-L6", OURS, SHARE, 0.5, BF16
    ),
    Bar("peak memory by Trainer's, pre-training L2/H128", "pretrain-L2", OURS, LESS_MEMORY, 1),
    Bar("peak memory by Trainer's, pre-training L4/H256", "pretrain-L4", OURS, LESS_MEMORY, 1),
    Bar("peak memory by Trainer's, BERT-Base", "pretrain-base", OURS, LESS_MEMORY, 1),
    Bar("peak memory by Trainer's, fine-tuning L2/H128", "finetune-L2", OURS, LESS_MEMORY, 1),
    Bar("peak memory by Trainer's, fine-tuning L4/H256", "finetune-L4", OURS, LESS_MEMORY, 1),
    Bar("new masks for BERT-Base at 50 %", "masks", TORCH_PRUNE, FASTER, 5),
    Bar("share of the bf16 matrix rate, BERT-Base", "pretrain-base-gpu", OURS, SHARE, 0.5, BF16),
    Bar("16 variants of L4/H256 at once", "stacked-gpu", ONE_AFTER_ANOTHER, FASTER, 6, BF16),
)
"""All bars, in one place."""


def bars_beside(rows: pd.DataFrame, gpu: bool) -> pd.DataFrame:
    """The bars beside what `rows` have for them: median, lowest to highest, and the verdict.

    A bar without a row was not measured; `gpu` says whether the machine had one.
    """
    lines = []
    at = ["case", "side", "quantity", "precision"]
    measured: dict[Any, Any] = {row.Index: row for row in rows.set_index(at).itertuples()}
    for bar in BARS:
        precision = BF16 if gpu else bar.precision
        row = measured.get((bar.case, bar.side, bar.quantity, precision))
        missing = f"{NOT_MEASURED}: no GPU" if bar.needs_gpu and not gpu else NOT_MEASURED
        lines.append(
            {
                "what": bar.about,
                "asked": f"{'≤' if bar.is_at_most else '≥'} {bar.shown(bar.asked)}",
                "measured": missing if row is None else with_spread(row, bar.shown),
                "met": "" if row is None else bar.verdict(row.low, row.high),
                "against": "" if bar.side == OURS else f"{bar.side}, {bar.precision}",
            }
        )
    return pd.DataFrame(lines)


def with_spread(row: Any, shown: Callable[[float], str]) -> str:
    """`5.1 (4.9 to 5.3)`; a median of one has no spread."""
    value = shown(row.value)
    return value if row.repeats == 1 else f"{value} ({spread(row, shown)})"


def spread(row: Any, shown: Callable[[float], str]) -> str:
    """`4.9 to 5.3`; a dash for a median of one."""
    return NOTHING if row.repeats == 1 else f"{shown(row.low)} to {shown(row.high)}"


def readable(value: float) -> str:
    """Three digits, with k, M, G or T where the number is large: `12.3 G`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    for power, letter in ((12, " T"), (9, " G"), (6, " M"), (3, " k")):
        if abs(value) >= 10**power:
            return f"{value / 10**power:.3g}{letter}"
    return f"{value:.3g}"


def with_unit(value: float, unit: str) -> str:
    """`12.3 GFLOP/s`, `5.1 ×`, or `0.6` for what has no unit."""
    shown = readable(value)
    return f"{shown}{unit}" if shown[-1].isalpha() else f"{shown} {unit}".rstrip()


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
