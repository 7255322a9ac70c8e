"""Sizes on disk: those of the files that are written, and formulas worked out by hand."""

import math
from pathlib import Path

import pytest

from bertprune.analysis.stored_sizes import binary_entropy, sizes
from bertprune.model.shape import Shape
from bertprune.pruning.storage import SPARSE_FILE, save_sparse

from ..models import pruned_model
from .conftest import values_of

TINY = Shape(layers=2, hidden_size=32, heads=2, vocabulary_size=250, max_length_tokens=16)
# Word embeddings, two layers of 4 square matrices and 2 four times as large, pooler.
PRUNABLE = 250 * 32 + 2 * 12 * 32**2 + 32**2
ROWS = 250 + 2 * (4 * 32 + 4 * 32 + 32) + 32


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 1.0])
def test_sizes_are_those_of_the_files(tmp_path: Path, sparsity: float) -> None:
    model, masks = pruned_model(TINY, sparsity)
    found = values_of(sizes(model, masks), "storage_bytes")
    model.save_pretrained(tmp_path)
    save_sparse(model, masks, tmp_path)
    # transformers writes a line of metadata more into the header.
    dense = (tmp_path / "model.safetensors").stat().st_size
    assert found["dense float32"] == pytest.approx(dense, abs=64)
    assert found["sparse float32"] == (tmp_path / SPARSE_FILE).stat().st_size
    rest = sum(p.numel() for p in model.parameters()) - PRUNABLE
    header = found["dense float32"] - 4 * (PRUNABLE + rest)
    assert found["dense bf16"] == pytest.approx(2 * (PRUNABLE + rest) + header, abs=64)
    kept = sum(int(mask.sum()) for mask in masks.values())
    for precision, size in (("float32", 4), ("bf16", 2)):
        content = size * (rest + kept) + PRUNABLE / 8
        assert 0 < found[f"sparse {precision}"] - content < 8192
    assert found["CSR float32"] == 4 * rest + 8 * kept + 4 * (ROWS + 14)
    entropy = PRUNABLE * binary_entropy(sparsity) / 8
    assert found["bound float32"] == pytest.approx(4 * rest + 4 * kept + entropy, rel=2e-4)
    # Compression takes something off, but a mask without a pattern no less than its entropy.
    assert found["bound float32"] < found["sparse float32"]
    for storage in ("dense", "sparse"):
        assert found[f"{storage} float32, gzip"] < found[f"{storage} float32"]


def test_the_entropy_of_a_coin() -> None:
    assert binary_entropy(0.5) == 1.0
    assert binary_entropy(0.0) == binary_entropy(1.0) == 0.0
    assert binary_entropy(0.25) == pytest.approx(0.25 * 2 + 0.75 * math.log2(4 / 3))
