"""How the weights are distributed, and what they weigh (the paper, table 3, section 2, and the map
of figure 8)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import BertForPreTraining

from bertprune.protocol.rows import Entry, Metric, Split, entry
from bertprune.pruning.matrices import kind_of, matrix_of

BINS = 61
"""Bins of a histogram; odd, so that the middle one has the mean at its centre."""

WIDTH_STD = 4.0
"""A histogram reaches from this many standard deviations below the mean to as many above it."""

BLOCKS = 64
"""At most so many blocks of tokens, and of dimensions, has a map of magnitudes."""

_BYTES_A_WEIGHT = 4

# The first of these that is found in a parameter's name says what it is a part of. The heads come
# first, since they have a LayerNorm of their own.
_MEMORY_PARTS = {
    "cls.": "heads",
    "LayerNorm": "LayerNorm",
    "word_embeddings": "word embeddings",
    "embeddings": "position and segment embeddings",
    "attention": "attention",
    "encoder": "feed-forward",
    "pooler": "pooler",
}


def statistics(matrices: Mapping[str, Tensor]) -> list[Entry]:
    """weight_mean, weight_std and weight_kurtosis of each matrix.

    Of all its weights as a population; the kurtosis is the excess over the normal distribution's.
    A matrix whose weights are all the same has none.
    """
    found = []
    for name, weight in matrices.items():
        values = _values(weight)
        mean = values.mean()
        squares = (values - mean).square()
        variance = squares.mean()
        numbers = {"weight_mean": mean, "weight_std": variance.sqrt()}
        if variance > 0:
            numbers["weight_kurtosis"] = squares.square().mean() / variance.square() - 3
        found += [
            entry(Split.WEIGHTS, metric, float(value), part=matrix_of(name))
            for metric, value in numbers.items()
        ]
    return found


def histograms(matrices: Mapping[str, Tensor]) -> list[Entry]:
    """histogram of each kind of matrix, all layers together: the share of its weights in a bin.

    `position` is the centre of the bin. The bins cover the kind's mean ± WIDTH_STD of its standard
    deviations, and the outer two take what is beyond. A kind whose weights are all the same has
    none.
    """
    kinds: dict[str, list[Tensor]] = {}
    for name, weight in matrices.items():
        kinds.setdefault(kind_of(matrix_of(name)), []).append(weight)
    return [found for kind, weights in kinds.items() for found in _histogram(kind, weights)]


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
            entry(Split.EMBEDDINGS, Metric.MAGNITUDE, mean, part=part, position=first_token)
            for first_token, mean in zip(range(0, tokens, block_tokens), means, strict=True)
        ]
    return found


def memory(model: BertForPreTraining) -> list[Entry]:
    """memory_bytes of the parts of a BERT: the bytes of their parameters as float32.

    What two parts share counts once, for the first: the MLM decoder is the word embeddings'.
    """
    sizes = dict.fromkeys(
        [
            "word embeddings",
            "position and segment embeddings",
            "attention",
            "feed-forward",
            "pooler",
            "LayerNorm",
            "heads",
        ],
        0,
    )
    for name, parameter in model.named_parameters():
        part = next(part for piece, part in _MEMORY_PARTS.items() if piece in name)
        sizes[part] += parameter.numel() * _BYTES_A_WEIGHT
    return [
        entry(Split.WEIGHTS, Metric.MEMORY_BYTES, size, part=part) for part, size in sizes.items()
    ]


def _histogram(kind: str, weights: list[Tensor]) -> list[Entry]:
    size = sum(weight.numel() for weight in weights)
    mean = sum(float(_values(weight).sum()) for weight in weights) / size
    squares = sum(float((_values(weight) - mean).square().sum()) for weight in weights)
    std = (squares / size) ** 0.5
    if std == 0:
        return []
    low, width = mean - WIDTH_STD * std, 2 * WIDTH_STD * std / BINS
    counts = torch.zeros(BINS, dtype=torch.int64)
    for weight in weights:
        bins = ((_values(weight) - low) / width).floor().clamp(0, BINS - 1)
        counts += bins.long().bincount(minlength=BINS)
    shares = [count / size for count in counts.tolist()]
    return [
        entry(Split.WEIGHTS, "histogram", share, part=kind, position=low + (number + 0.5) * width)
        for number, share in enumerate(shares)
    ]


def _values(weight: Tensor) -> Tensor:
    """The weights (n,) in float64, on the CPU, since not every device has it."""
    return weight.detach().flatten().cpu().double()
