"""Similarity of features: whole texts, padding left out, and cosines against torch's own."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertForPreTraining

from bertprune.analysis.feature_similarity import similarity
from bertprune.data.batches import PretrainingBatch
from bertprune.data.pretraining_examples import MaskedPairs, mask_tokens
from bertprune.model.loading import fresh_model

from .conftest import SHAPE

LENGTH, PAIRS = 24, 21


@pytest.fixture
def whole() -> Tensor:
    """Random texts (PAIRS, LENGTH), with no word masked and no padding yet."""
    return torch.randint(5, 60, (PAIRS, LENGTH), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def lengths() -> Tensor:
    return torch.randint(8, LENGTH, (PAIRS,), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def batches(whole: Tensor, lengths: Tensor) -> list[PretrainingBatch]:
    """The texts as batches of 8 in pre-training."""
    inside = torch.arange(LENGTH) < lengths[:, None]
    ids, labels = mask_tokens(
        torch.where(inside, whole, 0).int().numpy(),
        inside.numpy(),
        lengths.numpy(),
        mask_id=4,
        vocabulary_size=60,
        generator=np.random.default_rng(0),
    )
    half = lengths.numpy() // 2
    return MaskedPairs(ids, labels, half, lengths.numpy(), half % 2).batches(8)


class HandMade(nn.Module):
    """An encoder whose features of layer n are `tables[n]` of the tokens, which are others in a
    second sentence."""

    device = torch.device("cpu")

    def __init__(self, tables: Sequence[Tensor]) -> None:
        super().__init__()
        self.tables = tables

    def forward(self, input_ids: Tensor, **options: Any) -> SimpleNamespace:
        tokens = input_ids + 60 * options["token_type_ids"]
        return SimpleNamespace(hidden_states=tuple(table[tokens] for table in self.tables))


def _tables(seed: int, layers: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(120, 7, generator=generator) for _ in range(layers)]


def _cosines(
    one: nn.Module, other: nn.Module, batches: list[PretrainingBatch], **options: int
) -> list[float]:
    found = similarity(one, other, batches, **options)
    assert {(e["split"], e["metric"]) for e in found} == {("features", "cosine_similarity")}
    assert [e["part"] for e in found] == [f"layer {n}" for n in range(len(found))]
    return [e["value"] for e in found]


@pytest.mark.parametrize("pairs", [1, 8, 13, PAIRS, 1500])
def test_the_mean_is_over_the_tokens_of_the_first_pairs(
    batches: list[PretrainingBatch], whole: Tensor, lengths: Tensor, pairs: int
) -> None:
    """With the masked words put back, and without padding."""
    assert any((batch.input_ids == 4).any() for batch in batches)
    ones, others = _tables(0), _tables(1)
    places, ends = torch.arange(LENGTH), lengths[:, None]
    tokens = (whole + 60 * (places >= ends // 2 + 2))[:pairs][(places < ends)[:pairs]]
    expected = [
        float(functional.cosine_similarity(one[tokens], other[tokens]).double().mean())
        for one, other in zip(ones, others, strict=True)
    ]
    found = _cosines(HandMade(ones), HandMade(others), batches, pairs=pairs)
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_model_is_like_itself(model: BertForPreTraining, batches: list[PretrainingBatch]) -> None:
    model.train()
    found = _cosines(model, fresh_model(SHAPE, seed=0).train(), batches)
    assert found == pytest.approx([1] * (SHAPE.layers + 1), abs=1e-6)
    assert not model.bert.training
    assert _cosines(model.bert, model, batches) == found


def test_no_tokens(model: BertForPreTraining, batches: list[PretrainingBatch]) -> None:
    for some, pairs in (([], 1500), (list(batches), 0)):
        with pytest.raises(ValueError, match="no tokens"):
            similarity(model, model, some, pairs=pairs)
