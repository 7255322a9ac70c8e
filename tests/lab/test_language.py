"""The lab language: what it tells is dealt out as its content is counted."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache

import pytest

from bertprune.base.errors import UserError
from bertprune.lab import language as module
from bertprune.lab import text
from bertprune.lab.language import (
    ATTRIBUTES,
    DOCUMENTS,
    FRUITS,
    INSTRUMENTS,
    KINDS,
    MEASURES,
    TRADES,
    Draws,
    Language,
    Source,
    find_source,
    language,
    language_of,
)

SEEDS = range(5)


def made_up(spoken: Language) -> list[str]:
    """Every word that is drawn, in all of its forms, as a tokenizer sees it."""
    forms = [form for verb in spoken.verbs.values() for form in (verb.plural, verb.singular)]
    drawn = [*spoken.people, *spoken.values["town"], *spoken.nouns, *forms, *spoken.adjectives]
    return [word.lower() for word in drawn]


@cache
def real() -> set[str]:
    """Every word that no language draws: what is English in the text."""
    words = {*MEASURES, *MEASURES.values(), *TRADES, *FRUITS, *INSTRUMENTS}
    words |= {word for order, kinds in KINDS.items() for word in (order, *kinds)}
    for seed in (0, 1):
        there = " ".join(text.documents(Source(seed, 2000))).lower()
        words |= set(re.findall(r"\w+", there)) - set(made_up(language(seed)))
    return words


def as_json(spoken: Language) -> str:
    """All fields in their order, on which the text depends too."""
    return json.dumps(asdict(spoken), separators=(",", ":"))


def test_another_seed_is_another_language() -> None:
    assert len({as_json(language(seed)) for seed in range(20)}) == 20
    one, other = set(made_up(language(0))), set(made_up(language(1)))
    assert len(one & other) < 0.2 * len(one)


def test_the_language_of_the_model_that_ships() -> None:
    """Pinned: the pre-trained model that comes with the package was trained on this language, and
    what it knows is read against it."""
    digest = hashlib.sha256(as_json(language(0)).encode()).hexdigest()
    assert digest == "c3ff2798b90598bc3f91578c3ab9a4081fe487ada8f7bf01df27da2f728e2bd5"


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_dealt_out_evenly(seed: int) -> None:
    spoken = language(seed)
    nouns, verbs = spoken.nouns.values(), spoken.verbs.values()
    lexicon = spoken.people, nouns, verbs, spoken.adjectives
    assert [*map(len, lexicon)] == [256, 192, 48, 96]
    assert {len(set(spoken.values[attribute])) for attribute in ATTRIBUTES} == {16}
    assert all(list(known) == list(ATTRIBUTES) for known in spoken.facts.values())
    assert Counter(noun.measure for noun in nouns) == dict.fromkeys(MEASURES, 48)
    for order, some in KINDS.items():
        assert {noun.order for kind in some for noun in spoken.nouns_of(kind)} == {order}
        assert {kind: len(spoken.nouns_of(kind)) for kind in some} == dict.fromkeys(some, 12)
        assert [verb.order for verb in spoken.verbs_of(order)] == [order] * 12
    assert list(spoken.polarity) == list(KINDS)
    assert all(list(polarity) == spoken.adjectives for polarity in spoken.polarity.values())
    living, plant, made, dish = spoken.polarity.values()
    assert Counter(living.values()) == {True: 48, False: 48}
    assert living == plant and made == dish
    assert sum(living[word] != made[word] for word in living) == 24


@pytest.mark.parametrize("seed", SEEDS)
def test_synonyms_are_the_same_thing(seed: int) -> None:
    nouns = language(seed).nouns
    for word, noun in nouns.items():
        other = nouns[noun.synonym]
        assert noun.word == word != other.word and other.synonym == word
        assert (noun.kind, noun.order, noun.measure) == (other.kind, other.order, other.measure)
        assert noun.kind in KINDS[noun.order]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_made_up_word_is_of_two_sorts(seed: int) -> None:
    """Nor is a verb's singular another word."""
    words = made_up(language(seed))
    assert len(set(words)) == len(words)


def test_no_made_up_word_is_a_real_one() -> None:
    words = real()
    assert not {
        seed: found for seed in range(100) if (found := words & set(made_up(language(seed))))
    }


def test_real_words_are_of_one_sort() -> None:
    sorts: list[Sequence[str]] = [list(KINDS), *KINDS.values(), TRADES, FRUITS, INSTRUMENTS]
    sorts += [list(MEASURES), list(MEASURES.values()), text.PLACES, text.NUMBERS]
    words = [word for sort in sorts for word in sort]
    assert len(set(words)) == len(words)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Languages of a few words, by the same rules."""
    kinds = {"animal": ("bird", "fish"), "plant": ("tree", "herb")}
    for name, value in {
        "PEOPLE": 2,
        "NOUNS": 8,
        "VERBS": 4,
        "ADJECTIVES": 4,
        "FICKLE": 1,
        "KINDS": kinds,
        "LIVING": ("animal",),
        "MEASURES": {"head": "heads", "stalk": "stalks"},
        "ATTRIBUTES": ("trade", "fruit"),
        "TRADES": ("baker", "brewer", "mason"),
        "FRUITS": ("figs", "dates", "pears"),
    }.items():
        monkeypatch.setattr(module, name, value)
    language.cache_clear()
    yield
    language.cache_clear()


@pytest.mark.usefixtures("tiny")
def test_content_counts_languages_that_are_as_likely() -> None:
    """Over many seeds all assignments of a sort come up, by the ranks of the words: they are as
    many as the content says, and uniform, or it would be less."""
    found: dict[str, Counter[object]] = {}
    seeds = 3000
    for seed in range(seeds):
        spoken = language.__wrapped__(seed)
        nouns = sorted(spoken.nouns)
        paired = frozenset(
            frozenset((nouns.index(noun.word), nouns.index(noun.synonym)))
            for noun in spoken.nouns.values()
        )
        first = [noun for noun in spoken.nouns.values() if noun.word < noun.synonym]
        drawn: dict[str, object] = {
            "facts": tuple(tuple(known.values()) for known in spoken.facts.values()),
            "synonyms": paired,
            "kinds": tuple(noun.kind for noun in first),
            "measures": tuple(noun.measure for noun in first),
            "selection": tuple(verb.order for verb in spoken.verbs.values()),
            "polarity": tuple(tuple(known.values()) for known in spoken.polarity.values()),
        }
        for sort, value in drawn.items():
            found.setdefault(sort, Counter())[value] += 1
    content = language(0).content_bits()
    assert list(content) == list(found)
    for sort, bits in content.items():
        states = len(found[sort])
        assert bits == pytest.approx(math.log2(states), abs=1e-9), sort
        expected = seeds / states
        squares = sum((count - expected) ** 2 / expected for count in found[sort].values())
        freedom = states - 1
        assert abs(squares - freedom) < 4 * math.sqrt(2 * freedom), sort


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lab", Source(0, DOCUMENTS)),
        ("lab:12", Source(12, DOCUMENTS)),
        ("lab:3:300", Source(3, 300)),
    ],
)
def test_source(name: str, expected: Source) -> None:
    assert find_source(name) == expected


@pytest.mark.parametrize("name", ["laboratory", "lab/x", "owner/lab:1", "nyu-mll/glue", "Lab", ""])
def test_what_is_no_source(name: str) -> None:
    assert find_source(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "lab:",
        "lab:x",
        "lab:-1",
        "lab:1.5",
        "lab:1:",
        "lab:1:0",
        "lab:1:2:3",
        "lab::5",
        "lab:01",
        "lab:1_0",
        "lab:٣",
    ],
)
def test_bad_source_is_named(name: str) -> None:
    with pytest.raises(UserError, match=f"'{re.escape(name)}' is no lab language"):
        find_source(name)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["lab"], 0),
        (["lab:4:10", "lab:4"], 4),
        (["lab", "lab:0:300"], 0),
        (["lab", "lab:1"], None),
        (["folder", "lab"], None),
        ([], None),
    ],
)
def test_language_of_a_text(sources: list[str], expected: int | None) -> None:
    assert language_of(sources) == expected


def test_draws_are_fair() -> None:
    draws = Draws("fair", 0)
    counts = Counter(draws.below(5) for _ in range(5000))
    assert set(counts) == set(range(5))
    assert all(abs(count - 1000) < 4 * math.sqrt(5000 * 0.2 * 0.8) for count in counts.values())
    orders = Counter(tuple(draws.shuffled("abc")) for _ in range(6000))
    assert len(orders) == 6
    assert all(abs(count - 1000) < 4 * math.sqrt(6000 / 6 * 5 / 6) for count in orders.values())
    chosen = Counter(draws.other("abcd", "b", "d") for _ in range(1000))
    assert set(chosen) == {"a", "c"} and abs(chosen["a"] - 500) < 4 * math.sqrt(250)
    assert abs(sum(draws.chance(0.3) for _ in range(1000)) - 300) < 4 * math.sqrt(210)


def test_draws_follow_every_part_of_their_seed() -> None:
    seeds: list[tuple[object, ...]] = [("a", 1), ("a", 2), ("b", 1), ("a", 1, 0)]
    first = [tuple(map(Draws(*seed).below, [1000] * 4)) for seed in (*seeds, *seeds)]
    assert first[:4] == first[4:] and len(set(first)) == 4
