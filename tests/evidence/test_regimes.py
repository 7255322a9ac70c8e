"""Regimes: boundaries that are known because the scores were made so."""

import numpy as np
import pandas as pd
import pytest

from bertprune.evidence import regimes
from bertprune.evidence.regimes.statistics import mean_difference
from bertprune.protocol import rows

from .. import made_up

SPARSITIES = (0.0, 0.3, 0.5, 0.7, 0.9)
TASKS, SEEDS = ("cola", "sst2", "qnli"), (0, 1, 2)


def made(falls: dict[str, dict[float, float]], noise: float = 0.002) -> pd.DataFrame:
    """Scores around 0.8 minus the fall of each arm at each sparsity, and an average to ignore."""
    generator = np.random.default_rng(0)
    lines = [
        (arm, sparsity, task, seed, 0.8 - fall + generator.normal(0, noise))
        for arm, by_sparsity in falls.items()
        for sparsity, fall in by_sparsity.items()
        for task in TASKS
        for seed in SEEDS
    ]
    lines += [("prune_pretrain", sparsity, "average", 0, 0.0) for sparsity in SPARSITIES]
    return pd.DataFrame(lines, columns=["arm", "sparsity", "task", "seed", "accuracy"])


def losses(rises: dict[float, float]) -> pd.DataFrame:
    lines = [
        ("prune_pretrain", sparsity, seed, 2.0 + rise + 0.001 * (seed + 1) * (sparsity > 0))
        for sparsity, rise in rises.items()
        for seed in SEEDS
    ]
    return pd.DataFrame(lines, columns=["arm", "sparsity", "seed", "loss"])


def test_the_three_ranges_are_found_where_they_are() -> None:
    falls = {0.0: 0.0, 0.3: 0.0, 0.5: 0.05, 0.7: 0.10, 0.9: 0.30}
    scores = made(
        {
            "prune_pretrain": falls,
            "information_deletion": {0.3: 0.0, 0.5: 0.05, 0.7: 0.05, 0.9: 0.20},
            "random_pruning": {0.3: 0.0, 0.5: 0.1, 0.7: 0.2, 0.9: 0.35},
        }
    )
    found = regimes.regimes(scores, losses({0.0: 0.0, 0.3: -0.01, 0.5: 0.2, 0.7: 0.5, 0.9: 1.0}))
    assert found.low_until == 0.3
    assert found.loss_low_until == 0.3
    assert set(found.helped) >= {0.7, 0.9} and 0.5 not in found.helped
    assert found.random_worse == (0.5, 0.7, 0.9)
    assert found.middle == (0.5,)
    low, middle, high, random = (
        line.replace("\N{NO-BREAK SPACE}", " ") for line in found.in_words()
    )
    assert "up to 30 %. No rise of the pre-training loss is detected up to 30 %." in low
    assert "at 50 % accuracy is lost" in middle
    assert high.endswith("70 %, 90 %.")
    assert "at 50 %, 70 %, 90 %." in random


def test_absent_ranges_are_said_to_be_absent() -> None:
    falls = {0.0: 0.0, 0.3: 0.1, 0.5: 0.1, 0.7: 0.1, 0.9: 0.1}
    gains = {0.3: 0.05, 0.5: 0.15, 0.7: 0.15, 0.9: 0.15}
    scores = made({"prune_pretrain": falls, "information_deletion": gains})
    found = regimes.regimes(scores, losses({0.0: 0.0, 0.3: 0.1, 0.5: 0.1, 0.7: 0.1, 0.9: 0.1}))
    assert (found.low_until, found.loss_low_until) == (None, None)
    assert found.middle == found.random_worse == ()
    assert found.helped == (0.3,)
    low, middle, high, random = found.in_words()
    assert "none, accuracy falls at the lowest" in low and "loss rises at the lowest" in low
    assert "at no sparsity" in middle and high.endswith("helps at 30\N{NO-BREAK SPACE}%.")
    assert random == "Random pruning cannot be compared."


def test_where_nothing_falls_all_is_low() -> None:
    flat = {0.0: 0.0, 0.3: 0.0, 0.9: 0.0}
    scores = made({"prune_pretrain": flat, "random_pruning": {0.3: 0.0, 0.9: 0.0}}, noise=0.01)
    found = regimes.regimes(scores, losses({0.0: 0.0, 0.3: -0.1, 0.9: -0.1}))
    assert found.low_until == found.loss_low_until == 0.9
    assert "nowhere worse" in found.in_words()[-1]


def test_what_cannot_be_told_is_not_said() -> None:
    falls = {0.0: 0.0, 0.9: 0.5}
    one_seed = made({"prune_pretrain": falls, "information_deletion": {0.9: 0.1}})
    one_seed = one_seed[one_seed.seed == 0]
    rises = losses({0.0: 0.0, 0.9: 1.0})
    found = regimes.regimes(one_seed, rises[rises.seed == 0])
    assert all("cannot be" in line or "nor where" in line for line in found.in_words())
    nothing = regimes.regimes(one_seed[one_seed.arm == "none"], rises[rises.arm == "none"])
    assert all("cannot be" in line or "nor where" in line for line in nothing.in_words())


def test_tasks_of_a_seed_are_no_independent_evidence() -> None:
    """Many tasks that go with their seed tell no more than the seeds do."""
    lines = [
        (arm, sparsity, f"task{task}", seed, 0.8 + shift * (sparsity > 0))
        for arm in ("prune_pretrain",)
        for sparsity in (0.0, 0.5)
        for task in range(50)
        for seed, shift in enumerate((0.02, -0.01, -0.04))
    ]
    scores = pd.DataFrame(lines, columns=["arm", "sparsity", "task", "seed", "accuracy"])
    found = regimes.against(scores, "prune_pretrain", "prune_pretrain", dense=True)[0.5]
    expected = mean_difference(pd.Series([0.02, -0.01, -0.04]))
    assert (found.lower, found.upper) == pytest.approx((expected.lower, expected.upper))
    assert found.seeds == 3 and not found.is_loss


def test_an_effect_that_is_only_not_told_is_no_middle() -> None:
    """Differences whose bounds are wide are neither a gain nor shown to be none."""
    falls = {0.0: 0.0, 0.5: 0.3}
    scores = made({"prune_pretrain": falls, "information_deletion": {0.5: 0.3}}, noise=0.05)
    found = regimes.regimes(scores, losses({0.0: 0.0, 0.5: 0.1}))
    assert not found.gain[0.5].is_gain and not found.gain[0.5].is_loss
    assert found.middle == ()


def test_with_nothing_pruned_the_gain_is_that_of_the_epochs() -> None:
    scores = made(
        {"prune_pretrain": {0.0: 0.0, 0.5: 0.3}, "information_deletion": {0.0: -0.05, 0.5: 0.1}}
    )
    found = regimes.regimes(scores, losses({0.0: 0.0, 0.5: 0.1}))
    assert found.gain[0.0].mean == pytest.approx(0.05, abs=0.005)
    assert found.helped == (0.5,) and 0.0 not in found.fall
    assert found.in_words()[2].endswith("50\N{NO-BREAK SPACE}%, beyond what its epochs gain alone.")
    # A gain that is told from zero, but not from that of the epochs.
    as_much = scores.assign(accuracy=scores.accuracy.where(scores.sparsity == 0, 0.5))
    as_much.loc[(scores.arm == "information_deletion") & (scores.sparsity > 0), "accuracy"] += (
        0.05 + 0.001 * (scores.seed - 1)
    )
    found = regimes.regimes(as_much, losses({0.0: 0.0, 0.5: 0.1}))
    assert found.gain[0.5].is_gain and found.helped == ()
    assert found.beyond[0.5].mean == pytest.approx(found.gain[0.5].mean - found.gain[0.0].mean)
    assert 0.0 not in found.beyond


def test_a_gain_is_told_beyond_a_control_as_uncertain_as_that_is() -> None:
    """Controls of one mean, 0: the same for all seeds, scattered, and known of two seeds only."""
    falls = {"prune_pretrain": {0.0: 0.0, 0.5: 0.3}, "information_deletion": {0.0: 0.0, 0.5: 0.25}}
    scores, rises = made(falls, noise=0.0005), losses({0.0: 0.0, 0.5: 0.1})
    assert regimes.regimes(scores, rises).helped == (0.5,)
    is_control = (scores.arm == "information_deletion") & (scores.sparsity == 0)
    scattered = scores.assign(accuracy=scores.accuracy + 0.1 * is_control * (scores.seed - 1))
    found = regimes.regimes(scattered, rises)
    assert found.gain[0.5].is_gain and found.helped == ()
    assert found.gain[0.0].mean < found.gain[0.5].lower
    of_two = regimes.regimes(scores[~is_control | (scores.seed < 2)], rises)
    assert of_two.gain[0.5].is_gain and of_two.beyond == {} and of_two.helped == ()


def test_what_a_reader_adds_changes_no_boundary() -> None:
    scores = made({"prune_pretrain": {0.0: 0.0, 0.3: 0.0, 0.9: 0.3}}).assign(own=False)
    rises = losses({0.0: 0.0, 0.3: 0.1, 0.9: 0.5}).assign(own=False)
    own_score = scores[(scores.sparsity == 0.9) & (scores.seed == 0)].assign(
        sparsity=0.45, own=True
    )
    own_loss = rises[(rises.sparsity == 0.9) & (rises.seed == 0)].assign(sparsity=0.45, own=True)
    more = regimes.regimes(pd.concat([scores, own_score]), pd.concat([rises, own_loss]))
    assert more.in_words() == regimes.regimes(scores, rises).in_words()


def test_a_seed_with_fewer_tasks_is_compared_on_these() -> None:
    scores = made({"prune_pretrain": {0.0: 0.0, 0.9: 0.3}}, noise=0)
    scores.loc[(scores.task == "cola") & (scores.sparsity > 0), "accuracy"] -= 0.3
    lacking = scores[(scores.seed == 0) | (scores.task != "cola")]
    found = regimes.against(lacking, "prune_pretrain", "prune_pretrain", dense=True)[0.9]
    assert found.mean == pytest.approx(-0.3) and found.seeds == 3


def test_pairs_that_one_side_lacks_do_not_count() -> None:
    scores = made({"prune_pretrain": {0.0: 0.0, 0.5: 0.1}, "information_deletion": {0.5: 0.1}})
    lacking = scores[~((scores.arm == "information_deletion") & (scores.seed == 2))]
    found = regimes.against(lacking, "information_deletion", "prune_pretrain")
    assert found[0.5].seeds == 2
    rises = pd.DataFrame(columns=["arm", "sparsity", "seed", "loss"])
    shown = regimes.regimes(lacking, rises).table()
    assert shown["masks off − masks held"].str.endswith(" (2)").tolist() == [True]


def test_studies_are_compared_as_far_as_they_can_be() -> None:
    points = [(seed, sparsity) for seed in SEEDS for sparsity in (0.0, 0.9)]
    dev = {(*point, "dev", "loss"): 2 + point[1] for point in points}
    bits = {(*point, "probe", "all_bits"): 9 - 9 * point[1] for point in points}
    accuracies = {
        (seed, at, "dev", "accuracy"): 0.9 - 0.5 * at + 0.001 * seed * (at > 0)
        for seed, at in points
    }
    names = "seed sparsity split metric"
    whole = rows.join(
        [made_up.made(dev | bits, names), made_up.made(accuracies, names, task="cola")]
    )
    table = regimes.compared({"whole": whole, "one": whole[whole.seed == 0]})
    assert list(table["bits recalled, dense"]) == ["9", "9"]
    assert list(table["accuracy, dense (%)"]) == ["90.0", "90.0"]
    assert list(table["no loss of accuracy up to"]) == ["–", "undecided"]
    assert set(table["masks off helps at"]) == {"undecided"}
