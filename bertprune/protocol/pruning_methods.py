"""Pruning methods: which weights go first, and all that others ask of a method.

The scores by which a method ranks weights are in `pruning.masks`; the arm that it makes, if it is
not the paper's own, has it among its fixed parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

MAGNITUDE = "magnitude"
RANDOM = "random"


@dataclass(frozen=True)
class Method:
    """A way to choose the weights that go."""

    in_titles: str = ""
    """What titles of pages add for it; nothing for the paper's own."""
    may_be_global: bool = True
    """Whether one threshold for all matrices makes sense."""


METHODS = {
    MAGNITUDE: Method(),
    RANDOM: Method(in_titles=" at random", may_be_global=False),
}
"""All methods by name, as parameters have it."""
