"""Sort-order movement: how far training moves weights in the order of their magnitudes.

The movement of a weight is |its rank after - its rank before|, as a share of its matrix's size (the
paper, section 5, table 2 and figures 4 and 6). Magnitude pruning sees nothing but this order, so
where it hardly changes, so hardly do the masks.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bertprune.protocol.rows import Entry, Metric, Split, entry
from bertprune.pruning.matrices import check_same_matrices, matrix_of

POSITIONS = 20
"""Into how many bins the starting positions are put."""

STARTING_POSITION = "starting position"


def ranks(weight: Tensor) -> Tensor:
    """Ranks (n,) int32 of the flattened weights by magnitude, from 0, the smallest's.

    Magnitudes are compared as float32, and ties fall to the earlier position, as in pruning.
    Raises ValueError if a weight is not finite.
    """
    magnitudes = weight.detach().float().abs().flatten()
    if not bool(torch.isfinite(magnitudes).all()):
        raise ValueError("cannot rank magnitudes: a weight is not finite")
    # The bits of floats that are not negative are in the order of the floats, and whole numbers
    # are sorted several times as fast.
    order = magnitudes.view(torch.int32).argsort(stable=True)
    found = torch.empty(len(order), dtype=torch.int32, device=order.device)
    found[order] = torch.arange(len(order), dtype=torch.int32, device=order.device)
    return found


class Movement:
    """The movement of a model's weights from what they are now.

    They are ranked once, so that a training can be compared with its start again and again. Ranks
    are kept (4 bytes a weight), not the weights.
    """

    def __init__(self, before: Mapping[str, Tensor]) -> None:
        self._ranks = {name: ranks(w).view(w.shape) for name, w in before.items()}

    def entries(self, after: Mapping[str, Tensor], *, by_position: bool = False) -> list[Entry]:
        """movement_mean and movement_std (of the population) of all weights, and by matrix.

        With `by_position` also by starting position, all matrices together: `position` is the
        centre of a bin of (rank before / size), near 1 for the largest magnitudes. Raises
        ValueError unless `after` has the same matrices as before, with finite weights.
        """
        check_same_matrices(self._ranks, after)
        whole = torch.zeros(3, dtype=torch.float64)
        places = torch.zeros(3, POSITIONS, dtype=torch.float64)
        by_matrix = []
        for name, weight in after.items():
            start = self._ranks[name].flatten()
            moved = _moved(start, weight)
            sums = torch.stack([torch.tensor(len(moved)), moved.sum(), moved.square().sum()])
            by_matrix += _mean_and_std(sums, matrix_of(name))
            whole += sums
            if by_position:
                places += _sums_by_position(start, moved)
        centres = (torch.arange(POSITIONS, dtype=torch.float64) + 0.5) / POSITIONS
        by_place = [
            found
            for centre, sums in zip(centres.tolist(), places.T, strict=True)
            if sums[0] > 0
            for found in _mean_and_std(sums, STARTING_POSITION, centre)
        ]
        return _mean_and_std(whole, "") + by_matrix + by_place


def _moved(start: Tensor, after: Tensor) -> Tensor:
    """Movement (n,) float64 of weights from the ranks `start` (n,) int32 to where they are now."""
    shift = ranks(after) - start.to(after.device)
    return shift.abs().cpu().double() / max(1, len(shift))


def _sums_by_position(start: Tensor, moved: Tensor) -> Tensor:
    """Number of weights, sum and sum of squares of their movement (3, POSITIONS)."""
    bins = start.cpu().long() * POSITIONS // len(start)
    return torch.stack(
        [
            bins.bincount(weights, minlength=POSITIONS).double()
            for weights in (None, moved, moved.square())
        ]
    )


def _mean_and_std(sums: Tensor, part: str, position: float = float("nan")) -> list[Entry]:
    """Entries from the number of weights, the sum and the sum of squares of their movement."""
    count, total, squares = sums.tolist()
    mean = total / count
    # Rounding may leave a variance of zero a little below it.
    std = max(0.0, squares / count - mean**2) ** 0.5
    return [
        entry(Split.WEIGHTS, Metric.MOVEMENT_MEAN, mean, part=part, position=position),
        entry(Split.WEIGHTS, Metric.MOVEMENT_STD, std, part=part, position=position),
    ]
