"""What is trained: a model with its loss, its batches and its optimization."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from transformers import PreTrainedModel

from bertprune.data.batches import Batch
from bertprune.model import forward
from bertprune.protocol.rows import History
from bertprune.pruning.pruner import Pruner


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
class Optimization:
    """AdamW with linear warm-up and decay; the constants are the paper's protocol.

    The authors trained in parts, each by a call of its own that was told to end at the step where
    it ended: with `decay_ends` the learning rate falls to 0 at each of these steps and begins anew,
    and warm-up and decay are those of BERT's optimization.py. `begins` is the step at which the
    training begins by that count.
    """

    learning_rate: float
    steps: int
    warmup_steps: int = 10
    weight_decay: float = 0.01
    epsilon: float = 1e-6
    max_gradient_norm: float = 1.0
    decay_ends: tuple[int, ...] = ()
    begins: int = 0
    bias_correction: bool = True
    """Of Adam's moments. BERT's own code has none, which makes the first steps larger."""

    def learning_rate_at(self, step: int) -> float:
        """Rate of training step `step` (from 0): linear from 0 up, then linear down to 0.

        With `decay_ends`, of which b is the next one: peak · (1 − step / b), or while warming up
        peak · step / `warmup_steps`.
        """
        if self.decay_ends:
            counted = self.begins + step
            if counted < self.warmup_steps:
                return self.learning_rate * counted / self.warmup_steps
            last = self.begins + self.steps
            end = min(last, *(end for end in (*self.decay_ends, last) if end > counted))
            return self.learning_rate * (1 - counted / end)
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        left = (self.steps - step) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * left


def _no_history(done: int) -> History:
    return []


@dataclass(frozen=True)
class Variant:
    """A model to train, and how. The model is on its device.

    `batch(step, rank, world)` gives the share of process `rank` of `world`. `evaluate(n)` is called
    once n steps are done, for each n of `evaluate_after`; what it returns joins the history.
    """

    loss: Loss
    batch: Callable[[int, int, int], Batch]
    optimization: Optimization
    seed: int
    pruner: Pruner | None = None
    evaluate: Callable[[int], History] = _no_history
    evaluate_after: Collection[int] = ()


class Ahead(NamedTuple):
    """A training that a run has ahead of it."""

    what: str
    """Pre-training, or the task: what it has in common with those of like runs."""
    folder: Path
    """Where its checkpoint is kept until the run is done."""
    make: Callable[[], Variant]
