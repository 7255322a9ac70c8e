"""Masks that are made on a GPU are those of the CPU, to the last weight."""

import pytest
import torch

from bertprune.pruning.masks import Criterion

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("scope", ["matrix", "global"])
@pytest.mark.parametrize("method", ["magnitude", "random"])
def test_masks_are_those_of_the_cpu(method: str, scope: str) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {
        "normal": torch.randn(300, 200, generator=generator),
        "with ties": torch.randint(-3, 4, (200, 300), generator=generator).float(),
        "of zeros": torch.zeros(64, 64),
    }
    there = {name: weight.to(DEVICE) for name, weight in weights.items()}
    for sparsity in (0.0, 0.3, 0.6, 0.9, 1.0):
        criterion = Criterion(method, scope, seed=3)
        expected, found = criterion.masks(weights, sparsity), criterion.masks(there, sparsity)
        for name, mask in expected.items():
            assert found[name].device.type == DEVICE
            assert torch.equal(found[name].cpu(), mask), (name, sparsity)
