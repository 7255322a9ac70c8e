"""Batches of tensors: of pre-training and of classification, of one model or of several as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

NO_LABEL = -100  # what torch's cross-entropy leaves out


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded examples, of which `examples_total` counts those of all processes together.

    In a batch of K models each tensor has a first axis of K.
    """

    input_ids: Tensor  # (B, L) int64
    token_type_ids: Tensor  # (B, L) int64
    attention_mask: Tensor  # (B, L) int64
    examples_total: int | Tensor  # (K,) for K models

    @property
    def lengths(self) -> dict[str, int]:
        """Sizes of the axes in which batches differ: examples, length, and positions read."""
        return {"B": len(self.input_ids), "L": self.input_ids.shape[-1], "R": 1}

    def to(self, device: torch.device | str) -> Self:
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if torch.is_tensor(value)
        }
        return replace(self, **tensors)

    @classmethod
    def stacked(cls, batches: Sequence[Self]) -> Self:
        """One batch of the batches of K models, with examples that count for nothing where one has
        fewer."""
        values = {one.name: [getattr(batch, one.name) for batch in batches] for one in fields(cls)}
        return cls(
            **{
                name: stacked(of_batches, NO_LABEL if name.endswith("labels") else 0)
                if torch.is_tensor(of_batches[0])
                else torch.tensor(of_batches)
                for name, of_batches in values.items()
            }
        )


@dataclass(frozen=True, kw_only=True)
class PretrainingBatch(Batch):
    """Padded, masked sentence pairs.

    `masked_total` counts the masked positions of all processes together, so that each can scale its
    loss to the mean over the whole batch.
    """

    read_positions: Tensor  # (B, R) int64: [CLS], then the masked positions, then 0s
    masked_reads: Tensor  # (M,) int64, into the flattened (B * R)
    masked_labels: Tensor  # (M,) int64
    next_sentence_labels: Tensor  # (B,) int64: 0 B follows A, 1 it is random
    masked_total: int | Tensor  # (K,) for K models

    @property
    def masked_positions(self) -> Tensor:
        """The masked positions (M,) in the flattened (B * L)."""
        row = self.masked_reads // self.read_positions.shape[1]
        return row * self.input_ids.shape[1] + self.read_positions.flatten()[self.masked_reads]

    @property
    def lengths(self) -> dict[str, int]:
        return super().lengths | {"R": self.read_positions.shape[-1]}

    @classmethod
    def stacked(cls, batches: Sequence[PretrainingBatch]) -> PretrainingBatch:
        """One batch of the batches of K models, with examples that count for nothing where one has
        fewer."""
        widest = max(batch.read_positions.shape[1] for batch in batches)

        def among_the_widest(batch: PretrainingBatch) -> PretrainingBatch:
            own = batch.read_positions.shape[1]
            reads = batch.masked_reads // own * widest + batch.masked_reads % own
            return replace(batch, masked_reads=reads)

        # Batches that are the same object are not copied, nor their tensors.
        same = all(batch is batches[0] for batch in batches)
        return super().stacked(batches if same else [among_the_widest(one) for one in batches])


@dataclass(frozen=True, kw_only=True)
class ClassificationBatch(Batch):
    """Padded examples of a task."""

    labels: Tensor  # (B,) int64


def stacked(tensors: Sequence[Tensor], fill: int = 0) -> Tensor:
    """One tensor (K, ...) of K tensors, each padded with `fill` at the ends of its axes.

    Tensors that are all the same object are not copied.
    """
    if all(tensor is tensors[0] for tensor in tensors):
        return tensors[0].expand(len(tensors), *tensors[0].shape)
    widest = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    return torch.stack([_padded(tensor, widest, fill) for tensor in tensors])


def _padded(tensor: Tensor, shape: Sequence[int], fill: int) -> Tensor:
    ends = [(0, wide - size) for wide, size in zip(shape, tensor.shape, strict=True)]
    return functional.pad(tensor, [end for pair in reversed(ends) for end in pair], value=fill)
