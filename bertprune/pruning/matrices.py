"""Which matrices: the paper's prunable matrices of a BERT, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

# Those who draw what is in rows need the names, and no torch.
if TYPE_CHECKING:
    from torch import Tensor, nn

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"

_KINDS_IN_A_LAYER = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention_output",
    "intermediate.dense": "intermediate",
    "output.dense": "output",
}
_KINDS = {
    "embeddings.word_embeddings": "word_embeddings",
    **_KINDS_IN_A_LAYER,
    "pooler.dense": "pooler",
}
KINDS = tuple(_KINDS.values())
"""Of matrices, in the order of a BERT."""


def prunable_matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """The prunable matrices of a Hugging Face BERT, in the order of the paper's table 3.

    Word embeddings; per layer query, key, value, attention output, intermediate and output;
    pooler: 74 for BERT-Base. Position and segment embeddings, LayerNorm, biases, the MLM and
    NSP heads and the classifier are not pruned. The MLM decoder is tied to the word embeddings,
    so it sees the pruned ones.

    `model` is a `BertModel` or has one as `.bert`. The names are those of the `BertModel`'s
    parameters, so that the masks of a pre-trained model fit the fine-tuned one.
    """
    encoder: Any = getattr(model, "bert", model)
    parameters = dict(encoder.named_parameters())
    names = [WORD_EMBEDDINGS]
    for layer in range(encoder.config.num_hidden_layers):
        names += [f"encoder.layer.{layer}.{matrix}.weight" for matrix in _KINDS_IN_A_LAYER]
    names.append("pooler.dense.weight")
    return {name: parameters[name] for name in names}


def matrix_of(parameter: str) -> str:
    """The matrix that a parameter's name is of: the name without ".weight"."""
    return parameter.removesuffix(".weight")


def kind_of(matrix: str) -> str:
    """Which of a BERT's eight kinds of prunable matrices `matrix` is, in whatever layer.

    Raises KeyError for the name of anything else.
    """
    return _KINDS[re.sub(r"^encoder\.layer\.\d+\.", "", matrix)]


def check_same_matrices(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless both have the same matrices, of the same shapes."""
    if wrong := sorted(first.keys() ^ second.keys()):
        raise ValueError(f"only one of the two models has {', '.join(wrong[:3])}")
    for name, tensor in first.items():
        if tensor.shape != second[name].shape:
            raise ValueError(
                f"{name} has the shape {tuple(tensor.shape)} in one model and "
                f"{tuple(second[name].shape)} in the other"
            )
