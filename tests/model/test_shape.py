"""What a BERT counts to, beside the models themselves and the products that torch makes."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertForPreTraining, BertForSequenceClassification

from bertprune.data.batches import ClassificationBatch, PretrainingBatch
from bertprune.model.loading import fresh_model, load_pretraining_model
from bertprune.model.shape import BERT_BASE, Shape, shape_of
from bertprune.protocol.notebook_parameters import BurnIn
from bertprune.pruning.matrices import prunable_matrices
from bertprune.training.finetuning import ClassificationLoss
from bertprune.training.pretraining import PretrainingLoss

SMALL = Shape(layers=3, hidden_size=12, heads=2, vocabulary_size=50, max_length_tokens=16)


@pytest.mark.parametrize("shape", [BERT_BASE, SMALL])
def test_counts_are_those_of_the_model(shape: Shape) -> None:
    with torch.device("meta"):
        model: Any = fresh_model(shape, seed=0)
    assert shape.parameters == sum(one.numel() for one in model.parameters())
    assert shape.prunable == sum(one.numel() for one in prunable_matrices(model).values())
    assert shape.parts["word embeddings"] == model.bert.embeddings.word_embeddings.weight.numel()
    assert shape.parts["pooler"] == sum(one.numel() for one in model.bert.pooler.parameters())


def test_shapes_of_models_by_name() -> None:
    assert shape_of(BurnIn(model="google-bert/bert-base-uncased")) == BERT_BASE
    shipped: Any = load_pretraining_model("lab", seed=0)
    found = shape_of(BurnIn(model="lab"))
    assert found.parameters == sum(one.numel() for one in shipped.parameters())
    assert found.prunable == sum(one.numel() for one in prunable_matrices(shipped).values())


def config_of(shape: Shape) -> Any:
    config = fresh_model(shape, seed=0).config
    # Of the fused attention torch counts nothing.
    config._attn_implementation = "eager"
    return config


def test_training_flop_of_a_classifier() -> None:
    """Examples one by one, so that nothing is padded."""
    loss = ClassificationLoss(BertForSequenceClassification(config_of(SMALL)))
    found = 0
    for length in (5, 9):
        ids = torch.ones(1, length, dtype=torch.int64)
        batch = ClassificationBatch(
            input_ids=ids,
            token_type_ids=0 * ids,
            attention_mask=ids,
            labels=torch.tensor([1]),
            examples_total=1,
        )
        with FlopCounterMode(display=False) as counter:
            loss(batch).backward()
        found += counter.get_total_flops()
    assert SMALL.training_flop([5, 9]) == found


def test_training_flop_of_pretraining() -> None:
    """As many masked positions an example as there are reads, so that nothing is padded."""
    ids = torch.ones(2, 7, dtype=torch.int64)
    batch = PretrainingBatch(
        input_ids=ids,
        token_type_ids=0 * ids,
        attention_mask=ids,
        read_positions=torch.tensor([[0, 1, 5, 6], [0, 2, 3, 4]]),
        masked_reads=torch.tensor([1, 2, 3, 5, 6, 7]),
        masked_labels=torch.ones(6, dtype=torch.int64),
        next_sentence_labels=torch.tensor([0, 1]),
        masked_total=6,
        examples_total=2,
    )
    with FlopCounterMode(display=False) as counter:
        PretrainingLoss(BertForPreTraining(config_of(SMALL)))(batch).backward()
    assert SMALL.training_flop([7, 7], masked=[3, 3]) == counter.get_total_flops()
