"""The state of a training in a file, from which it goes on to the same bits."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from bertprune.base.errors import UserError
from bertprune.base.files import replacing
from bertprune.model.products import Share, share_of_one_dnn
from bertprune.protocol.rows import History
from bertprune.training.variants import Variant

CHECKPOINT_FILE = "checkpoint.pt"

# Saving may take at most this share of the time, and is never more frequent than this.
_SAVING_SHARE = 0.02
_SECONDS_BETWEEN_CHECKPOINTS = 30.0


@dataclass
class Course:
    """What a training has measured so far: its history, and the losses after its last point."""

    history: History = field(default_factory=list)
    losses_since_point: list[float] = field(default_factory=list)


class Checkpoint:
    """One file with the whole state of a training, replaced atomically; after the last step there
    is no optimizer in it."""

    def __init__(
        self,
        folder: Path,
        variants: Sequence[Variant],
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        self._file = folder / CHECKPOINT_FILE
        self._models = [variant.loss.model for variant in variants]
        self._pruners = [variant.pruner for variant in variants]
        self._optimizer = optimizer
        self._step = 0
        self._saved_s = time.monotonic()
        self._pause_s = _SECONDS_BETWEEN_CHECKPOINTS

    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._saved_s > self._pause_s

    def save(self, step: int, courses: Sequence[Course]) -> None:
        """Save the state after `step` steps. Raises UserError where the disk is full."""
        started = time.monotonic()
        state = {
            "step": step,
            "trainings": [asdict(course) for course in courses],
            "models": [model.state_dict() for model in self._models],
            "optimizer": self._optimizer.state_dict() if self._optimizer else {},
            "pruners": [pruner.state() if pruner else {} for pruner in self._pruners],
            "products": str(share_of_one_dnn()),
        }
        # With a path, torch would not say that the disk is full.
        with replacing(self._file) as unfinished, unfinished.open("wb") as file:
            torch.save(state, file)
        self._step = step
        self._saved_s = time.monotonic()
        took_s = self._saved_s - started
        self._pause_s = max(_SECONDS_BETWEEN_CHECKPOINTS, took_s / _SAVING_SHARE)

    def load(self) -> tuple[int, list[Course]]:
        """The step to go on with and the courses so far; (0, nothing) without a checkpoint."""
        if not self._file.exists():
            return 0, [Course() for _ in self._models]
        try:
            state = torch.load(self._file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise UserError(
                f"the checkpoint {self._file} cannot be read: delete it to train anew"
            ) from error
        for model, saved in zip(self._models, state["models"], strict=True):
            model.load_state_dict(saved)
        if self._optimizer and state["optimizer"]:
            self._optimizer.load_state_dict(state["optimizer"])
        for pruner, saved in zip(self._pruners, state["pruners"], strict=True):
            if pruner:
                pruner.load_state(saved)
        self._step = state["step"]
        # Former checkpoints did not note it.
        before, now = state.get("products", Share.NONE), share_of_one_dnn()
        if before != now:
            print(
                f"{self._file} is of a processor with large float32 products by {before}; here it "
                f"is {now}: the weights will differ by rounding from those of either alone"
            )
        return self._step, [Course(**course) for course in state["trainings"]]

    def describe(self) -> str:
        if not self._step:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is {self._file}, after step {self._step}"
