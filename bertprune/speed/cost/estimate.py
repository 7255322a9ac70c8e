"""Work times unit costs: what the runs of a study take, each, by arm, and in sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from bertprune.base import paths
from bertprune.evidence import gathering
from bertprune.evidence.published import Published
from bertprune.experiments import studies
from bertprune.experiments.runs import Run, lineage
from bertprune.experiments.studies import Study
from bertprune.experiments.sweep import thread_counts
from bertprune.model.shape import shape_of
from bertprune.protocol.arms import arm_of, words_of_arm
from bertprune.protocol.notebook_parameters import Finetune
from bertprune.speed.cost import amounts_of_work as work
from bertprune.speed.cost import unit_costs
from bertprune.speed.cost.amounts_of_work import Examples, TaskSize
from bertprune.speed.cost.unit_costs import Machine

TEXT = "text"
"""What stands in a table where the others have their notebook: text is prepared once for all."""

_COLUMNS = ["notebook", "arm", "runs", "left", "hours", "hours_left", "memory_gb", "disk_gb"]


@dataclass(frozen=True)
class RunCost:
    """What one run costs with cores of its own."""

    run: Run
    threads: int
    work_s: float
    """What its record will call `wall_time_s`."""
    notebook_s: float
    """What its notebook takes beside it."""
    memory_bytes: float
    disk_bytes: float

    @property
    def is_done(self) -> bool:
        """Whether its result is there, on the machine that is asked."""
        return self.run.is_done()

    @property
    def core_s(self) -> float:
        """Seconds of cores, or of the GPU."""
        return (self.work_s + self.notebook_s) * self.threads


@dataclass(frozen=True)
class Estimate:
    """What the runs of a plan cost on a machine."""

    machine: Machine
    workers: int
    runs: tuple[RunCost, ...]

    @cached_property
    def left(self) -> tuple[RunCost, ...]:
        """Those that are not done."""
        return tuple(one for one in self.runs if not one.is_done)

    def text_s(self, *, left: bool = False) -> float:
        """Seconds for cutting the text into tokens and pairs, once; none if the runs that train on
        it first are done."""
        chosen = self.left if left else self.runs
        plan = [one.run for one in chosen]
        if not any(run.upstream is None for run in plan):
            return 0.0
        size = shape_of(plan[0].parameters)
        return unit_costs.seconds(work.text_work(plan), self.machine.lines(size, 1))

    def hours(self, *, left: bool = False) -> float:
        """Core-hours, or GPU-hours, of all runs or of those left."""
        chosen = self.left if left else self.runs
        return (sum(one.core_s for one in chosen) + self.text_s(left=left)) / 3600

    def wall_s(self, *, left: bool = False) -> float:
        """Seconds from the start of a sweep to its end: stage after stage, each with as many cores
        as its runs can use."""
        chosen = self.left if left else self.runs
        stages: dict[int, list[RunCost]] = {}
        for one in chosen:
            stages.setdefault(len(lineage(one.run)), []).append(one)
        return self.text_s(left=left) + sum(map(self._stage_s, stages.values()))

    def _stage_s(self, runs: Sequence[RunCost]) -> float:
        side_by_side = min(self.workers, len(runs))
        cores = min(self.machine.cores, side_by_side * max(one.threads for one in runs))
        longest = max(one.work_s + one.notebook_s for one in runs)
        return max(longest, sum(one.core_s for one in runs) / cores)

    def crowded_work_s(self) -> dict[RunCost, float]:
        """Seconds of work of each run in a sweep: where that has more workers than there are
        cores, a run takes so much longer."""
        widths = Counter(len(lineage(one.run)) for one in self.runs)
        return {
            one: one.work_s
            * max(
                1.0,
                min(self.workers, widths[len(lineage(one.run))]) * one.threads / self.machine.cores,
            )
            for one in self.runs
        }

    def memory_bytes(self) -> float:
        """The peak of all runs side by side; on a GPU one run has it alone."""
        largest = sorted((one.memory_bytes for one in self.runs), reverse=True)
        return sum(largest[: self.workers])

    def disk_bytes(self) -> float:
        """What runs and cache leave, and the checkpoints of the runs in work at once."""
        plan = [one.run for one in self.runs]
        checkpoints = sorted((work.checkpoint_bytes(run.parameters) for run in plan), reverse=True)
        left = sum(one.disk_bytes for one in self.runs)
        return left + work.cache_bytes(plan) + sum(checkpoints[: self.workers])

    def table(self) -> pd.DataFrame:
        """By notebook and arm, and the sum: runs, hours of cores or of the GPU, memory of the
        largest run, and disk; `left` and `hours_left` are of what is not done."""
        groups: dict[tuple[str, str], list[RunCost]] = {}
        for one in self.runs:
            groups.setdefault((one.run.notebook, arm_of(one.run.parameters)), []).append(one)
        gb = 1e9
        lines: list[list[object]] = [
            [
                TEXT,
                "",
                0,
                0,
                self.text_s() / 3600,
                self.text_s(left=True) / 3600,
                0.0,
                self._cache_gb(),
            ]
        ]
        for (notebook, arm), of_group in groups.items():
            left = [one for one in of_group if not one.is_done]
            lines.append(
                [
                    notebook,
                    arm,
                    len(of_group),
                    len(left),
                    sum(one.core_s for one in of_group) / 3600,
                    sum(one.core_s for one in left) / 3600,
                    max(one.memory_bytes for one in of_group) / gb,
                    sum(one.disk_bytes for one in of_group) / gb,
                ]
            )
        largest = max((one.memory_bytes for one in self.runs), default=0.0) / gb
        total = [self.hours(), self.hours(left=True), largest, self.disk_bytes() / gb]
        lines.append(["sum", "", len(self.runs), len(self.left), *total])
        return pd.DataFrame(lines, columns=_COLUMNS)

    def _cache_gb(self) -> float:
        return work.cache_bytes(one.run for one in self.runs) / 1e9


def default_workers(machine: Machine) -> int:
    """How many notebooks a sweep has side by side on `machine` where nothing else is asked."""
    return 1 if machine.is_gpu else machine.cores + 1


def estimate(
    plan: Sequence[Run],
    machine: Machine,
    workers: int | None = None,
    counted: Examples | None = None,
) -> Estimate:
    """What the runs of `plan` cost on `machine`; which of them are done is asked of this one.

    Tasks that are `counted` have so many examples, others those at hand, or else GLUE's. Raises
    UserError for a model or a task whose size cannot be known without a network.
    """
    workers = workers or default_workers(machine)
    threads = thread_counts(plan, workers, machine.cores)
    costs = tuple(_cost(run, machine, threads[run], counted) for run in plan)
    return Estimate(machine, workers, costs)


def _cost(run: Run, machine: Machine, threads: int, counted: Examples | None) -> RunCost:
    p = run.parameters
    lines = machine.lines(shape_of(p), threads)
    *own, notebook = work.run_work(run, counted)
    return RunCost(
        run=run,
        threads=threads,
        work_s=unit_costs.seconds(own, lines),
        notebook_s=unit_costs.seconds([notebook], lines),
        memory_bytes=work.memory_bytes(p, on_gpu=machine.is_gpu),
        disk_bytes=work.disk_bytes(run),
    )


def against_records(found: Estimate) -> pd.DataFrame:
    """By notebook and arm, the estimated minutes of work of the runs that are done beside those
    that their records have."""
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one, estimated_s in found.crowded_work_s().items():
        if one.is_done:
            pair = estimated_s, one.run.record().wall_time_s
            groups.setdefault((one.run.notebook, arm_of(one.run.parameters)), []).append(pair)
    lines = [
        [*group, len(pairs), *(sum(values) / 60 for values in zip(*pairs, strict=True))]
        for group, pairs in groups.items()
    ]
    columns = ["notebook", "arm", "runs", "estimated_min", "needed_min"]
    table = pd.DataFrame(lines, columns=columns)
    total = ["sum", "", *table[columns[2:]].sum()]
    if lines:
        table.loc[len(table)] = total
    return table.astype({"runs": int}).assign(ratio=table.estimated_min / table.needed_min)


def assumptions(plan: Sequence[Run], counted: Examples | None = None) -> list[str]:
    """What in the estimate is not known of the data at hand, a sentence each."""
    sizes = _task_sizes(plan, counted)
    texts: set[str] = set()
    for run in plan:
        p = run.parameters
        if not isinstance(p, Finetune) and work.text_bytes(p) is None:
            texts |= set(p.text)
    said = []
    if whole := {name: size for name, size in sizes.items() if size.examples_assumed}:
        said.append(f"Tasks are assumed to be GLUE's in full{_examples(whole)}.")
    if names := [name for name, size in sizes.items() if size.tokens_assumed]:
        said.append(f"How many tokens examples of {', '.join(names)} have is assumed.")
    if texts:
        said.append(f"How much text {', '.join(sorted(texts))} has is not known: none is counted.")
    return said


def _task_sizes(plan: Iterable[Run], counted: Examples | None) -> dict[str, TaskSize]:
    runs = [run.parameters for run in plan]
    tasks = {name: p for p in runs if isinstance(p, Finetune) for name in p.task}
    return {name: work.task_size(name, p, counted) for name, p in sorted(tasks.items())}


def _examples(sizes: Mapping[str, TaskSize]) -> str:
    said = ", ".join(f"{name} {size.train:,} + {size.dev:,}" for name, size in sizes.items())
    return f" (training + dev examples): {said}"


def assumed(study: Study) -> str:
    """The task sizes and the assumptions of a study's estimate, as a page shows them."""
    plan, counted = study.plan(), counted_for(study)
    said = assumptions(plan, counted)
    if counted:
        sizes = _examples(_task_sizes(plan, counted))
        said.insert(0, f"Tasks are as large as they were for the published rows{sizes}.")
    return " ".join(said or ["Nothing is assumed about its data."])


def counted_for(study: Study) -> Examples:
    """The examples of the tasks of `study` that its published rows were made with, where its pages
    show these; else none."""
    if gathering.is_shown_as_published(study):
        return _published_examples(study.name)
    return {}


def _published_examples(name: str) -> Examples:
    return {
        task: (int(of_task["train examples"]), int(of_task["dev examples"]))
        for task, of_task in Published.read(name).tasks.items()
    }


def text(found: Estimate, study: Study) -> str:
    """An estimate as a terminal shows it."""
    unit = "GPU-hours" if found.machine.is_gpu else "core-hours"
    shown = found.table().rename(columns={"hours": unit, "hours_left": f"{unit} left"})
    lines = [
        f"Study {study.name} on {found.machine.words}, {found.machine.how}; "
        f"{found.workers} worker{'s' * (found.workers != 1)}",
        "",
        shown.to_string(index=False, float_format=lambda value: f"{value:,.3f}"),
        "",
        f"wall time of a sweep: {duration(found.wall_s())}, of what is left "
        f"{duration(found.wall_s(left=True))}",
        f"memory: {found.memory_bytes() / 1e9:.1f} GB with all workers; "
        f"disk: {found.disk_bytes() / 1e9:.1f} GB with cache and checkpoints",
        *assumptions([one.run for one in found.runs]),
    ]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time in words, from seconds to days."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 100 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:,.0f} days"


# The page.

SHOWN = ("lab", "glue-tiny", "english", "paper")
"""The studies that the page shows beside its own."""
GPU_SHOWN = "a100"


def of_studies(study: Study) -> pd.DataFrame:
    """What `study` and those of SHOWN take on the book's machine and on a GPU, a line each."""
    others = (studies.load(name) for name in SHOWN)
    chosen = [study, *(other for other in others if other.name != study.name)]
    lines = []
    for one in chosen:
        plan, counted = one.plan(), counted_for(one)
        for name in (unit_costs.BOOK, GPU_SHOWN):
            found = estimate(plan, unit_costs.named(name), counted=counted)
            machine = found.machine
            hours = f"{_hours(found.hours())} {'GPU' if machine.is_gpu else 'core'}-hours"
            memory = max(one.memory_bytes for one in found.runs)
            lines.append(
                {
                    "study": one.name,
                    "machine": machine.words,
                    "": machine.how,
                    "runs": len(plan),
                    "task sizes": _whence(plan, counted),
                    "hours": hours,
                    "wall time of a sweep": duration(found.wall_s()),
                    "memory of a run": f"{memory / 1e9:.1f} GB",
                    "disk": f"{found.disk_bytes() / 1e9:,.1f} GB",
                }
            )
    return pd.DataFrame(lines).set_index(["study", "machine"])


def _whence(plan: Sequence[Run], counted: Examples) -> str:
    """Where the sizes of a study's tasks are from."""
    if any(size.examples_assumed for size in _task_sizes(plan, counted).values()):
        return "GLUE in full, assumed"
    return "of the published rows" if counted else "counted here"


def against_published() -> pd.DataFrame:
    """Of the studies of SHOWN whose rows come with the book, the minutes of work estimated for the
    book's machine, with tasks as large as they were then, beside those that were needed; and of how
    many runs either is."""
    lines = {}
    for name in SHOWN:
        if paths.published(name).exists():
            plan, facts = studies.load(name).plan(), Published.read(name)
            found = estimate(plan, unit_costs.published(), counted=_published_examples(name))
            estimated = sum(found.crowded_work_s().values()) / 60
            needed = facts.work_s / 60
            lines[name] = {
                "estimated (min)": round(estimated, 1),
                "of runs": len(plan),
                "needed (min)": round(needed, 1),
                "of runs then": facts.runs,
                "ratio": round(estimated / needed, 2),
            }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("study")


def against_runs(study: Study) -> pd.DataFrame:
    """The same by notebook and arm for the runs of `study` that are done here, as a page shows it;
    without lines if there are none."""
    table = against_records(estimate(study.plan(), unit_costs.published()))
    names = {"estimated_min": "estimated (min)", "needed_min": "needed (min)"}
    shown = table.rename(columns=names).round(2)
    return shown.assign(arm=_arm_names(table.arm)).set_index(["notebook", "arm"])


def by_arm(study: Study, device: str = unit_costs.BOOK) -> pd.DataFrame:
    """What the arms of `study` take on `device`, as a page shows it."""
    found = estimate(study.plan(), unit_costs.named(device), counted=counted_for(study))
    table = found.table()
    hours = "GPU-hours" if found.machine.is_gpu else "core-hours"
    shown = pd.DataFrame(
        {
            "notebook": table.notebook,
            "arm": _arm_names(table.arm),
            "runs": table.runs,
            hours: [_hours(value) for value in table.hours],
            "memory (GB)": table.memory_gb.round(2),
            "disk (GB)": table.disk_gb.round(2),
        }
    )
    return shown.set_index(["notebook", "arm"])


def _arm_names(arms: Iterable[str]) -> list[str]:
    return [(words_of_arm(arm) or "") for arm in arms]


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
