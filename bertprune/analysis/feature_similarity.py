"""How like the features of a model are those of another (the paper, figure 2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertprune.data.batches import PretrainingBatch
from bertprune.protocol.evaluation import PAIRS_COMPARED
from bertprune.protocol.rows import Entry, Metric, Split, entry

Inputs = dict[str, Tensor]


@torch.inference_mode()
def similarity(
    model: nn.Module,
    dense: nn.Module,
    batches: Iterable[PretrainingBatch],
    *,
    pairs: int = PAIRS_COMPARED,
) -> list[Entry]:
    """cosine_similarity of the features of `model` and `dense` in each layer.

    The mean over all tokens but padding of the first `pairs` sentence pairs of `batches`, or of
    all there are; the masked words are put back. "layer 0" is what the embeddings give, "layer 1"
    the first layer, and so on.

    The models are `BertModel`s or have one as `.bert`, are of one shape and on one device, and are
    in evaluation mode afterwards. Raises ValueError if there are no tokens.
    """
    encoders: list[Any] = [getattr(one, "bert", one).eval() for one in (model, dense)]
    sums, tokens = torch.zeros(()), 0
    for inputs in _texts(batches, pairs, encoders[0].device):
        features, others = (
            encoder(**inputs, output_hidden_states=True).hidden_states for encoder in encoders
        )
        inside = inputs["attention_mask"].bool()
        found = [
            functional.cosine_similarity(one[inside].float(), other[inside].float(), dim=-1)
            for one, other in zip(features, others, strict=True)
        ]
        sums = sums + torch.stack(found).cpu().double().sum(1)
        tokens += int(inside.sum())
    if not tokens:
        raise ValueError("there are no tokens to compare features of")
    return [
        entry(Split.FEATURES, Metric.COSINE_SIMILARITY, total / tokens, part=f"layer {layer}")
        for layer, total in enumerate(sums.tolist())
    ]


def _texts(
    batches: Iterable[PretrainingBatch], pairs: int, device: torch.device
) -> Iterator[Inputs]:
    """The first `pairs` examples of `batches`, as the encoder takes them, with no word masked."""
    left = pairs
    for batch in batches:
        if left <= 0:
            return
        batch = batch.to(device)
        ids = batch.input_ids.flatten()
        ids = ids.scatter(0, batch.masked_positions, batch.masked_labels).view_as(batch.input_ids)
        yield {
            "input_ids": ids[:left],
            "token_type_ids": batch.token_type_ids[:left],
            "attention_mask": batch.attention_mask[:left],
        }
        left -= len(ids)
