"""Model FLOPs, beside what torch counts of the products it makes."""

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification

from bertprune.data.batches import ClassificationBatch, PretrainingBatch
from bertprune.speed.bench.timing import model_flops
from bertprune.training.finetuning import ClassificationLoss
from bertprune.training.pretraining import PretrainingLoss

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


def test_of_a_classifier() -> None:
    """Examples one by one, so that nothing is padded."""
    loss = ClassificationLoss(BertForSequenceClassification(CONFIG))
    found = 0
    for length in (5, 9):
        ids = torch.ones(1, length, dtype=torch.int64)
        batch = ClassificationBatch(ids, 0 * ids, ids, torch.tensor([1]), 1)
        with FlopCounterMode(display=False) as counter:
            loss(batch).backward()
        found += counter.get_total_flops()
    assert model_flops(CONFIG, [5, 9]) == found


def test_of_pretraining() -> None:
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
        PretrainingLoss(BertForPreTraining(CONFIG))(batch).backward()
    assert model_flops(CONFIG, [7, 7], masked=[3, 3]) == counter.get_total_flops()


def test_transformers_multiplies_as_much_but_for_the_last_layer() -> None:
    model = BertForSequenceClassification(CONFIG)
    with FlopCounterMode(display=False) as counter:
        model(torch.ones(1, 9, dtype=torch.int64)).logits.sum().backward()
    # For the eight positions that nobody reads: queries, attention, output and feed-forward.
    unread = 3 * (2 * 8 * (2 * 12**2 + 2 * 12 * 40) + 4 * 8 * 9 * 12)
    assert model_flops(CONFIG, [9]) == counter.get_total_flops() - unread


def test_bert_base_by_hand() -> None:
    """One token: 12 layers of 7,077,888 weights and 2 × 768 for attention, then the pooler and the
    classifier; two FLOPs a weight, three passes."""
    by_hand = 12 * (7_077_888 + 2 * 768) + 768 * 768 + 2 * 768
    assert model_flops(BertConfig(), [1]) == 6 * by_hand
