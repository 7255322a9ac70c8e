"""What is pruned: which heads, dimensions and subwords, and how much the masks of two models differ
(the paper, figures 3, 4 and 8).

A mask is bool, True where a weight is kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from bertprune.protocol.rows import WHOLE, Entry, Metric, Split, entry
from bertprune.pruning.matrices import check_same_matrices, matrix_of

_UNUSED = re.compile(r"\[unused\d+\]")


def difference(masks: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> list[Entry]:
    """mask_difference: the share of entries that differ, over all masks together and by matrix.

    Raises ValueError unless both are masks of the same matrices.
    """
    check_same_matrices(masks, others)
    differing = {
        name: int((mask != others[name].to(mask.device)).sum()) for name, mask in masks.items()
    }
    size = sum(mask.numel() for mask in masks.values())
    shares = {WHOLE: sum(differing.values()) / size} | {
        matrix_of(name): differing[name] / mask.numel() for name, mask in masks.items()
    }
    return [
        entry(Split.MASKS, Metric.MASK_DIFFERENCE, share, part=part)
        for part, share in shares.items()
    ]


def shares_of_heads(masks: Mapping[str, Tensor], *, heads: int) -> list[Entry]:
    """pruned_share of "layer 0 head 3" and so on, from the masks of a model's matrices.

    A head has its rows of query, key and value, and its columns of the attention output. `heads`
    is their number in a layer; raises ValueError if they cannot share it evenly.
    """
    layers = sum(name.endswith("attention.self.query.weight") for name in masks)
    found = []
    for layer in range(layers):
        shares = _shares_in_layer(masks, f"encoder.layer.{layer}.attention", heads)
        for head, share in enumerate(shares):
            part = f"layer {layer} head {head}"
            found.append(entry(Split.HEADS, Metric.PRUNED_SHARE, share, part=part))
    return found


def _shares_in_layer(masks: Mapping[str, Tensor], attention: str, heads: int) -> list[float]:
    """Pruned share of each head of the layer with the matrices `attention`."""
    by_row = [masks[f"{attention}.self.{matrix}.weight"] for matrix in ("query", "key", "value")]
    by_row.append(masks[f"{attention}.output.dense.weight"].T)
    if by_row[0].shape[0] % heads:
        raise ValueError(f"{by_row[0].shape[0]} rows cannot be shared by {heads} heads evenly")
    kept = torch.stack([mask.reshape(heads, -1).sum(1) for mask in by_row]).sum(0)
    size = sum(mask.numel() for mask in by_row) // heads
    return [(size - count) / size for count in kept.tolist()]


def shares_of_dimensions(mask: Tensor) -> list[Entry]:
    """pruned_share of "dimension 7" and so on, over all tokens.

    `mask` is that of the word embeddings (tokens, dimensions).
    """
    tokens = len(mask)
    shares = ((tokens - kept) / tokens for kept in mask.sum(0).tolist())
    return [
        entry(Split.EMBEDDINGS, Metric.PRUNED_SHARE, share, part=f"dimension {number}")
        for number, share in enumerate(shares)
    ]


def shares_by_subword_length(mask: Tensor, tokenizer: PreTrainedTokenizerFast) -> list[Entry]:
    """pruned_share of the embeddings of all "subword"s of a length, which is the `position`.

    The length is in characters, without the "##" of a subword that continues a word. Special
    tokens, unused ones and those without an embedding are left out. `mask` is that of the word
    embeddings (tokens, dimensions).
    """
    dimensions = mask.shape[1]
    kept_of_token = mask.sum(1).tolist()
    special = set(tokenizer.all_special_tokens)
    kept: Counter[int] = Counter()
    size: Counter[int] = Counter()
    for token, number in tokenizer.get_vocab().items():
        if token in special or _UNUSED.fullmatch(token) or number >= len(mask):
            continue
        length = len(token.removeprefix("##"))
        kept[length] += kept_of_token[number]
        size[length] += dimensions
    return [
        entry(
            Split.EMBEDDINGS,
            Metric.PRUNED_SHARE,
            (size[length] - kept[length]) / size[length],
            part="subword",
            position=length,
        )
        for length in sorted(size)
    ]
