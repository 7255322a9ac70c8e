"""The cases of the benchmark by name, and running them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bertprune.base.errors import UserError, did_you_mean
from bertprune.model.checkpoints import Shape
from bertprune.speed.bench import finetuning, inference, inputs, parts, pretraining, stacked
from bertprune.speed.bench.measure import Row, Setting
from bertprune.speed.bench.times import SIZES


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
    shape = Shape(layers=1, hidden_size=16, heads=2, vocabulary_size=inputs.VOCABULARY)
    yield from parts.machine(setting)
    yield from parts.mask_update(setting, shape)
    yield from pretraining.steps(
        setting, pretraining.Size(shape, batch_size=2, steps=3, skip=1), with_memory=False
    )
    yield from stacked.stacked(setting, stacked.Size(shape, variants=2, steps=3, skip=1))
    size = finetuning.Size(shape, dynamic_steps=2, padded_steps=2, phrases=96, dev_phrases=32)
    yield from finetuning.epoch(setting, size, with_memory=False)
    yield from finetuning.dev_set(setting, size)


CASES: dict[str, Case] = {
    "machine": Case("what square matrix products reach here", parts.machine),
    "masks": Case("new masks for BERT-Base at 50 %", partial(parts.mask_update, shape=inputs.BASE)),
    "pretrain-L2": Case(
        "pre-training step, 2 layers × 128, batch 32",
        partial(pretraining.steps, size=pretraining.SMALL),
    ),
    "pretrain-L4": Case(
        "pre-training step, 4 layers × 256, batch 32",
        partial(pretraining.steps, size=pretraining.MEDIUM),
    ),
    "pretrain-base": Case(
        "pre-training step, BERT-Base, batch 8; masks held",
        partial(pretraining.steps, size=pretraining.BASE),
    ),
    "pruning": Case(
        "what pruning adds to a step, 2 layers × 128, over 40 steps",
        partial(pretraining.steps, size=pretraining.LONGER, with_rival=False),
    ),
    "finetune-L2": Case(
        "fine-tuning on SST-2, 2 layers × 128, batch 32",
        partial(finetuning.epoch, size=finetuning.SMALL),
    ),
    "finetune-L4": Case(
        "fine-tuning on SST-2, 4 layers × 256, batch 32",
        partial(finetuning.epoch, size=finetuning.MEDIUM),
    ),
    "evaluate-L2": Case(
        "evaluation on SST-2's dev set, 2 layers × 128",
        partial(finetuning.dev_set, size=finetuning.SMALL),
    ),
    "evaluate-L4": Case(
        "evaluation on SST-2's dev set, 4 layers × 256",
        partial(finetuning.dev_set, size=finetuning.MEDIUM),
    ),
    "analyses": Case(
        "what is looked at inside a BERT-Base", partial(parts.analyses, shape=inputs.BASE)
    ),
    **{
        name: Case(
            f"forward pass of a pruned BERT, dense and sparse, {SIZES[name]}",
            partial(inference.inference, shape=shape),
        )
        for name, shape in (("inference-L2", inputs.SMALL), ("inference-L4", inputs.MEDIUM))
    },
    "data": Case("from text to pairs of token ids", parts.data),
    "study": Case("the study ci, from nothing", parts.study),
    "stacked": Case(
        "4 variants at once, pre-training step, 2 layers × 128",
        partial(stacked.stacked, size=stacked.ON_CPU),
    ),
    "stacked-gpu": Case(
        "16 variants at once, pre-training step, 4 layers × 256",
        partial(stacked.stacked, size=stacked.ON_GPU),
        needs_gpu=True,
    ),
    "pretrain-base-gpu": Case(
        "pre-training step, BERT-Base in bf16, batch 256",
        partial(pretraining.steps, size=pretraining.BASE_ON_GPU),
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
