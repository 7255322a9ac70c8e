"""Questions have the answers that they say where chance is small, and counts can be repeated."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bertprune.base import paths
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.power import published_rates, rates
from bertprune.evidence.power.designs import PLACE, Design, design
from bertprune.evidence.power.rates import QUESTIONS, Cell, Chunk
from bertprune.evidence.power.replicates import Replicates
from bertprune.evidence.power.worlds import SOME_CLAIMED, TRUTHS, Question

LAB = "lab"


def nearly_certain(study: str) -> Design:
    """A design with a hundredth of its noise, and so many dev examples that all are there."""
    of = design(study)
    points = of.points.assign(std=of.points["std"] / 100, examples=np.nan)
    facts = of.facts.assign(**{"dev examples": 10**12})
    return replace(of, points=points, facts=facts, has_answers=False)


@pytest.fixture(autouse=True)
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few replicates, kept in a cache of the test's own."""
    monkeypatch.setattr(paths, "cache_folder", lambda: tmp_path)
    for name, value in {"CHUNK": 2, "IN_SEARCH": 0.5, "MOST_TRIED": 1}.items():
        monkeypatch.setattr(rates, name, value)
    yield
    rates._replicates.cache_clear()


def named(question: Question) -> str:
    return f"{question.claim} {question.part}"


@pytest.mark.parametrize("question", QUESTIONS, ids=named)
def test_verdicts_are_right_where_chance_is_small(
    question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = nearly_certain(LAB)
    monkeypatch.setattr(rates, "design_of", lambda study: of)
    told = question.right.verdicts
    # Some effect is claimed: none at all may seem to be one by chance, however small that is.
    near = (-0.1, 0.5) if question.right is SOME_CLAIMED else (0.9, 1.1)
    expected = {near[0]: told[0], near[1]: told[2], 2: told[2]}
    if question.part == "slopes differ":
        # The other way round they differ too.
        del expected[near[0]]
    for margins, verdict in expected.items():
        cell = Cell(LAB, question.claim, question.part, margins)
        assert set(rates.count(Chunk(cell, 0))) == {verdict}, margins


@pytest.mark.parametrize("claim", {each.claim: each for each in QUESTIONS})
@pytest.mark.parametrize("study", [LAB, "english"])
def test_a_replicate_is_what_its_rows_would_be(claim: str, study: str) -> None:
    """Its arrays are those of its rows, and what was not drawn would have changed nothing."""
    question = {each.claim: each for each in QUESTIONS}[claim]
    cell, of = Cell(study, claim, question.part, 1), rates.design_of(study)
    if np.isnan(rates.effect(cell)):
        assert study != LAB
        pytest.skip(f"{study} has not the transfer or the masks that this is asked of")
    test, (world, _) = rates._test_of(cell), question.world(of, cell.margins)
    whole = Replicates(of, world.points).draw(np.random.default_rng(0))
    # As text, in which what is not known equals itself.
    found = repr(test(whole))
    assert found == repr(test(Measured.of(whole.rows, whole.facts, whole.answers)))
    read = whole.rows.merge(world.read_by(test)[PLACE])
    assert found == repr(test(Measured.of(read, whole.facts, whole.answers)))


def test_a_chunk_is_the_same_again() -> None:
    chunk = Chunk(Cell("english", "C7", "accuracy", 1), 3)
    assert rates.count(chunk) == rates.count(chunk)


def test_a_count_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(1) as executor:
        once = rates.measure(executor, ["C12"], 4)
        monkeypatch.setattr(rates, "count", None)
        again = rates.measure(executor, ["C12"], 4)
    assert once.equals(again)
    truths = once[once.truth != rates.TOLD]
    assert set(truths.truth) == set(TRUTHS.values())
    assert truths[rates.VERDICTS].sum(axis=1).to_numpy() == pytest.approx(1)
    assert (truths.replicates == 4).all()
    shown = published_rates.readable(once)
    assert len(shown) == once.groupby(["study", "claim", "part"]).ngroups
    assert shown.claim.eq("C12, heads").all()


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({0: 0.01, 1: 0.05, 2: 0.95}, 1.756),
        ({0: 0.01, 1: 0.05, 2: 0.8}, 2),
        ({0: 0.01, 1: 0.05, 2: 0.3}, np.nan),
    ],
)
def test_the_smallest_effect_that_is_told(known: dict[float, float], told: float) -> None:
    assert rates.smallest_told(known) == pytest.approx(told, abs=0.01, nan_ok=True)
