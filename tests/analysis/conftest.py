"""A small BERT, its prunable matrices, and values among entries."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import BertForPreTraining

from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.protocol.rows import Entry
from bertprune.pruning.matrices import prunable_matrices

Matrices = dict[str, Tensor]
MakeMatrices = Callable[[int], Matrices]

SHAPE = Shape(layers=2, hidden_size=16, heads=4, vocabulary_size=60, max_length_tokens=24)


def values_of(entries: list[Entry], metric: str) -> dict[str, float]:
    """The values of `metric` by part."""
    return {e["part"]: e["value"] for e in entries if e["metric"] == metric}


@pytest.fixture
def model() -> BertForPreTraining:
    return fresh_model(SHAPE, seed=0)


@pytest.fixture
def make_matrices() -> MakeMatrices:
    """The matrices of the small BERT, with random weights of another seed."""

    def make(seed: int) -> Matrices:
        generator = torch.Generator().manual_seed(seed)
        shapes = {n: w.shape for n, w in prunable_matrices(fresh_model(SHAPE, seed=0)).items()}
        return {
            name: torch.randn(shape, generator=generator) / (place + 1)
            for place, (name, shape) in enumerate(shapes.items())
        }

    return make
