"""What is pruned: heads, dimensions, subwords; and how much masks differ."""

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
from bertprune.pruning.masks import Criterion, sparsity_of

from .conftest import matrices_of, values_of

VOCABULARY = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused17]", "a", "##b"]
VOCABULARY += ["the", "##ing", "house", "é", "late", "longest"]


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


def test_difference_is_the_share_of_entries_that_differ() -> None:
    masks = {"a.weight": torch.ones(2, 4).bool(), "b.weight": torch.zeros(1, 2).bool()}
    others = {
        "a.weight": torch.tensor([[1, 1, 0, 1]] * 2).bool(),
        "b.weight": torch.ones(1, 2).bool(),
    }
    for first, second in ((masks, others), (others, masks)):
        found = difference(first, second)
        assert {e["split"] for e in found} == {"masks"}
        assert values_of(found, "mask_difference") == {"": 4 / 10, "a": 2 / 8, "b": 1.0}


def test_masks_of_another_model() -> None:
    masks = Criterion().masks(matrices_of(1), 0.3)
    fewer = dict(list(masks.items())[1:])
    with pytest.raises(ValueError, match="only one of the two models has embeddings"):
        difference(masks, fewer)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_a_head_has_rows_of_three_matrices_and_columns_of_one(heads: int) -> None:
    masks = Criterion().masks(matrices_of(3), 0.4)
    # Uneven, so that rows taken for columns would show.
    masks["encoder.layer.1.attention.output.dense.weight"][:, :5] = False
    masks["encoder.layer.0.attention.self.key.weight"][:3] = True
    width = 16 // heads
    expected = {}
    for layer in range(2):
        attention = f"encoder.layer.{layer}.attention"
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            parts = {
                n: masks[f"{attention}.self.{n}.weight"][own] for n in ("query", "key", "value")
            }
            parts["output"] = masks[f"{attention}.output.dense.weight"][:, own]
            expected[f"layer {layer} head {head}"] = sparsity_of(parts)
    found = shares_of_heads(masks, heads=heads)
    assert {e["split"] for e in found} == {"heads"}
    assert values_of(found, "pruned_share") == pytest.approx(expected)


def test_heads_that_do_not_fit() -> None:
    masks = Criterion().masks(matrices_of(0), 0.5)
    with pytest.raises(ValueError, match="16 rows cannot be shared by 5 heads"):
        shares_of_heads(masks, heads=5)


def test_pruned_share_of_dimensions() -> None:
    found = shares_of_dimensions(torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0]]).bool())
    assert {e["split"] for e in found} == {"embeddings"}
    shares = {"dimension 0": 0.0, "dimension 1": 0.25, "dimension 2": 1.0}
    assert values_of(found, "pruned_share") == shares


def test_pruned_share_by_length_of_subwords() -> None:
    # The last token has no embedding.
    mask = torch.ones(len(VOCABULARY) - 1, 4, dtype=torch.bool)
    pruned = {"a": 1, "##b": 2, "é": 3, "the": 2, "##ing": 4, "house": 4, "[CLS]": 4}
    for token, count in (pruned | {"[unused0]": 4}).items():
        mask[VOCABULARY.index(token), :count] = False
    found = shares_by_subword_length(mask, _tokenizer())
    assert {(e["split"], e["metric"], e["part"]) for e in found} == {
        ("embeddings", "pruned_share", "subword")
    }
    assert {e["position"]: e["value"] for e in found} == {1: 6 / 12, 3: 6 / 8, 4: 0.0, 5: 1.0}
