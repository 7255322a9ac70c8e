"""What an arm gains in accuracy, and how much of that its epochs gain alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bertprune.evidence import scores
from bertprune.evidence.claims.claim import points
from bertprune.evidence.statistics import Cells, Sample, beyond, paired, sample
from bertprune.protocol.rows import Rows

EPOCHS_ALONE = "not told from what the arm's epochs gain alone"
UNLESS_ALONE = (
    " A gain counts where it is told beyond what the arm's epochs gain, of the same task and seed,"
    " with nothing pruned."
)


@dataclass(frozen=True)
class Gains:
    """Differences in accuracy, as shares: task, sparsity, seed, value."""

    cells: Cells
    """At sparsities in (0, 1)."""
    control: Cells
    """At sparsity 0, without that column: what the arm's epochs gain, with nothing pruned. Empty
    where nobody measured it; the paper's table 1 has such runs too."""

    def between(self, low: float, high: float) -> Gains:
        """Those at sparsities from `low` to `high`, both included."""
        return Gains(self.cells[self.cells.sparsity.between(low, high)], self.control)

    @property
    def sample(self) -> Sample:
        return sample(self.cells)

    @cached_property
    def beyond(self) -> Cells:
        """What is gained beyond the control, in the cells that have one."""
        return beyond(self.cells, self.control).dropna()

    def is_told(self, margin: float = 0.0) -> bool:
        """Whether a gain of more than `margin` is told, and beyond the control. It is not where
        only a part of the cells has a control."""
        left = self.cells if self.control.empty else self.beyond
        told = [sample(cells).difference.lower > margin for cells in (self.cells, left)]
        return all(told) and len(left) == len(self.cells)

    def alone(self) -> str:
        """The control in words, and what is gained beyond it."""
        if self.control.empty:
            return ""
        by_itself, more = (points(sample(of).difference) for of in (self.control, self.beyond))
        return f"; its epochs alone, nothing pruned, {by_itself}; beyond that {more}"


def gains(found: Rows, arm: str, *, dense: bool = False) -> Gains:
    """Accuracy of `arm` minus that of models pruned while pre-training, with `dense` minus that of
    the dense model, where both are."""
    cells = paired(scores.best_accuracies(found), arm, dense=dense)
    pruned = cells[(cells.sparsity > 0) & (cells.sparsity < 1)]
    return Gains(pruned, cells[cells.sparsity == 0].drop(columns="sparsity"))
