"""Cases: fine-tuning on SST-2 with held masks, and evaluation over its dev set."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from transformers import DataCollatorWithPadding

from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices
from bertprune.speed import made_up_inputs
from bertprune.speed.bench.pretraining_cases import SPARSITY
from bertprune.speed.bench.quantities import DYNAMIC, GROUPED, OURS, PADDED
from bertprune.speed.bench.rival import TorchPruner, seconds_of_evaluation, seconds_of_trainer_step
from bertprune.speed.bench.timing import Row, Setting, memory_rows
from bertprune.speed.made_up_inputs import DEV_PHRASES, PHRASES, Phrases
from bertprune.speed.stopwatch import finetuning_steps, quiet, seconds_of, seconds_of_our_step
from bertprune.training.finetuning import evaluate

RIVALS = (PADDED, DYNAMIC, GROUPED)
BATCH_SIZE = 32


@dataclass(frozen=True)
class Finetuning:
    """A BERT, and how long each timing is.

    Ours takes one epoch over the phrases. Batches of dynamic padding differ in length, so the rival
    takes 100 of them, two of the stretches that grouping sorts. Batches that are padded to 128 all
    take the same, and of these `padded_steps` will do.
    """

    shape: Shape
    dynamic_steps: int = 100
    padded_steps: int = 20
    phrases: int = PHRASES
    dev_phrases: int = DEV_PHRASES


@lru_cache(maxsize=1)
def _phrases(setting: Setting, train: int, dev: int) -> Phrases:
    return Phrases(setting.task_data, train, dev)


_classifier = lru_cache(maxsize=1)(made_up_inputs.classifier)
"""What all sides begin with; none of them changes it."""


def epoch(setting: Setting, size: Finetuning, *, with_memory: bool = True) -> Iterator[Row]:
    """Examples/s of ours and of the sides."""
    # What is done once in a process is done before, since here every step is timed.
    shorter = replace(size, dynamic_steps=2, padded_steps=2)
    with quiet():
        for side in (*RIVALS, OURS):
            _seconds(side, setting, shorter)
    lengths = _phrases(setting, size.phrases, size.dev_phrases).train.lengths
    flops = size.shape.training_flop(lengths.tolist()) / len(lengths)
    an_example = {"examples/s": 1.0, "tokens/s": lengths.mean(), "FLOP/s": flops}
    sides = {side: partial(_seconds, side, setting, size) for side in (OURS, *RIVALS)}
    yield from setting.compared(sides, a_second=an_example)
    if with_memory:
        yield from memory_rows(setting, GROUPED, _seconds, size)


def dev_set(setting: Setting, size: Finetuning) -> Iterator[Row]:
    """Evaluation over SST-2's dev set: the metrics of a model without dropout."""
    phrases = _phrases(setting, size.phrases, size.dev_phrases)
    model = copy.deepcopy(_classifier(size.shape)).to(setting.device)

    def by_trainer(side: str) -> float:
        return seconds_of_evaluation(
            model,
            phrases.of_rival("dev", padded=side == PADDED),
            setting=setting,
            batch_size=BATCH_SIZE,
            collator=_collator(side, phrases),
        )

    def by_us() -> float:
        accelerator = setting.accelerator
        return seconds_of(lambda: evaluate(model, phrases.dev, phrases.task, accelerator))

    sides = {OURS: by_us} | {side: partial(by_trainer, side) for side in (PADDED, DYNAMIC)}
    yield from setting.compared(sides, a_second={"examples/s": len(phrases.dev)})


def _collator(side: str, phrases: Phrases) -> DataCollatorWithPadding | None:
    return None if side == PADDED else DataCollatorWithPadding(phrases.tokenizer)


def _seconds(side: str, setting: Setting, size: Finetuning) -> float:
    """Seconds an example of one side, with half of the weights pruned."""
    phrases = _phrases(setting, size.phrases, size.dev_phrases)
    model = copy.deepcopy(_classifier(size.shape)).to(setting.device)
    masks = Criterion().masks(prunable_matrices(model), SPARSITY)
    train = phrases.train
    if side == OURS:
        order = train.order(0, 0, BATCH_SIZE)
        ours = finetuning_steps(model, train, order, masks)
        per_step = seconds_of_our_step([ours], setting.accelerator, skip=0)
        return per_step * len(order) / len(train)
    pruner = TorchPruner(model)
    pruner.hold(masks)
    per_step = seconds_of_trainer_step(
        model,
        phrases.of_rival("train", padded=side == PADDED),
        setting=setting,
        batch_size=BATCH_SIZE,
        steps=size.padded_steps if side == PADDED else size.dynamic_steps,
        skip=0,
        pruner=pruner,
        collator=_collator(side, phrases),
        sampling="group_by_length" if side == GROUPED else "random",
    )
    return per_step / BATCH_SIZE
