"""The text of the lab language: it tells the truth, all of it, in the words of the vocabulary."""

import hashlib
import re
from collections import Counter
from itertools import product

import pytest

from bertprune.data.reading.plain_text import sentences
from bertprune.lab.language import ATTRIBUTES, KINDS, MEASURES, Source, language
from bertprune.lab.text import documents, vocabulary

from .grammar import Document, order_of, parsed, tells, words_of


@pytest.fixture(scope="module")
def read() -> list[Document]:
    """5,000 documents, read sentence by sentence. A question and its answer are two."""
    found = []
    for document in documents(Source(0, 5000)):
        cut = [sentence.strip() for sentence in sentences(document)]
        assert " ".join(cut) == document
        found.append([parsed(sentence) for sentence in cut])
    return found


def test_the_text_of_the_model_that_ships() -> None:
    """Pinned, like the language: the model that comes with the package was trained on it, and was
    never told what another text says."""
    digest = hashlib.sha256("\n".join(documents(Source(0, 2000))).encode()).hexdigest()
    assert digest == "e156bce0e0289ff8ad23eadf1b4d08bf5b4a5be63aa9b46b0d6bbb017ea76342"


def test_as_many_documents_as_asked_for() -> None:
    """More text begins with the same documents; another seed's shares none."""
    few, many = list(documents(Source(0, 40))), list(documents(Source(0, 400)))
    assert (len(few), len(many)) == (40, 400)
    assert many[:40] == few
    assert len(set(many)) == 400
    assert not set(many) & set(documents(Source(1, 400)))


@pytest.mark.parametrize("seed", [0, 1])
def test_every_word_is_in_the_vocabulary(seed: int) -> None:
    known = vocabulary(seed)
    assert known == sorted(set(known))
    assert all(re.fullmatch(r"[a-z]+|[.,?!]", word) for word in known)
    said = " ".join(documents(Source(seed, 8000))).lower()
    assert set(re.findall(r"\w+|[^\w\s]", said)) <= set(known)
    spoken = language(seed)
    lexicon = [*spoken.people, *spoken.nouns, *spoken.adjectives, *spoken.values["town"]]
    lexicon += [form for verb in spoken.verbs.values() for form in (verb.plural, verb.singular)]
    lexicon += [*KINDS, *MEASURES, *MEASURES.values(), *spoken.values["fruit"]]
    assert {word.lower() for word in lexicon} <= set(known)
    # Nearly all of it is the lexicon: what else stands in the text is a hundred words of English.
    assert len(known) - len(set(lexicon)) < 150


def test_the_text_is_true_and_tells_all_that_there_is_to_know(read: list[Document]) -> None:
    spoken = language(0)
    told = [tells(spoken, document) for document in read]
    assert set[tuple[str, str]]().union(*told) == {
        *product(spoken.people, ATTRIBUTES),
        *product(spoken.nouns, ("kind", "synonym", "measure")),
        *product(spoken.verbs, ("order",)),
        *product(KINDS, spoken.adjectives),
        *product(("review",), ("praise", "blame")),
    }
    praised, blamed = (sum(("review", way) in some for some in told) for way in ("praise", "blame"))
    assert abs(praised - blamed) < 4 * (praised + blamed) ** 0.5


def test_a_document_stays_with_its_subject(read: list[Document]) -> None:
    """One person, or one noun with its synonym, kind and order; it is named at the start."""
    spoken = language(0)
    subjects = Counter[str]()
    for document in read:
        people = words_of(document, "who")
        things = words_of(document, "noun", "synonym", "thing", "kind")
        assert bool(people) != bool(things)
        if people:
            (person,) = people
            assert person in words_of(document[:1], "who") and len(document) >= 5
            assert words_of(document, "seen") <= {*spoken.nouns, *sum(KINDS.values(), ())}
            subjects[person] += 1
            continue
        named = [spoken.nouns[word] for word in things if word in spoken.nouns]
        assert words_of(document[:1], "noun", "thing")
        assert len({order_of(spoken, thing) for thing in things}) == 1
        assert len({frozenset((noun.word, noun.synonym)) for noun in named}) <= 1
        kinds = {noun.kind for noun in named} | {thing for thing in things if thing not in KINDS}
        assert len(kinds - set(spoken.nouns)) <= 1
    # Six of ten are about people, everybody about as often.
    assert abs(subjects.total() - 3000) < 4 * (5000 * 0.6 * 0.4) ** 0.5
    assert subjects.keys() == set(spoken.people) and max(subjects.values()) < 4 * 3000 / 256


def test_a_person_is_named_or_not() -> None:
    """So that the next sentence is not always told by the name in it."""
    later = [
        bool(words_of([sentence], "who"))
        for document in documents(Source(3, 400))
        for sentence in map(parsed, [s.strip() for s in sentences(document)][1:])
        if words_of([sentence], *ATTRIBUTES)
    ]
    assert 0.4 < sum(later) / len(later) < 0.8
