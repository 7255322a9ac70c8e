"""Studies side by side: one figure where that can be, else one below the other."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from bertprune.base.errors import UserError
from bertprune.book import figures
from bertprune.book.drawing.panel import Panel
from bertprune.book.drawing.picture import Picture, Sketch
from bertprune.book.drawing.style import line_handle
from bertprune.book.side_by_side import Shown, side_by_side
from bertprune.experiments import studies
from bertprune.experiments.runs import Run
from bertprune.protocol.notebook_parameters import CONTRACTS, parse

BOTH = side_by_side({"studies": ["ci", "english"], "changes": []})
PROJECT = Path(__file__).parents[2]


def sketch(of: Shown, panels: int = 1) -> Sketch:
    """A figure of nothing in particular."""
    points = pd.DataFrame({"sparsity": [0.0, 0.5], "value": [1.0, 2.0], "seed": 0})
    panel = Panel("value", points, lambda axes, panel: None)
    said = f"All say this. Of {of.study.name} alone."
    return Sketch("some", [panel] * panels, "What it shows.", said, handles=[line_handle("a line")])


def test_those_of_real_text_come_first_and_the_book_is_of_the_first_named() -> None:
    assert [one.study.name for one in BOTH.studies] == ["english", "ci"]
    assert BOTH.book_of.name == "ci"
    assert [one.study.name for one in BOTH.of_lab.studies] == ["ci"]


def test_small_figures_become_one() -> None:
    made = BOTH.each(lambda of: sketch(of, panels=2))
    assert isinstance(made, Picture)
    titles = [panel.title for panel in made.sketch.panels]
    assert titles == [*2 * ["English: value"], *2 * ["Continuous integration: value"]]
    assert len(made.sketch.handles) == 1
    assert made.sketch.caption == (
        "All say this. English: Of english alone. Continuous integration: Of ci alone."
    )
    # Each study's maker begins a line.
    assert "<br/>Made by study ci" in made._repr_html_()
    # A point of the study that the book is of, which its figure then has.
    point, book = made.own_command.splitlines()
    assert "--study ci" in point and book == "bertprune book ci"
    assert not replace(BOTH, studies=BOTH.studies[:1]).drawn(made.sketch).own_command


def test_the_papers_panel_stands_once() -> None:
    def of_both(of: Shown) -> Sketch:
        own = sketch(of)
        return replace(own, panels=[replace(own.panels[0], source="paper"), *own.panels])

    titles = [panel.title for panel in BOTH.each(of_both).sketch.panels]
    assert titles == ["English: value", "Continuous integration: value", "value"]


@pytest.mark.parametrize("panels", [{"ci": 3, "english": 3}, {"ci": 2, "english": 1}])
def test_others_stand_below_the_titles_of_their_studies(panels: dict[str, int]) -> None:
    shown = BOTH.each(lambda of: sketch(of, panels[of.study.name]))._repr_html_()
    heads = re.findall(r'<h3 class="study">(.*?)</h3>', shown)
    assert heads == ["English", "Continuous integration"]
    assert shown.count("<figure") == 2


def test_what_one_study_lacks_does_not_take_the_others_away() -> None:
    def table(of: Shown) -> pd.DataFrame:
        if of.study.name == "ci":
            raise UserError("no run has it")
        return pd.DataFrame({"here": [1]})

    shown = BOTH.each(table)._repr_html_()
    assert "<table" in shown and "Missing: no run has it" in shown
    # Of one study there is nothing to tell apart.
    assert isinstance(BOTH.of_lab.each(table), figures.Missing)
    english = side_by_side({"studies": ["english"], "changes": []})
    assert "lab language" in english.of_lab.each(table).why


def test_a_caution_stands_with_its_study() -> None:
    shown = BOTH.studies[0]
    assert shown.study.caution in shown._repr_html_()
    assert "<details>" in shown._repr_html_()


def test_the_way_to_a_point_of_ones_own_is_four_commands() -> None:
    page = nbformat.read(PROJECT / "notebooks" / "again.ipynb", as_version=4)
    commands = re.findall(r"```sh\n(.*?)```", page.cells[0].source, re.DOTALL)[0].splitlines()
    assert len(commands) == 4 and commands[0] == "make book"
    lab = studies.load("lab")
    # That of figures, which has been held against contracts and studies.
    assert commands[2] == figures.own_point(lab, "finetune")
    assert commands[3] == lab.live_part().command("book")


@pytest.mark.parametrize("name", ["ci", "english"])
def test_the_command_on_the_page_of_a_run_gives_that_run(name: str) -> None:
    study = studies.load(name)
    for run in study.plan()[::9]:
        _, _, notebook, _, named, *settings = shlex.split(figures.same_point(study, run))
        values = {
            key: studies.parse_value(value)
            for key, value in zip(settings[1::3], settings[2::3], strict=True)
        }
        contract = CONTRACTS[notebook]
        assert named == name
        assert Run.of(parse(contract, study.values_for(contract, values))) == run
