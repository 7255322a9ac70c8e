"""Inference with a pruned BERT: dense matrix products against sparse ones."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from transformers import BertModel

from bertprune.model.loading import fresh_model
from bertprune.model.precision import FLOAT32
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.speed.bench.quantities import (
    BY_UNPRUNED,
    DENSE,
    SPARSE,
    SPEED_UP,
    TIME,
    quantity_at,
)
from bertprune.speed.bench.timing import Row, Setting, pairwise
from bertprune.speed.stopwatch import seconds_of

SPARSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""The paper's, and one at which little is left to multiply."""

_FORWARDS = 5


class CsrLinear(nn.Module):
    """A linear layer whose weight (out, in) is stored as compressed sparse rows."""

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        with warnings.catch_warnings():
            # torch calls its CSR tensors a beta state, once a process.
            warnings.simplefilter("ignore")
            self.weight = dense.weight.detach().to_sparse_csr()
        self.bias = dense.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        outputs = (self.weight @ inputs.flatten(0, -2).T).T
        return outputs.reshape(*inputs.shape[:-1], -1) + self.bias


def with_csr(model: BertModel) -> BertModel:
    """A copy of `model` whose prunable matrices are multiplied as CSR; the word embeddings are only
    looked up, and stay dense."""
    sparse = copy.deepcopy(model)
    for name in prunable_matrices(sparse):
        place = name.removesuffix(".weight")
        layer = sparse.get_submodule(place)
        if isinstance(layer, nn.Linear):
            sparse.set_submodule(place, CsrLinear(layer))
    return sparse


def inference(
    setting: Setting,
    shape: Shape,
    *,
    sparsities: Sequence[float] = SPARSITIES,
    batch: tuple[int, int] = (8, 128),
) -> Iterator[Row]:
    """Times of a forward pass at each of `sparsities`, dense and sparse, all in turn; at each the
    ratio of the two; and that of the dense time to the one at the first sparsity, no pruning. On
    the CPU, and then on the GPU where there is one.

    Float32, `batch` is (sequences, tokens). How long it takes depends on how many weights are
    kept, not on their values, so the model is a fresh one, pruned by magnitude. The dense product
    multiplies the zeros too: nothing is saved there.
    """
    setting = replace(setting, precision=FLOAT32)
    on_cpu = replace(setting, is_on_cpu=True)
    for on_device in [on_cpu] if setting.device.type == "cpu" else [on_cpu, setting]:
        yield from _on_one_device(on_device, shape, sparsities, batch)


def _on_one_device(
    setting: Setting, shape: Shape, sparsities: Sequence[float], batch: tuple[int, int]
) -> Iterator[Row]:
    ids = torch.randint(shape.vocabulary_size, batch, device=setting.device)
    models: dict[tuple[str, float], BertModel] = {}
    for sparsity in sparsities:
        dense = _pruned(shape, sparsity).to(setting.device)
        models |= {(DENSE, sparsity): dense, (SPARSE, sparsity): with_csr(dense)}
    sides = {quantity_at(*at): partial(_seconds, model, ids) for at, model in models.items()}
    measured = setting.in_turn(sides)
    seconds = {at: measured[quantity_at(*at)] for at in models}
    for (side, sparsity), times in seconds.items():
        milliseconds = [1e3 * time for time in times]
        yield setting.row(side, quantity_at(TIME, sparsity), "ms", milliseconds)
    for sparsity in sparsities:
        dense_times = seconds[DENSE, sparsity]
        ratios = pairwise(dense_times, seconds[SPARSE, sparsity])
        yield setting.row(SPARSE, quantity_at(SPEED_UP, sparsity), "×", ratios)
        ratios = pairwise(dense_times, seconds[DENSE, sparsities[0]])
        yield setting.row(DENSE, quantity_at(BY_UNPRUNED, sparsity), "×", ratios)


def _pruned(shape: Shape, sparsity: float) -> BertModel:
    model = fresh_model(shape, seed=0).bert.eval()
    masks = Criterion().masks(prunable_matrices(model), sparsity)
    Pruner.holding(model, masks, Criterion())
    return model


def _seconds(model: BertModel, ids: Tensor) -> float:
    """Seconds of one forward pass, a mean of several. One before is not timed: it has to fetch what
    the pass of another model has driven from the cache."""
    _forwards(model, ids, 1)
    return seconds_of(lambda: _forwards(model, ids, _FORWARDS)) / _FORWARDS


@torch.inference_mode()
def _forwards(model: BertModel, ids: Tensor, count: int) -> None:
    for _ in range(count):
        model(ids)
