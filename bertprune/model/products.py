"""Products with a weight matrix in float32, through the faster of the two libraries that torch has.

On x86 these are MKL, which torch takes by itself, and oneDNN. MKL uses only a part of what an AMD
processor with AVX-512 can do. Which of the two computes a product follows from the processor and
from the product's size alone, so a training gives the same bits on processors of one family.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bertprune.base.machine import processor_family


class Share(StrEnum):
    """Which of a layer's three products oneDNN does, in words for records."""

    NONE = "MKL"
    PASSES = "oneDNN, gradients of weights MKL"
    """That of x with W, and that of the result's gradient with W."""
    ALL = "oneDNN"
    """That of the result's gradient with x too, whose operands it wants transposed in memory."""


# By maker and family, with AVX-512. Zen 4 (25) is 10 % faster in both passes so, and slower for the
# weights' gradient; Zen 5 (26) is twice as fast in all three.
_SHARES = {("AuthenticAMD", 25): Share.PASSES, ("AuthenticAMD", 26): Share.ALL}

# Below, what a call takes beside its arithmetic is more than what the faster library saves.
_LEAST_MULTIPLICATIONS = 50_000_000


@cache
def share_of_one_dnn() -> Share:
    """What oneDNN does on this processor."""
    has_both = torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()
    has_avx512 = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return _SHARES.get(processor_family(), Share.NONE) if has_both and has_avx512 else Share.NONE


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W' + b (..., out) for x (..., in), W (out, in) and b (out), as torch's own `linear`, but
    for rounding."""
    share = share_of_one_dnn()
    if (
        share is Share.NONE
        or x.device.type != "cpu"
        or x.dtype != torch.float32
        or x.numel() * len(weight) < _LEAST_MULTIPLICATIONS
        or torch.is_autocast_enabled("cpu")
    ):
        return functional.linear(x, weight, bias)
    product: Tensor = _OneDnn.apply(x.flatten(0, -2), weight, bias, share)
    return product.view(*x.shape[:-1], -1)


class _OneDnn(torch.autograd.Function):
    """`linear` of x (N, in), and its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, share: Share) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.share = share
        return one_dnn_product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        (above,) = gradients
        if ctx.share is Share.ALL:
            of_weight = one_dnn_product(above.t().contiguous(), x.t().contiguous())
        else:
            of_weight = above.t() @ x
        return one_dnn_product(above, weight.t()), of_weight, above.sum(0), None


def one_dnn_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W' + b, by oneDNN."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
