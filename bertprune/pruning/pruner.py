"""Pruning during training: masks that follow a schedule, and zeros that stay zero."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bertprune.pruning.masks import Criterion, Masks, RealisedSparsityError, pruned_entries
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.pruning.schedule import Schedule


class Pruner:
    """Keeps the prunable matrices of a model masked while it trains.

    The model's own weights are the masked ones, so nothing is copied in the forward pass. A
    weight that a mask removes is kept aside with the value it had until the ramp ends: the masks
    of the ramp are computed from these underlying weights, so a weight may return, as in the
    original implementation (TensorFlow's model_pruning). After the ramp the masks never change,
    unless the schedule goes on: then the underlying weights are kept to the end.

    Call `before_step` before each forward pass, and `mask_gradients` between backward pass and
    gradient clipping. A pruned weight then stays zero through the optimizer's step by itself: it
    has no gradient, and loses its momentum when it is pruned. The model must be on its device
    before the pruner is made.
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
        self._aside: dict[str, Tensor] = {}  # values of pruned weights, 0 where nothing is pruned
        self.masks = {name: masks[name].to(w.device) for name, w in self._weights.items()}
        self._kept = self._as_factors()
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
    def before_step(self, step: int, momentum: Mapping[str, Tensor] | None = None) -> None:
        """Compute the masks anew where the schedule says so; raises RealisedSparsityError and
        NonFiniteWeightError.

        `momentum` has the optimizer's first moments by the names of the model's parameters; those
        of pruned weights become zero.
        """
        if self._schedule is None or not self.is_due(step):
            return
        underlying = {
            name: weight + self._aside[name] if name in self._aside else weight.clone()
            for name, weight in self._weights.items()
        }
        self.masks = self._criterion.masks(underlying, self._schedule.sparsity(step))
        self._kept = self._as_factors()
        for name, weight in self._weights.items():
            if (kept := self._kept.get(name)) is None:
                weight.copy_(underlying[name])
                continue
            torch.mul(underlying[name], kept, out=weight)
            if momentum and (moment := momentum.get(f"bert.{name}")) is not None:
                moment.mul_(kept)
        self._aside = {}
        if not self._schedule.is_last_update(step):
            self._aside = {name: underlying[name] - self._weights[name] for name in self._kept}

    def is_due(self, step: int) -> bool:
        """Whether `before_step(step)` has anything to do."""
        return self._schedule is not None and self._schedule.is_update(step)

    @torch.no_grad()
    def mask_gradients(self, words: Tensor | None = None) -> None:
        """Zero the gradients of pruned weights: they neither train nor count in the norm.

        `words` (n) are the rows of the word embeddings that have any gradient; by default all.
        """
        gradients = {name: self._weights[name].grad for name in self._kept}
        found = {name: one for name, one in gradients.items() if one is not None}
        if words is not None and (of_words := found.pop(WORD_EMBEDDINGS, None)) is not None:
            of_words[words] *= self._kept[WORD_EMBEDDINGS][words]
        if found:
            torch._foreach_mul_(list(found.values()), [self._kept[name] for name in found])

    def _as_factors(self) -> dict[str, Tensor]:
        """The masks that prune something as float32: a product with bools takes five times as
        long."""
        return {name: mask.float() for name, mask in self.masks.items() if pruned_entries(mask)}

    @torch.no_grad()
    def _zero_pruned(self) -> None:
        for name, kept in self._kept.items():
            self._weights[name].mul_(kept)

    def check(self, sparsity: float) -> None:
        """Raise RealisedSparsityError unless masks and weights have exactly `sparsity`."""
        self._criterion.check(self.masks, sparsity)
        for name, weight in self._weights.items():
            if moved := int(weight.detach()[~self.masks[name]].count_nonzero()):
                raise RealisedSparsityError(f"{name}: {moved} pruned weights are not zero")

    def state(self) -> dict[str, Tensor]:
        """All that a resumed training needs, as a flat dict of tensors."""
        return {f"mask.{name}": mask for name, mask in self.masks.items()} | {
            f"aside.{name}": weight for name, weight in self._aside.items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state that `state()` gave."""
        for name, weight in self._weights.items():
            self.masks[name] = state[f"mask.{name}"].to(weight.device)
            if (kept := state.get(f"aside.{name}")) is not None:
                self._aside[name] = kept.to(weight.device)
        self._kept = self._as_factors()
