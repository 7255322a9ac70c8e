"""What a pruned model takes on disk, stored in several ways."""

from __future__ import annotations

import gzip
import math

from safetensors.torch import save
from torch import nn

from bertprune.protocol.rows import Entry, Metric, Split, entry
from bertprune.pruning.masks import Masks, pruned_entries
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.storage import dense_tensors, sparse_bytes

_GZIP_LEVEL = 6
_VALUE_BYTES = 4
_INDEX_BYTES = 4


def sizes(model: nn.Module, masks: Masks) -> list[Entry]:
    """storage_bytes of `model`, pruned by `masks`, by way of storing it (`part`).

    `dense` and `sparse`: whole safetensors files, with every weight or without the zeros (see
    `pruning.storage`), in float32 and in bf16. `..., gzip`: its content compressed at level 6.
    `CSR float32`: each prunable matrix in compressed sparse rows, with indices of 32 bits.
    `bound float32`: the kept weights as they are, and for which ones these are, the entropy of a
    mask of that sparsity, H(s) n / 8 bytes a matrix: masks without a pattern take no less, but the
    weights would if they were compressed. The last two count the content without a header.
    """
    dense, sparse = save(dense_tensors(model)), sparse_bytes(model, masks)
    found = {
        "dense float32": len(dense),
        "dense bf16": len(save(dense_tensors(model, "bf16"))),
        "dense float32, gzip": _gzip_bytes(dense),
        "sparse float32": len(sparse),
        "sparse bf16": len(sparse_bytes(model, masks, "bf16")),
        "sparse float32, gzip": _gzip_bytes(sparse),
        "CSR float32": csr_bytes(model, masks),
        "bound float32": bound_bytes(model, masks),
    }
    return [
        entry(Split.WEIGHTS, Metric.STORAGE_BYTES, size, part=part) for part, size in found.items()
    ]


def _gzip_bytes(file: bytes) -> int:
    """Bytes of a safetensors file whose content is compressed, and its header not: safetensors
    writes that in an order that differs from process to process."""
    header = 8 + int.from_bytes(file[:8], "little")
    return header + len(gzip.compress(file[header:], _GZIP_LEVEL))


def csr_bytes(model: nn.Module, masks: Masks) -> int:
    """Bytes of all parameters, the prunable matrices as compressed sparse rows.

    A matrix with r rows takes its kept values, their columns, and r + 1 places where rows begin.
    """
    size = _unprunable_bytes(model)
    for mask in masks.values():
        size += (_VALUE_BYTES + _INDEX_BYTES) * int(mask.sum())
        size += _INDEX_BYTES * (mask.shape[0] + 1)
    return size


def bound_bytes(model: nn.Module, masks: Masks) -> float:
    """Bytes of all parameters: of the prunable ones those kept, and the entropy of each mask."""
    size = float(_unprunable_bytes(model))
    for mask in masks.values():
        sparsity = pruned_entries(mask) / mask.numel()
        size += _VALUE_BYTES * int(mask.sum()) + binary_entropy(sparsity) * mask.numel() / 8
    return size


def binary_entropy(share: float) -> float:
    """Entropy, in bits, of an event of probability `share`."""
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)


def _unprunable_bytes(model: nn.Module) -> int:
    prunable = sum(weight.numel() for weight in prunable_matrices(model).values())
    return _VALUE_BYTES * (sum(p.numel() for p in model.parameters()) - prunable)
