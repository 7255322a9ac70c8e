"""A small BERT, its prunable matrices, and values among entries."""

import pytest
from torch import Tensor
from transformers import BertForPreTraining

from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.protocol.rows import Entry
from bertprune.pruning.matrices import prunable_matrices

SHAPE = Shape(layers=2, hidden_size=16, heads=4, vocabulary_size=60, max_length_tokens=24)


def values_of(entries: list[Entry], metric: str) -> dict[str, float]:
    """The values of `metric` by part."""
    return {e["part"]: e["value"] for e in entries if e["metric"] == metric}


@pytest.fixture
def model() -> BertForPreTraining:
    return fresh_model(SHAPE, seed=0)


def matrices_of(seed: int) -> dict[str, Tensor]:
    """The matrices of a small BERT, each of another width."""
    matrices = prunable_matrices(fresh_model(SHAPE, seed=seed))
    return {
        name: weight.detach() * (place + 1) for place, (name, weight) in enumerate(matrices.items())
    }
