"""Model FLOPs, beside what torch counts of the products it makes."""

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification

from bertprune.bench.flops import model_flops

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=12,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=40,
    max_position_embeddings=16,
)
# Of the fused attention torch counts nothing.
CONFIG._attn_implementation = "eager"


def counted(loss: torch.Tensor, counter: FlopCounterMode) -> int:
    loss.backward()
    return counter.get_total_flops()


def test_of_a_classifier() -> None:
    """Examples one by one, so that nothing is padded."""
    model = BertForSequenceClassification(CONFIG)
    found = 0
    for length in (5, 9):
        with FlopCounterMode(display=False) as counter:
            found += counted(model(torch.ones(1, length, dtype=torch.int64)).logits.sum(), counter)
    assert model_flops(model.config, [5, 9]) == found


def test_of_pretraining() -> None:
    """Logits at the masked positions alone."""
    model = BertForPreTraining(CONFIG)
    with FlopCounterMode(display=False) as counter:
        encoded = model.bert(torch.ones(2, 7, dtype=torch.int64))
        words = model.cls.predictions(encoded.last_hidden_state.flatten(0, 1)[[1, 8, 11]])
        loss = words.sum() + model.cls.seq_relationship(encoded.pooler_output).sum()
        found = counted(loss, counter)
    assert model_flops(model.config, [7, 7], masked=3) == found


def test_bert_base_by_hand() -> None:
    """One token: 12 layers of 7,077,888 weights and 2 × 768 for attention, then the pooler and the
    classifier; two FLOPs a weight, three passes."""
    by_hand = 12 * (7_077_888 + 2 * 768) + 768 * 768 + 2 * 768
    assert model_flops(BertConfig(), [1]) == 6 * by_hand
