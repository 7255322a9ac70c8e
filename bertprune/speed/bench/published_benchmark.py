"""The published benchmark: writing it, and what its page shows. Needs no torch."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import read_json, replacing, write_text
from bertprune.base.machine import processor_in_full, usable_cores
from bertprune.base.shown import Sentence
from bertprune.base.words import NOTHING, percent
from bertprune.speed.bench.quantities import (
    AGAINST_BF16,
    DENSE,
    FASTER,
    SPARSE,
    SPEED_UP,
    TIME,
    bars_beside,
    by_sparsity,
    with_spread,
)

NAME = "bench"
_TWO_DIGITS = "{:.2f}".format

_VERSIONED = ("torch", "transformers", "accelerate", "tokenizers", "numpy", "nncf")


@dataclass(frozen=True)
class Measured:
    """A benchmark with the facts of each machine that it was measured on, by its name."""

    rows: pd.DataFrame = field(repr=False)
    facts: dict[str, dict[str, Any]]

    def machines(self) -> pd.DataFrame:
        """What was measured on, when, and by what, a column for each machine."""
        return pd.DataFrame({name: _shown(of) for name, of in self.facts.items()})

    def _bars(self) -> dict[str, pd.DataFrame]:
        """`bars_beside` what was measured on each machine."""
        return {
            name: bars_beside(self.rows[self.rows.machine == name], bool(of["gpu"]))
            for name, of in self.facts.items()
        }

    def verdict(self) -> Sentence:
        """How many bars are met by all repeats wherever they were measured, and which are not met
        by any repeat of a machine."""
        by_machine = self._bars()
        met = pd.DataFrame({name: of.met for name, of in by_machine.items()})
        measured = met[(met != "").any(axis=1)]
        all_met = int(measured.isin(["yes", ""]).all(axis=1).sum())
        failed = [
            f"{' against '.join(filter(None, (one['what'], one['against'])))}: {one['measured']}, "
            f"{one['asked']} asked, on {name}"
            for name, of in by_machine.items()
            for one in of[of.met == "no"].to_dict("records")
        ]
        return Sentence(
            f"Of {len(measured)} bars that were measured, {all_met} are met by every repeat on "
            f"every machine. Met by no repeat of a machine: {'; '.join(failed) or 'none'}. The "
            "others are within the noise on some machine."
        )

    def bars(self) -> pd.DataFrame:
        """What was asked, beside what was measured on each machine and whether that meets it; a
        dash where it was not measured."""
        by_machine = self._bars()
        table = next(iter(by_machine.values()))[["what", "asked", "against"]]
        found = {
            name: (of.measured + ": " + of.met).where(of.met != "", NOTHING)
            for name, of in by_machine.items()
        }
        return table.assign(**found).set_index("what")

    def ratios(self) -> pd.DataFrame:
        """How many times as long as ours each side takes, by case: in the same precision, and as
        ours in bf16, each with the lowest and highest."""
        found = self.rows[self.rows.quantity.isin([FASTER, AGAINST_BF16])]
        shown = [with_spread(row, _TWO_DIGITS) for row in found.itertuples()]
        at = ["case", "machine", "side", "precision", "repeats"]
        rows = found.assign(shown=shown).set_index(at)
        of_each = {name: rows.shown[rows.quantity == name] for name in (FASTER, AGAINST_BF16)}
        table = pd.DataFrame(of_each).reindex(rows.index.unique()).fillna(NOTHING)
        return table.reset_index(at[1:])


def read() -> Measured:
    """The benchmark that comes with the book. Raises UserError if there is none."""
    file = paths.published(NAME, ".csv")
    if not file.exists():
        raise UserError(f"there is no {file}: measure it with `bertprune bench --publish`")
    rows = read_rows(file)
    # A row that was computed by its processor calls it "CPU".
    named = rows.assign(device=rows.device.mask(rows.device == "CPU", rows.processor))
    return Measured(named, read_json(file.with_suffix(".json")))


def inference_table() -> pd.DataFrame:
    """A forward pass by size of the BERT, device and sparsity, as the published benchmark has it:
    milliseconds, dense and sparse, and dense by sparse time with its lowest and highest. A device
    is named where there are several.

    Raises UserError if there is none.
    """
    rows = read().rows
    at = ["size", "device", "sparsity"]
    times = by_sparsity(rows, TIME).pivot(index=at, columns="side", values="value")
    if times.empty:
        raise UserError(
            "there is no table of inference: measure it with "
            "`bertprune bench inference-L2 inference-L4 --publish`"
        )
    found = {f"{side} (ms)": times[side].map("{:.3g}".format) for side in (DENSE, SPARSE)}
    ratios = by_sparsity(rows, SPEED_UP).set_index(at)
    shown = [with_spread(row, _TWO_DIGITS) for row in ratios.itertuples()]
    found["speed-up against dense"] = pd.Series(shown, ratios.index)
    table = pd.DataFrame(found).rename(index=percent, level="sparsity")
    return table if times.index.unique("device").size > 1 else table.droplevel("device")


def publish(rows: pd.DataFrame, facts: dict[str, Any]) -> Path:
    """Write the benchmark to `book/published`, with the `facts` of the machine beside it, which is
    called by its GPU, or its processor where it has none.

    What was published of other machines stays. Of this one, cases that were not measured now stay
    if threads and how these wait, phrases and versions are the same; else there is no comparing
    them, and they go.
    """
    file = paths.published(NAME, ".csv")
    machine = facts["gpu"] or facts["cpu"]
    rows = rows.assign(machine=machine)
    of_machines = {}
    if file.exists():
        before = read_rows(file)
        of_machines = read_json(file.with_suffix(".json"))
        is_here = before.machine == machine
        was = of_machines.get(machine, {})
        if all(was.get(name) == facts[name] for name in facts if name != "cases"):
            is_here &= before.case.isin(list(facts["cases"]))
            facts = facts | {"cases": was["cases"] | facts["cases"]}
        stay = before[~is_here]
        rows = pd.concat([stay, rows]) if len(stay) else rows
    write_rows(rows, file)
    of_machines[machine] = facts
    text = json.dumps(of_machines, indent=1, ensure_ascii=False)
    write_text(text + "\n", file.with_suffix(".json"))
    return file


def write_rows(rows: pd.DataFrame, file: Path) -> None:
    """Write rows with six digits, which is more than a timing has."""
    with replacing(file) as unfinished:
        rows.to_csv(unfinished, index=False, float_format="%.6g")


def read_rows(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, keep_default_na=False, dtype={"value": float})


def facts(cases: Sequence[str], *, threads: int, gpu: str, phrases: str) -> dict[str, Any]:
    """When, on what machine and by what code `cases` were measured; `gpu` is its name, or ""."""
    today, commit = datetime.now(UTC).strftime("%Y-%m-%d"), _commit()
    return {
        "cpu": processor_in_full(),
        "cores": usable_cores(),
        "threads": threads,
        "waiting threads": _waiting(),
        "gpu": gpu,
        "phrases": phrases,
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in _VERSIONED if find_spec(name)},
        "cases": {name: {"finished": today, "commit": commit} for name in cases},
    }


def _shown(facts: dict[str, Any]) -> dict[str, str]:
    """The facts of a machine as the page shows them."""
    shown = {name: facts[name] for name in facts if name not in ("versions", "cases")}
    shown |= facts["versions"]
    for name in ("finished", "commit"):
        shown[name] = ", ".join(sorted({one[name] for one in facts["cases"].values()}))
    return {name: str(fact) for name, fact in shown.items()}


def _waiting() -> str:
    """What torch's threads do while they wait for each other: by themselves they spin."""
    return "sleep" if os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive" else "spin"


def _commit() -> str:
    """The commit of the code, "changed" behind it where files differ; "" outside a checkout."""
    described = ["git", "describe", "--always", "--dirty=, changed", "--exclude=*"]
    try:
        done = subprocess.run(
            described, cwd=paths.root(), capture_output=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
