"""Batches of several models as one."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

NO_LABEL = -100  # what torch's cross-entropy leaves out


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
