"""How much of each attention head is pruned (the paper, figure 4)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bertprune.analysis.entries import Entry, entry


def pruned_shares(masks: Mapping[str, Tensor], *, heads: int) -> list[Entry]:
    """pruned_share of "layer 0 head 3" and so on, from the masks of a model's matrices.

    A head has its rows of query, key and value, and its columns of the attention output. `heads`
    is their number in a layer; raises ValueError if they cannot share it evenly.
    """
    layers = sum(name.endswith("attention.self.query.weight") for name in masks)
    found = []
    for layer in range(layers):
        for head, share in enumerate(_shares(masks, f"encoder.layer.{layer}.attention", heads)):
            part = f"layer {layer} head {head}"
            found.append(entry("heads", "pruned_share", share, part=part))
    return found


def _shares(masks: Mapping[str, Tensor], attention: str, heads: int) -> list[float]:
    """Pruned share of each head of the layer with the matrices `attention`."""
    by_row = [masks[f"{attention}.self.{matrix}.weight"] for matrix in ("query", "key", "value")]
    by_row.append(masks[f"{attention}.output.dense.weight"].T)
    if by_row[0].shape[0] % heads:
        raise ValueError(f"{by_row[0].shape[0]} rows cannot be shared by {heads} heads evenly")
    kept = torch.stack([mask.reshape(heads, -1).sum(1) for mask in by_row]).sum(0)
    size = sum(mask.numel() for mask in by_row) // heads
    return [(size - count) / size for count in kept.tolist()]
