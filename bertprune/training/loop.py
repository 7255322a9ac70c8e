"""The training loop, one for pre-training and fine-tuning, of one model or of several at once.

Step t is a pure function of the weights before it, of the batch of t, and of (seed, t): dropout
is drawn anew from both at every step. So a training that was stopped goes on to the same bits, and
models that train together end where each of them would alone, but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from bertprune.base import progress
from bertprune.base.errors import UserError
from bertprune.model import forward
from bertprune.protocol.rows import History, Metric, Split
from bertprune.pruning.masks import NonFiniteWeightError
from bertprune.training.checkpoint import Checkpoint, Course
from bertprune.training.flat_weights import FlatWeights
from bertprune.training.processes import freed_memory_is_kept, in_any_process, stop_signal
from bertprune.training.variants import Loss, Variant

# How many losses may wait on a GPU before they are looked at, since a look makes it wait. Several
# processes tell each other as seldom whether to stop.
_STEPS_BETWEEN_LOOKS = 20
_POINTS_OF_A_CURVE = 100


class NonFiniteLoss(UserError):
    """The loss, or a weight, became infinite or not a number."""


def train(
    variants: Sequence[Variant], accelerator: Accelerator, *, folder: Path, what: str
) -> list[History]:
    """Train models of one shape in place, as one, going on from the checkpoint in `folder` if there
    is one; gives the history of each.

    Each has its own batches, learning rate, seed and pruner; all make the same number of steps.

    Raises NonFiniteLoss with the step, and the last good checkpoint if it is one model. On SIGINT
    or SIGTERM the step under way is finished, a checkpoint saved, and KeyboardInterrupt raised.
    """
    (steps,) = {variant.optimization.steps for variant in variants}
    models = _Models(variants, accelerator, folder)
    with (
        progress.bar(what, steps, "step", models.done) as shown,
        stop_signal() as stop,
        freed_memory_is_kept(),
    ):
        while models.done < steps:
            models.step()
            models.evaluate()
            shown.update()
            looks = accelerator.num_processes == 1 or models.done % _STEPS_BETWEEN_LOOKS == 0
            is_stopping = looks and in_any_process(stop.is_set(), accelerator)
            if is_stopping or models.checkpoint.is_due():
                models.save()
            if is_stopping:
                raise KeyboardInterrupt(
                    f"{what} stopped after step {models.done}; it goes on from there"
                )
    models.losses.check(steps)
    return [course.history for course in models.courses]


class _Models:
    """Models that train as one, `done` steps after their start."""

    def __init__(self, variants: Sequence[Variant], accelerator: Accelerator, folder: Path) -> None:
        self._variants = variants
        self._is_main = accelerator.is_main_process
        self._weights = FlatWeights(
            [variant.loss.model for variant in variants],
            [variant.optimization for variant in variants],
        )
        self._loss = _step_loss(variants, self._weights, accelerator)
        self.checkpoint = Checkpoint(folder, variants, self._weights.optimizer)
        self.done, self.courses = self.checkpoint.load()
        self.losses = _Losses(self.checkpoint, self.courses, variants[0].optimization.steps)

    def step(self) -> None:
        """Do one training step, after the pruning that is due before it."""
        for number, variant in enumerate(self._variants):
            self._prune(number, variant)
        loss, words = self._loss(self.done)
        loss.sum().backward()
        for variant in self._variants:
            if variant.pruner is not None:
                variant.pruner.mask_gradients(words)
        self._weights.update(self.done, words)
        self.done += 1
        self.losses.add(self.done, loss)

    def _prune(self, number: int, variant: Variant) -> None:
        if variant.pruner is None or not variant.pruner.is_due(self.done):
            return
        self.losses.check(self.done)
        try:
            variant.pruner.before_step(self.done, self._weights.momentum(number))
        except NonFiniteWeightError as error:
            raise self.losses.error("a weight is not finite", self.done, number) from error

    def evaluate(self) -> None:
        """Evaluate the models that are to be evaluated after so many steps."""
        for variant, course in zip(self._variants, self.courses, strict=True):
            if self.done in variant.evaluate_after:
                self.losses.check(self.done)
                course.history += variant.evaluate(self.done)

    def save(self) -> None:
        self.losses.check(self.done)
        if self._is_main:
            self.checkpoint.save(self.done, self.courses)


StepLoss = Callable[[int], tuple[Tensor, Tensor | None]]


def _step_loss(
    variants: Sequence[Variant], weights: FlatWeights, accelerator: Accelerator
) -> StepLoss:
    """The function that gives the losses (K,) of a step, and which rows of the word embeddings
    will have a gradient, where these are known to be few."""
    rank, world = accelerator.process_index, accelerator.num_processes
    device = accelerator.device
    first = variants[0]
    if len(variants) > 1:
        return _step_loss_together(variants, weights, accelerator)
    shared = first.loss if world == 1 else _shared(first.loss, accelerator)

    def alone(step: int) -> tuple[Tensor, None]:
        drop = forward.Dropout([forward.Draws((first.seed, step, rank), device)])
        batch = first.batch(step, rank, world).to(device)
        with accelerator.autocast():
            return shared(batch, drop).view(1), None

    def with_few_rows(step: int) -> tuple[Tensor, Tensor | None]:
        drop = forward.Dropout([forward.Draws((first.seed, step, rank), device)])
        batch = first.batch(step, rank, world)
        with accelerator.autocast():
            loss = first.loss.of(weights.alone(), batch, drop)
        words = batch.input_ids.unique() if first.loss.only_looks_words_up else None
        return loss.view(1), words

    # On a GPU a pass over all words costs next to nothing; several processes share whole gradients.
    return with_few_rows if world == 1 and device.type == "cpu" else alone


def _shared(loss: Loss, accelerator: Accelerator) -> nn.Module:
    """The loss with gradients that are the means over all processes."""
    prepared: nn.Module = accelerator.prepare(loss)
    # Accelerate would keep the model until this process ends.
    accelerator.free_memory()
    return prepared


def _step_loss_together(
    variants: Sequence[Variant], weights: FlatWeights, accelerator: Accelerator
) -> StepLoss:
    rank, world = accelerator.process_index, accelerator.num_processes
    device = accelerator.device
    if world > 1:
        raise ValueError("several processes train one model at a time")

    def together(step: int) -> tuple[Tensor, None]:
        given = {variant.batch: variant.batch(step, rank, world) for variant in variants}
        draws = {v.seed: forward.Draws((v.seed, step, rank), device) for v in variants}
        batches = [given[variant.batch] for variant in variants]
        drop = forward.Dropout(
            [draws[variant.seed] for variant in variants], [batch.lengths for batch in batches]
        )
        with accelerator.autocast():
            batch = type(batches[0]).stacked(batches).to(device)
            return variants[0].loss.of(weights.stacked(), batch, drop), None

    return together


class _Losses:
    """The losses of the steps: checked to be finite, and averaged into the histories.

    They are looked at in bunches, since a look makes a GPU wait.
    """

    def __init__(self, checkpoint: Checkpoint, courses: Sequence[Course], steps: int) -> None:
        self._checkpoint = checkpoint
        self._courses = courses
        self._steps_a_point = max(1, steps // _POINTS_OF_A_CURVE)
        self._waiting: list[Tensor] = []

    def add(self, done: int, loss: Tensor) -> None:
        """Take the losses (K,) of the step after which `done` steps are done."""
        self._waiting.append(loss.detach())
        is_point = done % self._steps_a_point == 0
        if is_point or loss.device.type == "cpu" or len(self._waiting) == _STEPS_BETWEEN_LOOKS:
            self.check(done)
        if is_point:
            point = {"step": done, "split": str(Split.TRAIN), "metric": str(Metric.RUNNING_LOSS)}
            for course in self._courses:
                losses = course.losses_since_point
                course.history.append(point | {"value": sum(losses) / len(losses)})
                losses.clear()

    def check(self, done: int) -> None:
        """Raise NonFiniteLoss if one of the losses that wait is not finite."""
        if not self._waiting:
            return
        values = torch.stack(self._waiting).float().tolist()
        self._waiting.clear()
        for step, of_step in enumerate(values, start=done - len(values)):
            for number, (value, course) in enumerate(zip(of_step, self._courses, strict=True)):
                if not math.isfinite(value):
                    raise self.error(f"the loss is {value}", step, number)
                course.losses_since_point.append(value)

    def error(self, what: str, step: int, number: int) -> NonFiniteLoss:
        """The error to raise for what was found at `step` in model `number`, from 0."""
        models = len(self._courses)
        # A stack is given up with its checkpoint, and each of its models begins anew alone.
        where = self._checkpoint.describe() if models == 1 else f"in model {number + 1} of {models}"
        return NonFiniteLoss(
            f"{what} at step {step}; {where}. Try a smaller learning rate or more warm-up steps"
        )
