"""When to remove: the gradual schedule."""

from __future__ import annotations

from dataclasses import dataclass

from bertprune.protocol.notebook_parameters import UPDATED, PrunePretrain


def cubic_sparsity(
    step: int, *, initial: float, final: float, begin_step: int, end_step: int
) -> float:
    """Sparsity at `step` of the gradual schedule of Zhu & Gupta (2017), eq. 1.

    `initial` up to `begin_step`, `final` from `end_step` on, a cubic ramp between them.
    Where begin and end are the same step this is one-shot pruning.
    """
    if end_step < begin_step:
        raise ValueError(f"end_step {end_step} is before begin_step {begin_step}")
    if step >= end_step:
        return final
    if step <= begin_step:
        return initial
    done = (step - begin_step) / (end_step - begin_step)
    return final + (initial - final) * (1.0 - done) ** 3


@dataclass(frozen=True)
class Schedule:
    """Gradual pruning from 0 to `final` sparsity between two steps, masks anew every few steps.

    One-shot pruning is the schedule whose ramp has no length. After the ramp the masks are frozen,
    or as in the authors' scripts (`end_pruning_step=-1`) `goes_on`: they are made anew as often as
    before, from weights that keep the value they had when they were pruned.
    """

    final: float
    begin_step: int = 0
    end_step: int = 0
    frequency_steps: int = 1
    goes_on: bool = False

    @classmethod
    def of(cls, parameters: PrunePretrain) -> Schedule:
        """That of pre-training; the dense model has no ramp."""
        return cls(
            final=parameters.sparsity,
            end_step=parameters.ramp_steps if parameters.sparsity else 0,
            frequency_steps=parameters.pruning_frequency_steps,
            goes_on=goes_on(parameters),
        )

    def sparsity(self, step: int) -> float:
        """Sparsity that holds from `step` on, a share in [0, 1]."""
        return cubic_sparsity(
            step,
            initial=0.0,
            final=self.final,
            begin_step=self.begin_step,
            end_step=self.end_step,
        )

    def is_update(self, step: int) -> bool:
        """Whether the masks are computed anew before training step `step`.

        The last update of the ramp is at `end_step` itself, whatever the frequency, so that the
        final sparsity is always reached.
        """
        if step < self.begin_step or (step > self.end_step and not self.goes_on):
            return False
        return step == self.end_step or (step - self.begin_step) % self.frequency_steps == 0

    def is_last_update(self, step: int) -> bool:
        """Whether no update follows that of `step`."""
        return step >= self.end_step and not self.goes_on


def goes_on(parameters: PrunePretrain) -> bool:
    """Whether masks are updated after the ramp; those of the dense model keep everything."""
    return parameters.masks_after_ramp == UPDATED and parameters.sparsity > 0
