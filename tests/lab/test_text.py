"""The text of the lab language: it tells the truth, all of it, in the words of the vocabulary."""

import hashlib
import json
import re
from collections import Counter

import pytest

from bertprune.data.reading.plain_text import sentences
from bertprune.lab import text as module
from bertprune.lab.language import ATTRIBUTES, KINDS, MEASURES, Language, Source, language
from bertprune.lab.text import documents, vocabulary

from .conftest import Elsewhere
from .grammar import Document, parsed, words_of


@pytest.fixture(scope="module")
def read() -> list[Document]:
    """5,000 documents, read sentence by sentence."""
    return [
        [parsed(sentence.strip()) for sentence in sentences(document)]
        for document in documents(Source(0, 5000))
    ]


def order_of(spoken: Language, thing: str) -> str:
    """Of a noun, a kind or an order."""
    if thing in spoken.nouns:
        return spoken.nouns[thing].order
    return next(order for order, kinds in KINDS.items() if thing in (order, *kinds))


def test_text_is_the_same_in_every_process(elsewhere: Elsewhere) -> None:
    there = elsewhere("text", "list(text.documents(text.Source(7, 50)))")
    assert json.loads(there) == list(documents(Source(7, 50)))


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


def test_sentences_are_those_that_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question and its answer, which are written together, are two."""
    written: list[str] = []

    def remember(words: str) -> str:
        written.append(works(words))
        return written[-1]

    works = module._sentence
    monkeypatch.setattr(module, "_sentence", remember)
    for document in documents(Source(2, 1000)):
        cut = [part for sentence in written for part in re.split(r"(?<=\?) ", sentence)]
        assert [sentence.strip() for sentence in sentences(document)] == cut
        assert document == " ".join(written)
        written.clear()


def test_sentences_are_written_as_people_write() -> None:
    for document in documents(Source(0, 500)):
        assert not re.search(r" [.?!,]|  |\n|[.!] [a-z]", document)
        assert document[0].isupper() and document[-1] in ".?!"


def test_facts_in_the_text_are_true(read: list[Document]) -> None:
    """A pronoun stands for the person of the document, and so does what goes on around."""
    facts = language(0).facts
    told = Counter[tuple[str, str]]()
    for document in read:
        for who in words_of(document, "who"):
            for sentence in document:
                for part, word in sentence:
                    if part in ATTRIBUTES:
                        assert facts[who][part] == word, sentence
                        told[who, part] += 1
    assert told.keys() == {(who, attribute) for who in facts for attribute in ATTRIBUTES}


def test_kinds_synonyms_and_measures_in_the_text_are_true(read: list[Document]) -> None:
    nouns = language(0).nouns
    singular = {more: one for one, more in MEASURES.items()} | {one: one for one in MEASURES}
    told: dict[str, set[str]] = {"kind": set(), "synonym": set(), "measure": set()}
    for sentence in (sentence for document in read for sentence in document):
        said = dict(sentence)
        noun = nouns.get(said.get("noun", ""))
        if noun is None:
            continue
        claims = {
            "kind": said.get("kind"),
            "synonym": said.get("synonym"),
            "measure": singular.get(said.get("measure", said.get("measures", ""))),
        }
        for part, claim in claims.items():
            if claim:
                assert claim == getattr(noun, part), sentence
                # What is told of a noun is known of its synonym.
                told[part] |= {noun.word, noun.synonym}
    assert all(known == set(nouns) for known in told.values())


def test_things_do_what_their_order_does(read: list[Document]) -> None:
    """And number agrees: one does, several do, and "does" goes with the plain form."""
    spoken = language(0)
    verbs = {
        "singular": {verb.singular: verb for verb in spoken.verbs.values()},
        "plural": {verb.plural: verb for verb in spoken.verbs.values()},
    }
    told = set()
    for sentence in (sentence for document in read for sentence in document):
        said = dict(sentence)
        for form, known in verbs.items():
            if form in said:
                verb = known[said[form]]
                assert verb.order == order_of(spoken, said.get("noun", said.get("thing", "")))
                told.add(verb.plural)
        assert ("measure" in said) <= ("singular" in said)
        assert set(words_of([sentence], "measure")) <= set(MEASURES)
        assert set(words_of([sentence], "measures")) <= set(MEASURES.values())
    assert told == set(spoken.verbs)


def test_praise_and_blame_are_of_the_order(read: list[Document]) -> None:
    """All of a review goes the same way, and each order's adjectives are all used."""
    spoken = language(0)
    told = set()
    ways = Counter[bool]()
    for document in read:
        if not words_of(document, "fitting"):
            continue
        (order,) = {order_of(spoken, thing) for thing in words_of(document, "thing")}
        polarity = spoken.polarity[order]
        (praised,) = {polarity[word] for word in words_of(document, "fitting")}
        assert all(polarity[word] != praised for word in words_of(document, "opposite"))
        assert words_of(document, "judge") <= {"praise" if praised else "blame"}
        told |= {(order, word) for word in words_of(document, "fitting")}
        ways[praised] += 1
    assert told == {(order, word) for order in KINDS for word in spoken.adjectives}
    assert abs(ways[True] - ways.total() / 2) < 4 * (ways.total() / 4) ** 0.5


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
