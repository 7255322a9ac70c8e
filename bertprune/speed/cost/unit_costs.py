"""What a step or a token costs: measured on this machine, published, or assumed for a GPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bertprune.base import paths
from bertprune.base.errors import UserError, check_known
from bertprune.base.files import replacing
from bertprune.model.shape import Shape
from bertprune.speed.cost.amounts_of_work import (
    FINETUNING_EVALUATION,
    FINETUNING_STEP,
    MASK_UPDATE,
    MASKED_SHARE,
    NOTEBOOK,
    PAIRING,
    PRETRAINING_EVALUATION,
    PRETRAINING_STEP,
    TASK_TOKENISING,
    TEXT,
    Amount,
)

MEASURED = "measured"
ASSUMED = "assumed, not measured"

BOOK = "book"
"""The machine on which the book was made, whose unit costs are published."""


@dataclass(frozen=True)
class Line:
    """Seconds of a unit of work: a fixed part, and one for each token (or byte of text)."""

    fixed_s: float = 0.0
    per_token_s: float = 0.0

    def seconds(self, tokens: float = 0.0) -> float:
        return self.fixed_s + self.per_token_s * tokens


Lines = Mapping[str, Line]
"""By unit (see `amounts_of_work`)."""

Table = dict[tuple[Shape, int], dict[str, Line]]
"""By shape and threads."""


def through(first: tuple[float, float], second: tuple[float, float]) -> Line:
    """The line through two measurements (tokens, seconds), the second with more tokens.

    Neither part is negative: where noise says so, the second measurement counts alone.
    """
    (few, quick), (many, slow) = first, second
    slope = (slow - quick) / (many - few) if many > few else 0.0
    fixed = slow - slope * many
    if slope <= 0 or fixed < 0:
        return Line(0.0, slow / many)
    return Line(fixed, slope)


def seconds(amounts: Iterable[Amount], lines: Lines) -> float:
    """Seconds of all `amounts`."""
    return sum(
        amount.times * lines[amount.unit].seconds(amount.tokens)
        for amount in amounts
        if amount.times
    )


@dataclass(frozen=True)
class Machine:
    """A machine with a table of measured unit costs, by shape and threads."""

    words: str
    """What it is, in words."""
    cores: int
    table: Table = field(repr=False)
    is_gpu: bool = False
    how: str = MEASURED
    """MEASURED or ASSUMED."""

    def lines(self, size: Shape, threads: int) -> Lines:
        """Unit costs of a model of `size` in a run with `threads`: those of the closest
        shape that was measured, scaled where it is another one."""
        closest, at = min(
            self.table, key=lambda known: (_distance(known[0], size), abs(known[1] - threads))
        )
        return scaled(self.table[closest, at], closest, size)


def _distance(one: Shape, other: Shape) -> float:
    """How unlike two shapes are, by the logarithm of their work."""
    ratios = (_work_ratio(one, other), one.prunable / other.prunable)
    return sum(abs(math.log(ratio)) for ratio in ratios)


def _work_ratio(size: Shape, other: Shape) -> float:
    return size.flop_per_token(64, MASKED_SHARE) / other.flop_per_token(64, MASKED_SHARE)


_OF_TOKENS = (PRETRAINING_STEP, PRETRAINING_EVALUATION, FINETUNING_STEP, FINETUNING_EVALUATION)
_OF_TEXT = (TASK_TOKENISING, TEXT, PAIRING, NOTEBOOK)


def scaled(lines: Lines, measured: Shape, size: Shape) -> Lines:
    """Unit costs of `measured` for another shape: the tokens' part by FLOP, the fixed part of a
    step, where the optimizer works, and all else by the number of weights."""
    if measured == size:
        return lines
    flop, weights = _work_ratio(size, measured), size.parameters / measured.parameters
    return {
        unit: line
        if unit in _OF_TEXT
        else Line(
            line.fixed_s * weights, line.per_token_s * (flop if unit in _OF_TOKENS else weights)
        )
        for unit, line in lines.items()
    }


# Dense rates of matrix products in half precision without sparsity, TFLOP/s, as NVIDIA publishes
# them (bf16; V100 and T4: fp16; RTX 4090: with accumulation in fp32).
GPUS = {
    "a100": ("NVIDIA A100", 312.0),
    "h100": ("NVIDIA H100 SXM", 989.0),
    "h200": ("NVIDIA H200 SXM", 989.0),
    "v100": ("NVIDIA V100", 125.0),
    "rtx4090": ("NVIDIA GeForce RTX 4090", 165.0),
    "t4": ("NVIDIA T4", 65.0),
}
ASSUMED_SHARE = 0.35
"""Share of that rate that the matrix products of BERT are assumed to reach."""
ASSUMED_LAUNCH_S = 0.005
"""What a training step is assumed to take beside them on any card, for starting kernels and the
optimizer: it is why small models reach a smaller share. A batch without gradients takes a third."""
ASSUMED_MASK_S_PER_WEIGHT = 2e-10
_LENGTH_TOKENS = 128


@dataclass(frozen=True)
class Gpu(Machine):
    """A GPU on which nothing was measured: its steps follow from its published rate; the work of
    its host is that of the machine whose table it has."""

    tflop_per_s: float = 0.0

    def lines(self, size: Shape, threads: int) -> Lines:
        rate = ASSUMED_SHARE * self.tflop_per_s * 1e12
        pretraining = size.flop_per_token(_LENGTH_TOKENS, MASKED_SHARE) / rate
        finetuning = size.flop_per_token(_LENGTH_TOKENS) / rate
        launch = ASSUMED_LAUNCH_S
        # The backward pass takes two forward ones.
        return {
            **super().lines(size, threads),
            PRETRAINING_STEP: Line(launch, 3 * pretraining),
            PRETRAINING_EVALUATION: Line(launch / 3, pretraining),
            FINETUNING_STEP: Line(launch, 3 * finetuning),
            FINETUNING_EVALUATION: Line(launch / 3, finetuning),
            MASK_UPDATE: Line(launch + ASSUMED_MASK_S_PER_WEIGHT * size.prunable),
        }


def named(name: str) -> Machine:
    """The machine `name`: the book's, or a GPU. Raises UserError naming the closest one."""
    if name == BOOK:
        return published()
    check_known("unknown device", [name], [BOOK, *GPUS])
    words, rate = GPUS[name]
    return Gpu(words, 1, published().table, is_gpu=True, how=ASSUMED, tflop_per_s=rate)


def published() -> Machine:
    """The machine on which the book was made, from `book/published/costs.csv`."""
    file = paths.published("costs", ".csv")
    if not file.exists():
        raise UserError(
            f"there is no {file}: `bertprune cost STUDY --publish` writes the costs of this machine"
        )
    found = pd.read_csv(file)
    first = found.iloc[0]
    return Machine(
        words=f"the book's machine, {first.cores} cores of {first.machine}",
        cores=int(first.cores),
        table=_table(found),
    )


def _table(found: pd.DataFrame) -> Table:
    table: Table = {}
    for one in found.to_dict("records"):
        size = Shape(one["layers"], one["hidden_size"], 1, one["vocabulary_size"])
        line = Line(one["fixed_s"], one["per_token_s"])
        table.setdefault((size, one["threads"]), {})[one["unit"]] = line
    return table


def publish(machine: Machine) -> Path:
    """Write the unit costs of `machine` to `book/published/costs.csv`, over those of the same
    shapes and threads there; those of another machine go."""
    file = paths.published("costs", ".csv")
    table = dict(machine.table)
    if file.exists():
        before = pd.read_csv(file)
        if (before.machine == machine.words).all() and (before.cores == machine.cores).all():
            table = _table(before) | table
    with replacing(file) as unfinished:
        _frame(machine, table).to_csv(unfinished, index=False)
    return file


def _frame(machine: Machine, table: Table) -> pd.DataFrame:
    """The unit costs of a machine as they are published, a line each."""
    by_shape = sorted(table.items(), key=lambda one: (one[0][0].parameters, one[0][1]))
    return pd.DataFrame(
        {
            "machine": machine.words,
            "cores": machine.cores,
            "layers": size.layers,
            "hidden_size": size.hidden_size,
            "vocabulary_size": size.vocabulary_size,
            "threads": threads,
            "unit": unit,
            "fixed_s": f"{line.fixed_s:.4g}",
            "per_token_s": f"{line.per_token_s:.4g}",
        }
        for (size, threads), lines in by_shape
        for unit, line in sorted(lines.items())
    )
