"""What a BERT counts to, beside the models themselves."""

from typing import Any

import pytest
import torch

from bertprune.model.checkpoints import fresh_model
from bertprune.model.shape import BERT_BASE, Shape
from bertprune.pruning.matrices import prunable_matrices


@pytest.mark.parametrize("shape", [BERT_BASE, Shape(3, 24, 2, 50, 16)])
def test_counts_are_those_of_the_model(shape: Shape) -> None:
    with torch.device("meta"):
        model: Any = fresh_model(shape, seed=0)
    assert shape.parameters == sum(one.numel() for one in model.parameters())
    assert shape.prunable == sum(one.numel() for one in prunable_matrices(model).values())
    assert shape.parts["word embeddings"] == model.bert.embeddings.word_embeddings.weight.numel()
    assert shape.parts["pooler"] == sum(one.numel() for one in model.bert.pooler.parameters())
