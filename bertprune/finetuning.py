"""Fine-tuning on tasks: with masks held, without them, and with pruning afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from bertprune import bert, models, rows, training
from bertprune.analysis import masks
from bertprune.analysis.entries import Entry, entry
from bertprune.analysis.movement import Movement
from bertprune.contracts import Finetune, InformationDeletion, PruneAfterFinetune
from bertprune.data.tasks import (
    ClassificationBatch,
    Task,
    TaskExamples,
    compute_metrics,
    load_task,
    task_key,
)
from bertprune.data.tokenizer import load_tokenizer, tokenizer_key
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule

_EVALUATION_BATCH_SIZE = 256

MakePruner = Callable[[BertForSequenceClassification], Pruner | None]


class ClassificationLoss(training.Loss):
    """Mean cross-entropy of a batch, over the global batch where `processes` share it."""

    def of(self, weights: bert.Weights, batch: ClassificationBatch, drop: bert.Drop) -> Tensor:
        logits = _logits(weights, self.form, batch, drop)
        loss = bert.summed_cross_entropy(logits, batch.labels)
        return self.processes * loss / batch.examples_total


@dataclass(frozen=True)
class TaskSplits:
    """A task with its tokenised splits."""

    task: Task
    train: TaskExamples
    dev: TaskExamples


@dataclass(frozen=True)
class _Tokenizer:
    """A tokenizer that equals those that give the same tokens."""

    key: str
    tokenizer: PreTrainedTokenizerFast = field(compare=False)


@lru_cache(maxsize=1)
def _splits(
    name: str, source: str, content: str, tokenizer: _Tokenizer, max_length_tokens: int
) -> TaskSplits:
    """A task tokenised, once for all learning rates of a notebook; `content` is its key."""
    data = load_task(name, source)
    train, dev = (
        TaskExamples(frame, data.task, tokenizer.tokenizer, max_length_tokens)
        for frame in (data.train, data.dev)
    )
    return TaskSplits(data.task, train, dev)


@torch.inference_mode()
def evaluate(
    model: BertForSequenceClassification,
    examples: TaskExamples,
    task: Task,
    accelerator: Accelerator,
) -> dict[str, float]:
    """The task's metrics over all `examples` and the mean loss (nats), without dropout."""
    weights, form = bert.weights_of(model), bert.Architecture.of(model.config)
    loss, predictions = 0.0, np.empty(len(examples), dtype=np.int64)
    for indices in examples.sorted_batches(_EVALUATION_BATCH_SIZE):
        batch = examples.batch(indices).to(accelerator.device)
        with accelerator.autocast():
            logits = _logits(weights, form, batch)
        loss += float(bert.summed_cross_entropy(logits, batch.labels))
        predictions[indices] = logits.argmax(-1).cpu().numpy()
    return compute_metrics(task, examples.labels, predictions) | {"loss": loss / len(examples)}


def finetune(parameters: Finetune, upstream: Path, folder: Path) -> rows.Rows:
    """Fine-tune the model in `upstream` on each task at each learning rate, its masks held.

    The dense model's fine-tuned ones are kept in `folder`/model: pruning after fine-tuning starts
    from them. How far their weights move is in the rows.
    """
    criterion = Criterion(parameters.method, parameters.scope, parameters.seed)

    def held(model: BertForSequenceClassification) -> Pruner:
        pruner = Pruner.holding(model, models.load_masks(upstream, model), criterion)
        pruner.check(parameters.sparsity)
        return pruner

    work = _Work(
        parameters,
        start=lambda _: upstream,
        epochs=parameters.epochs,
        make_pruner=held,
        keep=folder / "model" if parameters.sparsity == 0 else None,
        with_movement=parameters.arm == "prune_pretrain" and parameters.sparsity == 0,
    )
    return _each(work, folder)


def information_deletion(
    parameters: InformationDeletion, upstream: Path, folder: Path
) -> rows.Rows:
    """Fine-tune the pruned model in `upstream` with its masks taken off (the paper, section 4).

    The pruned weights start at zero and may move: what pruning deleted is gone, while the
    complexity of the model is not restricted.
    """
    work = _Work(
        parameters,
        start=lambda _: upstream,
        epochs=parameters.epochs,
        make_pruner=lambda model: None,
    )
    return _each(work, folder)


def prune_after_finetune(
    parameters: PruneAfterFinetune,
    upstream: Path,
    folder: Path,
    compared_with: Path | None = None,
) -> rows.Rows:
    """Prune the fine-tuned dense models in `upstream` in one shot, then fine-tune on.

    Epochs are counted from the start of recovery. The rows have how much the masks differ from
    those of the model in `compared_with`.
    """
    criterion = Criterion(parameters.method, parameters.scope, parameters.seed)

    def one_shot(model: BertForSequenceClassification) -> Pruner:
        return Pruner.following(model, Schedule(parameters.sparsity), criterion)

    work = _Work(
        parameters,
        start=lambda name: upstream / name,
        epochs=parameters.recovery_epochs,
        make_pruner=one_shot,
        compared_with=compared_with,
    )
    return _each(work, folder)


@dataclass(frozen=True)
class _Work:
    """What fine-tuning of a notebook does with each of its tasks and learning rates.

    `start` gives the folder of the model to begin with, and `keep` is where to leave what becomes
    of it, both by a name of task and learning rate. `with_movement`: how far the weights have moved
    after each epoch. `compared_with`: the folder of a model, how much whose masks differ.
    """

    parameters: Finetune
    start: Callable[[str], Path]
    epochs: int
    make_pruner: MakePruner
    keep: Path | None = None
    with_movement: bool = False
    compared_with: Path | None = None


def _each(work: _Work, folder: Path) -> rows.Rows:
    """Rows of all tasks and learning rates; those that are finished are not repeated.

    On a GPU, which one small model leaves nearly idle, the learning rates train together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters = work.parameters
    accelerator = training.accelerator(parameters.precision)
    parts = []
    for task in parameters.task:
        files = {rate: folder / f"{task}-{rate:g}.csv" for rate in parameters.learning_rates}
        left = [rate for rate, file in files.items() if not file.exists()]
        for rates in _together(left, accelerator):
            found = _finetune(work, task, rates, folder, accelerator)
            if training.is_main_process():
                for rate, its_rows in zip(rates, found, strict=True):
                    rows.write(its_rows, files[rate])
                _checkpoint_folder(folder, task, rates).joinpath(training.CHECKPOINT_FILE).unlink(
                    missing_ok=True
                )
            training.wait_for_everyone()
        parts += [rows.read(file) for file in files.values()]
    return rows.join(parts)


def _together(rates: list[float], accelerator: Accelerator) -> list[list[float]]:
    """Which learning rates train together."""
    if rates and accelerator.device.type == "cuda" and accelerator.num_processes == 1:
        return [rates]
    return [[rate] for rate in rates]


def _checkpoint_folder(folder: Path, task: str, rates: Sequence[float]) -> Path:
    return folder / "-".join([task, *(f"{rate:g}" for rate in rates)])


def _finetune(
    work: _Work, name: str, rates: Sequence[float], folder: Path, accelerator: Accelerator
) -> list[rows.Rows]:
    """Train on task `name` at each of `rates`, together; dev metrics after each epoch, the loss
    over the whole training set after the last. Rows of each learning rate."""
    parameters, epochs = work.parameters, work.epochs
    tokenizer = load_tokenizer(str(work.start(f"{name}-{rates[0]:g}")))
    splits = _splits(
        name,
        parameters.task_data,
        task_key(name, parameters.task_data),
        _Tokenizer(tokenizer_key(tokenizer), tokenizer),
        parameters.max_length_tokens,
    )
    train = splits.train
    batches = -(-len(train) // parameters.batch_size)

    @lru_cache(maxsize=1)
    def order(epoch: int) -> list[np.ndarray]:
        return train.order(epoch, parameters.seed, parameters.batch_size)

    def batch(step: int, rank: int, world: int) -> ClassificationBatch:
        return train.batch(order(step // batches)[step % batches], rank, world)

    def variant(rate: float) -> training.Variant:
        start = work.start(f"{name}-{rate:g}")
        labels = len(splits.task.labels)
        model = models.load_classifier(str(start), labels=labels, seed=parameters.seed)
        model.to(accelerator.device)
        movement = Movement(_moving(model)) if work.with_movement else None

        def measured(step: int) -> training.History:
            epoch = step // batches
            found = _evaluated(model, splits, accelerator, with_train=epoch == epochs)
            if movement is not None:
                found += movement.entries(_moving(model), by_position=epoch == epochs)
            return [{"step": step, "epoch": epoch, **one} for one in found]

        return training.Variant(
            ClassificationLoss(model, accelerator.num_processes),
            batch,
            training.Optimization(
                learning_rate=rate, steps=epochs * batches, warmup_steps=parameters.warmup_steps
            ),
            parameters.seed,
            work.make_pruner(model),
            measured,
        )

    variants = [variant(rate) for rate in rates]
    trained = training.train_together(
        variants,
        accelerator=accelerator,
        folder=_checkpoint_folder(folder, name, rates),
        what=f"{parameters.notebook} {name} at {', '.join(f'{rate:g}' for rate in rates)}",
        evaluate_after={batches * epoch for epoch in range(1, epochs + 1)},
    )
    found = []
    for one, rate, training_of_it in zip(variants, rates, trained, strict=True):
        keep = work.keep / f"{name}-{rate:g}" if work.keep else None
        if keep is not None and not accelerator.is_main_process:
            keep = None
        history = _finished(work, one, training_of_it.history, tokenizer, keep)
        found.append(
            rows.of_history(
                history,
                arm=parameters.arm,
                task=name,
                sparsity=parameters.sparsity,
                learning_rate=rate,
                seed=parameters.seed,
            )
        )
    return found


def _evaluated(
    model: BertForSequenceClassification,
    splits: TaskSplits,
    accelerator: Accelerator,
    with_train: bool,
) -> list[Entry]:
    """Metrics over the dev set and, if asked for, over the training set."""
    examples = {"dev": splits.dev} | ({"train": splits.train} if with_train else {})
    return [
        entry(split, metric, value)
        for split, of_split in examples.items()
        for metric, value in evaluate(model, of_split, splits.task, accelerator).items()
    ]


def _finished(
    work: _Work,
    variant: training.Variant,
    history: training.History,
    tokenizer: PreTrainedTokenizerFast,
    keep: Path | None,
) -> training.History:
    """The history of a model that is trained, with what is measured at its end; it goes to
    `keep`."""
    model, pruner, steps = variant.loss.model, variant.pruner, variant.optimization.steps
    if work.epochs == 0 and variant.evaluate is not None:
        if pruner is not None:
            pruner.before_step(0)
        history = variant.evaluate(0)
    if pruner is None:
        return history
    pruner.check(work.parameters.sparsity)
    if keep is not None:
        models.save_pretrained(model, tokenizer, pruner.masks, keep)
    if work.compared_with is None:
        return history
    found = masks.difference(pruner.masks, models.load_masks(work.compared_with, model))
    return history + [{"step": steps, "epoch": work.epochs, **one} for one in found]


def _moving(model: BertForSequenceClassification) -> dict[str, Tensor]:
    """The matrices whose movement is measured: as in the paper, all prunable ones but the word
    embeddings."""
    matrices = prunable_matrices(model)
    return {name: weight for name, weight in matrices.items() if name != WORD_EMBEDDINGS}


def _logits(
    weights: bert.Weights,
    form: bert.Architecture,
    batch: ClassificationBatch,
    drop: bert.Drop = bert.no_dropout,
) -> Tensor:
    """Class logits (K, B, labels)."""
    first = torch.zeros_like(batch.labels).unsqueeze(-1)
    inputs = bert.Inputs(batch.input_ids, batch.token_type_ids, batch.attention_mask.bool(), first)
    return bert.classify(weights, form, inputs, drop)
