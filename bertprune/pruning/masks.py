"""What to remove: keep-masks from weights, pure and exact.

A mask is bool, of the shape of its weight: True is kept, False is pruned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bertprune.protocol.notebook_parameters import PrunePretrain
from bertprune.protocol.pruning_methods import MAGNITUDE, RANDOM

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

    `method`: one of METHODS, whose scores rank them; one that draws does so from `seed`.
    `scope`: "matrix" (each matrix to the same sparsity) or "global" (one threshold for all).
    """

    method: str = MAGNITUDE
    scope: str = "matrix"
    seed: int = 0

    @classmethod
    def of(cls, parameters: PrunePretrain) -> Criterion:
        return cls(parameters.method, parameters.scope, parameters.seed)

    def masks(self, weights: Weights, sparsity: float) -> Masks:
        """Masks of exactly `sparsity`; raises RealisedSparsityError if they are not, and
        NonFiniteWeightError for weights that have no order.

        Ties fall to the earlier matrix, then to the earlier position.
        """
        score = _SCORES[self.method]
        scores = (score(w, place, self.seed) for place, w in enumerate(weights.values()))
        if self.scope == "global":
            everything = keep_largest(torch.cat([one.flatten() for one in scores]), sparsity)
            kept = everything.split([weight.numel() for weight in weights.values()])
        else:
            kept = tuple(keep_largest(one, sparsity) for one in scores)
        masks = {
            name: one.view(weight.shape)
            for (name, weight), one in zip(weights.items(), kept, strict=True)
        }
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


def _magnitudes(weight: Tensor, place: int, seed: int) -> Tensor:
    return weight.detach().abs()


def _random_ranks(weight: Tensor, place: int, seed: int) -> Tensor:
    """A random order of the weights of a matrix.

    It depends on `seed` and the matrix's place among the others alone, so the masks of growing
    sparsities are nested, on every device.
    """
    generator = torch.Generator().manual_seed(seed * 100_003 + place)
    order = torch.randperm(weight.numel(), generator=generator)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order))
    return ranks.view(weight.shape).to(weight.device)


_SCORES: Mapping[str, Callable[[Tensor, int, int], Tensor]] = {
    MAGNITUDE: _magnitudes,
    RANDOM: _random_ranks,
}
"""How each method scores the weights of a matrix, by its place among the matrices and the seed: of
the shape of `weight`, the lowest go first."""


def keep_largest(scores: Tensor, sparsity: float) -> Tensor:
    """Keep-mask (bool, shape of `scores`) that prunes exactly the round(sparsity * n) smallest.

    Ties fall to the earlier position, so the count never depends on the data. It is a selection,
    no sort. Raises ValueError if sparsity is outside [0, 1], NonFiniteWeightError if a score is not
    finite.
    """
    values, count = scores.flatten(), pruned_count(sparsity, scores.numel())
    if not math.isfinite(values.max().item()):
        raise NonFiniteWeightError("cannot rank magnitudes: a weight is not finite")
    if count == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = _smallest(values, count)
    keep = values > threshold
    pruned = pruned_entries(keep)
    if pruned > count:
        # All below the threshold go, and of those equal to it the earliest, up to the exact count.
        equal = (values == threshold).nonzero().flatten()
        keep[equal[len(equal) - (pruned - count) :]] = True
    return keep.view(scores.shape)


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
