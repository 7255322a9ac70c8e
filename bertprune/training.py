"""The training loop, one for pre-training and fine-tuning.

Step t is a pure function of the weights before it, of the batch of t, and of (seed, t): dropout
is drawn anew from both at every step. So a training that was stopped goes on to the same bits.
"""

from __future__ import annotations

import math
import pickle
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn

from bertprune import progress
from bertprune.errors import UserError, full_disk_is_user_error
from bertprune.pruning.pruner import Pruner

CHECKPOINT_FILE = "checkpoint.pt"

# Saving may take at most this share of the time, and is never more frequent than this.
_SAVING_SHARE = 0.02
_SECONDS_BETWEEN_CHECKPOINTS = 30.0
# How many losses may wait on a GPU before they are looked at, since a look makes it wait.
_LOSSES_BETWEEN_CHECKS = 20
_POINTS_OF_A_CURVE = 100
_NO_DECAY = ("bias", "LayerNorm.weight")

History = list[dict[str, Any]]


class Batch(Protocol):
    def to(self, device: torch.device) -> Self: ...


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


class NonFiniteLoss(UserError):
    """The loss became infinite or not a number."""


def accelerator(precision: str = "auto") -> Accelerator:
    """The Accelerate handle for `precision`: "float32", "bf16", or "auto", bf16 where a GPU is.

    Raises UserError where accelerate is configured to shard models.
    """
    bf16 = precision == "bf16" or (precision == "auto" and torch.cuda.is_available())
    found = Accelerator(mixed_precision="bf16" if bf16 else "no")
    kind = found.distributed_type.name
    if kind != "NO" and not kind.startswith("MULTI_"):
        raise UserError(
            f"accelerate is set to {kind}, which shards what pruning must see whole: configure "
            "it for several processes or GPUs without sharding (`accelerate config`)"
        )
    return found


def is_main_process() -> bool:
    """Whether this process is the one that writes files, of those `accelerate launch` started."""
    return bool(PartialState().is_main_process)


def wait_for_everyone() -> None:
    PartialState().wait_for_everyone()


def train(
    model: nn.Module,
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
    """Train `model` in place, going on from the checkpoint in `folder` if there is one.

    `model(batch)` returns the loss, a scalar; the model is on its device. `batch(step, rank,
    world)` gives the share of process `rank` of `world`. `evaluate(n)` is called once n steps
    are done, for each n in `evaluate_after`; what it returns joins the history.

    Raises NonFiniteLoss with the step and the last good checkpoint. On SIGINT or SIGTERM the step
    under way is finished, a checkpoint saved, and KeyboardInterrupt raised.
    """
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, optimization.weight_decay),
        lr=optimization.learning_rate,
        eps=optimization.epsilon,
        fused=True,
    )
    # The rest of what accelerate does for a step is for float16 and takes a tenth of a small one.
    prepared = accelerator.prepare(model)
    weights = list(model.parameters())
    model.train()
    checkpoint = Checkpoint(folder / CHECKPOINT_FILE, model, optimizer, pruner)
    start, training = checkpoint.load()
    losses = _Losses(checkpoint, training, optimization.steps)
    rank, world = accelerator.process_index, accelerator.num_processes
    saved = time.monotonic()

    def save(done: int) -> None:
        nonlocal saved
        losses.check(done)
        if accelerator.is_main_process:
            checkpoint.save(done, training)
        saved = time.monotonic()

    with progress.bar(what, optimization.steps, "step", start) as shown, _stop_signal() as stop:
        for step in range(start, optimization.steps):
            _seed_generator(_seed_of(seed, step, rank), accelerator.device)
            if pruner is not None:
                pruner.before_step(step)
            for group in optimizer.param_groups:
                group["lr"] = optimization.learning_rate_at(step)
            loss = prepared(batch(step, rank, world).to(accelerator.device))
            loss.backward()
            if pruner is not None:
                pruner.mask_gradients()
            nn.utils.clip_grad_norm_(weights, optimization.max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad()
            if pruner is not None:
                pruner.mask_weights()

            done = step + 1
            losses.add(done, loss)
            if evaluate is not None and done in evaluate_after:
                losses.check(done)
                model.eval()
                training.history += evaluate(done)
                model.train()
            shown.update()
            since = time.monotonic() - saved
            stopping = _any_process(stop.is_set(), done, accelerator)
            if stopping or since > max(_SECONDS_BETWEEN_CHECKPOINTS, checkpoint.pause_s):
                save(done)
            if stopping:
                raise KeyboardInterrupt(f"{what} stopped after step {done}; it goes on from there")
    losses.check(optimization.steps)
    model.eval()
    return training


@dataclass
class Checkpoint:
    """One file with the whole state of a training, replaced atomically."""

    file: Path
    model: nn.Module
    optimizer: Any
    pruner: Pruner | None
    pause_s: float = 0.0
    step: int = 0

    def save(self, step: int, training: Training) -> None:
        started = time.monotonic()
        state = {
            "step": step,
            "training": asdict(training),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "pruner": self.pruner.state() if self.pruner else {},
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

    def load(self) -> tuple[int, Training]:
        """The step to go on with and the training so far; (0, nothing) without a checkpoint."""
        if not self.file.exists():
            return 0, Training()
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise UserError(
                f"the checkpoint {self.file} cannot be read: delete it to train anew"
            ) from error
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.pruner:
            self.pruner.load_state(state["pruner"])
        self.step = state["step"]
        return self.step, Training(**state["training"])


class _Losses:
    """The losses of the steps: checked to be finite, and averaged into the history.

    They are looked at in bunches, since a look makes a GPU wait.
    """

    def __init__(self, checkpoint: Checkpoint, training: Training, steps: int) -> None:
        self._checkpoint = checkpoint
        self._training = training
        self._steps_a_point = max(1, steps // _POINTS_OF_A_CURVE)
        self._waiting: list[Tensor] = []

    def add(self, done: int, loss: Tensor) -> None:
        """Take the loss of the step after which `done` steps are done."""
        self._waiting.append(loss.detach())
        is_point = done % self._steps_a_point == 0
        if is_point or loss.device.type == "cpu" or len(self._waiting) == _LOSSES_BETWEEN_CHECKS:
            self.check(done)
        if is_point:
            losses = self._training.losses_since_point
            point = {"step": done, "split": "train", "metric": "running_loss"}
            self._training.history.append(point | {"value": sum(losses) / len(losses)})
            losses.clear()

    def check(self, done: int) -> None:
        """Raise NonFiniteLoss if one of the losses that wait is not finite."""
        if not self._waiting:
            return
        values = torch.stack(self._waiting).float().tolist()
        self._waiting.clear()
        for step, value in enumerate(values, start=done - len(values)):
            if not math.isfinite(value):
                raise NonFiniteLoss(
                    f"the loss is {value} at step {step}; {self._checkpoint.describe()}. "
                    "Try a smaller learning rate or more warm-up steps"
                )
        self._training.losses_since_point += values


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


def _seed_of(*numbers: int) -> int:
    """One seed from several numbers, well mixed, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _seed_generator(seed: int, device: torch.device) -> None:
    """What torch.manual_seed does, for `device` alone: asking after all others costs a tenth of a
    small model's step."""
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for all but biases and LayerNorm, as in BERT."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {
            "params": [p for name, p in named if not name.endswith(_NO_DECAY)],
            "weight_decay": weight_decay,
        },
        {"params": [p for name, p in named if name.endswith(_NO_DECAY)], "weight_decay": 0.0},
    ]


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
