"""Cases: fine-tuning on SST-2 with held masks, and evaluation over its dev set."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from transformers import DataCollatorWithPadding

from bertprune.data.task_examples import BATCHES_SORTED_TOGETHER
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices
from bertprune.speed import made_up_inputs
from bertprune.speed.bench.pretraining_cases import SPARSITY
from bertprune.speed.bench.quantities import DYNAMIC, GROUPED, OURS, PADDED
from bertprune.speed.bench.rival import TorchPruner, seconds_of_evaluation, seconds_of_trainer_step
from bertprune.speed.bench.timing import Row, Setting, against_bf16, in_turn, memory_rows
from bertprune.speed.made_up_inputs import DEV_PHRASES, Example, Phrases
from bertprune.speed.stopwatch import finetuning_steps, quiet, seconds_of, seconds_of_our_step
from bertprune.training.finetuning import evaluate

BATCH_SIZE = 32


@dataclass(frozen=True)
class Finetuning:
    """A BERT, and how long each timing is.

    Ours takes one epoch over the phrases, which it sorts by length together. The rival, which sorts
    a quarter of them together, has four times as many, and takes a quarter of an epoch where it
    groups them by length. Without that it takes `dynamic_steps`, which differ in length. Batches
    that are padded to 128 all take the same, and of these `padded_steps` will do.
    """

    shape: Shape
    phrases: int = BATCHES_SORTED_TOGETHER * BATCH_SIZE
    dev_phrases: int = DEV_PHRASES
    padded_steps: int = 3
    dynamic_steps: int = 15

    def rival_steps(self) -> dict[str, int]:
        grouped = self.phrases // BATCH_SIZE
        return {PADDED: self.padded_steps, DYNAMIC: self.dynamic_steps, GROUPED: grouped}


@lru_cache(maxsize=2)
def _phrases(task_data: str, train: int, dev: int) -> Phrases:
    return Phrases(train, dev, task_data)


@lru_cache(maxsize=2)
def _of_rival(phrases: Phrases, split: str, padded: bool) -> list[Example]:
    return phrases.of_rival(split, padded=padded)


_classifier = lru_cache(maxsize=1)(made_up_inputs.classifier)
"""What all sides begin with; none of them changes it."""


def epoch(
    setting: Setting,
    size: Finetuning,
    *,
    rivals: Sequence[str] = (PADDED, DYNAMIC, GROUPED),
    in_bf16: bool = False,
    with_memory: bool = True,
) -> Iterator[Row]:
    """Examples/s of ours and of the rivals; also `in_bf16` if the processor multiplies that
    itself."""
    settings = setting.in_each_precision() if in_bf16 else [setting]

    def works(one: Setting, size: Finetuning = size) -> dict[str, Callable[[], float]]:
        return {side: partial(_seconds, side, one, size) for side in (OURS, *rivals)}

    # What is done once in a process is done before, since here every step is timed.
    shorter = replace(size, phrases=2 * BATCH_SIZE, padded_steps=2, dynamic_steps=2)
    with quiet():
        for one in settings:
            for work in works(one, shorter).values():
                work()
    lengths = _phrases(setting.task_data, size.phrases, size.dev_phrases).train.lengths
    flops = size.shape.training_flop(lengths.tolist()) / len(lengths)
    an_example = {"examples/s": 1.0, "tokens/s": lengths.mean(), "FLOP/s": flops}
    seconds = in_turn(settings, works)
    for one, of_one in seconds.items():
        yield from one.rows(of_one, a_second=an_example)
        yield from one.ratios(of_one)
    yield from against_bf16(seconds)
    if with_memory:
        yield from memory_rows(setting, GROUPED, _seconds, size)


def dev_set(setting: Setting, size: Finetuning) -> Iterator[Row]:
    """Evaluation over SST-2's dev set: the metrics of a model without dropout."""
    phrases = _phrases(setting.task_data, size.phrases, size.dev_phrases)
    model = copy.deepcopy(_classifier(size.shape)).to(setting.device)

    def by_trainer(side: str) -> float:
        return seconds_of_evaluation(
            model,
            _of_rival(phrases, "dev", side == PADDED),
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
    model = copy.deepcopy(_classifier(size.shape)).to(setting.device)
    masks = Criterion().masks(prunable_matrices(model), SPARSITY)
    if side == OURS:
        train = _phrases(setting.task_data, size.phrases, size.dev_phrases).train
        order = train.order(0, 0, BATCH_SIZE)
        ours = finetuning_steps(model, train, order, masks)
        per_step = seconds_of_our_step([ours], setting.accelerator, skip=0)
        return per_step * len(order) / len(train)
    pruner = TorchPruner(model)
    pruner.hold(masks)
    phrases = _phrases(setting.task_data, 4 * size.phrases, size.dev_phrases)
    per_step = seconds_of_trainer_step(
        model,
        _of_rival(phrases, "train", side == PADDED),
        setting=setting,
        batch_size=BATCH_SIZE,
        steps=size.rival_steps()[side],
        skip=0,
        pruner=pruner,
        collator=_collator(side, phrases),
        sampling="group_by_length" if side == GROUPED else "random",
    )
    return per_step / BATCH_SIZE
