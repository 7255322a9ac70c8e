"""The precision that a run computes in: what "auto" comes to on this machine."""

from __future__ import annotations

from bertprune.base.errors import UserError
from bertprune.base.machine import has_gpu, has_native_bf16
from bertprune.model.shape import shape_of
from bertprune.protocol.notebook_parameters import BurnIn

FLOAT32, BF16 = "float32", "bf16"
"""bf16 is mixed precision: products in bf16, weights, their gradients and all sums in float32."""

_LEAST_HIDDEN_SIZE = 128
"""From here on bf16 pays on a processor: a pre-training step of 2 layers takes 0.7 of the time at
64, 0.6 at 128 (AMD Zen 4, one thread). Smaller models, as the lab's, keep the precision that all
processors have, so that their results can be compared."""


def precision_of(parameters: BurnIn) -> str:
    """What a run with `parameters` computes in on this machine, FLOAT32 or BF16.

    "auto" is BF16 on a GPU that has it, and on a processor that has it for models of a hidden size
    of at least 128.
    """
    if parameters.precision != "auto":
        return parameters.precision
    is_large = has_gpu() or _hidden_size(parameters) >= _LEAST_HIDDEN_SIZE
    return BF16 if is_large and has_native_bf16() else FLOAT32


def _hidden_size(parameters: BurnIn) -> int:
    if not parameters.model:
        return parameters.hidden_size
    try:
        return shape_of(parameters).hidden_size
    except UserError:
        # Of the Hub, and not known without a network: such models are larger.
        return _LEAST_HIDDEN_SIZE
