"""The forward pass of BERT as functions of its weights: Hugging Face's numbers for less work.

Nothing is computed that nobody reads: of the last layer, only the positions whose hidden state is
wanted. All functions take the weights of one model, by Hugging Face's names, or those of K models
of one shape, stacked: each weight then has a first axis of K, and so have inputs and results. (K)
below stands for this axis, or for none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, PreTrainedConfig
from transformers.activations import ACT2FN

from bertprune.data.batches import NO_LABEL
from bertprune.model import products

WORDS = "bert.embeddings.word_embeddings.weight"

# Beside the weights of one model: where to add the gradient of looked-up words.
WORDS_GRADIENT = f"{WORDS}.gradient"

# How many numbers a pass may take before they leave the processor's cache.
_IN_CACHE = 1 << 19

Weights = Mapping[str, Tensor]

# Drops a share of a tensor's entries; the string names its axes after (K), one letter each.
Drop = Callable[[Tensor, float, str], Tensor]


@dataclass(frozen=True)
class Architecture:
    """What of a model is not in its weights; a config looks up each of its values anew, which
    takes a small model as long as a layer."""

    layers: int
    heads: int
    activation: Callable[[Tensor], Tensor]
    epsilon: float
    hidden_dropout: float
    attention_dropout: float
    classifier_dropout: float

    @classmethod
    def of(cls, config: PreTrainedConfig) -> Architecture:
        assert isinstance(config, BertConfig)
        classifier = config.classifier_dropout
        return cls(
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            activation=ACT2FN[config.hidden_act],
            epsilon=config.layer_norm_eps,
            hidden_dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            classifier_dropout=config.hidden_dropout_prob if classifier is None else classifier,
        )


@dataclass(frozen=True)
class Inputs:
    """What the encoder reads, and the positions whose last hidden state is wanted."""

    ids: Tensor  # (K, B, L) int64
    types: Tensor  # (K, B, L) int64
    inside: Tensor  # (K, B, L) bool: True at tokens, False at padding
    wanted: Tensor  # (K, B, R) int64, in 0 .. L - 1


def no_dropout(x: Tensor, share: float, axes: str) -> Tensor:
    """What dropout is outside of training."""
    return x


class Draws:
    """Random draws of one model's dropout, a pure function of `seeds` on a kind of device."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._seeds = seeds
        self._device = device

    @cached_property
    def _bits(self) -> np.random.SFC64:
        return np.random.SFC64(np.random.SeedSequence(self._seeds))

    @cached_property
    def _generator(self) -> torch.Generator:
        seed = int(self._bits.random_raw()) >> 1
        return torch.Generator(self._device).manual_seed(seed)

    def kept(self, shape: Sequence[int], share: float) -> Tensor:
        """0 for a `share` of the entries, drawn independently, and 1 / (1 - share) for the others.

        float32. On the CPU the share is rounded to 1 / 65,536, and the others are scaled by what
        it then is.
        """
        if self._device.type != "cpu":
            drawn = torch.empty(*shape, device=self._device)
            return drawn.bernoulli_(1 - share, generator=self._generator).div_(1 - share)
        # Sixteen bits an entry: torch's own draws take a tenth of a training step.
        size, levels = math.prod(shape), 1 << 16
        dropped = round(share * levels)
        bits = torch.from_numpy(self._bits.random_raw(-(-size // 4)).view(np.int16)[:size])
        kept = (bits >= dropped - levels // 2).to(torch.float32)
        return kept.mul_(levels / (levels - dropped)).view(*shape)


class Dropout:
    """Dropout while training: of one model, or of a stack, from each of which the same is dropped
    as if it trained alone.

    Models whose draws are the same object share them. `lengths` has for each model of a stack the
    sizes of its own inputs by the letters B, L and R, which may be less than those of the stack.
    """

    def __init__(self, draws: Sequence[Draws], lengths: Sequence[Mapping[str, int]] = ()) -> None:
        self._draws = draws
        self._lengths = lengths

    def __call__(self, x: Tensor, share: float, axes: str) -> Tensor:
        if not share:
            return x
        if not self._lengths:
            return x * self._draws[0].kept(x.shape, share)
        kept = torch.ones(x.shape, device=x.device)
        first: dict[Draws, int] = {}
        for number, draws in enumerate(self._draws):
            if draws in first:
                kept[number] = kept[first[draws]]
                continue
            first[draws] = number
            sizes = self._lengths[number]
            own = [sizes.get(axis, size) for axis, size in zip(axes, x.shape[1:], strict=True)]
            kept[number][tuple(slice(size) for size in own)] = draws.kept(own, share)
        return x * kept


def encode(weights: Weights, form: Architecture, inputs: Inputs, drop: Drop) -> Tensor:
    """The last hidden state at the wanted positions (K, B, R, H)."""
    x = _embed(weights, form, inputs, drop)
    for layer in range(form.layers):
        name = f"bert.encoder.layer.{layer}"
        is_last = layer == form.layers - 1
        asking = at(x, inputs.wanted) if is_last else x
        rows = "R" if is_last else "L"
        mixed = _attention(weights, f"{name}.attention.self", form, asking, x, inputs, rows, drop)
        dense = _linear(weights, f"{name}.attention.output.dense", mixed)
        dense = drop(dense, form.hidden_dropout, f"B{rows}H")
        x = _layer_norm(weights, f"{name}.attention.output", form, dense + asking)
        wide = form.activation(_linear(weights, f"{name}.intermediate.dense", x))
        dense = _linear(weights, f"{name}.output.dense", wide)
        dense = drop(dense, form.hidden_dropout, f"B{rows}H")
        x = _layer_norm(weights, f"{name}.output", form, dense + x)
    return x


def pool(weights: Weights, first: Tensor) -> Tensor:
    """The pooled output (K, B, H) of the first token's last hidden state (K, B, H)."""
    return torch.tanh(_linear(weights, "bert.pooler.dense", first))


def classify(weights: Weights, form: Architecture, inputs: Inputs, drop: Drop) -> Tensor:
    """Class logits (K, B, labels) of a `BertForSequenceClassification`, whose input is wanted at
    the first position."""
    pooled = pool(weights, encode(weights, form, inputs, drop)[..., 0, :])
    return _linear(weights, "classifier", drop(pooled, form.classifier_dropout, "BH"))


def predict_tokens(weights: Weights, form: Architecture, hidden: Tensor) -> Tensor:
    """MLM logits (K, M, vocabulary) of a `BertForPreTraining` for last hidden states (K, M, H)."""
    name = "cls.predictions"
    x = form.activation(_linear(weights, f"{name}.transform.dense", hidden))
    x = _layer_norm(weights, f"{name}.transform", form, x)
    return _linear(weights, f"{name}.decoder", x)


def predict_order(weights: Weights, pooled: Tensor) -> Tensor:
    """NSP logits (K, B, 2) of a `BertForPreTraining`."""
    return _linear(weights, "cls.seq_relationship", pooled)


def summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy (K) in nats, summed over the N `labels` (K, N) of `logits` (K, N, classes).

    Labels of -100 count for nothing. While gradients are recorded, `logits` are overwritten.
    """
    flat, answers = logits.flatten(0, -2), labels.flatten()
    if torch.is_grad_enabled():
        losses = _CrossEntropy.apply(flat, answers)
    else:
        losses = functional.cross_entropy(flat.float(), answers, reduction="none")
    return losses.view(labels.shape).sum(-1)


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy (N), in float32, whose logits (N, classes) become their own gradient in place.

    Over a whole vocabulary they are by far the largest tensor of a step, and each pass over them
    is a good part of a small model's. Those in bf16 are in float32 a few rows at a time.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        counted = labels != NO_LABEL
        labels = labels.clamp(min=0)[:, None]
        losses = torch.empty(len(logits), device=logits.device)
        rows = len(logits) if logits.is_cuda else max(1, _IN_CACHE // logits.shape[1])
        parts = (of_all.split(rows) for of_all in (logits, labels, losses))
        for part, answers, loss in zip(*parts, strict=True):
            exact = part.float()
            highest, own = exact.amax(1), exact.gather(1, answers)[:, 0]
            torch.softmax(exact, 1, out=exact)
            loss.copy_(highest - exact.amax(1).log() - own)
            exact.scatter_add_(1, answers, torch.full_like(own, -1.0)[:, None])
            part.copy_(exact)
        ctx.save_for_backward(logits, counted)
        return losses * counted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        of_logits, counted = ctx.saved_tensors
        return of_logits.mul_((gradients[0] * counted)[:, None]), None


def weights_of(model: nn.Module) -> Weights:
    """The weights of a model by name, a tied one by each of its names."""
    return dict(model.named_parameters(remove_duplicate=False))


def _embed(weights: Weights, form: Architecture, inputs: Inputs, drop: Drop) -> Tensor:
    name = "bert.embeddings"
    places = torch.arange(inputs.ids.shape[-1], device=inputs.ids.device)
    words, gradient = weights[WORDS], weights.get(WORDS_GRADIENT)
    if gradient is None or not torch.is_grad_enabled():
        x = _look_up(words, inputs.ids)
    else:
        x = _AddedRows.apply(words, inputs.ids, gradient)
    x = x + _look_up(weights[f"{name}.token_type_embeddings.weight"], inputs.types)
    positions = weights[f"{name}.position_embeddings.weight"][..., : len(places), :]
    x = _layer_norm(weights, name, form, x + positions.unsqueeze(-3))
    return drop(x, form.hidden_dropout, "BLH")


def _attention(
    weights: Weights,
    name: str,
    form: Architecture,
    asking: Tensor,
    asked: Tensor,
    inputs: Inputs,
    rows: str,
    drop: Drop,
) -> Tensor:
    """What each of the positions `asking` (K, B, R, H) takes from all `asked` (K, B, L, H)."""
    heads = form.heads

    def split(what: str, x: Tensor) -> Tensor:
        x = _linear(weights, f"{name}.{what}", x)
        return x.unflatten(-1, (heads, -1)).transpose(-3, -2)

    query, key, value = split("query", asking), split("key", asked), split("value", asked)
    if query.is_cuda and (drop is no_dropout or not form.attention_dropout):
        inside = inputs.inside[..., None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=inside)
        return mixed.transpose(-3, -2).flatten(-2)
    lead = query.shape[:-2]
    outside = torch.zeros(inputs.inside.shape, dtype=query.dtype, device=query.device)
    outside = outside.masked_fill_(~inputs.inside, torch.finfo(query.dtype).min)
    scores = torch.baddbmm(
        outside[..., None, None, :].expand(*lead, 1, -1).flatten(0, -3),
        query.flatten(0, -3),
        key.flatten(0, -3).transpose(1, 2),
        alpha=query.shape[-1] ** -0.5,
    )
    shares = drop(
        scores.softmax(-1).view(*lead, *scores.shape[1:]),
        form.attention_dropout,
        f"Bh{rows}L",
    )
    mixed = torch.bmm(shares.flatten(0, -3), value.flatten(0, -3))
    return mixed.view(query.shape).transpose(-3, -2).flatten(-2)


def at(x: Tensor, positions: Tensor) -> Tensor:
    """`x` (K, B, L, H) at `positions` (K, B, R): (K, B, R, H)."""
    return x.gather(-2, positions[..., None].expand(*positions.shape, x.shape[-1]))


def _look_up(table: Tensor, ids: Tensor) -> Tensor:
    """Rows of `table` (K, V, H) at `ids` (K, B, L): (K, B, L, H)."""
    if table.dim() == 2:
        return functional.embedding(ids, table)
    offsets = torch.arange(len(table), device=ids.device) * table.shape[1]
    return functional.embedding(ids + offsets[:, None, None], table.flatten(0, 1))


class _AddedRows(torch.autograd.Function):
    """Rows of `table` (V, H) at `ids`, whose gradient is added to `gradient` (V, H) in place: a
    batch has few words of a vocabulary, and a gradient of its size would be nearly all zeros."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.gradient = gradient
        return functional.embedding(ids, table)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        (ids,) = ctx.saved_tensors
        ctx.gradient.index_add_(0, ids.flatten(), gradients[0].flatten(0, -2))
        return None, None, None


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if weight.dim() == 2:
        return products.linear(x, weight, bias)
    flat = torch.baddbmm(bias[:, None], x.flatten(1, -2), weight.transpose(1, 2))
    return flat.view(*x.shape[:-1], -1)


def _layer_norm(weights: Weights, name: str, form: Architecture, x: Tensor) -> Tensor:
    weight, bias = weights[f"{name}.LayerNorm.weight"], weights[f"{name}.LayerNorm.bias"]
    size = x.shape[-1:]
    if weight.dim() == 1:
        return functional.layer_norm(x, size, weight, bias, form.epsilon)
    own = (len(weight), *(1,) * (x.dim() - 2), *size)
    x = functional.layer_norm(x, size, eps=form.epsilon)
    return torch.addcmul(bias.view(own), x, weight.view(own))
