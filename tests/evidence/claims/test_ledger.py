"""The ledger: verdicts follow from rows, and turn when the rows do."""

import math

import pandas as pd
import pytest

from bertprune.base.shown import Prose
from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper
from bertprune.evidence.claims import CLAIMS, ON_ACCURACY, ledger
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN
from bertprune.evidence.paper.beside_ours import numbers
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING

from .altered import entries, entry, is_accuracy, papers, several, with_change

BY_TABLES = ["C1", "C2", "C3", "C4", "C5", "C7", "C9", "C11", "C13", "C14"]
BY_FIGURES = ["C6", "C8", "C10", "C12"]


def test_every_claim_is_in_the_ledger_once() -> None:
    assert [claim.key for claim in CLAIMS] == [f"C{n}" for n in range(1, 15)]


def test_the_papers_numbers_bear_its_claims_out() -> None:
    found = papers()
    assert {key: found[key].verdict for key in BY_TABLES} == dict.fromkeys(BY_TABLES, HOLDS)


def test_three_seeds_of_these_numbers_tell_the_same() -> None:
    found = entries(several(3))
    told = [key for key in BY_TABLES if key != "C9"]
    assert {key: found[key].verdict for key in told} == dict.fromkeys(told, HOLDS)


def test_what_the_papers_tables_lack_cannot_be_told() -> None:
    found = papers()
    for key in BY_FIGURES:
        assert found[key].verdict == OPEN
        assert found[key].reason.startswith("no rows of")
        assert found[key].ours == "missing" and math.isnan(found[key].lower)
        assert "its tables have no number" in found[key].paper
    assert found["C9"].reason == "not tested: by starting position"
    assert found["C13"].reason == "not tested: near normal"


def test_the_papers_statistic_is_computed_as_ours_is() -> None:
    found = papers()
    assert found["C7"].paper == f"{found['C7'].ours} ({found['C7'].n})"


def test_entries_say_what_was_sampled() -> None:
    assert entry("C7", paper.rows()).n == "n = 5 tasks, one seed"
    assert entry("C7", several(3)).n == "n = 3 seeds, each a mean over 5 tasks"


def test_rows_that_lack_everything_tell_nothing() -> None:
    found = entries(paper.rows().iloc[:0])
    assert {entry.verdict for key, entry in found.items() if key != "C14"} == {OPEN}
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
    found = paper.rows()
    before, after = papers(), entries(found[found.arm != arm])
    for key, one in after.items():
        if key in keys:
            assert one.verdict == OPEN and one.reason.startswith("no rows of")
        else:
            assert one == before[key] or key in BY_FIGURES


def test_two_tasks_and_one_or_two_seeds_tell_nothing() -> None:
    keys = ["C1", "C2", "C3", "C4", "C5", "C7", "C9", "C11"]
    for seeds in (1, 2):
        found = several(seeds)
        few = entries(found[found.task.isin(["mnli", "cola", PRETRAINING])])
        for key in keys:
            assert few[key].verdict == OPEN, key
            assert few[key].reason.startswith(("fewer than 3 seeds and fewer", "2 seeds are too"))


def test_models_that_learned_nothing_bear_nothing_out() -> None:
    found = paper.rows()
    found.loc[(found.split == "dev") & (found.metric == "accuracy"), "value"] = 0.5
    got = entries(found)
    for key in ("C1", "C7"):
        assert got[key].verdict == OPEN and "learned nothing" in got[key].reason
    assert HOLDS not in {got[key].verdict for key in ("C2", "C3", "C4", "C5", "C11")}


def test_the_readers_own_runs_do_not_count() -> None:
    found = paper.rows()
    own = found[is_accuracy(found, "random_pruning")].assign(value=1.0, epoch=99, own=True)
    both = pd.concat([found.assign(own=False), own], ignore_index=True)
    assert entries(both) == papers()
    tables = numbers(both), numbers(found)
    for name in tables[0]:
        pd.testing.assert_frame_equal(tables[0][name], tables[1][name])


def test_claims_on_some_tasks_alone() -> None:
    found = several(3)
    shown = ledger.on_tasks(found, ["mnli", "qqp"])
    assert isinstance(shown, Prose)
    table = shown.table
    assert list(table.index) == [claim.key for claim in ON_ACCURACY]
    assert table.columns.tolist() == ["all tasks", "mnli, qqp alone", "numbers of mnli, qqp alone"]
    assert "n = 3 seeds, each a mean over 2 tasks" in table.iloc[:, 2]["C7"]
    # Only CoLA loses, so without it nothing does.
    of_cola = with_change(PRUNE_PRETRAIN, -0.3, lambda of: (of.task == "cola") & (of.sparsity > 0))
    shown = ledger.on_tasks(several(3, of_cola), ["mnli", "qqp"])
    assert isinstance(shown, Prose)
    assert list(shown.table.loc["C1"])[:2] == ["✗ does not hold", "✓ holds"]
    for tasks, why in (([], "On no task"), (list(PAPER_TASKS), "On all tasks")):
        assert str(ledger.on_tasks(found, tasks)).startswith(why)


def test_the_table_has_every_field_of_every_entry() -> None:
    table = ledger.table(papers().values())
    assert list(table.key) == list(papers())
    assert set(table.verdict) <= {HOLDS, FAILS, OPEN}
    assert table.rule.str.len().min() > 20
    assert ledger.table([]).columns.tolist() == table.columns.tolist()


def test_the_text_says_all_and_is_not_too_wide() -> None:
    text = ledger.text(papers().values())
    assert max(len(line) for line in text.splitlines()) <= 100
    assert text.count("HOLDS") == len(BY_TABLES)
    assert text.count("CANNOT BE TOLD") == len(BY_FIGURES)
