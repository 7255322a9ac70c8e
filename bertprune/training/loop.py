"""The training loop, one for pre-training and fine-tuning, of one model or of several at once.

Step t is a pure function of the weights before it, of the batch of t, and of (seed, t): dropout
is drawn anew from both at every step. So a training that was stopped goes on to the same bits, and
models that train together end where each of them would alone, but for rounding.
"""

from __future__ import annotations

import ctypes
import math
import pickle
import shutil
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
import xxhash
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState, is_initialized
from torch import Tensor, nn
from transformers import PreTrainedModel

from bertprune.base import progress
from bertprune.base.errors import UserError, full_disk_is_user_error
from bertprune.model import forward
from bertprune.pruning.masks import NonFiniteWeightError
from bertprune.pruning.pruner import Pruner

CHECKPOINT_FILE = "checkpoint.pt"

# Saving may take at most this share of the time, and is never more frequent than this.
_SAVING_SHARE = 0.02
_SECONDS_BETWEEN_CHECKPOINTS = 30.0
# How many losses may wait on a GPU before they are looked at, since a look makes it wait.
_LOSSES_BETWEEN_CHECKS = 20
_POINTS_OF_A_CURVE = 100
_NO_DECAY = ("bias", "LayerNorm.weight")

# Of glibc's malloc.h; the threshold is an int, so this is the highest.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_MOST_KEPT_BYTES = (1 << 31) - 1

# A weight, its gradient and two moments, in float32; and what of a GPU's free memory stacks take.
_BYTES_OF_STATE = 16
_SHARE_FOR_STACKS = 0.8

History = list[dict[str, Any]]


class Batch(Protocol):
    """What a step reads; `lengths` has the sizes of the axes in which batches differ."""

    @property
    def input_ids(self) -> Tensor: ...

    @property
    def lengths(self) -> dict[str, int]: ...

    def to(self, device: torch.device) -> Self: ...

    @classmethod
    def stacked(cls, batches: Any) -> Self: ...


class Loss(nn.Module, ABC):
    """The loss of a model for a batch; the model is the parameter that trains."""

    only_looks_words_up: ClassVar[bool] = False
    """Whether the word embeddings have gradients in the rows of a batch's words alone."""

    def __init__(self, model: PreTrainedModel, processes: int = 1) -> None:
        super().__init__()
        self.model = model
        self.form = forward.Architecture.of(model.config)
        self.processes = processes
        self._weights = forward.weights_of(model)

    @abstractmethod
    def of(self, weights: forward.Weights, batch: Any, drop: forward.Drop) -> Tensor:
        """The loss, a scalar, with these weights of the model; (K,) for those of K models."""

    def forward(self, batch: Any, drop: forward.Drop = forward.no_dropout) -> Tensor:
        return self.of(self._weights, batch, drop)


@dataclass(frozen=True)
class Variant:
    """A model to train, and how.

    `batch(step, rank, world)` gives the share of process `rank` of `world`. `evaluate(n)` is called
    once n steps are done; what it returns joins the history.
    """

    loss: Loss
    batch: Callable[[int, int, int], Batch]
    optimization: Optimization
    seed: int
    pruner: Pruner | None = None
    evaluate: Callable[[int], History] | None = None


@dataclass(frozen=True)
class Optimization:
    """AdamW with linear warm-up and decay; the constants are the paper's protocol."""

    learning_rate: float
    steps: int
    warmup_steps: int = 10
    weight_decay: float = 0.01
    epsilon: float = 1e-6
    max_gradient_norm: float = 1.0

    def learning_rate_at(self, step: int) -> float:
        """Rate of training step `step` (from 0): linear from 0 up, then linear down to 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        left = (self.steps - step) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * left


@dataclass
class Training:
    """What a training leaves: its history, dicts with step, split, metric and value."""

    history: History = field(default_factory=list)
    losses_since_point: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """A training: of what, and the folder where its checkpoint is kept until it is done."""

    variant: Variant
    folder: Path
    what: str
    evaluate_after: frozenset[int] = frozenset()

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT_FILE


class NonFiniteLoss(UserError):
    """The loss, or a weight, became infinite or not a number."""


def accelerator(precision: str = "auto") -> Accelerator:
    """The Accelerate handle for `precision`: "float32", "bf16", or "auto", bf16 on a GPU that has
    it. On the CPU where there is no CUDA.

    A handle of another precision that was given before is of no use afterwards. Raises UserError
    where accelerate is configured to shard models.
    """
    wanted = _mixed_precision(precision)
    # Accelerate keeps the precision of the first handle, and refuses to give one of another.
    if is_initialized() and AcceleratorState().mixed_precision != wanted:
        AcceleratorState._reset_state()
    found = Accelerator(mixed_precision=wanted, cpu=not torch.cuda.is_available())
    kind = found.distributed_type.name
    if kind != "NO" and not kind.startswith("MULTI_"):
        raise UserError(
            f"accelerate is set to {kind}, which shards what pruning must see whole: configure "
            "it for several processes or GPUs without sharding (`accelerate config`)"
        )
    return found


def _mixed_precision(precision: str) -> str:
    """Accelerate's name for `precision`; GPUs that only emulate bf16 are slower with it."""
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if precision == "bf16" or (precision == "auto" and has_bf16) else "no"


def is_main_process() -> bool:
    """Whether this process is the one that writes files, of those `accelerate launch` started."""
    return bool(_processes().is_main_process)


def wait_for_everyone() -> None:
    _processes().wait_for_everyone()


def _processes() -> PartialState:
    # The first one that is made decides on the device, and nobody here knows any but these two.
    return PartialState(cpu=not torch.cuda.is_available())


def train(
    loss: Loss,
    batch: Callable[[int, int, int], Batch],
    optimization: Optimization,
    *,
    accelerator: Accelerator,
    seed: int,
    folder: Path,
    what: str,
    pruner: Pruner | None = None,
    evaluate: Callable[[int], History] | None = None,
    evaluate_after: Collection[int] = (),
) -> Training:
    """Train the model of `loss`; see `train_together`."""
    variant = Variant(loss, batch, optimization, seed, pruner, evaluate)
    (training,) = train_together(
        [variant], accelerator=accelerator, folder=folder, what=what, evaluate_after=evaluate_after
    )
    return training


def train_together(
    variants: Sequence[Variant],
    *,
    accelerator: Accelerator,
    folder: Path,
    what: str,
    evaluate_after: Collection[int] = (),
) -> list[Training]:
    """Train models of one shape in place, as one, going on from the checkpoint in `folder` if there
    is one. The models are on their device, and are evaluated after each n of `evaluate_after`.

    Each has its own batches, learning rate, seed and pruner; all make the same number of steps.

    Raises NonFiniteLoss with the step, and the last good checkpoint if it is one model. On SIGINT
    or SIGTERM the step under way is finished, a checkpoint saved, and KeyboardInterrupt raised.
    """
    (steps,) = {variant.optimization.steps for variant in variants}
    models = [variant.loss.model for variant in variants]
    weights = FlatWeights(models)
    optimizer = weights.optimizer([variant.optimization for variant in variants])
    highest_norms = torch.tensor(
        [variant.optimization.max_gradient_norm for variant in variants],
        device=accelerator.device,
    )
    step_loss = _step_loss(variants, weights, accelerator)
    pruners = [variant.pruner for variant in variants]
    checkpoint = Checkpoint(folder / CHECKPOINT_FILE, models, optimizer, pruners)
    start, trainings = checkpoint.load()
    losses = _Losses(checkpoint, trainings, steps)
    saved = time.monotonic()

    def save(done: int) -> None:
        nonlocal saved
        losses.check(done)
        if accelerator.is_main_process:
            checkpoint.save(done, trainings)
        saved = time.monotonic()

    with (
        progress.bar(what, steps, "step", start) as shown,
        _stop_signal() as stop,
        _freed_memory_is_kept(),
    ):
        for step in range(start, steps):
            for number, pruner in enumerate(pruners):
                if pruner is not None and pruner.is_due(step):
                    losses.check(step)
                    try:
                        pruner.before_step(step, weights.momentum(optimizer, number))
                    except NonFiniteWeightError as error:
                        raise losses.error("a weight is not finite", step, number) from error
            loss, words = step_loss(step)
            loss.sum().backward()
            for pruner in pruners:
                if pruner is not None:
                    pruner.mask_gradients(words)
            weights.clip_gradients(highest_norms, words)
            weights.set_learning_rates(
                optimizer, [v.optimization.learning_rate_at(step) for v in variants]
            )
            optimizer.step()
            weights.zero_gradients(words)

            done = step + 1
            losses.add(done, loss)
            if done in evaluate_after:
                losses.check(done)
                for variant, training in zip(variants, trainings, strict=True):
                    if variant.evaluate is not None:
                        training.history += variant.evaluate(done)
            shown.update()
            since = time.monotonic() - saved
            stopping = _any_process(stop.is_set(), done, accelerator)
            if stopping or since > max(_SECONDS_BETWEEN_CHECKPOINTS, checkpoint.pause_s):
                save(done)
            if stopping:
                raise KeyboardInterrupt(f"{what} stopped after step {done}; it goes on from there")
    losses.check(steps)
    return trainings


def do(job: Job, accelerator: Accelerator) -> Training:
    """Do one training; see `train_together`."""
    (training,) = train_together(
        [job.variant],
        accelerator=accelerator,
        folder=job.folder,
        what=job.what,
        evaluate_after=job.evaluate_after,
    )
    return training


def do_together(jobs: Sequence[Job], accelerator: Accelerator, *, folder: Path, what: str) -> int:
    """Do trainings of models of one shape and of as many steps as one, in stacks that the device
    has room for, with their checkpoints below `folder`.

    Each is left with a checkpoint after its last step, so that `do` finds it done; one that has a
    checkpoint already is left to that. Gives the size of the largest stack.
    """
    left = [job for job in jobs if not job.checkpoint.exists()]
    if len(left) < 2:
        return 1
    most = _room_for(left[0], accelerator)
    for first in range(0, len(left), most):
        stack = left[first : first + most]
        if len(stack) > 1:
            _do_stack(stack, accelerator, folder, f"{what}: {len(stack)} models at once")
    return min(most, len(left))


def _do_stack(stack: Sequence[Job], accelerator: Accelerator, folder: Path, what: str) -> None:
    (evaluate_after,) = {job.evaluate_after for job in stack}
    names = "\0".join(str(job.folder) for job in stack)
    folder = folder / f"together-{xxhash.xxh3_128_hexdigest(names.encode())}"
    trainings = train_together(
        [job.variant for job in stack],
        accelerator=accelerator,
        folder=folder,
        what=what,
        evaluate_after=evaluate_after,
    )
    for job, training in zip(stack, trainings, strict=True):
        variant = job.variant
        finished = Checkpoint(job.checkpoint, [variant.loss.model], None, [variant.pruner])
        finished.save(variant.optimization.steps, [training])
    shutil.rmtree(folder, ignore_errors=True)


def _room_for(job: Job, accelerator: Accelerator) -> int:
    """How many models like that of `job` a GPU has room for, by what a step of it takes; elsewhere
    any number."""
    device = accelerator.device
    if device.type != "cuda":
        return sys.maxsize
    of_step = _bytes_of_step(job, accelerator)
    state = _BYTES_OF_STATE * sum(p.numel() for p in job.variant.loss.parameters())
    # What torch keeps of earlier trainings is free for the next one, but does not count as free.
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(_SHARE_FOR_STACKS * free / (of_step + state)))


def _bytes_of_step(job: Job, accelerator: Accelerator) -> float:
    """The GPU memory, in bytes, that the largest step of `job` takes in a stack, at most.

    Measured with the largest batch until the first evaluation, which is an epoch of fine-tuning.
    Since a stack pads its batches to the widest, it counts as if it were as wide as any in each
    axis.
    """
    variant, device = job.variant, accelerator.device
    steps = range(min(job.evaluate_after, default=1))
    lengths = [variant.batch(step, 0, 1).lengths for step in steps]
    sizes = [math.prod(of_batch.values()) for of_batch in lengths]
    widest = math.prod(max(one[axis] for one in lengths) for axis in lengths[0])
    largest = max(steps, key=sizes.__getitem__)
    # What torch has reserved is no less than the step's peak. To see that itself, the peak of the
    # whole run would have to be reset.
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    with accelerator.autocast():
        drop = forward.Dropout([forward.Draws((variant.seed,), device)])
        variant.loss(variant.batch(largest, 0, 1).to(device), drop).backward()
    variant.loss.zero_grad()
    return (torch.cuda.memory_reserved(device) - before) * widest / sizes[largest]


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


class FlatWeights:
    """The weights of K models of one shape in one tensor, and their gradients in another.

    The models' own parameters become windows on it, so a model is evaluated, pruned and saved as
    ever, while the optimizer, which takes a large share of a small model's step, has one tensor to
    go through instead of dozens.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._names, sizes = [], []
        named = dict(models[0].named_parameters())
        # The word embeddings are the first of those that decay: all but biases and LayerNorm, as in
        # BERT.
        for name in sorted(
            named, key=lambda name: (name.endswith(_NO_DECAY), name != forward.WORDS)
        ):
            self._names.append(name)
            sizes.append(named[name].numel())
        self._shapes = [named[name].shape for name in self._names]
        self._ends = np.cumsum(sizes).tolist()
        self._decaying = sum(
            size
            for name, size in zip(self._names, sizes, strict=True)
            if not name.endswith(_NO_DECAY)
        )
        self._parameters = forward.weights_of(models[0])
        size, device = self._ends[-1], named[self._names[0]].device
        self.weights = torch.empty(len(models), size, device=device)  # (K, parameters)
        self.gradients = torch.zeros_like(self.weights)
        self._leaf = nn.Parameter(self.weights)
        self._leaf.grad = self.gradients
        for number, model in enumerate(models):
            own = dict(model.named_parameters())
            gradients = self._by_name(self.gradients[number])
            for name, window in self._by_name(self.weights[number]).items():
                window.copy_(own[name].detach())
                own[name].data = window
                own[name].grad = gradients[name]

    def stacked(self) -> forward.Weights:
        """The weights of all models with a first axis of K, by all their names; what is computed
        from them has its gradients in `gradients`."""
        parts = self._leaf.split([shape.numel() for shape in self._shapes], dim=1)
        found = {
            self._parameters[name]: part.view(-1, *shape)
            for name, shape, part in zip(self._names, self._shapes, parts, strict=True)
        }
        return {name: found[parameter] for name, parameter in self._parameters.items()}

    def optimizer(self, optimizations: Sequence[Optimization]) -> torch.optim.AdamW:
        """AdamW with two groups of parameters a model: those that decay, and those that do not."""
        groups = []
        for number, how in enumerate(optimizations):
            for part, decay in (
                (slice(self._decaying), how.weight_decay),
                (slice(self._decaying, None), 0.0),
            ):
                parameter = nn.Parameter(self.weights[number, part])
                parameter.grad = self.gradients[number, part]
                groups.append({"params": [parameter], "weight_decay": decay, "eps": how.epsilon})
        return torch.optim.AdamW(groups, lr=optimizations[0].learning_rate, fused=True)

    @staticmethod
    def set_learning_rates(optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = rates[number // 2]

    def momentum(self, optimizer: torch.optim.Optimizer, number: int) -> dict[str, Tensor]:
        """The first moments of the decaying weights of model `number`, by name; none as yet before
        the first step."""
        (parameter,) = optimizer.param_groups[2 * number]["params"]
        state = optimizer.state.get(parameter)
        return self._by_name(state["exp_avg"]) if state else {}

    def alone(self) -> forward.Weights:
        """The weights of the only model, by all their names, and where the gradient of looked-up
        words is added to."""
        return {**self._parameters, forward.WORDS_GRADIENT: self._words_gradient()}

    def clip_gradients(self, highest: Tensor, words: Tensor | None = None) -> None:
        """Scale each model's gradients to a norm of at most that of it in `highest` (K,).

        `words` are the rows of the only model's word embeddings that have any; by default all.
        """
        if words is None:
            norms = torch.linalg.vector_norm(self.gradients, dim=1)
            self.gradients.mul_((highest / (norms + 1e-6)).clamp(max=1.0)[:, None])
            return
        table, others = self._words_gradient(), self.gradients[:, self._ends[0] :]
        rows = table[words]
        norm = torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(part) for part in (rows, others)])
        )
        scale = (highest / (norm + 1e-6)).clamp(max=1.0)
        table[words] = rows * scale
        others.mul_(scale)

    def zero_gradients(self, words: Tensor | None = None) -> None:
        """Make all gradients zero, knowing that of the word embeddings only the rows `words` are
        not."""
        if words is None:
            self.gradients.zero_()
            return
        self._words_gradient()[words] = 0.0
        self.gradients[:, self._ends[0] :].zero_()

    def _words_gradient(self) -> Tensor:
        return self.gradients[0, : self._ends[0]].view(self._shapes[0])

    def _by_name(self, flat: Tensor) -> dict[str, Tensor]:
        """Windows on `flat` (..., parameters) of the shapes of the parameters that it reaches."""
        starts = [0, *self._ends]
        return {
            name: flat[..., start:end].view(*flat.shape[:-1], *shape)
            for name, shape, start, end in zip(
                self._names, self._shapes, starts, self._ends, strict=False
            )
            if end <= flat.shape[-1]
        }


@dataclass
class Checkpoint:
    """One file with the whole state of a training, replaced atomically; after the last step there
    is no optimizer in it."""

    file: Path
    models: Sequence[nn.Module]
    optimizer: torch.optim.Optimizer | None
    pruners: Sequence[Pruner | None]
    pause_s: float = 0.0
    step: int = 0

    def save(self, step: int, trainings: Sequence[Training]) -> None:
        started = time.monotonic()
        state = {
            "step": step,
            "trainings": [asdict(training) for training in trainings],
            "models": [model.state_dict() for model in self.models],
            "optimizer": self.optimizer.state_dict() if self.optimizer else {},
            "pruners": [pruner.state() if pruner else {} for pruner in self.pruners],
        }
        unfinished = self.file.with_suffix(".part")
        with full_disk_is_user_error(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                torch.save(state, file)
            unfinished.replace(self.file)
        self.step = step
        self.pause_s = (time.monotonic() - started) / _SAVING_SHARE

    def describe(self) -> str:
        if not self.step:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is {self.file}, after step {self.step}"

    def load(self) -> tuple[int, list[Training]]:
        """The step to go on with and the trainings so far; (0, nothing) without a checkpoint."""
        if not self.file.exists():
            return 0, [Training() for _ in self.models]
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise UserError(
                f"the checkpoint {self.file} cannot be read: delete it to train anew"
            ) from error
        for model, saved in zip(self.models, state["models"], strict=True):
            model.load_state_dict(saved)
        if self.optimizer and state["optimizer"]:
            self.optimizer.load_state_dict(state["optimizer"])
        for pruner, saved in zip(self.pruners, state["pruners"], strict=True):
            if pruner:
                pruner.load_state(saved)
        self.step = state["step"]
        return self.step, [Training(**training) for training in state["trainings"]]


class _Losses:
    """The losses of the steps: checked to be finite, and averaged into the histories.

    They are looked at in bunches, since a look makes a GPU wait.
    """

    def __init__(self, checkpoint: Checkpoint, trainings: Sequence[Training], steps: int) -> None:
        self._checkpoint = checkpoint
        self._trainings = trainings
        self._steps_a_point = max(1, steps // _POINTS_OF_A_CURVE)
        self._waiting: list[Tensor] = []

    def add(self, done: int, loss: Tensor) -> None:
        """Take the losses (K,) of the step after which `done` steps are done."""
        self._waiting.append(loss.detach())
        is_point = done % self._steps_a_point == 0
        if is_point or loss.device.type == "cpu" or len(self._waiting) == _LOSSES_BETWEEN_CHECKS:
            self.check(done)
        if is_point:
            point = {"step": done, "split": "train", "metric": "running_loss"}
            for training in self._trainings:
                losses = training.losses_since_point
                training.history.append(point | {"value": sum(losses) / len(losses)})
                losses.clear()

    def check(self, done: int) -> None:
        """Raise NonFiniteLoss if one of the losses that wait is not finite."""
        if not self._waiting:
            return
        values = torch.stack(self._waiting).float().tolist()
        self._waiting.clear()
        for step, of_step in enumerate(values, start=done - len(values)):
            for number, (value, training) in enumerate(zip(of_step, self._trainings, strict=True)):
                if not math.isfinite(value):
                    raise self.error(f"the loss is {value}", step, number)
                training.losses_since_point.append(value)

    def error(self, what: str, step: int, number: int) -> NonFiniteLoss:
        """The error to raise for what was found at `step` in model `number`, from 0."""
        models = len(self._trainings)
        # A stack is given up with its checkpoint, and each of its models begins anew alone.
        where = self._checkpoint.describe() if models == 1 else f"in model {number + 1} of {models}"
        return NonFiniteLoss(
            f"{what} at step {step}; {where}. Try a smaller learning rate or more warm-up steps"
        )


@contextmanager
def _freed_memory_is_kept() -> Iterator[None]:
    """Make the C library, where it is glibc, keep large blocks that are freed.

    It would give them back to the system and get them anew at each step, page by page, which takes
    a fifth of it. Afterwards it is as glibc comes to be by itself where large blocks are freed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT_BYTES)
    try:
        yield
    finally:
        mallopt(_M_MMAP_MAX, 1 << 16)
        mallopt(_M_MMAP_THRESHOLD, 1 << 25)
        mallopt(_M_TRIM_THRESHOLD, 1 << 26)


def _any_process(flag: bool, done: int, accelerator: Accelerator) -> bool:
    """Whether `flag` is set in any process, so that all of them stop after the same step.

    Several processes tell each other every few steps only, since it makes a GPU wait.
    """
    if accelerator.num_processes == 1:
        return flag
    if done % _LOSSES_BETWEEN_CHECKS:
        return False
    flags = torch.tensor(int(flag), device=accelerator.device)
    return bool(accelerator.reduce(flags, reduction="sum"))


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that is set by SIGINT or SIGTERM, so that a step is never left half done.

    A second signal acts as it would outside.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def restore() -> None:
        for kind, handler in before.items():
            signal.signal(kind, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        restore()

    for kind in kinds:
        signal.signal(kind, on_signal)
    try:
        yield stop
    finally:
        restore()
