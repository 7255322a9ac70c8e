"""Which matrices: the paper's prunable matrices of a BERT."""

from typing import Any

from torch import nn

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"

_IN_A_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)


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
        names += [f"encoder.layer.{layer}.{matrix}.weight" for matrix in _IN_A_LAYER]
    names.append("pooler.dense.weight")
    return {name: parameters[name] for name in names}
