"""Small batches, and a loss that only looks at them."""

import torch
from transformers import BertForPreTraining

from bertprune.data.batches import PretrainingBatch
from bertprune.model import forward
from bertprune.training.pretraining import PretrainingLoss
from bertprune.training.variants import Optimization

STEPS = 12
SETTINGS = Optimization(learning_rate=1e-3, steps=STEPS, warmup_steps=3)


def make_batch(step: int, rank: int = 0, world: int = 1, length: int = 16) -> PretrainingBatch:
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(0, 60, (4, length), generator=generator)
    return PretrainingBatch(
        input_ids=ids,
        token_type_ids=torch.zeros_like(ids),
        attention_mask=torch.ones_like(ids),
        read_positions=torch.tensor([[0, 3], [0, 4], [0, 8], [0, 0]]),
        masked_reads=torch.tensor([1, 3, 5]),
        masked_labels=ids[[0, 1, 2], [3, 4, 8]],
        next_sentence_labels=torch.tensor([0, 1, 0, 1]),
        masked_total=3,
        examples_total=4,
    )


def labels_of(batch: PretrainingBatch) -> dict[str, torch.Tensor]:
    """What is to be predicted, as transformers wants it."""
    labels = torch.full_like(batch.input_ids, -100)
    labels.view(-1)[batch.masked_positions] = batch.masked_labels
    return {"labels": labels, "next_sentence_label": batch.next_sentence_labels}


class Shapes(PretrainingLoss):
    """A loss that does nothing but note the shapes of the batches that it is asked about."""

    def __init__(self, model: BertForPreTraining) -> None:
        super().__init__(model)
        self.asked: list[tuple[int, ...]] = []

    def of(
        self, weights: forward.Weights, batch: PretrainingBatch, drop: forward.Drop
    ) -> torch.Tensor:
        self.asked.append(tuple(batch.input_ids.shape))
        return weights["bert.pooler.dense.bias"].sum()
