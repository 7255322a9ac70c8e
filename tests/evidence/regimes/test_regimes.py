"""Boundaries that are known because rows were made so."""

from typing import Any

import pandas as pd
import pytest

from bertprune.evidence import regimes
from bertprune.evidence.claims import BY_KEY
from bertprune.evidence.claims.ledger import of_paper
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.regimes.effects import AT_EACH
from bertprune.protocol.rows import Rows

from ...made_up import probed, study

LOW, MIDDLE, HIGH = 0.3, 0.6, 0.9
"""The sparsities of `study`, in which all arms fall alike."""


def shifted(found: Rows, arm: str, by: dict[float, float], noise: float = 0.0) -> Measured:
    """Accuracies of an arm so much higher at some sparsities, with a noise of each seed."""
    lines = (found.arm == arm) & (found.metric == "accuracy") & found.sparsity.isin(list(by))
    change = found.sparsity.map(by).fillna(0.0) + noise * (found.seed - found.seed.mean())
    return Measured.of(found.assign(value=found.value + change * lines))


def said(m: Measured, effect: str) -> str:
    return regimes.detected(AT_EACH[effect].at_each(m)).replace("\N{NO-BREAK SPACE}", " ")


def test_an_effect_is_detected_where_it_is() -> None:
    m = shifted(study(seeds=4), "information_deletion", {MIDDLE: 0.0, HIGH: 0.3}, noise=0.001)
    assert said(m, "information_deletion") == "higher at 90 %; not detected at 30 %, 60 %"
    worse = shifted(study(seeds=4), "random_pruning", {MIDDLE: -0.2, HIGH: -0.3}, noise=0.001)
    assert said(worse, "random_pruning") == "lower at 60 %, 90 %; not detected at 30 %"


def test_what_nobody_measured_was_not_tested() -> None:
    found = study(seeds=2)
    m = Measured.of(found[found.arm != "random_pruning"])
    assert said(m, "random_pruning") == "not tested"
    lines: Any = regimes.ranges(m).table.detected
    assert lines[f"{AT_EACH['random_pruning'].says} (points)"] == "not tested"
    assert (regimes.table(m).columns == lines.index).all()


def test_seeds_that_scatter_detect_nothing() -> None:
    m = shifted(study(seeds=3), "information_deletion", {HIGH: 0.1}, noise=0.5)
    assert "not detected" in said(m, "information_deletion")
    assert "higher" not in said(m, "information_deletion")


def test_one_seed_without_examples_detects_nothing() -> None:
    m = Measured.of(study(seeds=1))
    assert said(m, "loss").startswith("not detected at 30 %")
    assert regimes.bounds(AT_EACH["loss"].at_each(m))[["low", "high"]].isna().all(axis=None)


def test_bounds_are_those_of_verdicts() -> None:
    """Of the claim's last sparsity, with the variance that all of the low range have."""
    m = Measured.of(study(seeds=3))
    finding = BY_KEY["C1"].of(m)
    found: Any = regimes.bounds(AT_EACH["prune_pretrain"].at_each(m)).set_index("sparsity").loc[LOW]
    assert (found.low, found.high) == pytest.approx((finding.lower, finding.upper))
    paper = regimes.bounds(AT_EACH["prune_pretrain"].at_each(of_paper())).set_index("sparsity")
    assert paper.value[0.6] == pytest.approx(-1.62)


def test_studies_are_compared_as_far_as_they_can_be() -> None:
    asked = probed({"all": 9.0}, sparsity=0.0)
    one, two = (study(seeds=seeds) for seeds in (2, 3))
    two = two[two.arm != "random_pruning"]
    found = {"one": one, "two": two}
    table = regimes.compared(
        {name: Measured.of(pd.concat([of, asked])) for name, of in found.items()}
    ).table
    assert list(table.loc["bits recalled, dense"]) == ["9", "9"]
    assert list(table.loc["seeds"]) == ["2", "3"]
    of_random = table.loc[AT_EACH["random_pruning"].says]
    assert of_random.two == "not tested" and of_random.one != "not tested"
