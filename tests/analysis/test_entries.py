"""Entries: that they become rows, the names of matrices and their kinds, what does not fit."""

import math

import pytest
import torch
from transformers import BertForPreTraining

from bertprune.analysis.entries import check_same_matrices, entry, kind_of, matrix_of
from bertprune.protocol import rows
from bertprune.pruning.matrices import prunable_matrices


def test_an_entry_becomes_a_row() -> None:
    history = [
        entry("weights", "histogram", 1, part="query", position=2) | {"step": 7},
        entry("masks", "mask_difference", 0.5) | {"step": 7},
    ]
    found = rows.of_pretraining(history, arm="a", sparsity=0.0, learning_rate=1.0, seed=0)
    assert list(found.part) == ["query", ""]
    assert list(found.value) == [1.0, 0.5] and list(found.step) == [7, 7]
    assert found.position[0] == 2.0 and math.isnan(found.position[1])


def test_every_prunable_matrix_is_of_a_kind(model: BertForPreTraining) -> None:
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
