"""How much the masks of two models differ (the paper, figure 3)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bertprune.analysis.entries import Entry, check_same_matrices, entry, matrix_of


def difference(masks: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> list[Entry]:
    """mask_difference: the share of entries that differ, over all masks together and by matrix.

    Raises ValueError unless both are masks of the same matrices.
    """
    check_same_matrices(masks, others)
    differing = {
        name: int((mask != others[name].to(mask.device)).sum()) for name, mask in masks.items()
    }
    size = sum(mask.numel() for mask in masks.values())
    whole = entry("masks", "mask_difference", sum(differing.values()) / size)
    return [whole] + [
        entry("masks", "mask_difference", differing[name] / mask.numel(), part=matrix_of(name))
        for name, mask in masks.items()
    ]
