"""Mask difference: symmetric, 0 with itself, 1 with the complement, and of random masks."""

import numpy as np
import pytest
import torch

from bertprune.analysis.entries import Entry
from bertprune.analysis.mask_difference import difference
from bertprune.pruning.masks import local_magnitude_masks, random_masks

from .conftest import MakeMatrices


def _values(entries: list[Entry]) -> dict[str, float]:
    assert {(e["split"], e["metric"]) for e in entries} == {("masks", "mask_difference")}
    return {e["part"]: e["value"] for e in entries}


def test_it_is_the_share_of_entries_that_differ(make_matrices: MakeMatrices) -> None:
    masks, others = (local_magnitude_masks(make_matrices(seed), 0.6) for seed in (1, 2))
    found = _values(difference(masks, others))
    assert list(found) == ["", *(name.removesuffix(".weight") for name in masks)]
    differing = {n: np.logical_xor(m.numpy(), others[n].numpy()) for n, m in masks.items()}
    for name, entries in differing.items():
        assert found[name.removesuffix(".weight")] == pytest.approx(entries.mean())
    assert found[""] == pytest.approx(
        np.concatenate([d.ravel() for d in differing.values()]).mean()
    )
    assert found == _values(difference(others, masks))


def test_none_with_itself_and_all_with_the_complement(make_matrices: MakeMatrices) -> None:
    masks = local_magnitude_masks(make_matrices(1), 0.3)
    assert set(_values(difference(masks, masks)).values()) == {0.0}
    complement = {name: ~mask for name, mask in masks.items()}
    assert set(_values(difference(masks, complement)).values()) == {1.0}


def test_two_random_masks(make_matrices: MakeMatrices) -> None:
    weights = {name: torch.zeros(100, 100) for name in make_matrices(1)}
    found = _values(difference(*(random_masks(weights, 0.3, seed) for seed in (0, 1))))
    assert found[""] == pytest.approx(2 * 0.3 * 0.7, abs=0.01)


def test_masks_of_another_model(make_matrices: MakeMatrices) -> None:
    masks = local_magnitude_masks(make_matrices(1), 0.3)
    fewer = dict(list(masks.items())[1:])
    with pytest.raises(ValueError, match="only one of the two models has embeddings"):
        difference(masks, fewer)
