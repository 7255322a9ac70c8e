"""Fine-tuning on tasks: with masks held, without them, and with pruning afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import BertForSequenceClassification

from bertprune.analysis import mask_difference
from bertprune.analysis.entries import Entry, entry
from bertprune.analysis.sort_order import Movement
from bertprune.data.glue import Task
from bertprune.data.tasks import (
    ClassificationBatch,
    TaskExamples,
    compute_metrics,
    load_task,
    task_key,
)
from bertprune.data.tokenizer import KeyedTokenizer, load_tokenizer, tokenizer_key
from bertprune.model import checkpoints, forward
from bertprune.protocol import rows
from bertprune.protocol.arms import PRUNE_PRETRAIN, arm_of
from bertprune.protocol.notebook_parameters import (
    Finetune,
    InformationDeletion,
    PruneAfterFinetune,
)
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.training import loop

_EVALUATION_BATCH_SIZE = 256

MakePruner = Callable[[BertForSequenceClassification], Pruner | None]


class ClassificationLoss(loop.Loss):
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
) -> dict[str, float]:
    """The task's metrics over all `examples` and the mean loss (nats), without dropout."""
    weights, form = forward.weights_of(model), forward.Architecture.of(model.config)
    loss, predictions = 0.0, np.empty(len(examples), dtype=np.int64)
    for indices in examples.sorted_batches(_EVALUATION_BATCH_SIZE):
        batch = examples.batch(indices).to(accelerator.device)
        with accelerator.autocast():
            logits = _logits(weights, form, batch)
        loss += float(forward.summed_cross_entropy(logits, batch.labels))
        predictions[indices] = logits.argmax(-1).cpu().numpy()
    return compute_metrics(task, examples.labels, predictions) | {"loss": loss / len(examples)}


def finetune(parameters: Finetune, upstream: Path, folder: Path) -> rows.Rows:
    """Fine-tune the model in `upstream` on each task at each learning rate, its masks held.

    The dense model's fine-tuned ones are kept in `folder`/model: pruning after fine-tuning starts
    from them. How far their weights move is in the rows.
    """
    return _each(_work(parameters, upstream, folder), folder)


def information_deletion(
    parameters: InformationDeletion, upstream: Path, folder: Path
) -> rows.Rows:
    """Fine-tune the pruned model in `upstream` with its masks taken off (the paper, section 4).

    The pruned weights start at zero and may move: what pruning deleted is gone, while the
    complexity of the model is not restricted.
    """
    return _each(_work(parameters, upstream, folder), folder)


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
    return _each(_work(parameters, upstream, folder, compared_with), folder)


def jobs(
    parameters: Finetune,
    upstream: Path,
    folder: Path,
    compared_with: Path | None,
    accelerator: Accelerator,
) -> Iterator[tuple[str, Callable[[], loop.Job]]]:
    """How to make the trainings that a run has ahead of it, each with the task that it is of."""
    work = _work(parameters, upstream, folder, compared_with)
    for task in parameters.task:
        for rate in parameters.learning_rates:
            if not _rows_file(folder, task, rate).exists():
                yield task, partial(_job, work, task, rate, folder, accelerator)


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


def _work(
    parameters: Finetune, upstream: Path, folder: Path, compared_with: Path | None = None
) -> _Work:
    criterion = Criterion(parameters.method, parameters.scope, parameters.seed)
    if isinstance(parameters, InformationDeletion):
        return _Work(parameters, lambda _: upstream, parameters.epochs, lambda model: None)
    if isinstance(parameters, PruneAfterFinetune):

        def one_shot(model: BertForSequenceClassification) -> Pruner:
            return Pruner.following(model, Schedule(parameters.sparsity), criterion)

        return _Work(
            parameters,
            lambda name: upstream / name,
            parameters.recovery_epochs,
            one_shot,
            compared_with=compared_with,
        )

    def held(model: BertForSequenceClassification) -> Pruner:
        pruner = Pruner.holding(model, checkpoints.load_masks(upstream, model), criterion)
        pruner.check(parameters.sparsity)
        return pruner

    return _Work(
        parameters,
        lambda _: upstream,
        parameters.epochs,
        held,
        keep=folder / "model" if parameters.sparsity == 0 else None,
        with_movement=arm_of(parameters) == PRUNE_PRETRAIN and parameters.sparsity == 0,
    )


def _each(work: _Work, folder: Path) -> rows.Rows:
    """Rows of all tasks and learning rates; those that are finished are not repeated.

    On a GPU, which one small model leaves nearly idle, the learning rates train together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters = work.parameters
    accelerator = loop.accelerator(parameters.precision)
    parts = []
    for task in parameters.task:
        files = {rate: _rows_file(folder, task, rate) for rate in parameters.learning_rates}
        left = [rate for rate, file in files.items() if not file.exists()]
        for rates in _together(left, accelerator):
            ahead = [_job(work, task, rate, folder, accelerator) for rate in rates]
            what = f"{parameters.notebook} {task}"
            loop.do_together(ahead, accelerator, folder=folder, what=what)
            for rate, job in zip(rates, ahead, strict=True):
                found = _finetuned(work, task, rate, job, accelerator)
                if loop.is_main_process():
                    rows.write(found, files[rate])
                    job.checkpoint.unlink(missing_ok=True)
                loop.wait_for_everyone()
        parts += [rows.read(file) for file in files.values()]
    return rows.join(parts)


def _together(rates: list[float], accelerator: Accelerator) -> list[list[float]]:
    """Which learning rates train together."""
    if rates and accelerator.device.type == "cuda" and accelerator.num_processes == 1:
        return [rates]
    return [[rate] for rate in rates]


def _rows_file(folder: Path, task: str, rate: float) -> Path:
    return folder / f"{task}-{rate:g}.csv"


def _job(work: _Work, name: str, rate: float, folder: Path, accelerator: Accelerator) -> loop.Job:
    """Training on task `name` at a learning rate; dev metrics after each epoch, the loss over the
    whole training set after the last."""
    parameters, epochs = work.parameters, work.epochs
    start = str(work.start(f"{name}-{rate:g}"))
    tokenizer = load_tokenizer(start)
    splits = _splits(
        name,
        parameters.task_data,
        task_key(name, parameters.task_data),
        KeyedTokenizer(tokenizer_key(tokenizer), tokenizer),
        parameters.max_length_tokens,
    )
    batches = _Batches(splits, parameters.seed, parameters.batch_size)
    labels = len(splits.task.labels)
    model = checkpoints.load_classifier(start, labels=labels, seed=parameters.seed)
    model.to(accelerator.device)
    movement = Movement(_moving(model)) if work.with_movement else None

    def measured(step: int) -> loop.History:
        epoch = step // batches.an_epoch
        found = _evaluated(model, splits, accelerator, with_train=epoch == epochs)
        if movement is not None:
            found += movement.entries(_moving(model), by_position=epoch == epochs)
        return [{"step": step, "epoch": epoch, **one} for one in found]

    variant = loop.Variant(
        ClassificationLoss(model, accelerator.num_processes),
        batches,
        loop.Optimization(
            learning_rate=rate,
            steps=epochs * batches.an_epoch,
            warmup_steps=parameters.warmup_steps,
        ),
        parameters.seed,
        work.make_pruner(model),
        measured,
    )
    return loop.Job(
        variant,
        folder / f"{name}-{rate:g}",
        f"{parameters.notebook} {name} at {rate:g}",
        frozenset(batches.an_epoch * epoch for epoch in range(1, epochs + 1)),
    )


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


def _finetuned(
    work: _Work, name: str, rate: float, job: loop.Job, accelerator: Accelerator
) -> rows.Rows:
    """The rows of a training, with what is measured at its end; the model goes to `work.keep`."""
    parameters, variant = work.parameters, job.variant
    model, pruner, steps = variant.loss.model, variant.pruner, variant.optimization.steps
    history = loop.do(job, accelerator).history
    if work.epochs == 0 and variant.evaluate is not None:
        if pruner is not None:
            pruner.before_step(0)
        history = variant.evaluate(0)
    if pruner is not None:
        pruner.check(parameters.sparsity)
        if work.compared_with is not None:
            found = mask_difference.difference(
                pruner.masks, checkpoints.load_masks(work.compared_with, model)
            )
            history = history + [{"step": steps, "epoch": work.epochs, **one} for one in found]
        if work.keep is not None and accelerator.is_main_process:
            tokenizer = load_tokenizer(str(work.start(f"{name}-{rate:g}")))
            checkpoints.save_pretrained(
                model, tokenizer, pruner.masks, work.keep / f"{name}-{rate:g}"
            )
    return rows.of_history(
        history,
        arm=arm_of(parameters),
        task=name,
        sparsity=parameters.sparsity,
        learning_rate=rate,
        seed=parameters.seed,
    )


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
