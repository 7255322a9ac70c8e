"""Masks: exact counts, ties, nesting, and agreement with torch's own pruning."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from bertprune.pruning.masks import (
    Criterion,
    Masks,
    NonFiniteWeightError,
    RealisedSparsityError,
    keep_largest,
    pruned_count,
    pruned_entries,
    sparsity_of,
)

SPARSITIES = [0.0, 0.1, 0.3, 0.5, 0.6, 0.9, 0.999, 1.0]
KINDS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "normal": lambda weight: weight,
    "ties": torch.round,
    "zeros": torch.zeros_like,
    "sorted": lambda weight: weight.flatten().sort().values.view_as(weight),
    "two values": lambda weight: (weight > 0).float(),
}


def _weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "small": torch.randn(13, 11, generator=generator),
        "large": torch.randn(64, 32, generator=generator) * 3,
    }


@pytest.mark.parametrize("sparsity", [*SPARSITIES, 0.0001])
@pytest.mark.parametrize("shape", [(7,), (13, 11), (300, 1000)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_of_a_stable_sort_are_pruned(
    sparsity: float, shape: tuple[int, ...], kind: str
) -> None:
    """So counts are exact and ties fall to the earlier position, among many values too, which are
    not sorted."""
    weight = KINDS[kind](torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    order = weight.abs().flatten().argsort(stable=True)
    wanted = torch.ones_like(order, dtype=torch.bool)
    wanted[order[: round(sparsity * weight.numel())]] = False
    assert torch.equal(keep_largest(weight.abs(), sparsity), wanted.view(shape))


@pytest.mark.parametrize(
    "criterion", [Criterion(), Criterion(scope="global"), Criterion("random", seed=3)]
)
def test_masks_of_growing_sparsity_are_nested(criterion: Criterion) -> None:
    weights = _weights()
    for low, high in itertools.pairwise(SPARSITIES):
        kept, kept_of_more = (criterion.masks(weights, sparsity) for sparsity in (high, low))
        for name in weights:
            assert not (kept[name] & ~kept_of_more[name]).any()


@pytest.mark.parametrize("scope", ["matrix", "global"])
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_masks_are_those_of_torch_prune(scope: str, sparsity: float) -> None:
    weights = _weights()
    masks = Criterion(scope=scope).masks(weights, sparsity)
    layer: Any = nn.ParameterDict(weights)
    for names in [list(weights)] if scope == "global" else [[name] for name in weights]:
        count = pruned_count(sparsity, sum(weights[name].numel() for name in names))
        prune.global_unstructured(
            [(layer, name) for name in names], pruning_method=prune.L1Unstructured, amount=count
        )
    for name, mask in masks.items():
        assert torch.equal(mask, getattr(layer, f"{name}_mask").bool())


def _differing(first: Masks, second: Masks) -> float:
    """Share of entries in which masks differ."""
    return float(torch.cat([(first[n] != second[n]).flatten() for n in first]).float().mean())


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_random_masks_count_and_differ_by_seed(sparsity: float) -> None:
    weights = _weights()
    masks = Criterion("random").masks(weights, sparsity)
    for name, weight in weights.items():
        assert pruned_entries(masks[name]) == pruned_count(sparsity, weight.numel())
    again = Criterion("random").masks(weights, sparsity)
    assert _differing(masks, again) == 0
    if 0.1 <= sparsity <= 0.9:
        # Two independent masks differ in 2 s (1 - s) of the entries on average.
        others = Criterion("random", seed=1).masks(weights, sparsity)
        difference = _differing(masks, others)
        assert difference == pytest.approx(2 * sparsity * (1 - sparsity), abs=0.05)


@pytest.mark.parametrize("sparsity", [-0.1, 1.2, float("nan")])
def test_sparsity_out_of_range(sparsity: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        keep_largest(torch.ones(3), sparsity)


def test_weights_that_are_not_finite() -> None:
    with pytest.raises(NonFiniteWeightError, match="not finite"):
        keep_largest(torch.tensor([1.0, float("nan")]), 0.5)


def test_check_says_both_numbers() -> None:
    masks = Criterion().masks(_weights(), 0.5)
    Criterion().check(masks, 0.5)
    assert sparsity_of(masks) == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(RealisedSparsityError, match="asked for sparsity 0.6, .* got 72"):
        Criterion().check(masks, 0.6)
