"""Timing: sides in turn, ratios with their spread, the rates of matrix products, peak memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor

from bertprune.base import progress
from bertprune.base.machine import bf16_instructions, processor_in_full
from bertprune.model.precision import BF16, FLOAT32
from bertprune.model.products import one_dnn_product
from bertprune.speed.bench.quantities import (
    AGAINST_BF16,
    FASTER,
    LESS_MEMORY,
    MEMORY,
    ONEDNN,
    OURS,
    TORCH_LINEAR,
)
from bertprune.speed.stopwatch import quiet, seconds_of
from bertprune.training import processes

# Enough for some hundredths of a second, and a GPU is faster.
_MATRIX_WORK_FLOP = {"cpu": 1e10, "cuda": 2e13}
_DTYPES = {FLOAT32: torch.float32, BF16: torch.bfloat16}
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Row:
    """A line of the benchmark's table: a median of `repeats`, with the lowest and highest."""

    case: str
    side: str
    quantity: str
    unit: str
    value: float
    low: float
    high: float
    repeats: int
    threads: int
    device: str
    processor: str
    precision: str


MATRIX_SIZES = (
    *((size, size, size) for size in (1024, 2048, 4096)),
    # Of a batch of 32 × 128 in a layer of 384: smaller than the squares, and faster on some.
    *((4096, 384, 384), (4096, 384, 1536)),
)


@dataclass(frozen=True)
class Setting:
    """What all cases of one run of the benchmark have in common."""

    threads: int = 1
    repeats: int = 5
    task_data: str = ""
    """Folder with SST-2 in GLUE's layout; empty: phrases are made up."""
    matrix_sizes: tuple[tuple[int, int, int], ...] = MATRIX_SIZES
    """Of products of (rows, in) and (out, in) transposed."""
    precision: str = FLOAT32
    """That of both sides."""
    case: str = field(default="", compare=False)
    is_on_cpu: bool = False
    """Measure on the CPU, whatever else there is."""

    @property
    def device(self) -> Any:
        has_gpu = torch.cuda.is_available() and not self.is_on_cpu
        return torch.device("cuda" if has_gpu else "cpu")

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name() if self.device.type == "cuda" else "CPU"

    def in_each_precision(self) -> list[Setting]:
        """This one, or in float32 and in bf16 on a processor that multiplies bf16 itself."""
        if self.device.type != "cpu" or not bf16_instructions():
            return [self]
        return [replace(self, precision=precision) for precision in (FLOAT32, BF16)]

    @property
    def accelerator(self) -> Accelerator:
        return processes.accelerator(self.precision)

    def use_threads(self) -> None:
        """Give torch, and what else a side may use, as many threads as were asked for."""
        torch.set_num_threads(self.threads)
        os.environ |= {"RAYON_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "true"}

    def row(self, side: str, quantity: str, unit: str, values: Sequence[float]) -> Row:
        """The row of `values`, one a repeat."""
        return Row(
            case=self.case,
            side=side,
            quantity=quantity,
            unit=unit,
            value=median(values),
            low=min(values),
            high=max(values),
            repeats=len(values),
            threads=self.threads,
            device=self.device_name,
            processor=processor_in_full(),
            precision=self.precision,
        )

    def in_turn(self, sides: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
        """Seconds of each side, `repeats` times: A B A B ..., with a bar."""
        return in_turn([self], lambda _: sides)[self]

    def compared(
        self,
        sides: Mapping[str, Callable[[], float]],
        time: str = "",
        a_second: Mapping[str, float] | None = None,
    ) -> Iterator[Row]:
        """The `rows` of sides that are timed in turn, and the ratios."""
        seconds = self.in_turn(sides)
        yield from self.rows(seconds, time, a_second)
        yield from self.ratios(seconds)

    def rows(
        self,
        seconds: Mapping[str, Sequence[float]],
        time: str = "",
        a_second: Mapping[str, float] | None = None,
    ) -> Iterator[Row]:
        """Of each side its seconds, if these have a name, `time`; and by unit how much it does
        `a_second`, if it does so much in that time."""
        for side, times in seconds.items():
            if time:
                yield self.row(side, time, "s", times)
            for unit, amount in (a_second or {}).items():
                quantity = "model arithmetic" if unit == "FLOP/s" else "speed"
                yield self.row(side, quantity, unit, [amount / one for one in times])

    def ratios(self, seconds: Mapping[str, Sequence[float]]) -> list[Row]:
        """How many times as long as ours each rival takes, repeat by repeat."""
        ours = seconds[OURS]
        return [
            self.row(side, FASTER, "×", pairwise(times, ours))
            for side, times in seconds.items()
            if side != OURS
        ]


def in_turn(
    settings: Sequence[Setting], sides: Callable[[Setting], Mapping[str, Callable[[], float]]]
) -> dict[Setting, dict[str, list[float]]]:
    """Seconds of the `sides` of each of the settings, which differ in precision alone, all in turn
    as often as these say, with a bar."""
    works = {one: sides(one) for one in settings}
    seconds: dict[Setting, dict[str, list[float]]]
    seconds = {one: {side: [] for side in of_one} for one, of_one in works.items()}
    case, repeats = settings[0].case, settings[0].repeats
    with progress.bar(case, repeats * sum(map(len, works.values())), "timing") as shown:
        for _ in range(repeats):
            for one, of_one in works.items():
                for side, measured in of_one.items():
                    shown.set_postfix_str(f"{side}, {one.precision}")
                    with quiet():
                        seconds[one][side].append(measured())
                    shown.update()
    return seconds


def against_bf16(seconds: Mapping[Setting, Mapping[str, Sequence[float]]]) -> Iterator[Row]:
    """How many times as long as ours in bf16 the sides take in float32, repeat by repeat; nothing
    where only one precision was measured."""
    of_ours = {one.precision: of_one[OURS] for one, of_one in seconds.items()}
    if of_ours.keys() < {FLOAT32, BF16}:
        return
    for one, of_one in seconds.items():
        for side, times in of_one.items():
            if one.precision == FLOAT32:
                yield one.row(side, AGAINST_BF16, "×", pairwise(times, of_ours[BF16]))


def as_table(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as a table, whose columns are there without any row too."""
    return pd.DataFrame(map(asdict, rows), columns=[column.name for column in fields(Row)])


def pairwise(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """The ratio of each repeat: both of its sides were measured one right after the other, so what
    slows the machine for a while leaves it as it is.

    Raises ValueError unless both have as many repeats.
    """
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


Product = tuple[str, tuple[int, int, int]]
"""The library of a matrix product, and its size."""


@cache
def matrix_rates(setting: Setting) -> dict[Product, list[float]]:
    """FLOP/s of each product in the setting's precision, each time measured."""
    times = range(max(5, setting.repeats))
    products = [(by, size) for by in _products(setting) for size in setting.matrix_sizes]
    return {one: [matrix_rate(setting, one) for _ in times] for one in products}


def fastest_product(setting: Setting) -> Product:
    """The product that is fastest by its median: no other within reach is faster."""
    rates = matrix_rates(setting)
    return max(rates, key=lambda product: median(rates[product]))


@torch.inference_mode()
def matrix_rate(setting: Setting, product: Product) -> float:
    """FLOP/s of a product in the setting's precision, measured once."""
    by, (rows, inputs, outputs) = product
    multiply, kind = _products(setting)[by], _DTYPES[setting.precision]
    sizes = ((rows, inputs), (outputs, inputs), (outputs,))
    given = [torch.randn(size, device=setting.device, dtype=kind) for size in sizes]
    flop = 2 * rows * inputs * outputs
    times = max(1, round(_MATRIX_WORK_FLOP[setting.device.type] / flop))

    def products() -> None:
        for _ in range(times):
            multiply(*given)

    multiply(*given)
    return flop * times / seconds_of(products)


def _products(setting: Setting) -> dict[str, Callable[..., Tensor]]:
    """The matrix products within reach, by library. For bf16 torch's own is that of oneDNN."""
    own = {TORCH_LINEAR: torch.nn.functional.linear}
    has_another = setting.device.type == "cpu" and setting.precision == FLOAT32
    if not has_another or not torch.backends.mkldnn.is_available():
        return own
    return own | {ONEDNN: one_dnn_product}


def peak_memory_bytes(setting: Setting, work: Callable[..., object], *given: object) -> float:
    """The most memory that `work(*given)` needs in a fresh process: the process's own, or where
    there is a GPU what is allocated there. `work` is a function of a module."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, fresh, initializer=setting.use_threads) as process:
        return process.submit(_peak_memory_bytes, work, *given).result()


def memory_rows(
    setting: Setting, rival: str, step: Callable[..., object], *given: object
) -> list[Row]:
    """Peak memory of us and of `rival`; `step(side, setting, *given)` is what a side does."""
    peaks = {
        side: peak_memory_bytes(setting, step, side, setting, *given) / 1e9
        for side in (OURS, rival)
    }
    return [
        *(setting.row(side, MEMORY, "GB", [peak]) for side, peak in peaks.items()),
        setting.row(OURS, LESS_MEMORY, "×", [peaks[OURS] / peaks[rival]]),
    ]


def _peak_memory_bytes(work: Callable[..., object], *given: object) -> float:
    with quiet():
        work(*given)
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    if _STATUS.exists():
        # What getrusage says a child may have from the process that started it.
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return float(status["VmHWM"].removesuffix("kB")) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
