"""The main effects: one contrast for all that are compared."""

import pytest

from bertprune.evidence.claims import BY_KEY
from bertprune.evidence.claims.ledger import of_paper
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.regimes.effects import EFFECTS
from bertprune.protocol.rows import Rows

from ...made_up import study

FALL = {0.3: -1.8, 0.6: -7.2, 0.9: -16.2}
"""Points, of every arm."""


def raised(found: Rows, arm: str, by: float) -> Rows:
    """`found` with the accuracies of `arm` raised where anything is pruned."""
    where = (found.arm == arm) & (found.sparsity > 0) & (found.metric == "accuracy")
    return found.assign(value=found.value + by * where)


@pytest.mark.parametrize(
    ("effect", "mean", "seeds"),
    [
        ("low", FALL[0.3], 3),
        ("loss", 0.3, 3),
        ("middle", FALL[0.6], 3),
        ("middle, masks off", 4.0, 3),
        ("high", FALL[0.9], 3),
        ("high, masks off", 4.0, 3),
        ("late", 2.0, 3),
        ("random", -6.0, 3),
        ("at random", FALL[0.9] - 6.0, 3),
        ("above scratch", 0.0, 3),
        ("longer", 0.0, 3),
        ("transfer", 0.0, 3),
    ],
)
def test_each_effect_is_the_difference_that_rows_were_made_with(
    effect: str, mean: float, seeds: int
) -> None:
    found = raised(study(seeds=3), "information_deletion", 0.04)
    found = raised(raised(found, "prune_after_finetune", 0.02), "random_pruning", -0.06)
    m = Measured.of(found)
    size = EFFECTS[effect].size(m, EFFECTS[effect].levels(m))
    assert size is not None
    assert size.estimate.mean == pytest.approx(mean, abs=1e-6)
    assert size.seeds == seeds


def test_what_longer_training_gains_alone_is_taken_off() -> None:
    found = study(seeds=2)
    longer = (found.arm == "information_deletion") & (found.metric == "accuracy")
    m = Measured.of(found.assign(value=found.value + 0.03 * longer))
    size, alone = (EFFECTS[effect].size(m, [0.9]) for effect in ("high, masks off", "longer"))
    assert size is not None and size.estimate.mean == pytest.approx(0, abs=1e-9)
    assert alone is not None and alone.by_task == pytest.approx({"cola": 3.0, "sst2": 3.0})


def test_all_that_are_compared_have_the_same_sparsities() -> None:
    few, all_of_paper = Measured.of(study(seeds=2)), of_paper()
    of = EFFECTS["middle, masks off"]
    assert of.levels(all_of_paper) == [0.4, 0.5, 0.6]
    assert of.levels(all_of_paper, few) == of.levels(few) == [0.6]
    # Who has none of them is passed over, and has no size.
    other = Measured.of(study(seeds=2).replace({"sparsity": {0.6: 0.55}}))
    assert of.levels(all_of_paper, other) == [0.4, 0.5, 0.6]
    assert of.size(other, [0.4, 0.5, 0.6]) is None
    assert of.size(all_of_paper, [0.6]) != of.size(all_of_paper, [0.5, 0.6])


@pytest.mark.parametrize("arm", ["information_deletion", "random_pruning", "from_scratch"])
def test_what_was_not_measured_has_no_size(arm: str) -> None:
    found = study(seeds=2)
    m = Measured.of(found[found.arm != arm])
    missing = {name for name, of in EFFECTS.items() if of.size(m, of.levels(m)) is None}
    assert (
        missing
        == {
            "information_deletion": {
                *("middle", "middle, masks off", "high", "high, masks off", "longer"),
            },
            "random_pruning": {"random", "at random"},
            "from_scratch": {"above scratch", "transfer"},
        }[arm]
    )


def test_the_sizes_are_those_that_verdicts_go_by() -> None:
    m = of_paper()
    finding = BY_KEY["C3"].of(m)
    size = EFFECTS["high, masks off"].size(m, [0.7, 0.8, 0.9])
    assert size is not None and size.is_detected
    bounds = size.estimate.lower, size.estimate.upper
    assert bounds == pytest.approx((finding.lower, finding.upper))
