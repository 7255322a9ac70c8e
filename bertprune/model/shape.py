"""The shape of a BERT, what it counts to, and the shape of the model that a run trains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.lab import language as lab
from bertprune.lab.language import find_source, language_of
from bertprune.protocol.notebook_parameters import BurnIn

_BACKWARD = 2
"""The backward pass has two matrix products for each one of the forward pass."""


@dataclass(frozen=True)
class Shape:
    """Shape of a BERT; the intermediate size is four times the hidden size.

    Two shapes are equal if they have as much to compute: heads, positions and dropout are no part
    of that.
    """

    layers: int
    hidden_size: int
    heads: int = field(compare=False)
    vocabulary_size: int
    max_length_tokens: int = field(default=512, compare=False)
    dropout: float = field(default=0.1, compare=False)
    initializer_range: float = field(default=0.02, compare=False)
    """Standard deviation of the fresh weights."""

    @property
    def parts(self) -> dict[str, int]:
        """Parameters of `BertForPreTraining` by part.

        Biases count with their matrices, and the word embeddings once: the MLM decoder is tied to
        them. All are of one size, so their shares are those of the memory.
        """
        h = self.hidden_size
        square, norm = h * h + h, 2 * h
        return {
            "word embeddings": self.vocabulary_size * h,
            "position and segment embeddings": (self.max_length_tokens + 2) * h,
            "attention": self.layers * 4 * square,
            "feed-forward": self.layers * (8 * h * h + 5 * h),
            "pooler": square,
            "LayerNorm": norm + self.layers * 2 * norm,
            # The MLM head's dense layer, its LayerNorm and the decoder's bias, and the NSP head.
            "heads": square + norm + self.vocabulary_size + 2 * h + 2,
        }

    @property
    def parameters(self) -> int:
        """All of `parts`."""
        return sum(self.parts.values())

    @property
    def prunable(self) -> int:
        """Weights of the prunable matrices: word embeddings, layers, pooler."""
        h = self.hidden_size
        return self.vocabulary_size * h + (12 * self.layers + 1) * h * h

    def flop_per_token(self, length_tokens: float, masked_share: float = 0.0) -> float:
        """FLOP of the forward pass a token: two for each weight of the layers, attention over
        `length_tokens`, and the vocabulary at the masked share of the positions."""
        h = self.hidden_size
        layers = self.layers * (24 * h * h + 4 * length_tokens * h)
        return layers + masked_share * 2 * h * (h + self.vocabulary_size)

    def training_flop(
        self, lengths: Sequence[int], *, masked: Sequence[int] | None = None, classes: int = 2
    ) -> int:
        """Model FLOP of a training step, forward and backward: what a batch cannot do without.

        Of matrix products alone, a multiplication and an addition each, and only of those that must
        be computed: the tokens of `lengths` (one number an example) without padding, attention from
        each of them to those of its own example, and the vocabulary's logits at the `masked`
        positions of each. Each example has a pooler and `classes` logits over it. Of the last
        layer, all tokens have keys and values, but only what is read of its result has the rest:
        the first token, and the masked ones. Counting for n tokens, hidden size h and intermediate
        size i, a whole layer takes 2n(4h² + 2hi) for its matrices and 4n²h for attention (as
        Hoffmann et al., 2022, appendix F, without embeddings, whose look-up multiplies nothing).
        """
        hidden, inner = self.hidden_size, 4 * self.hidden_size
        masked = [0] * len(lengths) if masked is None else masked
        forward = 0
        for length, count in zip(lengths, masked, strict=True):
            asking = [length] * (self.layers - 1) + [1 + count]
            for positions in asking:
                forward += 2 * length * 2 * hidden**2
                forward += 2 * positions * (2 * hidden**2 + 2 * hidden * inner)
                forward += 4 * positions * length * hidden
            forward += 2 * hidden * (hidden + classes)
            forward += count * 2 * hidden * (hidden + self.vocabulary_size)
        return forward * (1 + _BACKWARD)


BERT_BASE = Shape(layers=12, hidden_size=768, heads=12, vocabulary_size=30_522)
"""BERT-Base uncased, with the vocabulary of its release."""

# Of BERTs on the Hub, from their config.json.
_HUB_MODELS = {
    "bert-base-uncased": BERT_BASE,
    "bert-base-cased": Shape(12, 768, 12, 28_996),
    "bert-large-uncased": Shape(24, 1024, 16, 30_522),
    "prajjwal1/bert-tiny": Shape(2, 128, 2, 30_522),
    "prajjwal1/bert-mini": Shape(4, 256, 4, 30_522),
    "prajjwal1/bert-small": Shape(4, 512, 8, 30_522),
    "prajjwal1/bert-medium": Shape(8, 512, 8, 30_522),
    "sentence-transformers/all-MiniLM-L6-v2": Shape(6, 384, 12, 30_522),
}


def shape_of(parameters: BurnIn) -> Shape:
    """The shape of the model that a run trains.

    From the folder of the model named, what is known of the Hub's, or the parameters of a fresh
    one. Raises UserError for a model or tokenizer whose shape cannot be known without a network.
    """
    if parameters.model:
        return _shape_of_model(parameters.model)
    return fresh_shape(parameters, _vocabulary_size(parameters))


def fresh_shape(parameters: BurnIn, vocabulary_size: int) -> Shape:
    """The shape of a fresh model, with a vocabulary of so many entries."""
    return Shape(
        layers=parameters.layers,
        hidden_size=parameters.hidden_size,
        heads=parameters.heads,
        vocabulary_size=vocabulary_size,
        max_length_tokens=parameters.max_length_tokens,
        dropout=parameters.dropout,
        initializer_range=parameters.initializer_range,
    )


def _shape_of_model(name: str) -> Shape:
    is_shipped = find_source(name) is not None
    folder = Path(lab.__file__).parent / "model" if is_shipped else paths.resolve(name)
    file = folder / "config.json"
    if file.is_file():
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
            return Shape(
                layers=int(config["num_hidden_layers"]),
                hidden_size=int(config["hidden_size"]),
                vocabulary_size=int(config["vocab_size"]),
                heads=int(config["num_attention_heads"]),
                max_length_tokens=int(config.get("max_position_embeddings", 512)),
                dropout=float(config.get("hidden_dropout_prob", 0.1)),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} does not say the shape of a BERT: {error!r}") from error
    known = _HUB_MODELS.get(name.removeprefix("google-bert/"))
    if known is None:
        raise UserError(
            f"the shape of model {name!r} is not known, and `cost` asks no network: download it "
            "and give its folder with --set model=FOLDER, or give the shape of a fresh model with "
            "--set model= --set layers=... --set hidden_size=... --set vocabulary_size=... "
            f"(known: {', '.join(_HUB_MODELS)})"
        )
    return known


def _vocabulary_size(parameters: BurnIn) -> int:
    """Entries of the vocabulary of a fresh model."""
    named = parameters.tokenizer
    if named:
        known = _HUB_MODELS.get(named.removeprefix("google-bert/"))
        if tokens := _tokens_of(named):
            return tokens
        if known:
            return known.vocabulary_size
        raise UserError(
            f"the vocabulary of tokenizer {named!r} is not known, and `cost` asks no network: give "
            "a local folder with --set tokenizer=FOLDER, or none, for a WordPiece of "
            "vocabulary_size entries"
        )
    seed = language_of(parameters.text)
    return parameters.vocabulary_size if seed is None else _tokens_of(f"{lab.SOURCE}:{seed}")


@cache
def _tokens_of(tokenizer: str) -> int:
    """Entries of a tokenizer that is at hand; 0 for one that is not."""
    if not is_at_hand(tokenizer):
        return 0
    from bertprune.data.tokenizer import load_tokenizer, vocabulary_size

    return vocabulary_size(load_tokenizer(tokenizer))


def is_at_hand(named: str) -> bool:
    """Whether a model, tokenizer or task data is the lab's or a local folder."""
    return bool(named) and (find_source(named) is not None or paths.resolve(named).is_dir())
