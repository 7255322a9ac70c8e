"""Work times unit costs: what the runs of a study take, each, by arm, and in sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from bertprune.base.words import counted as count_of
from bertprune.evidence import gathering
from bertprune.evidence.published import Published, is_published
from bertprune.experiments import studies
from bertprune.experiments.runs import Run, lineage
from bertprune.experiments.studies import Study
from bertprune.experiments.sweep.local import thread_counts
from bertprune.model.shape import shape_of
from bertprune.protocol import notebook_parameters
from bertprune.protocol.arms import arm_of, words_of_arm
from bertprune.protocol.notebook_parameters import Finetune
from bertprune.protocol.views import parameters_of_run
from bertprune.speed.cost import amounts_of_work, unit_costs
from bertprune.speed.cost.amounts_of_work import Examples, TaskSize
from bertprune.speed.cost.unit_costs import Machine

TEXT = "text"
"""What stands in a table where the others have their notebook: text is prepared once for all."""

_GROUP = ["notebook", "arm"]
_HOUR_S, _MINUTE_S = 3600, 60
_GB = 1e9


@dataclass(frozen=True)
class Estimate:
    """What the runs of a plan cost on a machine."""

    machine: Machine
    workers: int
    runs: pd.DataFrame = field(repr=False)
    """A line for each `run`, with cores of its own: notebook, arm, `stage` (how many others come
    before it), `threads`, `work_s`, which its record will call `wall_time_s`, `notebook_s` beside
    it, `core_s` of cores or of the GPU for both, and bytes of memory, of disk, and of its
    checkpoint while it is in work."""

    @cached_property
    def is_done(self) -> pd.Series[bool]:
        """Whether the result of each run is there, on the machine that is asked."""
        return self.runs.run.map(Run.is_done).astype(bool)

    @cached_property
    def left(self) -> Estimate:
        """That of the runs that are not done."""
        return replace(self, runs=self.runs[~self.is_done])

    def text_s(self) -> float:
        """Seconds for cutting the text into tokens and pairs, once; none without a run that trains
        on it first."""
        plan = list(self.runs.run)
        if not any(run.upstream is None for run in plan):
            return 0.0
        size = shape_of(plan[0].parameters)
        return unit_costs.seconds(amounts_of_work.text_work(plan), self.machine.lines(size, 1))

    def hours(self) -> float:
        """Core-hours, or GPU-hours, of all runs."""
        return (float(self.runs.core_s.sum()) + self.text_s()) / _HOUR_S

    def wall_s(self) -> float:
        """Seconds from the start of a sweep to its end: stage after stage, each with as many cores
        as its runs can use."""
        stages = self.runs.groupby("stage")
        return self.text_s() + sum(self._stage_s(runs) for _, runs in stages)

    def _stage_s(self, runs: pd.DataFrame) -> float:
        side_by_side = min(self.workers, len(runs))
        cores = min(self.machine.cores, side_by_side * runs.threads.max())
        return float(max((runs.work_s + runs.notebook_s).max(), runs.core_s.sum() / cores))

    def crowded_work_s(self) -> pd.Series[float]:
        """Seconds of work of each run in a sweep: where that has more workers than there are
        cores, a run takes so much longer."""
        in_stage = self.runs.groupby("stage").stage.transform("size")
        threads = in_stage.clip(upper=self.workers) * self.runs.threads
        return self.runs.work_s * (threads / self.machine.cores).clip(lower=1.0)

    def memory_bytes(self) -> float:
        """The peak of all runs side by side; on a GPU one run has it alone."""
        return float(self.runs.memory_bytes.nlargest(self.workers).sum())

    def disk_bytes(self) -> float:
        """What runs and cache leave, and the checkpoints of the runs in work at once."""
        checkpoints = self.runs.checkpoint_bytes.nlargest(self.workers).sum()
        return float(self.runs.disk_bytes.sum() + checkpoints) + self._cache_bytes()

    def _cache_bytes(self) -> float:
        return amounts_of_work.cache_bytes(self.runs.run)

    def table(self) -> pd.DataFrame:
        """By notebook and arm, and the sum: runs, hours of cores or of the GPU, memory of the
        largest run, and disk; `left` and `hours_left` are of what is not done."""
        hours, is_left = self.runs.core_s / _HOUR_S, ~self.is_done
        lines = self.runs[_GROUP].assign(
            runs=1,
            left=is_left.astype(int),
            hours=hours,
            hours_left=hours.where(is_left, 0.0),
            memory_gb=self.runs.memory_bytes / _GB,
            disk_gb=self.runs.disk_bytes / _GB,
        )
        text_hours = [one.text_s() / _HOUR_S for one in (self, self.left)]
        text = [TEXT, "", 0, 0, *text_hours, 0.0, self._cache_bytes() / _GB]
        lines = pd.concat([pd.DataFrame([text], columns=lines.columns), lines])
        of_group = dict.fromkeys(lines.columns[2:], "sum") | {"memory_gb": "max"}
        table = lines.groupby(_GROUP, sort=False).agg(of_group).reset_index()
        total = {**lines.agg(of_group), "disk_gb": self.disk_bytes() / _GB}
        table.loc[len(table)] = ["sum", "", *total.values()]
        return table.astype({"runs": int, "left": int})


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
    lines = [_line(run, machine, threads[run], counted) for run in plan]
    return Estimate(machine, workers, pd.DataFrame(lines))


def _line(run: Run, machine: Machine, threads: int, counted: Examples | None) -> dict[str, object]:
    """What one run costs, as `Estimate.runs` has it."""
    p = run.parameters
    costs = machine.lines(shape_of(p), threads)
    *own, notebook = amounts_of_work.run_work(run, counted)
    work_s, notebook_s = unit_costs.seconds(own, costs), unit_costs.seconds([notebook], costs)
    return {
        "run": run,
        "notebook": run.notebook,
        "arm": arm_of(p),
        "stage": len(lineage(run)),
        "threads": threads,
        "work_s": work_s,
        "notebook_s": notebook_s,
        "core_s": (work_s + notebook_s) * threads,
        "memory_bytes": amounts_of_work.memory_bytes(p, on_gpu=machine.is_gpu),
        "disk_bytes": amounts_of_work.disk_bytes(run),
        "checkpoint_bytes": amounts_of_work.checkpoint_bytes(p),
    }


def assumptions(plan: Iterable[Run], counted: Examples | None = None) -> list[str]:
    """What in the estimate is not known of the data at hand, a sentence each."""
    plan = list(plan)
    sizes = _task_sizes(plan, counted)
    pretrained = [run.parameters for run in plan if not isinstance(run.parameters, Finetune)]
    unknown = [p for p in pretrained if amounts_of_work.text_bytes(p) is None]
    texts = sorted({text for p in unknown for text in p.text})
    said = []
    if whole := {name: size for name, size in sizes.items() if size.examples_assumed}:
        said.append(f"Tasks are assumed to be GLUE's in full{_examples(whole)}.")
    if names := [name for name, size in sizes.items() if size.tokens_assumed]:
        said.append(f"How many tokens examples of {', '.join(names)} have is assumed.")
    if texts:
        said.append(f"How much text {', '.join(texts)} has is not known: none is counted.")
    return said


def _task_sizes(plan: Iterable[Run], counted: Examples | None) -> dict[str, TaskSize]:
    runs = [run.parameters for run in plan]
    tasks = {name: p for p in runs if isinstance(p, Finetune) for name in p.task}
    return {name: amounts_of_work.task_size(name, p, counted) for name, p in sorted(tasks.items())}


def _examples(sizes: Mapping[str, TaskSize]) -> str:
    said = ", ".join(f"{name} {size.train:,} + {size.dev:,}" for name, size in sizes.items())
    return f" (training + dev examples): {said}"


def text(found: Estimate, study: Study) -> str:
    """An estimate as a terminal shows it."""
    unit = _hours_unit(found.machine)
    shown = found.table().rename(columns={"hours": unit, "hours_left": f"{unit} left"})
    lines = [
        f"Study {study.name} on {found.machine.words}, {found.machine.how}; "
        f"{count_of(found.workers, 'worker')}",
        "",
        shown.to_string(index=False, float_format="{:,.3f}".format),
        "",
        f"wall time of a sweep: {duration(found.wall_s())}, of what is left "
        f"{duration(found.left.wall_s())}",
        f"memory: {found.memory_bytes() / _GB:.1f} GB with all workers; "
        f"disk: {found.disk_bytes() / _GB:.1f} GB with cache and checkpoints",
        *assumptions(found.runs.run),
    ]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time in words, from seconds to days."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * _MINUTE_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 100 * _HOUR_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / (24 * _HOUR_S):,.0f} days"


def _hours_unit(machine: Machine) -> str:
    return "GPU-hours" if machine.is_gpu else "core-hours"


# The page.

SHOWN = ("lab", "glue-tiny", "english", "paper")
"""The studies that the page shows beside its own."""
GPU_SHOWN = "a100"


def counted_for(study: Study) -> Examples:
    """The examples of the tasks of `study` that its published rows were made with, where its pages
    show these; else none."""
    return _published_examples(study.name) if gathering.is_shown_as_published(study) else {}


def _published_examples(name: str) -> Examples:
    return {
        task: (int(of_task["train examples"]), int(of_task["dev examples"]))
        for task, of_task in Published.read(name).tasks.items()
    }


def assumed(study: Study) -> str:
    """The task sizes and the assumptions of a study's estimate, as a page shows them."""
    plan, counted = study.plan(), counted_for(study)
    said = assumptions(plan, counted)
    if counted:
        sizes = _examples(_task_sizes(plan, counted))
        said.insert(0, f"Tasks are as large as they were for the published rows{sizes}.")
    return " ".join(said or ["Nothing is assumed about its data."])


def of_studies(study: Study) -> pd.DataFrame:
    """What `study` and those of SHOWN take on the book's machine and on a GPU, a line each."""
    others = (studies.load(name) for name in SHOWN)
    lines = []
    for one in [study, *(other for other in others if other.name != study.name)]:
        plan, counted = one.plan(), counted_for(one)
        for machine in map(unit_costs.named, (unit_costs.BOOK, GPU_SHOWN)):
            found = estimate(plan, machine, counted=counted)
            lines.append(
                {
                    "study": one.name,
                    "machine": machine.words,
                    "": machine.how,
                    "runs": len(plan),
                    "task sizes": _whence(plan, counted),
                    "hours": f"{_hours(found.hours())} {_hours_unit(machine)}",
                    "wall time of a sweep": duration(found.wall_s()),
                    "memory of a run": _gigabytes(found.runs.memory_bytes.max()),
                    "disk": _gigabytes(found.disk_bytes()),
                }
            )
    return pd.DataFrame(lines).set_index(["study", "machine"])


def _whence(plan: Sequence[Run], counted: Examples) -> str:
    """Where the sizes of a study's tasks are from."""
    if any(size.examples_assumed for size in _task_sizes(plan, counted).values()):
        return "GLUE in full, assumed"
    return "of the published rows" if counted else "counted here"


_ALONE, _CROWDED, _NEEDED = "alone", "side by side", "needed"


def against_published() -> pd.DataFrame:
    """Of the studies of SHOWN whose rows come with the book, the hours of work estimated for the
    book's machine, each run with cores of its own and as many side by side as a sweep has, beside
    those that were needed; and of how many runs either is. Tasks are as large as they were then.
    Estimated are the runs that were published, where their parameters are noted: the study may be
    another one since."""
    lines = {}
    for name in filter(is_published, SHOWN):
        then = Published.read(name)
        plan = _runs_of(then) or studies.load(name).plan()
        found = estimate(plan, unit_costs.published(), counted=_published_examples(name))
        work_s = (found.runs.work_s.sum(), found.crowded_work_s().sum(), then.work_s)
        lines[name] = [len(plan), then.runs, *(seconds / _HOUR_S for seconds in work_s)]
    columns = ["runs", "runs then", _ALONE, _CROWDED, _NEEDED]
    table = pd.DataFrame.from_dict(lines, orient="index", columns=columns).rename_axis("study")
    return _with_ratio(table, "hours", digits=1)


def _runs_of(published: Published) -> list[Run]:
    found = []
    for record in published.records:
        contract = parameters_of_run(record.id.partition("/")[0])
        found.append(Run.of(notebook_parameters.parse(contract, record.parameters)))
    return found


def against_runs(study: Study) -> pd.DataFrame:
    """The same by notebook and arm, in minutes, for the runs of `study` that are done here, from
    their records, as a page shows it; without lines if there are none."""
    found = estimate(study.plan(), unit_costs.published())
    minutes = {
        _ALONE: found.runs.work_s / _MINUTE_S,
        _CROWDED: found.crowded_work_s() / _MINUTE_S,
    }
    done = found.runs[[*_GROUP, "run"]].assign(runs=1, **minutes)[found.is_done]
    done[_NEEDED] = [run.record().wall_time_s / _MINUTE_S for run in done.run]
    table = done.groupby(_GROUP, sort=False)[["runs", _ALONE, _CROWDED, _NEEDED]].sum()
    if len(table):
        table.loc[("sum", ""), :] = table.sum()
    table = table.astype({"runs": int}).rename(index=words_of_arm, level="arm")
    return _with_ratio(table, "minutes", digits=2)


def _with_ratio(table: pd.DataFrame, unit: str, digits: int) -> pd.DataFrame:
    """With the ratio of what a sweep was estimated to need to what it did, and the `unit` named."""
    table = table.assign(ratio=table[_CROWDED] / table[_NEEDED])
    named = {name: f"{name} ({unit})" for name in (_ALONE, _CROWDED, _NEEDED)}
    return table.round(dict.fromkeys(named, digits) | {"ratio": 2}).rename(columns=named)


def by_arm(study: Study, device: str = unit_costs.BOOK) -> pd.DataFrame:
    """What the arms of `study` take on `device`, as a page shows it."""
    found = estimate(study.plan(), unit_costs.named(device), counted=counted_for(study))
    table = found.table().set_index(_GROUP).rename(index=words_of_arm, level="arm")
    return pd.DataFrame(
        {
            "runs": table.runs,
            _hours_unit(found.machine): table.hours.map(_hours),
            "memory (GB)": table.memory_gb.round(2),
            "disk (GB)": table.disk_gb.round(2),
        }
    )


def _gigabytes(size_bytes: float) -> str:
    return f"{size_bytes / _GB:,.1f} GB" if size_bytes >= 0.05 * _GB else "< 0.1 GB"


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
