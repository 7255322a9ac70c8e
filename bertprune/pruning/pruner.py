"""Pruning during training: masks that follow a schedule, and zeros that stay zero."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bertprune.pruning.masks import Criterion, Masks, RealisedSparsityError
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.schedule import Schedule


class Pruner:
    """Keeps the prunable matrices of a model masked while it trains.

    The model's own weights are the masked ones, so nothing is copied in the forward pass. A
    weight that a mask removes is kept aside with the value it had (`underlying`) until the ramp
    ends: the masks of the ramp are computed from these underlying weights, so a weight may
    return, as in the original implementation (TensorFlow's model_pruning). After the ramp the
    masks never change.

    Call `before_step(step)` before each forward pass, `mask_gradients()` between backward pass
    and gradient clipping, `mask_weights()` after the optimizer's step. The model must be on its
    device before the pruner is made.
    """

    def __init__(
        self,
        model: nn.Module,
        masks: Masks,
        schedule: Schedule | None,
        criterion: Criterion,
    ) -> None:
        self._weights = prunable_matrices(model)
        self._schedule = schedule
        self._criterion = criterion
        self._underlying: dict[str, Tensor] = {}
        self.masks = {name: masks[name].to(w.device) for name, w in self._weights.items()}
        self._zero_pruned()

    @classmethod
    def following(cls, model: nn.Module, schedule: Schedule, criterion: Criterion) -> Pruner:
        """A pruner of a dense `model` whose masks follow `schedule`."""
        everything = {
            name: torch.ones_like(weight, dtype=torch.bool)
            for name, weight in prunable_matrices(model).items()
        }
        return cls(model, everything, schedule, criterion)

    @classmethod
    def holding(cls, model: nn.Module, masks: Masks, criterion: Criterion) -> Pruner:
        """A pruner that holds `masks`, which `criterion` made, as they are."""
        return cls(model, masks, None, criterion)

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        """Compute the masks anew where the schedule says so; raises RealisedSparsityError."""
        if self._schedule is None or not self._schedule.is_update(step):
            return
        underlying = {
            name: torch.where(self.masks[name], weight, self._underlying.get(name, weight))
            for name, weight in self._weights.items()
        }
        self.masks = self._criterion.masks(underlying, self._schedule.sparsity(step))
        for name, weight in self._weights.items():
            torch.mul(underlying[name], self.masks[name], out=weight)
        self._underlying = underlying if step < self._schedule.end_step else {}

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Zero the gradients of pruned weights: they neither train nor count in the norm."""
        for name, weight in self._weights.items():
            if weight.grad is not None:
                weight.grad.mul_(self.masks[name])

    @torch.no_grad()
    def mask_weights(self) -> None:
        """Zero the pruned weights, which the optimizer's momentum may just have moved.

        Where masks are held from the start there is none: their gradients were always zero.
        """
        if self._schedule is not None:
            self._zero_pruned()

    @torch.no_grad()
    def _zero_pruned(self) -> None:
        for name, weight in self._weights.items():
            weight.mul_(self.masks[name])

    def check(self, sparsity: float) -> None:
        """Raise RealisedSparsityError unless masks and weights have exactly `sparsity`."""
        self._criterion.check(self.masks, sparsity)
        for name, weight in self._weights.items():
            if moved := int(weight.detach()[~self.masks[name]].count_nonzero()):
                raise RealisedSparsityError(f"{name}: {moved} pruned weights are not zero")

    def state(self) -> dict[str, Tensor]:
        """All that a resumed training needs, as a flat dict of tensors."""
        return {f"mask.{name}": mask for name, mask in self.masks.items()} | {
            f"underlying.{name}": weight for name, weight in self._underlying.items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state that `state()` gave."""
        for name, weight in self._weights.items():
            self.masks[name] = state[f"mask.{name}"].to(weight.device)
            if (kept := state.get(f"underlying.{name}")) is not None:
                self._underlying[name] = kept.to(weight.device)
