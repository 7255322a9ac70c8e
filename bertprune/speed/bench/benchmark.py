"""`bertprune bench`: the cases by name, measuring one after another, keeping what is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bertprune.base.errors import check_known
from bertprune.base.machine import gpu_name, has_native_bf16
from bertprune.data.tasks import check_task
from bertprune.model.precision import BF16, FLOAT32
from bertprune.model.shape import Shape
from bertprune.speed.bench import published_benchmark
from bertprune.speed.bench.finetuning_cases import Finetuning, dev_set, epoch
from bertprune.speed.bench.other_cases import analyses, data, machine, mask_update, study
from bertprune.speed.bench.pretraining_cases import UNPRUNED, Pretraining, stacked, steps
from bertprune.speed.bench.quantities import (
    DYNAMIC,
    OURS,
    PADDED,
    SIZES,
    TRAINER,
    readable,
    with_unit,
)
from bertprune.speed.bench.sparse_inference import inference
from bertprune.speed.bench.timing import Row, Setting, as_table
from bertprune.speed.made_up_inputs import BASE, MEDIUM, MINILM, SMALL, VOCABULARY


@dataclass(frozen=True)
class Case:
    """Something to measure: `rows(setting, size)` measures it, `rows(setting)` where there is no
    size to choose."""

    about: str
    rows: Callable[..., Iterable[Row]]
    size: Pretraining | Finetuning | Shape | None = None
    needs_gpu: bool = False
    package: str = ""
    """What else it compares with where it is installed; the extra `bench` has it."""
    is_default: bool = True

    def measure(self, setting: Setting) -> Iterable[Row]:
        return self.rows(setting) if self.size is None else self.rows(setting, self.size)


def _tiny(setting: Setting) -> Iterator[Row]:
    """The steps of everything, with a BERT of one layer and next to no data."""
    setting = replace(setting, matrix_sizes=((64, 64, 64),))
    shape = Shape(layers=1, hidden_size=16, heads=2, vocabulary_size=VOCABULARY)
    yield from machine(setting)
    yield from mask_update(setting, shape)
    size = Pretraining(shape, batch_size=2, steps=3, skip=1)
    yield from steps(setting, size, in_bf16=True, with_memory=False)
    yield from stacked(setting, replace(size, variants=2))
    task = Finetuning(shape, phrases=96, dev_phrases=32, padded_steps=2, dynamic_steps=2)
    yield from epoch(setting, task, in_bf16=True, with_memory=False)
    yield from dev_set(setting, task)


_L2, _L4 = SIZES.values()
_L6 = "6 layers × 384"
_INFERENCE = "forward pass of a pruned BERT, dense and sparse"
_PRETRAINING, _FINETUNING = "pre-training step", "fine-tuning on SST-2"
_both = partial(steps, sides=(OURS, TRAINER))
_L6_STEPS = Pretraining(MINILM, steps=5, skip=1)
_BASE = Pretraining(BASE, batch_size=8, steps=2, skip=1)
_BASE_ON_GPU = Pretraining(BASE, batch_size=256, steps=24, skip=4, rival_steps=24)
_STACK = Pretraining(SMALL, steps=4, skip=1, variants=4)
_STACK_ON_GPU = Pretraining(MEDIUM, steps=24, skip=4, variants=16)

CASES = {
    "machine": Case("what matrix products reach here", machine),
    "masks": Case("new masks for BERT-Base at 50 %", mask_update, BASE, package="nncf"),
    "pretrain-L2": Case(f"{_PRETRAINING}, {_L2}, batch 32", _both, Pretraining(SMALL)),
    "pretrain-L4": Case(
        f"{_PRETRAINING}, {_L4}, batch 32", partial(steps, in_bf16=True), Pretraining(MEDIUM)
    ),
    "pretrain-L6": Case(
        f"{_PRETRAINING}, {_L6}, batch 32",
        partial(_both, in_bf16=True, with_memory=False),
        _L6_STEPS,
    ),
    "pretrain-base": Case(f"{_PRETRAINING}, BERT-Base, batch 8; masks held", _both, _BASE),
    "pruning": Case(
        f"what pruning adds to a step, {_L2}, over 20 steps",
        partial(steps, sides=(OURS, UNPRUNED)),
        Pretraining(SMALL, steps=22),
    ),
    "finetune-L2": Case(f"{_FINETUNING}, {_L2}, batch 32", epoch, Finetuning(SMALL)),
    "finetune-L4": Case(
        f"{_FINETUNING}, {_L4}, batch 32", partial(epoch, in_bf16=True), Finetuning(MEDIUM)
    ),
    "finetune-L6": Case(
        f"{_FINETUNING}, {_L6}, batch 32",
        partial(epoch, rivals=(PADDED, DYNAMIC), in_bf16=True, with_memory=False),
        Finetuning(MINILM, phrases=800, padded_steps=2, dynamic_steps=10),
    ),
    "evaluate-L2": Case(f"evaluation on SST-2's dev set, {_L2}", dev_set, Finetuning(SMALL)),
    "evaluate-L4": Case(
        f"evaluation on SST-2's dev set, {_L4}", dev_set, Finetuning(MEDIUM), is_default=False
    ),
    "analyses": Case("what is looked at inside a BERT-Base", analyses, BASE),
    "inference-L2": Case(f"{_INFERENCE}, {_L2}", inference, SMALL),
    "inference-L4": Case(f"{_INFERENCE}, {_L4}", inference, MEDIUM),
    "data": Case("from text to pairs of token ids", data),
    "study": Case("the study ci, from nothing", study),
    "stacked": Case(f"4 variants at once, {_PRETRAINING}, {_L2}", stacked, _STACK),
    "stacked-gpu": Case(
        f"16 variants at once, {_PRETRAINING}, {_L4}", stacked, _STACK_ON_GPU, needs_gpu=True
    ),
    "pretrain-base-gpu": Case(
        f"{_PRETRAINING}, BERT-Base, batch 256", steps, _BASE_ON_GPU, needs_gpu=True
    ),
    "tiny": Case("all of it on next to nothing: does it work?", _tiny, is_default=False),
}


def chosen(names: Sequence[str]) -> list[str]:
    """`names`, or all cases that are measured by default. Raises UserError for an unknown one."""
    check_known("unknown case", names, CASES)
    return list(names) or [name for name, case in CASES.items() if case.is_default]


def measure(names: Sequence[str], setting: Setting) -> Iterator[tuple[str, list[Row]]]:
    """Each of the cases `names` with its rows, as soon as it is measured; those that need a GPU
    have none without it."""
    setting.use_threads()
    for name in names:
        is_measured = setting.device.type == "cuda" or not CASES[name].needs_gpu
        yield name, list(CASES[name].measure(replace(setting, case=name))) if is_measured else []


def listed() -> str:
    """The cases and what they measure, a line each."""
    return "\n".join(f"{name:<20} {case.about}" for name, case in CASES.items())


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

    Raises UserError for an unknown case, or a folder `task_data` without SST-2.
    """
    cases, gpu = chosen(names), gpu_name()
    if task_data:
        check_task("sst2", task_data)
    precision = BF16 if gpu and has_native_bf16() else FLOAT32
    setting = Setting(threads, repeats, task_data, precision=precision)
    rows: list[Row] = []
    try:
        for name, found in measure(cases, setting):
            rows += found
            published_benchmark.write_rows(as_table(rows), file)
            print("\n".join([f"{name}: {CASES[name].about}", *map(_line, found)]))
            if not found:
                print("  not measured: no GPU")
            if (package := CASES[name].package) and find_spec(package) is None:
                print(f"  {package}: not measured: not installed (the extra bench has it)")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What was finished, {len(rows)} rows, is in {file}.") from None
    print(f"{len(rows)} rows in {file}")
    if publish:
        facts = published_benchmark.facts(
            list(dict.fromkeys(row.case for row in rows)),
            threads=threads,
            gpu=gpu,
            phrases="SST-2's" if task_data else "made up, of SST-2's lengths",
        )
        print(published_benchmark.publish(as_table(rows), facts))


def _line(row: Row) -> str:
    """A row as the terminal shows it."""
    spread = f" ({readable(row.low)} to {readable(row.high)})" if row.repeats > 1 else ""
    return (
        f"  {row.side}, {row.precision}: {row.quantity}: {with_unit(row.value, row.unit)}{spread}"
    )
