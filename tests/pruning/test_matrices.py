"""Which matrices are pruned, what they are called, and what does not fit."""

import pytest
import torch

from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.pruning.matrices import check_same_matrices, kind_of, matrix_of, prunable_matrices


def test_every_prunable_matrix_is_of_a_kind() -> None:
    model = fresh_model(Shape(2, 16, 4, 60, 24), seed=0)
    kinds = [kind_of(matrix_of(name)) for name in prunable_matrices(model)]
    layer = ["query", "key", "value", "attention_output", "intermediate", "output"]
    assert kinds == ["word_embeddings", *layer, *layer, "pooler"]
    assert kind_of("encoder.layer.11.output.dense") == "output"
    with pytest.raises(KeyError):
        kind_of("cls.predictions.transform.dense")


def test_what_does_not_fit_is_named() -> None:
    first = {"a": torch.zeros(2, 3)}
    check_same_matrices(first, {"a": torch.ones(2, 3)})
    with pytest.raises(ValueError, match="only one of the two models has b"):
        check_same_matrices(first, first | {"b": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"a has the shape \(2, 3\) .* \(3, 2\)"):
        check_same_matrices(first, {"a": torch.zeros(3, 2)})
