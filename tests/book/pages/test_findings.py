"""The sentences that chapters begin with: of published rows, and of rows that are made up."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from bertprune.book import side_by_side
from bertprune.book.pages import findings
from bertprune.book.side_by_side import Shown
from bertprune.evidence.claims import BY_KEY
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN
from bertprune.evidence.claims.ledger import of_paper, published
from bertprune.evidence.claims.measured import Measured
from bertprune.experiments import studies
from bertprune.protocol.rows import PRETRAINING

from ...made_up import study

ANSWERS = [
    findings.results,
    findings.information,
    findings.timing,
    findings.weights,
    findings.saving,
    findings.by_verdict,
    findings.embeddings,
    findings.agreement,
    lambda of: findings.of_claims(of, "C5", "C8", "C13"),
]


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], Measured]], None]:
    """Has studies measure what a function gives by their names: to plan one takes seconds."""

    def give(of: Callable[[str], Measured]) -> None:
        monkeypatch.setattr(side_by_side, "measured", lambda study, _: of(study.name))

    return give


@pytest.mark.parametrize("answer", ANSWERS)
def test_each_published_study_has_its_answer_english_first(
    answer: Callable[[Iterable[Shown]], Any], measures: Any
) -> None:
    measures(published)
    shown = answer([Shown(studies.load(name)) for name in ("lab", "english")]).data
    assert re.findall(r"^\*\*(.*?)\.\*\*", shown, re.MULTILINE)[:2] == [
        "English",
        "The lab language",
    ]
    assert not re.search(r"\bnan\b|None|\binf\b|[{}]", shown)


@pytest.mark.parametrize("key", ["C1", "C2", "C3", "C7", "C11"])
def test_a_verdict_has_words_of_its_own(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {}
    for verdict in (HOLDS, FAILS, OPEN):
        finding = BY_KEY[key].of(of_paper())._replace(verdict=verdict)
        monkeypatch.setattr(findings.Source, "finding", lambda *_, found=finding: found)
        source = findings.Source("the paper", of_paper())
        said[verdict] = findings._verdict(source, key, "low", "numbers.")
    assert len(set(said.values())) == 3
    assert [verdict for verdict in said if "undecided" in said[verdict]] == [OPEN]


def test_what_is_not_detected_is_never_none(measures: Any) -> None:
    """Where pre-training is worth nothing no loss can be told, however many seeds there are."""
    found = study(seeds=6)
    at_random = 5.0 * (found.arm == "random_pruning")
    flat = found.assign(value=found.value.where(found.task != PRETRAINING, 2 + at_random))
    measures(lambda _: Measured.of(flat))
    for answer in (findings.results, findings.timing, findings.weights):
        shown = answer([Shown(studies.load("lab"))]).data
        assert "undecided" in shown
        assert not re.search(r"\bno (harm|effect|loss|gain)|nothing|as good", shown)


def test_where_pruning_first_costs_something(measures: Any) -> None:
    """All of four seeds lose at 60 %, and one of them only at 30 %."""
    found = study(seeds=4)
    pruned = (found.arm == "prune_pretrain") & (found.metric == "accuracy")
    change = found.sparsity.map({0.3: 0.0, 0.6: -0.1, 0.9: -0.2}).fillna(0.0)
    one = 0.05 * (found.seed - 1.5) * (found.sparsity == 0.3)
    fall = found.sparsity.map({0.3: 0.018, 0.6: 0.072, 0.9: 0.162}).fillna(0.0)
    measures(
        lambda _: Measured.of(found.assign(value=found.value + (change + one + fall) * pruned))
    )
    shown = findings.results([Shown(studies.load("lab"))]).data.replace("\N{NO-BREAK SPACE}", " ")
    assert "A loss of accuracy is first detected at 60 %" in shown and "a gain" not in shown


def test_what_was_not_tested_says_why(measures: Any) -> None:
    found = study(seeds=2)
    measures(lambda _: Measured.of(found[found.arm == "prune_pretrain"]))
    shown = findings.weights([Shown(studies.load("lab"))]).data
    assert "C11 was not tested: no rows of accuracy of models pruned at random" in shown
    assert "Bytes on disk were not counted" in findings.saving([Shown(studies.load("lab"))]).data


@pytest.mark.parametrize(
    ("levels", "words"), [([], "–"), ([0.5], "50 %"), ([0.7, 0.8, 0.9], "70 to 90 %")]
)
def test_sparsities_in_words(levels: list[float], words: str) -> None:
    assert findings.over(levels).replace("\N{NO-BREAK SPACE}", " ") == words
