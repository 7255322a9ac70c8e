"""How the weights are distributed, and what they weigh (the paper, table 3 and section 2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import BertForPreTraining

from bertprune.analysis.entries import Entry, entry, kind_of, matrix_of

BINS = 61
"""Bins of a histogram; odd, so that the middle one has the mean at its centre."""

WIDTH_STD = 4.0
"""A histogram reaches from this many standard deviations below the mean to as many above it."""

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
            entry("weights", metric, float(value), part=matrix_of(name))
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
    return [entry("weights", "memory_bytes", size, part=part) for part, size in sizes.items()]


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
    return [
        entry(
            "weights", "histogram", count / size, part=kind, position=low + (number + 0.5) * width
        )
        for number, count in enumerate(counts.tolist())
    ]


def _values(weight: Tensor) -> Tensor:
    """The weights (n,) in float64, on the CPU, since not every device has it."""
    return weight.detach().flatten().cpu().double()
