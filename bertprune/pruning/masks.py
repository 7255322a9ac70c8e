"""What to remove: keep-masks from weights, pure and exact.

A mask is bool, of the shape of its weight: True is kept, False is pruned.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Masks = dict[str, Tensor]


# How many values estimate a quantile, and how far off it may be, in places among them: eight
# standard deviations at most.
_SAMPLE = 1 << 14
_MARGIN = 4 * math.isqrt(_SAMPLE)


class NonFiniteWeightError(ValueError):
    """Weights cannot be ranked, since one is infinite or not a number."""


class RealisedSparsityError(Exception):
    """Masks are not as sparse as was asked for: a mistake of this package, never of its user."""


@dataclass(frozen=True)
class Criterion:
    """Which weights go first.

    `method`: "magnitude" (smallest first) or "random" (an order drawn from `seed`).
    `scope`: "matrix" (each matrix to the same sparsity) or "global" (one threshold for all).
    """

    method: str = "magnitude"
    scope: str = "matrix"
    seed: int = 0

    def masks(self, weights: Weights, sparsity: float) -> Masks:
        """Masks of exactly `sparsity`; raises RealisedSparsityError if they are not, and
        NonFiniteWeightError for weights that have no order."""
        if self.method == "random":
            masks = random_masks(weights, sparsity, self.seed)
        elif self.scope == "global":
            masks = global_magnitude_masks(weights, sparsity)
        else:
            masks = local_magnitude_masks(weights, sparsity)
        self.check(masks, sparsity)
        return masks

    def check(self, masks: Masks, sparsity: float) -> None:
        """Raise RealisedSparsityError unless exactly the asked number of entries is pruned.

        Counted in each matrix, or over all together where the scope is global.
        """
        groups = {"all matrices": list(masks.values())}
        if self.scope == "matrix":
            groups = {name: [mask] for name, mask in masks.items()}
        for name, group in groups.items():
            size = sum(mask.numel() for mask in group)
            pruned = sum(pruned_entries(mask) for mask in group)
            if pruned != pruned_count(sparsity, size):
                raise RealisedSparsityError(
                    f"{name}: asked for sparsity {sparsity}, that is "
                    f"{pruned_count(sparsity, size)} of {size} weights, got {pruned}"
                )


def pruned_count(sparsity: float, size: int) -> int:
    """How many of `size` weights are pruned at `sparsity`, a share in [0, 1]."""
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity must be in [0, 1], got {sparsity!r}")
    return round(sparsity * size)


def magnitude_mask(weight: Tensor, sparsity: float) -> Tensor:
    """Keep-mask (bool, shape of `weight`) that prunes exactly the round(sparsity * n) smallest.

    Ties fall to the earlier position, so the count never depends on the data.
    Raises ValueError if sparsity is outside [0, 1], NonFiniteWeightError if a weight is not finite.
    """
    return _keep_largest(
        weight.detach().abs().flatten(), pruned_count(sparsity, weight.numel())
    ).view(weight.shape)


def local_magnitude_masks(weights: Weights, sparsity: float) -> Masks:
    """Matrix-local masks: each matrix to the same sparsity, with a threshold of its own."""
    return {name: magnitude_mask(weight, sparsity) for name, weight in weights.items()}


def global_magnitude_masks(weights: Weights, sparsity: float) -> Masks:
    """Masks of one threshold for all matrices: exactly round(sparsity * all weights) are pruned.

    Ties fall to the earlier matrix, then to the earlier position.
    """
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    keep = _keep_largest(magnitudes, pruned_count(sparsity, magnitudes.numel()))
    parts = keep.split([weight.numel() for weight in weights.values()])
    return {
        name: part.view(weight.shape)
        for (name, weight), part in zip(weights.items(), parts, strict=True)
    }


def random_masks(weights: Weights, sparsity: float, seed: int) -> Masks:
    """Matrix-local masks that prune exactly round(sparsity * n) weights chosen at random.

    Each matrix has a fixed random order that depends on `seed` and its place among the matrices
    alone, so the masks of growing sparsities are nested, on every device.
    """
    masks = {}
    for place, (name, weight) in enumerate(weights.items()):
        count = pruned_count(sparsity, weight.numel())
        generator = torch.Generator().manual_seed(seed * 100_003 + place)
        keep = torch.ones(weight.numel(), dtype=torch.bool)
        keep[torch.randperm(weight.numel(), generator=generator)[:count]] = False
        masks[name] = keep.view(weight.shape).to(weight.device)
    return masks


def _keep_largest(magnitudes: Tensor, count: int) -> Tensor:
    """Keep all but the `count` smallest `magnitudes` (1-D, non-negative): a selection, no sort."""
    if not math.isfinite(magnitudes.max().item()):
        raise NonFiniteWeightError("cannot rank magnitudes: a weight is not finite")
    if count == 0:
        return torch.ones_like(magnitudes, dtype=torch.bool)
    threshold = _smallest(magnitudes, count)
    keep = magnitudes > threshold
    pruned = pruned_entries(keep)
    if pruned > count:
        # All below the threshold go, and of those equal to it the earliest, up to the exact count.
        equal = (magnitudes == threshold).nonzero().flatten()
        keep[equal[len(equal) - (pruned - count) :]] = True
    return keep


def _smallest(values: Tensor, count: int) -> Tensor:
    """The `count`-th smallest of `values` (1-D), count from 1.

    Of many values, a sample says between which two it lies, and only what is between them is
    ranked. Where the sample was wrong all are: the result is the same.
    """
    if values.numel() <= 16 * _SAMPLE:
        return values.kthvalue(count).values
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(values.numel(), (_SAMPLE,), generator=generator)
    sample = values[places.to(values.device)].sort().values
    place = count / values.numel() * _SAMPLE
    low, high = (
        sample[min(max(round(place + margin), 0), _SAMPLE - 1)] for margin in (-_MARGIN, _MARGIN)
    )
    below = int(torch.count_nonzero(values < low))
    between = values[(values >= low) & (values <= high)]
    if below < count <= below + between.numel():
        return between.kthvalue(count - below).values
    return values.kthvalue(count).values


def sparsity_of(masks: Masks) -> float:
    """Share of pruned entries over all masks together."""
    size = sum(mask.numel() for mask in masks.values())
    return sum(pruned_entries(mask) for mask in masks.values()) / size


def pruned_entries(mask: Tensor) -> int:
    # A sum of bools takes fifteen times as long.
    return mask.numel() - int(torch.count_nonzero(mask))
