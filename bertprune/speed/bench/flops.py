"""Model FLOPs: the arithmetic that a batch cannot do without."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import BertConfig

BACKWARD = 2
"""The backward pass has two matrix products for each one of the forward pass."""


def model_flops(
    config: BertConfig,
    lengths: Sequence[int],
    *,
    masked: Sequence[int] | None = None,
    classes: int = 2,
) -> int:
    """Floating-point operations of a training step of a BERT, forward and backward.

    Of matrix products alone, a multiplication and an addition each, and only of those that must be
    computed: the tokens of `lengths` (one number an example) without padding, attention from each
    of them to those of its own example, and the vocabulary's logits at the `masked` positions of
    each. Each example has a pooler and `classes` logits over it. Of the last layer, all tokens have
    keys and values, but only what is read of its result has the rest: the first token, and the
    masked ones. Counting for n tokens, hidden size h and intermediate size i, a whole layer takes
    2n(4h² + 2hi) for its matrices and 4n²h for attention (as Hoffmann et al., 2022, appendix F,
    without embeddings, whose look-up multiplies nothing).
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    masked = [0] * len(lengths) if masked is None else masked
    forward = 0
    for length, count in zip(lengths, masked, strict=True):
        asking = [length] * (config.num_hidden_layers - 1) + [1 + count]
        for positions in asking:
            forward += 2 * length * 2 * hidden**2
            forward += 2 * positions * (2 * hidden**2 + 2 * hidden * inner)
            forward += 4 * positions * length * hidden
        forward += 2 * hidden * (hidden + classes)
        forward += count * 2 * hidden * (hidden + config.vocab_size)
    return forward * (1 + BACKWARD)
