"""Fine-tuning on tasks: with masks held, without them, and with pruning afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from bertprune import models, rows, training
from bertprune.analysis import masks
from bertprune.analysis.entries import entry
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


class ClassificationLoss(nn.Module):
    """Mean cross-entropy of a batch, over the global batch where `processes` share it."""

    def __init__(self, model: BertForSequenceClassification, processes: int = 1) -> None:
        super().__init__()
        self.model = model
        self.processes = processes

    def forward(self, batch: ClassificationBatch) -> Tensor:
        loss = functional.cross_entropy(
            _logits(self.model, batch).float(), batch.labels, reduction="sum"
        )
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
    model.eval()
    loss, predictions = 0.0, np.empty(len(examples), dtype=np.int64)
    for indices in examples.sorted_batches(_EVALUATION_BATCH_SIZE):
        batch = examples.batch(indices).to(accelerator.device)
        with accelerator.autocast():
            logits = _logits(model, batch)
        loss += float(functional.cross_entropy(logits.float(), batch.labels, reduction="sum"))
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

    return _each(
        parameters,
        folder,
        start=lambda _: upstream,
        epochs=parameters.epochs,
        make_pruner=held,
        keep=folder / "model" if parameters.sparsity == 0 else None,
        with_movement=parameters.arm == "prune_pretrain" and parameters.sparsity == 0,
    )


def information_deletion(
    parameters: InformationDeletion, upstream: Path, folder: Path
) -> rows.Rows:
    """Fine-tune the pruned model in `upstream` with its masks taken off (the paper, section 4).

    The pruned weights start at zero and may move: what pruning deleted is gone, while the
    complexity of the model is not restricted.
    """
    return _each(
        parameters,
        folder,
        start=lambda _: upstream,
        epochs=parameters.epochs,
        make_pruner=lambda model: None,
    )


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

    return _each(
        parameters,
        folder,
        start=lambda name: upstream / name,
        epochs=parameters.recovery_epochs,
        make_pruner=one_shot,
        compared_with=compared_with,
    )


def _each(
    parameters: Finetune,
    folder: Path,
    *,
    start: Callable[[str], Path],
    epochs: int,
    make_pruner: MakePruner,
    keep: Path | None = None,
    with_movement: bool = False,
    compared_with: Path | None = None,
) -> rows.Rows:
    """Rows of all tasks and learning rates; those that are finished are not repeated.

    `start` gives the folder of the model to begin with, and `keep` is where to leave what becomes
    of it, both by a name of task and learning rate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for task in parameters.task:
        for rate in parameters.learning_rates:
            name = f"{task}-{rate:g}"
            file = folder / f"{name}.csv"
            if not file.exists():
                found = _finetune(
                    parameters,
                    task,
                    rate,
                    start=start(name),
                    epochs=epochs,
                    make_pruner=make_pruner,
                    folder=folder / name,
                    keep=keep / name if keep else None,
                    with_movement=with_movement,
                    compared_with=compared_with,
                )
                if training.is_main_process():
                    rows.write(found, file)
                    (folder / name / training.CHECKPOINT_FILE).unlink(missing_ok=True)
                training.wait_for_everyone()
            parts.append(rows.read(file))
    return rows.join(parts)


def _finetune(
    parameters: Finetune,
    name: str,
    learning_rate: float,
    *,
    start: Path,
    epochs: int,
    make_pruner: MakePruner,
    folder: Path,
    keep: Path | None = None,
    with_movement: bool = False,
    compared_with: Path | None = None,
) -> rows.Rows:
    """Train the model in `start` on task `name` for `epochs`; dev metrics after each epoch, the
    loss over the whole training set after the last. The model goes to `keep`.

    `with_movement`: how far the weights have moved after each epoch. `compared_with`: the folder of
    a model, how much whose masks differ from this one's.
    """
    accelerator = training.accelerator(parameters.precision)
    tokenizer = load_tokenizer(str(start))
    splits = _splits(
        name,
        parameters.task_data,
        task_key(name, parameters.task_data),
        _Tokenizer(tokenizer_key(tokenizer), tokenizer),
        parameters.max_length_tokens,
    )
    task, train, dev = splits.task, splits.train, splits.dev
    model = models.load_classifier(str(start), labels=len(task.labels), seed=parameters.seed)
    model.to(accelerator.device)
    pruner = make_pruner(model)
    movement = Movement(_moving(model)) if with_movement else None
    batches = -(-len(train) // parameters.batch_size)

    @lru_cache(maxsize=1)
    def order(epoch: int) -> list[np.ndarray]:
        return train.order(epoch, parameters.seed, parameters.batch_size)

    def batch(step: int, rank: int, world: int) -> ClassificationBatch:
        return train.batch(order(step // batches)[step % batches], rank, world)

    def measured(step: int) -> training.History:
        epoch = step // batches
        found = [("dev", evaluate(model, dev, task, accelerator))]
        if epoch == epochs:
            found.append(("train", evaluate(model, train, task, accelerator)))
        entries = [
            entry(split, metric, value)
            for split, metrics in found
            for metric, value in metrics.items()
        ]
        if movement is not None:
            entries += movement.entries(_moving(model), by_position=epoch == epochs)
        return [{"step": step, "epoch": epoch, **one} for one in entries]

    trained = training.train(
        ClassificationLoss(model, accelerator.num_processes),
        batch,
        training.Optimization(
            learning_rate=learning_rate,
            steps=epochs * batches,
            warmup_steps=parameters.warmup_steps,
        ),
        accelerator=accelerator,
        seed=parameters.seed,
        folder=folder,
        what=f"{parameters.notebook} {name} at {learning_rate:g}",
        pruner=pruner,
        evaluate=measured,
        evaluate_after={batches * epoch for epoch in range(1, epochs + 1)},
    )
    history = trained.history
    if epochs == 0:
        if pruner is not None:
            pruner.before_step(0)
        history = measured(0)
    if pruner is not None:
        pruner.check(parameters.sparsity)
        if compared_with is not None:
            found = masks.difference(pruner.masks, models.load_masks(compared_with, model))
            steps = epochs * batches
            history = history + [{"step": steps, "epoch": epochs, **one} for one in found]
        if keep is not None and accelerator.is_main_process:
            models.save_pretrained(model, tokenizer, pruner.masks, keep)
    return rows.of_history(
        history,
        arm=parameters.arm,
        task=name,
        sparsity=parameters.sparsity,
        learning_rate=learning_rate,
        seed=parameters.seed,
    )


def _moving(model: BertForSequenceClassification) -> dict[str, Tensor]:
    """The matrices whose movement is measured: as in the paper, all prunable ones but the word
    embeddings."""
    matrices = prunable_matrices(model)
    return {name: weight for name, weight in matrices.items() if name != WORD_EMBEDDINGS}


def _logits(model: BertForSequenceClassification, batch: ClassificationBatch) -> Tensor:
    """Class logits (B, labels)."""
    return model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        token_type_ids=batch.token_type_ids,
    ).logits
