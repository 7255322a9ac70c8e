"""Pieces that can be moved: what they show, that they need no network, and what stands in their
place."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert

from bertprune.analysis.fact_answers import FactAnswers
from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.book.drawing.picture import Sketch
from bertprune.book.interactive.fact_explorer import (
    explored,
    fact_explorer,
    facts_in_words,
    facts_kept,
)
from bertprune.book.interactive.forest import effects, forest, movable_forest
from bertprune.book.interactive.piece import Piece, bundle
from bertprune.book.interactive.sparsity_slider import costs, costs_beside, sparsity_slider
from bertprune.book.side_by_side import Shown
from bertprune.evidence.claims.claim import NO_EFFECT
from bertprune.evidence.claims.ledger import Ledger, ledger, of_paper
from bertprune.evidence.claims.measured import Measured
from bertprune.experiments import studies
from bertprune.lab.language import language
from bertprune.lab.probe import clozes
from bertprune.protocol.rows import where

from ...made_up import probed, study

PAPER = of_paper()
LEDGERS = {"paper": ledger(PAPER)}
STUDIES = {"paper": PAPER, "other": Measured.of(study(seeds=3), PAPER.facts)}

FACTS = clozes(language())["facts"][:64]


def answered(berts: int = 3) -> FactAnswers:
    """Facts that each BERT gives up to a sparsity of its own, and guesses after it."""
    draws = np.random.default_rng(0)
    true = np.array([fact.true for fact in FACTS])
    until = draws.integers(2, 10, (berts, 1, len(FACTS)))
    guess = draws.integers(0, 16, (berts, 10, len(FACTS)))
    given = np.where(np.arange(10)[:, None] < until, true, guess)
    return FactAnswers(FACTS, given, np.repeat(np.arange(16), 4))


ASKED = answered()
RECOVERED = where(probed({"facts": 50.0}, sparsity=0.5), metric="facts_recall")
SKETCHES = [forest(LEDGERS), costs_beside(STUDIES), facts_kept(ASKED, RECOVERED)]
PIECES: dict[str, Callable[[], Piece]] = {
    "forest": lambda: movable_forest(LEDGERS, "Made by us"),
    "slider": lambda: sparsity_slider(STUDIES, "Made by us"),
    "facts": lambda: fact_explorer(ASKED, RECOVERED, "Made by us"),
}


@pytest.fixture(params=PIECES)
def piece(request: pytest.FixtureRequest) -> Piece:
    return PIECES[request.param]()


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda sketch: sketch.name)
def test_the_picture_in_its_place_has_words_and_numbers(sketch: Sketch) -> None:
    assert 40 < len(sketch.alt) <= 300
    numbers = "".join(table.to_string() for table in sketch.numbers.values())
    assert numbers and "nan" not in numbers + sketch.alt
    drawn = sketch.drawn("Made by us")
    assert "Made by us" in drawn.svg
    assert sketch.data.groupby("panel").ngroups == len(sketch.panels)


def test_effects_have_the_margins_of_their_rules() -> None:
    found = effects(LEDGERS).set_index("key")
    entries = {entry.key: entry for entry in LEDGERS["paper"]}
    # What pre-training is worth in the paper's table 1 is 21.5 points.
    assert found.margin["C1"] == pytest.approx(100 * NO_EFFECT * 0.2148)
    assert found.margin["C7"] == pytest.approx(found.margin["C1"])
    assert found.margin["C9"] == 4.5
    for key, effect in found.iterrows():
        assert effect.low <= effect.value <= effect.high
        assert effect.verdict == entries[str(key)].verdict
    assert not {"C13", "C14"} & set(found.index)


def test_without_any_effect_there_is_no_forest() -> None:
    with pytest.raises(UserError, match="no forest plot"):
        forest({"paper": Ledger()})


def test_costs_are_those_of_table_1() -> None:
    found = where(costs({"paper": PAPER}), sparsity=0.5).set_index("measure")
    assert found.value["accuracy"] == pytest.approx(-1.0, abs=0.01)
    assert found.low["accuracy"] < -1.0 < found.high["accuracy"]
    assert found.value["loss"] == pytest.approx(0.21, abs=0.001)
    assert "bits" not in found.index


def test_bits_are_there_where_a_model_was_asked() -> None:
    rows = probed({"all": 50.0}, sparsity=0.5)
    found = costs({"lab": Measured.of(rows, PAPER.facts)})
    assert where(found, measure="bits").value.tolist() == [50.0]


def test_a_piece_is_whole_in_itself(piece: Piece) -> None:
    page = ElementTree.fromstring(piece._repr_html_())
    assert page.find("figure/picture/img") is not None
    (played,) = page.findall("div[@class='played']")
    # Without JavaScript the picture stands alone.
    assert played.get("hidden")
    labels = played.findall("p/label")
    assert len(labels) == len(piece.controls) and all(label.text for label in labels)
    for chart in played.findall("div[@class='chart']"):
        spec = chart.get("data-spec") or ""
        assert "http" not in spec and "NaN" not in spec
        assert {one["name"] for one in json.loads(spec)["params"]} == {
            control.signal for control in piece.controls
        }
    # Who does not see charts is told what they say.
    assert played.find("p[@aria-live]") is not None
    assert any(chart.to_dict().get("description") for chart in piece.charts)
    (script,) = page.findall("script")
    assert (script.get("src") or "").startswith("data:text/javascript;base64,")


def test_charts_are_drawn_with_what_the_reader_chose(piece: Piece) -> None:
    drawn = []
    for value in (0, 20):
        for chart in piece.charts:
            spec = chart.to_dict()
            for parameter in spec["params"]:
                parameter["value"] = value
            drawn.append(vl_convert.vegalite_to_svg(spec | {"width": 400}))
    half = len(drawn) // 2
    assert drawn[:half] != drawn[half:]
    assert all("<path" in svg or "<text" in svg for svg in drawn)


def test_each_study_is_told_which_effects_are_larger_than_the_margin() -> None:
    spec = movable_forest(LEDGERS, "Made by us").charts[-1].to_dict()
    said = {}
    for margin in (0, 5):
        spec["params"][0]["value"] = margin
        drawn = ElementTree.fromstring(vl_convert.vegalite_to_svg(spec | {"width": 400}))
        (said[margin],) = (words for words in drawn.itertext() if words.startswith("paper: "))
    assert "larger" in said[0] and "smaller" not in said[0]
    assert "smaller C1, C2, C3, C4, C7, C11" in said[5] and "larger" not in said[5]


def test_the_script_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "cache_folder", lambda: tmp_path)
    bundle.cache_clear()
    script = bundle()
    (kept,) = tmp_path.iterdir()
    kept.write_text("kept")
    bundle.cache_clear()
    assert "vegaEmbed" in script and "kept" in bundle()
    bundle.cache_clear()


@pytest.mark.parametrize(("place", "sparsity"), [(1, 0), (30, 50), (64, 90)])
def test_the_chosen_fact_is_shown_with_what_berts_answer(place: int, sparsity: int) -> None:
    # By kind, then by how often the text names the person, as here the people are.
    number = 4 * ((place - 1) % 16) + (place - 1) // 16
    fact, given = FACTS[number], ASKED.given[:, sparsity // 10, number]
    words: list[str] = []
    for chart in fact_explorer(ASKED, RECOVERED, "Made by us").charts[1:]:
        spec = chart.to_dict()
        for parameter in spec["params"]:
            parameter["value"] = {"fact": place, "sparsity": sparsity}[parameter["name"]]
        words += ElementTree.fromstring(
            vl_convert.vegalite_to_svg(spec | {"width": 400})
        ).itertext()
    sentence = fact.questions[0].replace("[MASK] .", "___.")
    assert f"{sentence} Right: {fact.answers[fact.true]}" in words
    expected = [
        f"{word}{', right' * (choice == fact.true)}: {(given == choice).sum()}"
        for choice, word in enumerate(fact.answers)
        if choice in given
    ]
    assert sorted(word for word in words if re.search(r": \d$", word)) == sorted(expected)


def test_cells_of_the_heat_map_are_means_of_all_answers() -> None:
    _, heat_map = facts_kept(ASKED, RECOVERED).panels
    by_sparsity = heat_map.points.groupby("sparsity").value.mean() / 100
    assert by_sparsity.to_numpy() == pytest.approx(ASKED.is_right.mean(axis=(0, 2)))
    assert len(heat_map.points) == 4 * 4 * 10


def test_berts_that_lose_the_same_facts_are_told_from_those_that_do_not() -> None:
    one = answered(1)
    twice = FactAnswers(one.facts, np.repeat(one.given, 2, axis=0), one.mentions)
    assert "correlation of +1.00" in facts_in_words(twice, RECOVERED)
    assert re.search(r"correlation of .0\.0\d", facts_in_words(answered(8), RECOVERED))
    alone = facts_in_words(one, RECOVERED[:0])
    assert (
        alone.startswith("Of 64 facts, 1 BERT")
        and "correlation" not in alone
        and "recovery" not in alone
    )


def test_a_study_that_pretrains_its_own_has_no_bert_to_ask() -> None:
    with pytest.raises(UserError, match="lab-another begins with no BERT"):
        explored(Shown(studies.load("lab-another")))
