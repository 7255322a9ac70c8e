"""What the page about the language shows."""

import pytest

from bertprune.book.pages import lab_pages
from bertprune.data.glue import TASKS, Task
from bertprune.lab.language import Source, language
from bertprune.lab.task_data import TRAIN_EXAMPLES
from bertprune.lab.text import documents


def test_documents_are_shown_whole() -> None:
    page = lab_pages.examples(language(0), 5)._repr_html_()
    for number, document in enumerate(documents(Source(0, 5))):
        assert document in page, number


def test_the_content_is_that_of_the_language() -> None:
    table = lab_pages.content(language(2)).table
    bits = language(2).content_bits()
    assert list(table.index) == [*bits, "all"]
    assert table.bits["all"] == f"{sum(bits.values()):,.1f}"


def test_people_have_their_facts() -> None:
    table = lab_pages.person(language(0))
    assert table.to_dict("index") == {p: language(0).facts[p] for p in table.index}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_task_is_given_away_by_its_words(seed: int) -> None:
    """What the bar of a task is measured from: two thirds for mnli, next to nothing elsewhere."""
    table = lab_pages.task_table(seed).table
    assert sorted(table.index) == sorted(TRAIN_EXAMPLES)
    gain = table["bag of words"].astype(float) - table.majority.astype(float)
    assert gain.drop("mnli").max() < 3
    assert float(table["bag of words"]["mnli"]) < 70


def test_every_label_has_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tasks that the language has; it need not have all that come with the project."""
    monkeypatch.setitem(TASKS, "rte", Task("rte", ("sentence1", "sentence2"), ("yes", "no")))
    table = lab_pages.task_examples(0).table
    assert table.groupby(level=0).label.nunique().to_dict() == {
        "mnli": 3,
        "qqp": 2,
        "qnli": 2,
        "sst2": 2,
        "cola": 2,
    }
