"""The tasks of the lab language: labels that follow from it, and words that keep splits apart."""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection

import pandas as pd
import pytest

from bertprune.data.glue import PAPER_TASKS, TASKS
from bertprune.lab.language import ATTRIBUTES, KINDS, MEASURES, Language, language
from bertprune.lab.task_data import DEV_EXAMPLES, NEEDS, TRAIN_EXAMPLES, task
from bertprune.lab.text import vocabulary

from .grammar import parsed, tells, words_of, written

SEEDS = (0, 1)
SIZES = ["cola", "sst2", "qnli", "qqp", "mnli"]  # the paper's order
ONE = {more: one for one, more in MEASURES.items()} | {one: one for one in MEASURES}

# The label that should be, as TASKS names it, and the words that decide it.
Judged = tuple[str, set[str]]


def _words(pattern: str, text: str) -> tuple[str, ...]:
    found = re.fullmatch(pattern, text)
    assert found, text
    return found.groups()


def _cola(spoken: Language, sentence: str) -> Judged:
    said = dict(parsed(written(sentence)))
    noun = spoken.nouns[said.get("noun", said.get("thing", ""))]
    form = "singular" if "singular" in said else "plural"
    verb = spoken.verbs.get(said[form]) or spoken.verbs[said[form].removesuffix("s")]
    measure = said.get("measure", said.get("measures", noun.measure))
    assert (measure in MEASURES) == ("measures" not in said)
    mistakes = [
        ONE[measure] != noun.measure,
        verb.order != noun.order,
        said[form] != getattr(verb, form),
    ]
    assert sum(mistakes) <= 1, sentence
    return ("unacceptable" if any(mistakes) else "acceptable"), {noun.word, verb.plural}


def _sst2(spoken: Language, sentence: str) -> Judged:
    review = [parsed(written(sentence))]
    (judged,) = {word for about, word in tells(spoken, review) if about == "review"}
    deciding = words_of(review, "thing", "fitting", "opposite")
    return ("positive" if judged == "praise" else "negative"), deciding


def _qnli(spoken: Language, question: str, sentence: str) -> Judged:
    asked = {
        "town": (r"where does (\w+) live \?", r"the market of (\w+) was full .*\."),
        "trade": (r"what is (\w+) \?", r"a (\w+) came to the .*\."),
        "fruit": (r"what does (\w+) love \?", r"the price of (\w+) was high .*\."),
        "instrument": (r"what does (\w+) play \?", r"the sound of the (\w+) was heard .*\."),
    }
    for attribute, (question_form, sentence_form) in asked.items():
        if re.fullmatch(question_form, question):
            (person,) = _words(question_form, question)
            (value,) = _words(sentence_form, sentence)
            assert value in spoken.values[attribute]
            answered = spoken.facts[person][attribute] == value
            return ("entailment" if answered else "not_entailment"), {person}
    raise AssertionError(question)


def _qqp(spoken: Language, question1: str, question2: str) -> Judged:
    pattern = r"(?:why does|what makes|for what does) the (\w+) (\w+) near the (\w+) \?"
    (first, verb, second), (one, same_verb, other) = (
        _words(pattern, question) for question in (question1, question2)
    )
    assert verb == same_verb and spoken.verbs[verb].order == spoken.nouns[first].order
    renamed = [spoken.nouns[first].synonym == one, spoken.nouns[second].synonym == other]
    # Another of its kind is in the place of one at most.
    assert any(renamed)
    assert [spoken.nouns[word].kind for word in (first, second)] == [
        spoken.nouns[word].kind for word in (one, other)
    ]
    label = "duplicate" if all(renamed) else "not_duplicate"
    return label, {first, second, one, other, verb}


def _mnli(spoken: Language, premise: str, hypothesis: str) -> Judged:
    if " near " in premise:
        noun, verb, place = _words(r"the (\w+) (\w+) near the (\w+) \.", premise)
        article, kind, *rest = _words(r"(the|no) (\w+) (\w+) near the (\w+) \.", hypothesis)
        order = spoken.nouns[noun].order
        assert rest == [verb, place]
        assert spoken.verbs[verb.removesuffix("s")].order == order and kind in KINDS[order]
        deciding = {noun, verb.removesuffix("s")}
        if spoken.nouns[noun].kind != kind:
            assert article == "the"
            return "neutral", deciding
        return ("entailment" if article == "the" else "contradiction"), deciding
    forms = {
        "town": (r"(\w+) stayed at home .*\.", r"they were in (\w+) \."),
        "trade": (r"(\w+) did the usual work .*\.", r"they did the usual work of a (\w+) \."),
        "fruit": (r"(\w+) ate the usual fruit .*\.", r"they ate (\w+) \."),
        "instrument": (r"(\w+) played the usual tune .*\.", r"they played the (\w+) \."),
    }
    (assumed,) = (name for name in ATTRIBUTES if re.fullmatch(forms[name][0], premise))
    (claimed,) = (name for name in ATTRIBUTES if re.fullmatch(forms[name][1], hypothesis))
    (person,) = _words(forms[assumed][0], premise)
    (value,) = _words(forms[claimed][1], hypothesis)
    assert value in spoken.values[claimed]
    if assumed != claimed:
        return "neutral", {person}
    own = spoken.facts[person][claimed] == value
    return ("entailment" if own else "contradiction"), {person}


JUDGES = dict[str, Callable[..., Judged]](
    zip(SIZES, (_cola, _sst2, _qnli, _qqp, _mnli), strict=True)
)


def rows(name: str, frame: pd.DataFrame) -> list[list[str]]:
    return frame[list(TASKS[name].columns)].to_numpy().tolist()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SIZES)
def test_labels_follow_from_the_language(name: str, seed: int) -> None:
    """In GLUE's numbers: what a judge says of each example who knows the language."""
    for frame in task(name, seed):
        judged = [JUDGES[name](language(seed), *texts)[0] for texts in rows(name, frame)]
        assert [TASKS[name].labels.index(label) for label in judged] == frame["label"].tolist()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SIZES)
def test_deciding_words_of_dev_are_not_in_training(name: str, seed: int) -> None:
    """Nor are synonyms of them; and there are enough of them to tell knowing from luck."""
    spoken = language(seed)
    train, dev = (
        {word for texts in rows(name, frame) for word in JUDGES[name](spoken, *texts)[1]}
        for frame in task(name, seed)
    )
    assert not train & dev
    assert not train & {spoken.nouns[word].synonym for word in dev if word in spoken.nouns}
    # Nearly all words decide somewhere, and nearly a third of each sort or more in dev.
    sorts: dict[str, list[Collection[str]]] = {
        "cola": [spoken.nouns, spoken.verbs],
        "sst2": [spoken.nouns, spoken.adjectives],
        "qnli": [spoken.people],
        "qqp": [spoken.nouns, spoken.verbs],
        "mnli": [spoken.nouns, spoken.people, spoken.verbs],
    }
    for words in sorts[name]:
        assert len((train | dev) & set(words)) >= 0.9 * len(words)
        assert len(dev & set(words)) >= 0.3 * len(words)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SIZES)
def test_every_word_is_in_the_vocabulary(name: str, seed: int) -> None:
    known = set(vocabulary(seed))
    for frame in task(name, seed):
        said = " ".join(text for texts in rows(name, frame) for text in texts).lower()
        assert set(said.split()) <= known


def test_sizes_are_in_the_papers_order() -> None:
    assert list(TRAIN_EXAMPLES) == list(NEEDS) == SIZES and set(SIZES) == set(PAPER_TASKS)
    assert sorted(TRAIN_EXAMPLES.values()) == list(TRAIN_EXAMPLES.values())
    for name in SIZES:
        train, dev = task(name)
        assert (len(train), len(dev)) == (TRAIN_EXAMPLES[name], DEV_EXAMPLES)


SHARES = {
    "cola": {"acceptable": 0.6},
    "sst2": {"positive": 0.55},
    "qnli": {"entailment": 0.5},
    "qqp": {"duplicate": 0.37},
    "mnli": {"entailment": 1 / 3, "neutral": 1 / 3, "contradiction": 1 / 3},
}


@pytest.mark.parametrize("name", SIZES)
def test_shares_of_labels(name: str) -> None:
    """Within four standard deviations, in both splits of three languages together."""
    labels = pd.concat([frame["label"] for seed in range(3) for frame in task(name, seed)])
    for label, share in SHARES[name].items():
        found = (labels == TASKS[name].labels.index(label)).mean()
        assert abs(found - share) < 4 * (share * (1 - share) / len(labels)) ** 0.5, label


# In inference these words tell which labels are out, as in MNLI: a denial is never entailed, and
# nothing follows for what is not spoken of.
TELLING = {
    "mnli": {"near", "no", "stayed", "did", "fruit", "usual", "tune", "they", "were"}
    | {"ate", "played"}
}


@pytest.mark.parametrize("name", SIZES)
def test_words_that_do_not_decide_go_with_all_labels_alike(name: str) -> None:
    """Among examples with the same telling words, any other word that is not made up leaves the
    shares of the labels as they are: in four languages, within 4.5 standard deviations."""
    groups: dict[frozenset[str], list[tuple[set[str], int]]] = defaultdict(list)
    for seed in range(4):
        spoken = language(seed)
        made_up = {*spoken.people, *spoken.nouns, *spoken.verbs, *spoken.adjectives}
        made_up |= {verb.singular for verb in spoken.verbs.values()} | {*spoken.values["town"]}
        for frame in task(name, seed):
            for texts, label in zip(rows(name, frame), frame["label"], strict=True):
                words = set(" ".join(texts).split()) - made_up
                groups[frozenset(words & TELLING.get(name, set()))].append((words, label))
    for group in groups.values():
        shares = Counter(label for _, label in group)
        for word in set[str]().union(*(words for words, _ in group)):
            found = [label for words, label in group if word in words]
            for label in range(len(TASKS[name].labels)):
                share = shares[label] / len(group)
                deviation = (share * (1 - share) / len(found)) ** 0.5
                assert abs(found.count(label) / len(found) - share) <= 4.5 * deviation, word


EVERYTHING = """
import dataclasses, json
from bertprune.lab import language, task_data, text
print(json.dumps(dataclasses.asdict(language.language(7))))
print(list(text.documents(text.Source(7, 50))))
print([frame.to_csv() for name in task_data.NEEDS for frame in task_data.task(name, 7)])
"""


def test_language_text_and_tasks_are_the_same_in_every_process() -> None:
    """Though its sets are in another order."""
    said = {
        subprocess.run(
            [sys.executable, "-c", EVERYTHING],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_another_seed_is_another_task() -> None:
    for name in SIZES:
        one, other = ({tuple(r) for r in rows(name, task(name, seed)[0])} for seed in SEEDS)
        assert not one & other


@pytest.mark.parametrize("name", SIZES)
def test_examples_differ(name: str) -> None:
    """Few are the same, and none stands in both splits."""
    train, dev = ([tuple(texts) for texts in rows(name, frame)] for frame in task(name))
    assert not set(train) & set(dev)
    assert len(set(train)) > 0.95 * len(train)
