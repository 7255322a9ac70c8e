"""`make test-gpu`: all that needs a GPU, in at most eight minutes, and a table of how it went.

Each step is a process of its own with a limit in seconds, and is cut off there; it may take what
those before it have left of theirs. This imports only what Python has, so there is a table whatever
is missing. With --on-cpu the same steps are taken on
the CPU and at a small size, to see that they work: their numbers mean nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
LOGS = PROJECT / "runs" / "test-gpu"
"""What each step said, and the rows of the benchmark."""
SWEPT = r"^\d+ executed.*"
TESTED = r"^\d+ (?:passed|failed).*"
MEASURED = r"^  .*(?:times as long as ours|share of the matrix rate): .*"


@dataclass(frozen=True)
class Step:
    """What is done: Python with each of `commands`, one after another in a new project. The lines
    of their output that `figures` finds say how it went."""

    about: str
    limit_s: float
    commands: Sequence[Sequence[str]]
    figures: str


@dataclass(frozen=True)
class Outcome:
    about: str
    failure: str
    figures: list[str]
    seconds: float


def steps(on_cpu: bool = False) -> dict[str, Step]:
    """All steps by name, in their order. Their limits leave 45 seconds of eight minutes, for
    what make installs before; a CPU has more time."""
    size, patience = ("tiny", 10) if on_cpu else ("base", 1)
    small = ["--set", "task=[sst2]", "--set", "sparsity=[0.5]"] if on_cpu else []

    def sweep(study: str, *options: str) -> list[str]:
        # Most of the time of so small runs is a notebook's start, which leaves a GPU idle.
        side_by_side = [] if on_cpu else ["--workers", "4"]
        return ["-m", "bertprune", "sweep", study, *options, *side_by_side]

    def bench(case: str) -> list[str]:
        repeats = "1" if on_cpu else "3"
        rows = str(LOGS / f"{case}.csv")
        named = "tiny" if on_cpu else case
        return ["-m", "bertprune", "bench", named, "--repeats", repeats, "--csv", rows]

    def first_steps(study: str) -> list[list[str]]:
        made = [str(HERE / "made_up_project.py"), size]
        return [made, sweep(f"{study}-first-steps.yaml")]

    # Other versions than ours warn of other things.
    tests = ["-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider", str(HERE)]
    return {
        "tests": Step("tests/gpu", 50 * patience, [tests], TESTED),
        "ci": Step("the study ci", 95 * patience, [sweep("ci", *small)], SWEPT),
        "stacked": Step("16 models at once", 55 * patience, [bench("stacked-gpu")], MEASURED),
        "base": Step("a step of BERT-Base", 75 * patience, [bench("pretrain-base-gpu")], MEASURED),
        "paper": Step("first steps of paper", 80 * patience, first_steps("paper"), SWEPT),
        "as-run": Step(
            "first steps of paper-as-run", 80 * patience, first_steps("paper-as-run"), SWEPT
        ),
    }


def take(step: Step, limit_s: float, log: Path, on_cpu: bool) -> Outcome:
    """Take `step`, in `limit_s`; what it says goes to the file `log`."""
    started = time.monotonic()
    given = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
    given["PYTHONPATH"] = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    if on_cpu:
        given["CUDA_VISIBLE_DEVICES"] = ""
    failure = ""
    # What was cut off may still write there for a moment.
    with TemporaryDirectory(ignore_cleanup_errors=True) as root, log.open("wb") as output:
        shutil.copytree(PROJECT / "notebooks", Path(root, "notebooks"))
        given["BERTPRUNE_ROOT"] = root
        for command in step.commands:
            left = limit_s - (time.monotonic() - started)
            failure = failure or _failure(command, root, given, output, left)
    said = log.read_text(encoding="utf-8", errors="replace")
    if failure:
        print(f"{said[-3000:]}\n^ the end of {log}", flush=True)
    figures = [one.strip() for one in re.findall(step.figures, said, re.MULTILINE)]
    return Outcome(step.about, failure, figures, time.monotonic() - started)


def _failure(
    command: Sequence[str], root: str, given: dict[str, str], output: IO[bytes], limit_s: float
) -> str:
    """How Python with `command` failed; empty if it did not."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=root,
        env=given,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        code = process.wait(max(0, limit_s))
    except subprocess.TimeoutExpired:
        return "cut off"
    finally:
        # What it has started goes with it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return f"failed ({code})" if code else ""


def table(outcomes: Sequence[Outcome]) -> str:
    """What was done, how it went with a line for each figure, and seconds."""
    lines = [("what", "how it went", "seconds")]
    for one in outcomes:
        lines.append((one.about, one.failure or "passed", f"{one.seconds:.0f}"))
        lines += [("", figure, "") for figure in one.figures]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"{about:<{widths[0]}}  {went:<{widths[1]}}  {seconds:>{widths[2]}}".rstrip()
        for about, went, seconds in lines
    )


def gpu() -> str:
    """The GPU that torch sees, or nothing."""
    asked = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    command = [sys.executable, "-c", asked]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if all went well, 1 if not, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on-cpu", action="store_true", help="small, and on the CPU")
    parser.add_argument("only", nargs="*", help=f"of {', '.join(steps(False))}; default: all")
    asked = parser.parse_args(arguments)
    chosen = steps(asked.on_cpu)
    if unknown := set(asked.only) - chosen.keys():
        parser.error(f"there is no step {', '.join(unknown)}: take {', '.join(chosen)}")
    device = "the CPU, at a small size: no measurement" if asked.on_cpu else gpu()
    if not device:
        print(
            "there is no GPU that torch sees: --on-cpu takes small steps on the CPU",
            file=sys.stderr,
        )
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    allowed_s = 0.0
    for name in asked.only or chosen:
        allowed_s += chosen[name].limit_s
        left_s = allowed_s - sum(one.seconds for one in outcomes)
        print(f"{chosen[name].about}, in at most {left_s:.0f} s ...", flush=True)
        outcomes.append(take(chosen[name], left_s, LOGS / f"{name}.log", asked.on_cpu))
    print(f"\nOn {device}\n\n{table(outcomes)}")
    return int(any(one.failure for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
