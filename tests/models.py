"""A pruned model, and whether two are the same."""

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import BertForPreTraining

from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion, Masks
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule


def pruned_model(
    shape: Shape, sparsity: float, scope: str = "matrix"
) -> tuple[BertForPreTraining, Masks]:
    """A fresh BERT of `shape` that is pruned in one step, and its masks."""
    model = fresh_model(shape, seed=0)
    pruner = Pruner.following(model, Schedule(sparsity), Criterion(scope=scope))
    pruner.before_step(0)
    return model, pruner.masks


def assert_same(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
    """That two have tensors of the same names, equal to the last bit."""
    torch.testing.assert_close(dict(some), dict(others), rtol=0, atol=0)
