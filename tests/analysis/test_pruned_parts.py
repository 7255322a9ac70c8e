"""What is pruned: heads, against loops over all entries, dimensions, subwords; mask difference."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from bertprune.analysis.pruned_parts import (
    difference,
    shares_by_subword_length,
    shares_of_dimensions,
    shares_of_heads,
)
from bertprune.protocol.rows import Entry
from bertprune.pruning.masks import Criterion, keep_largest, sparsity_of

from .conftest import MakeMatrices

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


def _values(entries: list[Entry]) -> dict[str, float]:
    assert {(e["split"], e["metric"]) for e in entries} == {("masks", "mask_difference")}
    return {e["part"]: e["value"] for e in entries}


def test_it_is_the_share_of_entries_that_differ(make_matrices: MakeMatrices) -> None:
    masks, others = (Criterion().masks(make_matrices(seed), 0.6) for seed in (1, 2))
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
    masks = Criterion().masks(make_matrices(1), 0.3)
    assert set(_values(difference(masks, masks)).values()) == {0.0}
    complement = {name: ~mask for name, mask in masks.items()}
    assert set(_values(difference(masks, complement)).values()) == {1.0}


def test_two_random_masks(make_matrices: MakeMatrices) -> None:
    weights = {name: torch.zeros(100, 100) for name in make_matrices(1)}
    masks = [Criterion("random", seed=seed).masks(weights, 0.3) for seed in (0, 1)]
    found = _values(difference(*masks))
    assert found[""] == pytest.approx(2 * 0.3 * 0.7, abs=0.01)


def test_masks_of_another_model(make_matrices: MakeMatrices) -> None:
    masks = Criterion().masks(make_matrices(1), 0.3)
    fewer = dict(list(masks.items())[1:])
    with pytest.raises(ValueError, match="only one of the two models has embeddings"):
        difference(masks, fewer)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_shares_are_those_of_loops(make_matrices: MakeMatrices, heads: int) -> None:
    masks = Criterion().masks(make_matrices(3), 0.4)
    # Uneven, so that rows taken for columns would show.
    masks["encoder.layer.1.attention.output.dense.weight"][:, :5] = False
    masks["encoder.layer.0.attention.self.key.weight"][:3] = True
    width = 16 // heads
    expected = {}
    for layer in range(2):
        attention = f"encoder.layer.{layer}.attention"
        for head in range(heads):
            pruned = 0
            for inside in range(head * width, (head + 1) * width):
                for other in range(16):
                    for matrix in ("query", "key", "value"):
                        pruned += not masks[f"{attention}.self.{matrix}.weight"][inside, other]
                    pruned += not masks[f"{attention}.output.dense.weight"][other, inside]
            expected[f"layer {layer} head {head}"] = pruned / (4 * 16 * width)
    found = shares_of_heads(masks, heads=heads)
    assert {(e["split"], e["metric"]) for e in found} == {("heads", "pruned_share")}
    assert {e["part"]: e["value"] for e in found} == pytest.approx(expected)


def test_heads_that_do_not_fit(make_matrices: MakeMatrices) -> None:
    masks = Criterion().masks(make_matrices(0), 0.5)
    with pytest.raises(ValueError, match="16 rows cannot be shared by 5 heads"):
        shares_of_heads(masks, heads=5)


def test_pruned_share_of_dimensions() -> None:
    weight = torch.randn(50, 12, generator=torch.Generator().manual_seed(0)) * torch.linspace(
        0.1, 3, 12
    )
    mask = keep_largest(weight.abs(), 0.6)
    found = shares_of_dimensions(mask)
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
    found = shares_by_subword_length(mask, _tokenizer())
    assert {(e["split"], e["metric"], e["part"]) for e in found} == {
        ("embeddings", "pruned_share", "subword")
    }
    assert {e["position"]: e["value"] for e in found} == {1: 6 / 12, 3: 6 / 8, 4: 0.0, 5: 1.0}


def test_tokens_without_an_embedding_are_left_out() -> None:
    mask = torch.zeros(VOCABULARY.index("##b"), 4, dtype=torch.bool)
    found = shares_by_subword_length(mask, _tokenizer())
    assert {e["position"]: e["value"] for e in found} == {1: 1.0}
