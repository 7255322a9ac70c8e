"""The word embeddings: where their magnitudes are large, and which ones are pruned (the paper,
figure 8)."""

from __future__ import annotations

import re
from collections import Counter

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from bertprune.analysis.entries import Entry, entry

BLOCKS = 64
"""At most so many blocks of tokens, and of dimensions, has a map of magnitudes."""

_UNUSED = re.compile(r"\[unused\d+\]")


def magnitudes(weight: Tensor) -> list[Entry]:
    """magnitude: the mean |weight| of each block of the word embeddings (tokens, dimensions).

    Blocks have the same size but for the last. `part` names the dimensions of a block,
    "dimensions 0–11", or "dimensions 3" where it has one only; `position` is its first token's id.
    """
    tokens, dimensions = weight.shape
    block_tokens, block_dimensions = -(-tokens // BLOCKS), -(-dimensions // BLOCKS)
    # A mean of means is one over all, since in a block each dimension has as many tokens.
    by_dimension = torch.stack(
        [rows.abs().mean(0) for rows in weight.detach().split(block_tokens)]
    ).cpu()
    found = []
    for first in range(0, dimensions, block_dimensions):
        last = min(first + block_dimensions, dimensions) - 1
        part = f"dimensions {first}–{last}" if last > first else f"dimensions {first}"
        means = by_dimension[:, first : last + 1].mean(1).tolist()
        found += [
            entry("embeddings", "magnitude", mean, part=part, position=block * block_tokens)
            for block, mean in enumerate(means)
        ]
    return found


def pruned_by_dimension(mask: Tensor) -> list[Entry]:
    """pruned_share of "dimension 7" and so on, over all tokens.

    `mask` is that of the word embeddings (tokens, dimensions).
    """
    tokens = len(mask)
    return [
        entry("embeddings", "pruned_share", (tokens - kept) / tokens, part=f"dimension {number}")
        for number, kept in enumerate(mask.sum(0).tolist())
    ]


def pruned_by_subword_length(mask: Tensor, tokenizer: PreTrainedTokenizerFast) -> list[Entry]:
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
            "embeddings",
            "pruned_share",
            (size[length] - kept[length]) / size[length],
            part="subword",
            position=length,
        )
        for length in sorted(size)
    ]
