"""What pages have in double braces: it is there, and its table says what it can."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bertprune.base.words import signed
from bertprune.book import side_by_side
from bertprune.book.pages import computed_prose
from bertprune.book.side_by_side import Shown
from bertprune.evidence.claims import BY_KEY
from bertprune.evidence.claims.ledger import of_paper, published
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.regimes.effects import EFFECTS
from bertprune.experiments import studies
from bertprune.protocol.views import CHAPTERS

from ...made_up import study

PROJECT = Path(__file__).parents[3]


def parts(monkeypatch: pytest.MonkeyPatch, of: Callable[[str], Measured]) -> dict[str, str]:
    monkeypatch.setattr(side_by_side, "measured", lambda study, _: of(study.name))
    return computed_prose.parts([Shown(studies.load(name)) for name in ("lab", "english")])


def cells(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in table.splitlines()]


def test_a_line_has_the_same_of_each_and_bold_is_what_is_detected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heads, _, *lines = cells(parts(monkeypatch, published)["effects"])
    assert heads == ["effect", "The paper", "English", "The lab language"]
    assert len(lines) == len(EFFECTS) - len(computed_prose._LEFT_OUT)
    for line in lines:
        assert len(line) == len(heads)
        for of, cell in zip(heads[1:], line[1:], strict=True):
            name, _, cell = cell.partition("</span> ")
            assert name == f'<span class="of">{of}:'
            bounds = [float(of.replace("−", "-")) for of in re.findall(r"[+−]\d+\.\d+", cell)[1:]]
            # The paper's loss is one number, and nothing says how it might have come out.
            excludes_zero = bool(bounds) and bounds[0] * bounds[1] > 0
            assert cell.startswith("**") == excludes_zero, cell


def test_what_a_study_lacks_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    found = study(seeds=2)
    of = Measured.of(found[found.arm != "information_deletion"])
    made = parts(monkeypatch, lambda _: of)
    lacking = [line for line in cells(made["effects"]) if line[-1].endswith("not measured")]
    assert [line[0].startswith("Gain of information deletion") for line in lacking].count(True) == 2
    assert not re.search(r"\bnan\b|None|\binf\b", "".join(made.values()))


def test_trust_has_five_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = parts(monkeypatch, published)["trust"].splitlines()
    assert len(lines) == 5
    assert all("English" in line or "paper" in line for line in lines)


def test_pages_name_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = "\n".join(page.read_text("utf-8") for page in (PROJECT / "book").glob("*.md"))
    named = re.findall(r"{{ (\w+) }}", pages)
    assert sorted(named) == sorted(parts(monkeypatch, published))


def test_each_claim_has_its_effect_and_the_verdict_of_each_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = parts(monkeypatch, published)
    lines = made["claims"].splitlines()
    linked = [re.findall(r"\[(C\d+)\]\((\w+)\.ipynb\)", line) for line in lines]
    assert [key for ((key, _),) in linked] == [*computed_prose._CLAIMED]
    for ((key, chapter),), line in zip(linked, lines, strict=True):
        assert chapter in CHAPTERS
        effect = EFFECTS[computed_prose._CLAIMED[key][1]]
        size = effect.size(of_paper(), effect.levels(of_paper()))
        assert size and f"{signed(size.estimate.mean, 2)} in the paper" in line.replace("**", "")
        verdict = computed_prose._IN_A_SENTENCE[BY_KEY[key].of(of_paper()).verdict]
        assert re.search(rf"It {verdict} [^.]*the paper’s own tables", line)
        assert "{" not in line


def test_how_much_of_a_study_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = study(seeds=2)
    some = found[found.sparsity.isin([0.0, 0.6])]
    _, lab = parts(monkeypatch, lambda _: Measured.of(some))["studies"].splitlines()
    assert "Here: 2 of 10 sparsity levels, 2 of 16 seeds, 1 of 8 BERTs." in lab


def test_several_berts_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    found = study(seeds=4)
    of = Measured.of(found.assign(bert=(found.seed % 2).astype(str)))
    line = parts(monkeypatch, lambda _: of)["trust"].splitlines()[2]
    assert "The lab language: 2, and intervals are for others of their kind" in line
