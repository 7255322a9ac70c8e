"""Sizes on disk: those of the files that are written, and formulas worked out by hand."""

import math
from pathlib import Path

import pytest
import torch

from bertprune.analysis.stored_sizes import binary_entropy, bound_bytes, csr_bytes, sizes
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.pruning.storage import SPARSE_FILE, save_sparse

TINY = Shape(layers=2, hidden_size=32, heads=2, vocabulary_size=250, max_length_tokens=16)
# Word embeddings, two layers of 4 square matrices and 2 four times as large, pooler.
PRUNABLE = 250 * 32 + 2 * 12 * 32**2 + 32**2
ROWS = 250 + 2 * (4 * 32 + 4 * 32 + 32) + 32


def measured(sparsity: float, folder: Path) -> tuple[dict[str, float], int]:
    """Sizes by part, and the parameters that cannot be pruned."""
    model = fresh_model(TINY, seed=0)
    pruner = Pruner.following(model, Schedule(sparsity), Criterion())
    pruner.before_step(0)
    found = {one["part"]: one["value"] for one in sizes(model, pruner.masks)}
    model.save_pretrained(folder)
    save_sparse(model, pruner.masks, folder)
    rest = sum(p.numel() for p in model.parameters()) - PRUNABLE
    kept = sum(int(mask.sum()) for mask in pruner.masks.values())
    assert csr_bytes(model, pruner.masks) == 4 * rest + 8 * kept + 4 * (ROWS + 14)
    entropy = PRUNABLE * binary_entropy(sparsity) / 8
    assert bound_bytes(model, pruner.masks) == pytest.approx(
        4 * rest + 4 * kept + entropy, rel=2e-4
    )
    return found, rest


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 1.0])
def test_sizes_are_those_of_the_files(tmp_path: Path, sparsity: float) -> None:
    found, rest = measured(sparsity, tmp_path)
    # transformers writes a line of metadata more into the header.
    dense = (tmp_path / "model.safetensors").stat().st_size
    assert found["dense float32"] == pytest.approx(dense, abs=64)
    assert found["sparse float32"] == (tmp_path / SPARSE_FILE).stat().st_size
    header = found["dense float32"] - 4 * (PRUNABLE + rest)
    assert found["dense bf16"] == pytest.approx(2 * (PRUNABLE + rest) + header, abs=64)
    kept = round((1 - sparsity) * PRUNABLE)
    content = 4 * (rest + kept) + PRUNABLE / 8
    assert 0 < found["sparse float32"] - content < 8192
    content = 2 * (rest + kept) + PRUNABLE / 8
    assert 0 < found["sparse bf16"] - content < 8192


def test_storage_is_bounded_by_the_entropy(tmp_path: Path) -> None:
    for sparsity in (0.3, 0.6, 0.9):
        found, _ = measured(sparsity, tmp_path / str(sparsity))
        assert found["bound float32"] < found["sparse float32"] < found["dense float32"]
        for storage in ("dense", "sparse"):
            assert found[f"{storage} float32, gzip"] < found[f"{storage} float32"]
        assert found["sparse float32"] < found["CSR float32"]


def test_the_entropy_of_a_coin() -> None:
    assert binary_entropy(0.5) == 1.0
    assert binary_entropy(0.0) == binary_entropy(1.0) == 0.0
    assert binary_entropy(0.25) == pytest.approx(0.25 * 2 + 0.75 * math.log2(4 / 3))


def test_entries_are_of_the_weights() -> None:
    model = fresh_model(TINY, seed=0)
    masks = {
        name: torch.ones_like(weight, dtype=torch.bool)
        for name, weight in model.bert.named_parameters()
        if name == "pooler.dense.weight"
    }
    with pytest.raises(KeyError):
        sizes(model, masks)
