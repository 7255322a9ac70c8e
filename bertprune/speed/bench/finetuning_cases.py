"""Cases: fine-tuning on SST-2 with held masks, and evaluation over its dev set."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from transformers import BertForSequenceClassification, DataCollatorWithPadding

from bertprune.data.batches import ClassificationBatch
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.speed import made_up_inputs
from bertprune.speed.bench.pretraining_cases import SPARSITY
from bertprune.speed.bench.quantities import DYNAMIC, GROUPED, OURS, PADDED
from bertprune.speed.bench.sides import (
    TorchPruner,
    seconds_of_evaluation,
    seconds_of_our_step,
    seconds_of_trainer_step,
)
from bertprune.speed.bench.timing import (
    Row,
    Setting,
    in_turn,
    memory_rows,
    quiet,
    seconds_of,
)
from bertprune.speed.made_up_inputs import DEV_PHRASES, PHRASES, Phrases
from bertprune.training import processes
from bertprune.training.finetuning import ClassificationLoss, evaluate
from bertprune.training.variants import Optimization, Variant

RIVALS = (PADDED, DYNAMIC, GROUPED)
BATCH_SIZE = 32


@dataclass(frozen=True)
class Size:
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

    def made(self, setting: Setting) -> Phrases:
        return Phrases(setting.task_data, self.phrases, self.dev_phrases)

    def classifier(self) -> BertForSequenceClassification:
        config = fresh_model(self.shape, seed=0).config
        return BertForSequenceClassification(config)


SMALL, MEDIUM = Size(made_up_inputs.SMALL), Size(made_up_inputs.MEDIUM, padded_steps=10)


def epoch(setting: Setting, size: Size, *, with_memory: bool = True) -> Iterator[Row]:
    """Examples/s of ours and of the sides."""
    phrases, model = size.made(setting), size.classifier()
    sides = {
        side: partial(_seconds, side, setting, size, phrases, model) for side in (OURS, *RIVALS)
    }
    # What is done once in a process is done before, since here every step is timed.
    shorter = replace(size, dynamic_steps=2, padded_steps=2)
    with quiet():
        for side in RIVALS:
            _seconds(side, setting, shorter, phrases, model)
        sides[OURS]()
    seconds = in_turn(setting.case, sides, setting.repeats)
    flops = size.shape.training_flop(phrases.train.lengths.tolist()) / len(phrases.train)
    tokens = phrases.train.lengths.mean()
    for side, times in seconds.items():
        yield setting.row(side, "speed", "examples/s", [1 / time for time in times])
        yield setting.row(side, "speed", "tokens/s", [tokens / time for time in times])
        yield setting.row(side, "model arithmetic", "FLOP/s", [flops / time for time in times])
    yield from setting.ratios(seconds)
    if with_memory:
        yield from memory_rows(setting, GROUPED, _alone, size)


def dev_set(setting: Setting, size: Size) -> Iterator[Row]:
    """Evaluation over SST-2's dev set: the metrics of a model without dropout."""
    phrases, model = size.made(setting), size.classifier().to(setting.device)
    collator = DataCollatorWithPadding(phrases.tokenizer)

    def by_trainer(padded: bool) -> float:
        return seconds_of_evaluation(
            model,
            phrases.of_rival("dev", padded=padded),
            setting=setting,
            batch_size=BATCH_SIZE,
            collator=None if padded else collator,
        )

    def by_us() -> float:
        accelerator = processes.accelerator(setting.precision)
        return seconds_of(lambda: evaluate(model, phrases.dev, phrases.task, accelerator))

    seconds = in_turn(
        setting.case,
        {OURS: by_us, PADDED: partial(by_trainer, True), DYNAMIC: partial(by_trainer, False)},
        setting.repeats,
    )
    for side, times in seconds.items():
        speeds = [len(phrases.dev) / time for time in times]
        yield setting.row(side, "speed", "examples/s", speeds)
    yield from setting.ratios(seconds)


def _seconds(
    side: str, setting: Setting, size: Size, phrases: Phrases, start: BertForSequenceClassification
) -> float:
    """Seconds an example of one side, from the weights of `start`, half of them pruned."""
    model = copy.deepcopy(start).to(setting.device)
    criterion = Criterion()
    masks = criterion.masks(prunable_matrices(model), SPARSITY)
    if side == OURS:
        order = phrases.train.order(0, 0, BATCH_SIZE)

        def batch(step: int, rank: int, world: int) -> ClassificationBatch:
            return phrases.train.batch(order[step], rank, world)

        variant = Variant(
            ClassificationLoss(model),
            batch,
            Optimization(learning_rate=1e-4, steps=len(order)),
            seed=0,
            pruner=Pruner.holding(model, masks, criterion),
        )
        per_step = seconds_of_our_step([variant], setting=setting, steps=len(order), skip=0)
        return per_step * len(order) / len(phrases.train)
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
        collator=None if side == PADDED else DataCollatorWithPadding(phrases.tokenizer),
        sampling="group_by_length" if side == GROUPED else "random",
    )
    return per_step / BATCH_SIZE


def _alone(side: str, setting: Setting, size: Size) -> float:
    setting.use_threads()
    return _seconds(side, setting, size, size.made(setting), size.classifier())
