"""Pieces that can be moved: what they show, that they need no network, and what stands in their
place."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import vl_convert

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.book.drawing.picture import Sketch
from bertprune.book.interactive.forest import effects, forest, movable_forest
from bertprune.book.interactive.piece import Piece, bundle
from bertprune.book.interactive.sparsity_slider import costs, costs_beside, sparsity_slider
from bertprune.evidence.claims.claim import NO_EFFECT
from bertprune.evidence.claims.ledger import Ledger, ledger, of_paper
from bertprune.evidence.claims.measured import Measured
from bertprune.protocol.rows import where

from ...made_up import probed, study

PAPER = of_paper()
LEDGERS = {"paper": ledger(PAPER)}
STUDIES = {"paper": PAPER, "other": Measured.of(study(seeds=3), PAPER.facts)}

SKETCHES = [forest(LEDGERS), costs_beside(STUDIES)]
PIECES: dict[str, Callable[[], Piece]] = {
    "forest": lambda: movable_forest(LEDGERS, "Made by us"),
    "slider": lambda: sparsity_slider(STUDIES, "Made by us"),
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


def test_the_script_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "cache_folder", lambda: tmp_path)
    bundle.cache_clear()
    script = bundle()
    (kept,) = tmp_path.iterdir()
    kept.write_text("kept")
    bundle.cache_clear()
    assert "vegaEmbed" in script and "kept" in bundle()
    bundle.cache_clear()
