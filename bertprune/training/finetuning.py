"""Fine-tuning on tasks: with masks held, without them, and with pruning afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor
from transformers import BertForSequenceClassification

from bertprune.analysis import pruned_parts
from bertprune.analysis.sort_order import Movement
from bertprune.data.batches import ClassificationBatch
from bertprune.data.glue import Task
from bertprune.data.task_examples import TaskExamples, compute_metrics
from bertprune.data.tasks import load_task, task_key
from bertprune.data.tokenizer import KeyedTokenizer, load_tokenizer, tokenizer_key
from bertprune.model import forward, loading
from bertprune.model.precision import precision_of
from bertprune.protocol import predictions, rows
from bertprune.protocol.arms import PRUNE_PRETRAIN, arm_of
from bertprune.protocol.evaluation import (
    FINETUNING_EVALUATION_BATCH,
    TRAINING_EXAMPLES_EVALUATED,
)
from bertprune.protocol.notebook_parameters import (
    ADAMW,
    Finetune,
    InformationDeletion,
    PruneAfterFinetune,
)
from bertprune.protocol.predictions import PREDICTIONS_FILE
from bertprune.protocol.rows import History, Split, entry
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule, goes_on
from bertprune.training import processes
from bertprune.training.checkpoint import CHECKPOINT_FILE
from bertprune.training.loop import train
from bertprune.training.stacks import train_in_stacks
from bertprune.training.variants import Ahead, Loss, Optimization, Variant

if TYPE_CHECKING:
    from bertprune.training.dispatch import Job


class ClassificationLoss(Loss):
    """Mean cross-entropy of a batch, over the global batch where `processes` share it."""

    only_looks_words_up = True

    def of(
        self, weights: forward.Weights, batch: ClassificationBatch, drop: forward.Drop
    ) -> Tensor:
        logits = _logits(weights, self.form, batch, drop)
        loss = forward.summed_cross_entropy(logits, batch.labels)
        return self.processes * loss / batch.examples_total


@dataclass(frozen=True)
class TaskSplits:
    """A task with its tokenised splits."""

    task: Task
    train: TaskExamples
    dev: TaskExamples


@lru_cache(maxsize=8)
def _splits(
    name: str, source: str, content: str, tokenizer: KeyedTokenizer, max_length_tokens: int
) -> TaskSplits:
    """A task tokenised, once for all trainings on it; `content` is its key."""
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
    *,
    most: int | None = None,
) -> tuple[dict[str, float], NDArray[np.int64]]:
    """The task's metrics over all `examples`, or a sample of `most`, and the mean loss (nats),
    without dropout; and the class that the model gives each of them, in their order."""
    weights, form = forward.weights_of(model), forward.Architecture.of(model.config)
    chosen = examples.sample(most or len(examples))
    loss, predicted = 0.0, np.empty(len(examples), dtype=np.int64)
    for indices in examples.sorted_batches(FINETUNING_EVALUATION_BATCH, chosen):
        batch = examples.batch(indices).to(accelerator.device)
        with accelerator.autocast():
            logits = _logits(weights, form, batch)
        loss += float(forward.summed_cross_entropy(logits, batch.labels))
        predicted[indices] = logits.argmax(-1).cpu().numpy()
    metrics = compute_metrics(task, examples.labels[chosen], predicted[chosen])
    return metrics | {"loss": loss / len(chosen)}, predicted[chosen]


def work(job: Job) -> rows.Rows:
    """Fine-tune on each task at each learning rate; those that are finished are not repeated.

    Plain fine-tuning starts from the model upstream and holds its masks. Information deletion
    (the paper, section 4) takes them off: the pruned weights start at zero and may move, so what
    pruning deleted is gone, while the complexity of the model is not restricted. Pruning after
    fine-tuning prunes the fine-tuned dense models upstream in one shot and fine-tunes on, with
    epochs counted from there; its rows have how much the masks differ from those of the model that
    it is compared with.

    What the models predict on the dev sets in the end goes to the folder's `PREDICTIONS_FILE`.

    The dense model's fine-tuned ones are kept in the folder's "model", for pruning after
    fine-tuning, and how far their weights move is in the rows. On a GPU, which one small model
    leaves nearly idle, the learning rates train together.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    accelerator = processes.accelerator(precision_of(job.parameters))
    parts, predicted = [], []
    for task, trainings in _trainings(job).items():
        left = [training for training in trainings if not training.rows_file.exists()]
        for together in _together(left, accelerator):
            variants = {training.own_folder: training.variant(accelerator) for training in together}
            what = f"{job.parameters.notebook} {task}"
            train_in_stacks(variants, accelerator, folder=job.folder, what=what)
            for training in together:
                history = training.finish(variants.pop(training.own_folder), accelerator)
                if processes.is_main_process():
                    training.write(history)
                    (training.own_folder / CHECKPOINT_FILE).unlink(missing_ok=True)
                processes.wait_for_everyone()
        parts += [rows.read(training.rows_file) for training in trainings]
        predicted += [predictions.read(training.predictions_file) for training in trainings]
    if processes.is_main_process():
        predictions.write(predictions.join(predicted), job.folder / PREDICTIONS_FILE)
    return rows.join(parts)


def ahead(job: Job, accelerator: Accelerator) -> Iterator[Ahead]:
    """The trainings that a run has ahead of it."""
    for task, trainings in _trainings(job).items():
        for training in trainings:
            if not training.rows_file.exists():
                yield Ahead(task, training.own_folder, partial(training.variant, accelerator))


def _trainings(job: Job) -> dict[str, list[_Training]]:
    """By task, those of each learning rate."""
    parameters = cast(Finetune, job.parameters)
    return {
        task: [_Training(job, parameters, task, rate) for rate in parameters.learning_rates]
        for task in parameters.task
    }


def _together(left: list[_Training], accelerator: Accelerator) -> list[list[_Training]]:
    """Which of the trainings of a task are done together."""
    if left and accelerator.device.type == "cuda" and accelerator.num_processes == 1:
        return [left]
    return [[training] for training in left]


@dataclass(frozen=True)
class _Training:
    """Fine-tuning on one task at one learning rate, of those of a run."""

    job: Job
    parameters: Finetune
    task: str
    learning_rate: float

    @property
    def _name(self) -> str:
        return f"{self.task}-{self.learning_rate:g}"

    @property
    def own_folder(self) -> Path:
        """Where its checkpoint is kept until it is done."""
        return self.job.folder / self._name

    @property
    def rows_file(self) -> Path:
        return self.job.folder / f"{self._name}.csv"

    @property
    def predictions_file(self) -> Path:
        return self.job.folder / f"{self._name}.parquet"

    @property
    def _start(self) -> Path:
        """The folder of the model to begin with."""
        assert self.job.upstream is not None
        is_tuned = isinstance(self.parameters, PruneAfterFinetune)
        return self.job.upstream / self._name if is_tuned else self.job.upstream

    @property
    def _epochs(self) -> int:
        p = self.parameters
        return p.recovery_epochs if isinstance(p, PruneAfterFinetune) else p.epochs

    def _pruner(self, model: BertForSequenceClassification) -> Pruner | None:
        parameters, criterion = self.parameters, Criterion.of(self.parameters)
        if isinstance(parameters, InformationDeletion):
            return None
        if isinstance(parameters, PruneAfterFinetune):
            at_once = Schedule(
                parameters.sparsity,
                frequency_steps=parameters.pruning_frequency_steps,
                goes_on=goes_on(parameters),
            )
            return Pruner.following(model, at_once, criterion)
        masks = loading.load_masks(self._start, model)
        pruner = Pruner.holding(model, masks, criterion)
        pruner.check(parameters.sparsity)
        return pruner

    @property
    def _is_dense_finetuning(self) -> bool:
        """Whether this is the model that others are compared with and prune."""
        return type(self.parameters) is Finetune and self.parameters.sparsity == 0

    def _optimization(self, an_epoch: int) -> Optimization:
        """With epochs of `an_epoch` steps."""
        parameters = self.parameters
        ends, begins = parameters.decay_ends_epochs, 0.0
        if isinstance(parameters, PruneAfterFinetune):
            ends, begins = parameters.recovery_decay_ends_epochs, parameters.recovery_begins_epoch
        warmup_steps = parameters.warmup_steps
        if parameters.warmup_epochs:
            warmup_steps = round(parameters.warmup_epochs * an_epoch)
        return Optimization(
            learning_rate=self.learning_rate,
            steps=self._epochs * an_epoch,
            warmup_steps=warmup_steps,
            decay_ends=tuple(round(end * an_epoch) for end in ends),
            begins=round(begins * an_epoch),
            bias_correction=parameters.optimizer == ADAMW,
        )

    def variant(self, accelerator: Accelerator) -> Variant:
        """Dev metrics after each epoch; after the last also those over the training set, or
        a sample of it, and what the model predicts on the dev set."""
        parameters, epochs = self.parameters, self._epochs
        tokenizer = load_tokenizer(str(self._start))
        splits = _splits(
            self.task,
            parameters.task_data,
            task_key(self.task, parameters.task_data),
            KeyedTokenizer(tokenizer_key(tokenizer), tokenizer),
            parameters.max_length_tokens,
        )
        batches = _Batches(splits, parameters.seed, parameters.batch_size)
        labels = len(splits.task.labels)
        model = loading.load_classifier(str(self._start), labels=labels, seed=parameters.seed)
        model.to(accelerator.device)
        is_followed = self._is_dense_finetuning and arm_of(parameters) == PRUNE_PRETRAIN
        movement = Movement(_moving(model)) if is_followed else None

        def measured(step: int) -> rows.History:
            epoch = step // batches.an_epoch
            found = _evaluated(model, splits, accelerator, is_last=epoch == epochs)
            if movement is not None:
                moved = movement.entries(_moving(model), by_position=epoch == epochs)
                found += map(dict, moved)
            return [{"step": step, "epoch": epoch, **one} for one in found]

        return Variant(
            ClassificationLoss(model, accelerator.num_processes),
            batches,
            self._optimization(batches.an_epoch),
            parameters.seed,
            self._pruner(model),
            measured,
            frozenset(batches.an_epoch * epoch for epoch in range(1, epochs + 1)),
        )

    def finish(self, variant: Variant, accelerator: Accelerator) -> History:
        """Train, unless that is done; a model that others start from is kept."""
        parameters, model, pruner = self.parameters, variant.loss.model, variant.pruner
        what = f"{parameters.notebook} {self.task} at {self.learning_rate:g}"
        (history,) = train([variant], accelerator, folder=self.own_folder, what=what)
        if self._epochs == 0:
            if pruner is not None:
                pruner.before_step(0)
            history = variant.evaluate(0)
        if pruner is not None:
            pruner.check(parameters.sparsity)
            if self.job.compared_with is not None:
                others = loading.load_masks(self.job.compared_with, model)
                at = {"step": variant.optimization.steps, "epoch": self._epochs}
                found = pruned_parts.difference(pruner.masks, others)
                history = history + [{**at, **one} for one in found]
            if self._is_dense_finetuning and accelerator.is_main_process:
                kept = self.job.folder / "model" / self._name
                tokenizer = load_tokenizer(str(self._start))
                loading.save_pretrained(model, tokenizer, pruner.masks, kept)
        return history

    def write(self, history: History) -> None:
        """Its predictions and rows: with these it is done."""
        place: dict[str, Any] = {
            "arm": arm_of(self.parameters),
            "task": self.task,
            "sparsity": self.parameters.sparsity,
            "learning_rate": self.learning_rate,
            "seed": self.parameters.seed,
        }
        measured = [one for one in history if "predicted" not in one]
        (predicted,) = (one for one in history if "predicted" in one)
        predictions.write(predictions.of(predicted, place), self.predictions_file)
        rows.write(rows.of_history(measured, **place), self.rows_file)


@dataclass(frozen=True)
class _Batches:
    """The training batches of a task, which are the same for equal seeds and sizes."""

    splits: TaskSplits
    seed: int
    batch_size: int

    @property
    def an_epoch(self) -> int:
        return -(-len(self.splits.train) // self.batch_size)

    def __call__(self, step: int, rank: int, world: int) -> ClassificationBatch:
        epoch, place = divmod(step, self.an_epoch)
        return self.splits.train.batch(_order(self, epoch)[place], rank, world)


@lru_cache(maxsize=64)
def _order(batches: _Batches, epoch: int) -> list[np.ndarray]:
    return batches.splits.train.order(epoch, batches.seed, batches.batch_size)


def _evaluated(
    model: BertForSequenceClassification,
    splits: TaskSplits,
    accelerator: Accelerator,
    is_last: bool,
) -> History:
    """Metrics over the dev set; at last those over the training set too, or a sample of
    it, and what the model predicts on the dev set, beside labels and lengths."""
    dev, train = splits.dev, splits.train
    metrics, predicted = evaluate(model, dev, splits.task, accelerator)
    found: History = [dict(entry(Split.DEV, name, value)) for name, value in metrics.items()]
    if is_last:
        most = TRAINING_EXAMPLES_EVALUATED
        metrics, _ = evaluate(model, train, splits.task, accelerator, most=most)
        found += [dict(entry(Split.TRAIN, name, value)) for name, value in metrics.items()]
        by_example = {"predicted": predicted, "labels": dev.labels, "lengths": dev.lengths}
        found.append({name: numbers.tolist() for name, numbers in by_example.items()})
    return found


def _moving(model: BertForSequenceClassification) -> dict[str, Tensor]:
    """The matrices whose movement is measured: as in the paper, all prunable ones but the word
    embeddings."""
    matrices = prunable_matrices(model)
    return {name: weight for name, weight in matrices.items() if name != WORD_EMBEDDINGS}


def _logits(
    weights: forward.Weights,
    form: forward.Architecture,
    batch: ClassificationBatch,
    drop: forward.Drop = forward.no_dropout,
) -> Tensor:
    """Class logits (K, B, labels)."""
    first = torch.zeros_like(batch.labels).unsqueeze(-1)
    inputs = forward.Inputs(
        batch.input_ids, batch.token_type_ids, batch.attention_mask.bool(), first
    )
    return forward.classify(weights, form, inputs, drop)
