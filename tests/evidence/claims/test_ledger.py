"""The ledger: verdicts follow from rows, and turn when the rows do."""

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bertprune.base.shown import Prose
from bertprune.base.words import SPACE
from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import baselines, gathering, paper
from bertprune.evidence.claims import CLAIMS, ON_ACCURACY, ledger
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN, SIGNS, UNTESTED
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.paper.beside_ours import numbers
from bertprune.experiments import studies
from bertprune.protocol import rows
from bertprune.protocol.arms import PRUNE_PRETRAIN

from .altered import MANY, entries, is_accuracy, papers, several, with_change, without

TOLD_BY_TABLES = {"C1", "C4", "C11", "C14"}
UNTOLD_BY_TABLES = {"C2", "C3", "C5", "C7", "C9", "C13"}
"""Where the dev sets are too small for one number each, or the tables lack a part."""
BY_FIGURES = ["C6", "C8", "C10", "C12"]


def test_every_claim_is_in_the_ledger_once() -> None:
    assert [claim.key for claim in CLAIMS] == [f"C{n}" for n in range(1, 15)]


def test_what_the_papers_numbers_can_decide() -> None:
    found = papers()
    assert {key for key, of in found.items() if of.verdict == HOLDS} == TOLD_BY_TABLES
    assert FAILS not in {of.verdict for of in found.values()}
    for key in UNTOLD_BY_TABLES:
        assert found[key].verdict == OPEN and found[key].reason.startswith("whether ")


def test_what_the_papers_tables_lack_is_not_tested() -> None:
    found = papers()
    for key in BY_FIGURES:
        assert found[key].verdict == UNTESTED
        assert found[key].reason.startswith("no rows of")
        assert found[key].ours == "not measured" and math.isnan(found[key].lower)
        assert "its tables have no number" in found[key].paper
    for key, part in (("C9", "high magnitudes"), ("C13", "at least 90 % of")):
        assert found[key].reason.startswith(f"whether {part}")


def test_the_papers_statistic_is_computed_as_ours_is() -> None:
    one = papers()["C4"]
    assert one.paper == f"{one.ours} ({one.n}): by this rule holds"


def test_rows_that_lack_everything_tell_nothing() -> None:
    found = entries(paper.rows().iloc[:0])
    assert {entry.verdict for key, entry in found.items() if key != "C14"} == {UNTESTED}
    assert all(entry.reason for entry in found.values())


@pytest.mark.parametrize(
    ("arm", "keys"),
    [
        ("information_deletion", {"C2", "C3", "C4", "C5"}),
        ("prune_after_finetune", {"C7"}),
        ("random_pruning", {"C11"}),
    ],
)
def test_a_missing_arm_is_named_and_leaves_the_others(arm: str, keys: set[str]) -> None:
    before, after = papers(), entries(without(paper.rows(), arm))
    for key, one in after.items():
        if key in keys:
            assert one.verdict == UNTESTED and one.reason.startswith("no rows of")
        else:
            assert one == before[key] or key in BY_FIGURES


def test_models_that_learned_nothing_bear_nothing_out() -> None:
    found = paper.rows()
    found.loc[(found.split == "dev") & (found.metric == "accuracy"), "value"] = 0.5
    got = entries(several(3, found))
    assert {got[key].verdict for key in ("C1", "C2", "C3", "C4", "C7")} == {OPEN}
    assert HOLDS not in {got[key].verdict for key in ("C5", "C11")}


@pytest.mark.parametrize("name", ["lab", "english", "glue-tiny"])
def test_published_studies_go_through(name: str) -> None:
    found = ledger.ledger(ledger.published(name))
    assert len(found) == len(CLAIMS)
    assert not re.search(r"\b(nan|inf)\b", ledger.text(found))


def test_the_readers_own_runs_do_not_count(tmp_path: Path, monkeypatch: Any) -> None:
    found = paper.rows()
    own = found[is_accuracy(found, "random_pruning")].assign(value=1.0, epoch=99, own=True)
    both = pd.concat([found.assign(own=False), own], ignore_index=True)
    monkeypatch.setattr(gathering, "is_shown_as_published", lambda study: False)
    monkeypatch.setattr(gathering, "masks_between_seeds", lambda study: rows.join([]))
    monkeypatch.setattr(baselines, "of_study", lambda study: paper.facts_of_tasks())
    monkeypatch.setattr(ledger, "answers_of", lambda study: {})
    measured = ledger.measured(studies.load("lab"), both)
    got = {entry.key: entry for entry in ledger.ledger(measured)}
    assert {key: of._replace(says="") for key, of in got.items()} == {
        key: of._replace(says="") for key, of in papers().items()
    }
    scale = "The lab language (a BERT of 2 layers × 64): "
    assert got["C1"].says == scale + papers()["C1"].says and got["C8"].says == ""
    for name, table in numbers(found).items():
        for others in (both, measured.rows):
            pd.testing.assert_frame_equal(numbers(others)[name], table)


def test_claims_on_some_tasks_alone() -> None:
    found = Measured.of(several(3), MANY)
    shown = ledger.on_tasks(found, ["mnli", "qqp"])
    assert isinstance(shown, Prose)
    table = shown.table
    assert list(table.index) == [claim.key for claim in ON_ACCURACY]
    assert table.columns.tolist() == ["all tasks", "mnli, qqp alone", "numbers of mnli, qqp alone"]
    assert "each a mean over 2 tasks" in table.iloc[:, 2]["C7"]
    # Only CoLA loses, so without it nothing does.
    of_cola = with_change(PRUNE_PRETRAIN, -0.3, lambda of: (of.task == "cola") & (of.sparsity > 0))
    shown = ledger.on_tasks(Measured.of(several(3, of_cola), MANY), ["mnli", "qqp"])
    assert isinstance(shown, Prose)
    assert list(shown.table.loc["C1"])[:2] == [f"✗{SPACE}refuted", f"✓{SPACE}holds"]
    for tasks, why in (([], "On no task"), (list(PAPER_TASKS), "On all tasks")):
        assert str(ledger.on_tasks(found, tasks)).startswith(why)


def test_halves_of_the_seeds_are_tested_alone() -> None:
    found = several(8)
    late = is_accuracy(found, PRUNE_PRETRAIN) & (found.seed >= 4) & (found.sparsity > 0)
    found.loc[late, "value"] -= 0.3
    shown = ledger.on_halves(Measured.of(found, MANY))
    assert isinstance(shown, Prose)
    table, halves = shown.table, "the halves (1 BERT in both)"
    assert table.columns.tolist() == ["all seeds", "seeds 0 to 3", "seeds 4 to 7", halves]
    assert list(table.loc["C1"]) == [
        f"?{SPACE}undecided",
        f"✓{SPACE}holds",
        f"✗{SPACE}refuted",
        "contradict each other",
    ]
    assert list(table.loc[["C14", "C5"], halves]) == ["agree", "not comparable"]
    of_half = {
        entry.key: entry for entry in ledger.ledger(Measured.of(found[found.seed < 4], MANY))
    }
    for key, verdict in table["seeds 0 to 3"].items():
        assert verdict.endswith(of_half[str(key)].verdict)
    assert str(ledger.on_halves(Measured.of(several(3), MANY))).startswith("It takes 4 seeds")


def test_an_open_claim_says_what_could_have_been_told() -> None:
    found = Measured.of(several(3, noise=0.02), MANY)
    opened = [entry for entry in ledger.ledger(found) if entry.verdict == OPEN]
    told = {entry.key: " ".join(ledger.text([entry]).split()) for entry in opened}
    for key in ("C1", "C2", "C7"):
        assert "the smallest effect detectable with 80 % power: " in told[key]


def test_what_is_refuted_comes_first() -> None:
    worse = with_change(PRUNE_PRETRAIN, -0.3, lambda of: of.sparsity.isin([0.1, 0.2]))
    found = ledger.ledger(Measured.of(several(3, worse), MANY))
    assert ledger.text(found).startswith("C1  REFUTED")
    page = found._repr_html_()
    assert page.index("C1. ") < page.index("C4. ") < page.index("C10. ")


def test_the_table_has_every_field_of_every_entry() -> None:
    table = ledger.table(papers().values())
    assert list(table.key) == list(papers())
    assert set(table.verdict) <= set(SIGNS)
    assert table.rule.str.len().min() > 20
    assert ledger.table([]).columns.tolist() == table.columns.tolist()


def test_the_text_says_all_and_is_not_too_wide() -> None:
    text = ledger.text(papers().values())
    assert max(len(line) for line in text.splitlines()) <= 100
    assert text.count("HOLDS") == len(TOLD_BY_TABLES)
    assert text.count("UNDECIDED") == len(UNTOLD_BY_TABLES)
    assert text.count("NOT TESTED") == len(BY_FIGURES)
