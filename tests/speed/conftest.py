"""A tiny BERT, and a batch of masked pairs for it."""

import pytest
from transformers import BertForPreTraining

from bertprune.data.batches import PretrainingBatch
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.speed.made_up_inputs import Pairs

SHAPE = Shape(layers=2, hidden_size=16, heads=2, vocabulary_size=300, dropout=0.0)


@pytest.fixture
def model() -> BertForPreTraining:
    """Without dropout, so that a loss is a function of weights and batch."""
    return fresh_model(SHAPE, seed=0)


@pytest.fixture(scope="session")
def pairs() -> Pairs:
    return Pairs(batch_size=4, vocabulary_size=300)


@pytest.fixture
def batch(pairs: Pairs) -> PretrainingBatch:
    return pairs.examples.batch(0)
