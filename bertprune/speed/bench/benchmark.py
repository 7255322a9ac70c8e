"""`bertprune bench`: the cases by name, measuring one after another, keeping what is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bertprune.base.errors import UserError, did_you_mean
from bertprune.data.tasks import check_task
from bertprune.model.shape import Shape
from bertprune.speed.bench import finetuning_cases, pretraining_cases, published_benchmark
from bertprune.speed.bench.other_cases import analyses, data, machine, mask_update, study
from bertprune.speed.bench.pretraining_cases import stacked
from bertprune.speed.bench.quantities import SIZES, readable, with_unit
from bertprune.speed.bench.sparse_inference import inference
from bertprune.speed.bench.timing import Row, Setting, as_table
from bertprune.speed.made_up_inputs import BASE, MEDIUM, SMALL, VOCABULARY


@dataclass(frozen=True)
class Case:
    """Something to measure: `rows(setting)` measures it."""

    about: str
    rows: Callable[[Setting], Iterable[Row]]
    is_default: bool = True
    needs_gpu: bool = False


def _tiny(setting: Setting) -> Iterator[Row]:
    """The steps of everything, with a BERT of one layer and next to no data."""
    setting = replace(setting, matrix_sizes=(64,))
    shape = Shape(layers=1, hidden_size=16, heads=2, vocabulary_size=VOCABULARY)
    yield from machine(setting)
    yield from mask_update(setting, shape)
    size = pretraining_cases.Size(shape, batch_size=2, steps=3, skip=1)
    yield from pretraining_cases.steps(setting, size, with_memory=False)
    yield from stacked(setting, replace(size, variants=2))
    task = finetuning_cases.Size(shape, dynamic_steps=2, padded_steps=2, phrases=96, dev_phrases=32)
    yield from finetuning_cases.epoch(setting, task, with_memory=False)
    yield from finetuning_cases.dev_set(setting, task)


_L2, _L4 = "2 layers × 128", "4 layers × 256"

CASES: dict[str, Case] = {
    "machine": Case("what square matrix products reach here", machine),
    "masks": Case("new masks for BERT-Base at 50 %", partial(mask_update, shape=BASE)),
    "pretrain-L2": Case(
        f"pre-training step, {_L2}, batch 32",
        partial(pretraining_cases.steps, size=pretraining_cases.SMALL),
    ),
    "pretrain-L4": Case(
        f"pre-training step, {_L4}, batch 32",
        partial(pretraining_cases.steps, size=pretraining_cases.MEDIUM),
    ),
    "pretrain-base": Case(
        "pre-training step, BERT-Base, batch 8; masks held",
        partial(pretraining_cases.steps, size=pretraining_cases.BASE),
    ),
    "pruning": Case(
        f"what pruning adds to a step, {_L2}, over 40 steps",
        partial(pretraining_cases.steps, size=pretraining_cases.LONGER, with_rival=False),
    ),
    "finetune-L2": Case(
        f"fine-tuning on SST-2, {_L2}, batch 32",
        partial(finetuning_cases.epoch, size=finetuning_cases.SMALL),
    ),
    "finetune-L4": Case(
        f"fine-tuning on SST-2, {_L4}, batch 32",
        partial(finetuning_cases.epoch, size=finetuning_cases.MEDIUM),
    ),
    "evaluate-L2": Case(
        f"evaluation on SST-2's dev set, {_L2}",
        partial(finetuning_cases.dev_set, size=finetuning_cases.SMALL),
    ),
    "evaluate-L4": Case(
        f"evaluation on SST-2's dev set, {_L4}",
        partial(finetuning_cases.dev_set, size=finetuning_cases.MEDIUM),
    ),
    "analyses": Case("what is looked at inside a BERT-Base", partial(analyses, shape=BASE)),
    **{
        name: Case(
            f"forward pass of a pruned BERT, dense and sparse, {SIZES[name]}",
            partial(inference, shape=shape),
        )
        for name, shape in (("inference-L2", SMALL), ("inference-L4", MEDIUM))
    },
    "data": Case("from text to pairs of token ids", data),
    "study": Case("the study ci, from nothing", study),
    "stacked": Case(
        f"4 variants at once, pre-training step, {_L2}",
        partial(stacked, size=pretraining_cases.STACK),
    ),
    "stacked-gpu": Case(
        f"16 variants at once, pre-training step, {_L4}",
        partial(stacked, size=pretraining_cases.STACK_ON_GPU),
        needs_gpu=True,
    ),
    "pretrain-base-gpu": Case(
        "pre-training step, BERT-Base in bf16, batch 256",
        partial(pretraining_cases.steps, size=pretraining_cases.BASE_ON_GPU),
        needs_gpu=True,
    ),
    "tiny": Case("all of it on next to nothing: does it work?", _tiny, is_default=False),
}


def chosen(names: Sequence[str]) -> list[str]:
    """`names`, or all cases that are measured by default. Raises UserError for an unknown one."""
    for name in names:
        if name not in CASES:
            raise UserError(f"unknown case {name!r}: {did_you_mean(name, CASES)}")
    return list(names) or [name for name, case in CASES.items() if case.is_default]


def measure(names: Sequence[str], setting: Setting) -> Iterator[tuple[str, list[Row]]]:
    """Each of the cases `names` with its rows, as soon as it is measured; those that need a GPU
    have none without it."""
    setting.use_threads()
    for name in names:
        case = CASES[name]
        skipped = case.needs_gpu and setting.device.type != "cuda"
        yield name, [] if skipped else list(case.rows(replace(setting, case=name)))


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

    Raises UserError for an unknown case, or numbers of threads or repeats below 1.
    """
    cases = chosen(names)
    for name, number in (("--threads", threads), ("--repeats", repeats)):
        if number < 1:
            raise UserError(f"{name} must be at least 1, got {number}")
    if task_data:
        check_task("sst2", task_data)
    setting = Setting(threads=threads, repeats=repeats, task_data=task_data)
    rows: list[Row] = []
    try:
        for name, found in measure(cases, setting):
            rows += found
            published_benchmark.write_rows(as_table(rows), file)
            print("\n".join([f"{name}: {CASES[name].about}", *map(_line, found)]))
            if not found:
                print("  not measured: no GPU")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What was finished, {len(rows)} rows, is in {file}.") from None
    print(f"{len(rows)} rows in {file}")
    if publish:
        facts = published_benchmark.facts(
            list(dict.fromkeys(row.case for row in rows)),
            threads=threads,
            gpu=setting.device_name if setting.device.type == "cuda" else "",
            phrases="SST-2's" if task_data else "made up, of SST-2's lengths",
        )
        print(published_benchmark.publish(as_table(rows), facts))


def _line(row: Row) -> str:
    """A row as the terminal shows it."""
    spread = f" ({readable(row.low)} to {readable(row.high)})" if row.repeats > 1 else ""
    return f"  {row.side}: {row.quantity}: {with_unit(row.value, row.unit)}{spread}"
