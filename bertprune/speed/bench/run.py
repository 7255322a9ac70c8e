"""`bertprune bench`: measuring the cases, one after another, and keeping what is finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bertprune.base.errors import UserError
from bertprune.data.tasks import check_task
from bertprune.speed.bench import cases, page
from bertprune.speed.bench.bars import readable, with_unit
from bertprune.speed.bench.measure import Row, Setting, table


def listed() -> str:
    """The cases and what they measure, a line each."""
    return "\n".join(f"{name:<20} {case.about}" for name, case in cases.CASES.items())


def bench(
    names: Sequence[str],
    *,
    threads: int,
    repeats: int,
    task_data: str,
    file: Path,
    publish: bool = False,
) -> None:
    """Measure the cases `names` (all for none), print them, and write their rows to `file`, again
    after each case. Published is only what has come to its end.

    Raises UserError for an unknown case, or numbers of threads or repeats below 1.
    """
    chosen = cases.chosen(names)
    for name, number in (("--threads", threads), ("--repeats", repeats)):
        if number < 1:
            raise UserError(f"{name} must be at least 1, got {number}")
    if task_data:
        check_task("sst2", task_data)
    setting = Setting(threads=threads, repeats=repeats, task_data=task_data)
    rows: list[Row] = []
    try:
        for name, found in cases.measure(chosen, setting):
            rows += found
            page.write(table(rows), file)
            print("\n".join([f"{name}: {cases.CASES[name].about}", *map(_line, found)]))
            if not found:
                print("  not measured: no GPU")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What was finished, {len(rows)} rows, is in {file}.") from None
    print(f"{len(rows)} rows in {file}")
    if publish:
        facts = page.facts(
            list(dict.fromkeys(row.case for row in rows)),
            threads=threads,
            gpu=setting.device_name if setting.device.type == "cuda" else "",
            phrases="SST-2's" if task_data else "made up, of SST-2's lengths",
        )
        print(page.publish(table(rows), facts))


def _line(row: Row) -> str:
    """A row as the terminal shows it."""
    spread = f" ({readable(row.low)} to {readable(row.high)})" if row.repeats > 1 else ""
    return f"  {row.side}: {row.quantity}: {with_unit(row.value, row.unit)}{spread}"
