"""Pruned share of attention heads: against loops over all entries."""

import pytest
import torch

from bertprune.analysis.pruned_heads import pruned_shares
from bertprune.pruning.masks import local_magnitude_masks, sparsity_of

from .conftest import MakeMatrices


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_shares_are_those_of_loops(make_matrices: MakeMatrices, heads: int) -> None:
    masks = local_magnitude_masks(make_matrices(3), 0.4)
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
    found = pruned_shares(masks, heads=heads)
    assert {(e["split"], e["metric"]) for e in found} == {("heads", "pruned_share")}
    assert {e["part"]: e["value"] for e in found} == pytest.approx(expected)


def test_the_mean_over_heads_is_the_sparsity_of_attention(make_matrices: MakeMatrices) -> None:
    masks = local_magnitude_masks(make_matrices(3), 0.7)
    shares = [e["value"] for e in pruned_shares(masks, heads=4)]
    attention = {name: mask for name, mask in masks.items() if ".attention." in name}
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) / len(shares) == pytest.approx(sparsity_of(attention))


def test_one_head_alone(make_matrices: MakeMatrices) -> None:
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in make_matrices(0).items()}
    for matrix in ("query", "key", "value"):
        masks[f"encoder.layer.1.attention.self.{matrix}.weight"][8:12] = False
    masks["encoder.layer.1.attention.output.dense.weight"][:, 8:12] = False
    found = {e["part"]: e["value"] for e in pruned_shares(masks, heads=4)}
    assert found.pop("layer 1 head 2") == 1
    assert set(found.values()) == {0.0} and len(found) == 7


def test_heads_that_do_not_fit(make_matrices: MakeMatrices) -> None:
    masks = local_magnitude_masks(make_matrices(0), 0.5)
    with pytest.raises(ValueError, match="16 rows cannot be shared by 5 heads"):
        pruned_shares(masks, heads=5)
