"""Word embeddings: blocks of magnitudes, and what of dimensions and subwords is pruned."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from bertprune.analysis.embeddings import (
    magnitudes,
    pruned_by_dimension,
    pruned_by_subword_length,
)
from bertprune.pruning.masks import magnitude_mask, sparsity_of

VOCABULARY = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused17]", "a", "##b"]
VOCABULARY += ["the", "##ing", "house", "é", "late"]


def _tokenizer() -> PreTrainedTokenizerFast:
    numbers = {token: number for number, token in enumerate(VOCABULARY)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece(numbers, unk_token="[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _weight(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "block_tokens", "block_dimensions"),
    [((30, 8), 1, 1), ((64, 64), 1, 1), ((65, 130), 2, 3), ((829, 64), 13, 1), ((200, 768), 4, 12)],
)
def test_magnitudes_are_means_of_blocks(
    shape: tuple[int, int], block_tokens: int, block_dimensions: int
) -> None:
    weight = _weight(*shape)
    found = {(e["part"], e["position"]): e["value"] for e in magnitudes(weight)}
    expected = {}
    for row in range(0, shape[0], block_tokens):
        for column in range(0, shape[1], block_dimensions):
            block = weight.numpy()[row : row + block_tokens, column : column + block_dimensions]
            last = column + block.shape[1] - 1
            part = f"dimensions {column}–{last}" if last > column else f"dimensions {column}"
            expected[part, float(row)] = float(np.abs(block).mean())
    assert found == pytest.approx(expected)
    assert len({row for _, row in found}) <= 64 and len({part for part, _ in found}) <= 64


def test_pruned_share_of_dimensions() -> None:
    weight = _weight(50, 12) * torch.linspace(0.1, 3, 12)
    mask = magnitude_mask(weight, 0.6)
    found = pruned_by_dimension(mask)
    assert {(e["split"], e["metric"]) for e in found} == {("embeddings", "pruned_share")}
    assert [e["part"] for e in found] == [f"dimension {n}" for n in range(12)]
    shares = [e["value"] for e in found]
    assert shares == pytest.approx((~mask.numpy()).mean(axis=0))
    assert all(0 <= share <= 1 for share in shares)
    assert np.mean(shares) == pytest.approx(sparsity_of({"": mask}))
    # Small weights go first.
    assert shares[0] > 0.9 and shares[-1] < 0.5


def test_pruned_share_by_length_of_subwords() -> None:
    mask = torch.ones(len(VOCABULARY), 4, dtype=torch.bool)
    pruned = {
        "a": 1,
        "##b": 2,
        "é": 3,
        "the": 2,
        "##ing": 4,
        "house": 4,
        "[CLS]": 4,
        "[unused0]": 4,
    }
    for token, count in pruned.items():
        mask[VOCABULARY.index(token), :count] = False
    found = pruned_by_subword_length(mask, _tokenizer())
    assert {(e["split"], e["metric"], e["part"]) for e in found} == {
        ("embeddings", "pruned_share", "subword")
    }
    assert {e["position"]: e["value"] for e in found} == {1: 6 / 12, 3: 6 / 8, 4: 0.0, 5: 1.0}


def test_tokens_without_an_embedding_are_left_out() -> None:
    mask = torch.zeros(VOCABULARY.index("##b"), 4, dtype=torch.bool)
    found = pruned_by_subword_length(mask, _tokenizer())
    assert {e["position"]: e["value"] for e in found} == {1: 1.0}
