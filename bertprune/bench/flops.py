"""Model FLOPs: the arithmetic that a batch cannot do without."""

from __future__ import annotations

from collections.abc import Iterable

from transformers import BertConfig

BACKWARD = 2
"""The backward pass has two matrix products for each one of the forward pass."""


def model_flops(
    config: BertConfig, lengths: Iterable[int], *, masked: int = 0, classes: int = 2
) -> int:
    """Floating-point operations of a training step of a BERT, forward and backward.

    Of matrix products alone, a multiplication and an addition each, and only of those that must be
    computed: the tokens of `lengths` (one number an example) without padding, attention from each
    of them to those of its own example, and the vocabulary's logits at `masked` positions. Each
    example has a pooler and `classes` logits over it. Counting for n tokens, hidden size h and
    intermediate size i, a layer takes 2n(4h² + 2hi) for its matrices and 4n²h for attention (as
    Hoffmann et al., 2022, appendix F, without embeddings, whose look-up multiplies nothing).
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    found = [int(length) for length in lengths]
    tokens, squares = sum(found), sum(length * length for length in found)
    layer = 2 * tokens * (4 * hidden * hidden + 2 * hidden * inner) + 4 * squares * hidden
    of_example = 2 * hidden * (hidden + classes)
    of_masked = 2 * hidden * (hidden + config.vocab_size)
    forward = config.num_hidden_layers * layer + len(found) * of_example + masked * of_masked
    return forward * (1 + BACKWARD)
