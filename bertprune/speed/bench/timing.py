"""Timing: sides in turn, ratios with their spread, the machine's matrix rate, peak memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator

from bertprune.base import progress
from bertprune.speed.bench.quantities import FASTER, LESS_MEMORY, MEMORY, OURS
from bertprune.speed.stopwatch import quiet, seconds_of
from bertprune.training import processes

# Enough for some hundredths of a second, and a GPU is faster.
_MATRIX_WORK_FLOP = {"cpu": 4e9, "cuda": 2e13}
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


@dataclass(frozen=True)
class Setting:
    """What all cases of one run of the benchmark have in common."""

    threads: int = 1
    repeats: int = 5
    task_data: str = ""
    """Folder with SST-2 in GLUE's layout; empty: phrases are made up."""
    matrix_sizes: tuple[int, ...] = (1024, 2048, 4096)
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

    @property
    def precision(self) -> str:
        """That of both sides: bf16 on a GPU, float32 elsewhere."""
        return "bf16" if self.device.type == "cuda" else "float32"

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
        )

    def in_turn(self, sides: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
        """Seconds of each side, `repeats` times: A B A B ..., with a bar."""
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        with progress.bar(self.case, self.repeats * len(sides), "timing") as shown:
            for _ in range(self.repeats):
                for side, measured in sides.items():
                    shown.set_postfix_str(side)
                    with quiet():
                        seconds[side].append(measured())
                    shown.update()
        return seconds

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


def as_table(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as a table, whose columns are there without any row too."""
    return pd.DataFrame(map(asdict, rows), columns=[column.name for column in fields(Row)])


def pairwise(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """The ratio of each repeat: both of its sides were measured one right after the other, so what
    slows the machine for a while leaves it as it is.

    Raises ValueError unless both have as many repeats.
    """
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


@cache
def matrix_rates(setting: Setting) -> dict[int, list[float]]:
    """FLOP/s of square matrix products by size, each time measured."""
    times = range(max(5, setting.repeats))
    return {size: [matrix_rate(setting, size) for _ in times] for size in setting.matrix_sizes}


def fastest_size(setting: Setting) -> int:
    """The size whose products are fastest by their median."""
    rates = matrix_rates(setting)
    return max(rates, key=lambda size: median(rates[size]))


def matrix_rate(setting: Setting, size: int) -> float:
    """FLOP/s of products of two square matrices in the setting's precision, measured once."""
    kind = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=setting.device, dtype=kind) for _ in range(2))
    work = _MATRIX_WORK_FLOP[setting.device.type]
    times = max(1, round(work / (2 * size**3)))

    def products() -> None:
        for _ in range(times):
            torch.mm(left, right)

    torch.mm(left, right)
    return 2 * size**3 * times / seconds_of(products)


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
