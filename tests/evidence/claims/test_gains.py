"""What an arm's epochs gain alone is no gain of the arm."""

import pytest

from bertprune.evidence.claims.claim import FAILS, OPEN
from bertprune.protocol import rows

from .altered import entry, several, without


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("key", "arm", "change"),
    [
        ("C2", "information_deletion", 0.03),
        ("C3", "information_deletion", 0.02),
        ("C4", "information_deletion", 0.2),
        ("C7", "prune_after_finetune", 0.05),
    ],
)
def test_what_epochs_gain_alone_is_no_gain_of_the_arm(
    key: str, arm: str, change: float, seeds: int
) -> None:
    """At sparsity 0, where nothing is pruned, the arm gains as much as elsewhere."""
    found = several(seeds)
    dense = found[(found.arm == "prune_pretrain") & (found.metric == "accuracy")]
    copied = dense.assign(arm=arm, value=dense.value + change * (1.02 - 0.02 * dense.sparsity))
    got = entry(key, rows.join([without(found, arm), copied]))
    assert got.verdict == OPEN and "its epochs alone" in got.ours
    if key != "C3":
        assert got.reason == "not told from what the arm's epochs gain alone"
    pruned = copied[copied.sparsity > 0]
    assert "alone" not in entry(key, rows.join([without(found, arm), pruned])).ours


@pytest.mark.parametrize(("alone", "verdict"), [((0.0, 0.0, 0.0), FAILS), ((-0.1, 0.1, 0.0), OPEN)])
def test_what_epochs_gain_is_as_uncertain_as_it_is(alone: tuple[float, ...], verdict: str) -> None:
    """Two controls of one mean: a gain is told beyond that which is the same for all seeds."""
    found = several(3)
    dense = found[(found.arm == "prune_pretrain") & (found.metric == "accuracy")]
    others = without(found, "prune_after_finetune")
    gains = dense.seed.map(dict(enumerate(alone))).where(dense.sparsity == 0, 0.05)
    copied = dense.assign(arm="prune_after_finetune", value=dense.value + gains)
    assert entry("C7", rows.join([others, copied])).verdict == verdict
    # A control that some cells have not got tells nothing of the others.
    lacking = copied[(copied.seed != 2) | (copied.sparsity > 0)]
    assert entry("C7", rows.join([others, lacking])).verdict == OPEN
