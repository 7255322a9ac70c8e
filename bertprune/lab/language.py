"""What there is to know in the lab language: words, their properties, and facts about people.

A `Language` is drawn from a seed, every property uniformly among all assignments that its sort
allows, so that what it tells can be counted: the content of a sort is log2 of the number of
those assignments, nothing is estimated.

The sources "lab" and "lab:<seed>" name a language wherever text, tasks or a tokenizer are asked
for; "lab:<seed>:<documents>" is another amount of its text.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from bertprune.base.errors import UserError

SOURCE = "lab"
DOCUMENTS = 20_000

PEOPLE = 256
NOUNS = 192
VERBS = 48
ADJECTIVES = 96
FICKLE = 24  # adjectives that praise a living thing and blame a made one, or the other way round


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split())


# Four properties that each person has, with sixteen values each. The towns have made-up names.
TRADES = _listed(
    "baker brewer carpenter cooper dyer farmer fisher glazier hatter mason miller potter saddler "
    "smith tailor weaver"
)
FRUITS = _listed(
    "apples apricots blackberries cherries currants dates elderberries figs grapes lemons melons "
    "mulberries peaches pears plums quinces"
)
INSTRUMENTS = _listed(
    "bagpipe bassoon bugle cello clarinet drum fiddle flute gong harp horn lute oboe organ trumpet "
    "viola"
)
ATTRIBUTES = ("town", "trade", "fruit", "instrument")

# The hierarchy: each noun is of one kind, each kind of one order.
KINDS = {
    "animal": ("bird", "fish", "beetle", "snake"),
    "plant": ("tree", "herb", "moss", "vine"),
    "tool": ("hammer", "needle", "lamp", "cart"),
    "dish": ("soup", "cake", "cheese", "sauce"),
}
LIVING = ("animal", "plant")
MEASURES = {"head": "heads", "stalk": "stalks", "crate": "crates", "dozen": "dozens"}

# Made-up words look their part: people end in a vowel, towns in -dal, adjectives in -ish.
_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aeiou"
_CODAS = "lmnrtk"
_VERB_ENDINGS = ("ble", "dle", "gle", "ple")
# Real words that the syllables could make: those of the text itself, and some that would mislead.
_REAL = _listed(
    "five love lute tune gate live vine home dozen seven river baker late nimble humble mumble "
    "ramble tumble cabin robin latin satin demon"
)

T = TypeVar("T")
G = TypeVar("G")


class Draws:
    """Random choices by a seed, the same in every version of Python and on every machine."""

    def __init__(self, *seed: object) -> None:
        # Seeding with a text and random() itself are promised never to change; the rest is not.
        self._random = random.Random("/".join(map(str, seed))).random

    def below(self, bound: int) -> int:
        return int(self._random() * bound)

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def one(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]

    def other(self, values: Sequence[T], *than: T) -> T:
        """One of `values` that is none of `than`."""
        return self.one([value for value in values if value not in than])

    def shuffled(self, values: Sequence[T]) -> list[T]:
        result = list(values)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result


@dataclass(frozen=True)
class Noun:
    """A noun with what has to be known to use it; its synonym shares all of it."""

    word: str
    synonym: str
    kind: str
    order: str
    measure: str  # the measure word it is counted with, singular


@dataclass(frozen=True)
class Verb:
    """A verb of action and the order of things that can do it."""

    plural: str
    order: str

    @property
    def singular(self) -> str:
        return self.plural + "s"


@dataclass(frozen=True)
class Language:
    """One language: lexicon and facts."""

    seed: int
    values: dict[str, tuple[str, ...]]  # of each attribute
    facts: dict[str, dict[str, str]]  # person -> attribute -> value
    nouns: dict[str, Noun]
    verbs: dict[str, Verb]  # by plural
    polarity: dict[str, dict[str, bool]]  # order -> adjective -> whether it is praise there

    @property
    def people(self) -> list[str]:
        return list(self.facts)

    @property
    def adjectives(self) -> list[str]:
        return list(next(iter(self.polarity.values())))

    def verbs_of(self, order: str) -> list[Verb]:
        return [verb for verb in self.verbs.values() if verb.order == order]

    def nouns_of(self, kind: str) -> list[Noun]:
        return [noun for noun in self.nouns.values() if noun.kind == kind]

    def content_bits(self) -> dict[str, float]:
        """Information in bits, by sort: log2 of the number of languages that differ in it alone.

        - `facts`: each of a person's four attributes has one of 16 values.
        - `synonyms`: nouns are paired, n! / (2^(n/2) (n/2)!) ways.
        - `kinds`: the pairs are dealt out evenly to the 16 kinds.
        - `measures`: the pairs are dealt out evenly to the 4 measure words.
        - `selection`: the verbs are dealt out evenly to the 4 orders.
        - `polarity`: half of the adjectives praise living things, and a quarter, whichever they
          are, mean the opposite of made ones.
        """
        pairs = len(self.nouns) // 2
        kinds = sum(map(len, KINDS.values()))
        return {
            "facts": sum(
                math.log2(len(self.values[attribute]))
                for known in self.facts.values()
                for attribute in known
            ),
            "synonyms": _log2_factorial(2 * pairs) - pairs - _log2_factorial(pairs),
            "kinds": _log2_dealt(pairs, kinds),
            "measures": _log2_dealt(pairs, len(MEASURES)),
            "selection": _log2_dealt(len(self.verbs), len(KINDS)),
            "polarity": _log2_dealt(len(self.adjectives), 2)
            + math.log2(math.comb(len(self.adjectives), FICKLE)),
        }


@dataclass(frozen=True)
class Source:
    """What a source name "lab[:seed[:documents]]" stands for."""

    seed: int = 0
    documents: int = DOCUMENTS


def find_source(name: str) -> Source | None:
    """What `name` stands for, or None if it names something else than a lab language.

    Raises UserError for a name that begins as one but goes on wrongly.
    """
    if name != SOURCE and not name.startswith(f"{SOURCE}:"):
        return None
    numbers = re.fullmatch(rf"{SOURCE}(:(0|[1-9][0-9]*)(:([1-9][0-9]*))?)?", name)
    if numbers is None:
        raise UserError(
            f"{name!r} is no lab language: give {SOURCE!r}, '{SOURCE}:<seed>' or "
            f"'{SOURCE}:<seed>:<documents>', both whole numbers, say '{SOURCE}:1:5000'"
        )
    return Source(int(numbers[2] or 0), int(numbers[4] or DOCUMENTS))


def language_of(text: Sequence[str]) -> int | None:
    """The seed of the one lab language that all sources of `text` are of, or None."""
    found = {source.seed if (source := find_source(name)) else None for name in text}
    return found.pop() if len(found) == 1 else None


@cache
def language(seed: int = 0) -> Language:
    """The language of `seed`."""
    draws = Draws("lab", seed)
    words = _Words(draws)
    values = {
        "town": tuple(words.take(16, words.town)),
        "trade": TRADES,
        "fruit": FRUITS,
        "instrument": INSTRUMENTS,
    }
    facts = {
        person: {attribute: draws.one(values[attribute]) for attribute in ATTRIBUTES}
        for person in words.take(PEOPLE, words.person)
    }
    nouns = _nouns(draws, words.take(NOUNS, words.noun))
    verbs = _dealt(draws, words.take(VERBS, words.verb), list(KINDS))
    adjectives = words.take(ADJECTIVES, words.adjective)
    return Language(
        seed,
        values,
        facts,
        {noun.word: noun for noun in nouns},
        {plural: Verb(plural, order) for plural, order in verbs.items()},
        _polarity(draws, adjectives),
    )


def _polarity(draws: Draws, adjectives: list[str]) -> dict[str, dict[str, bool]]:
    praise = _dealt(draws, adjectives, [True, False])
    fickle = draws.shuffled(adjectives)[:FICKLE]
    made = {word: praises != (word in fickle) for word, praises in praise.items()}
    return {order: praise if order in LIVING else made for order in KINDS}


def _nouns(draws: Draws, words: list[str]) -> list[Noun]:
    shuffled = draws.shuffled(words)
    pairs = list(zip(shuffled[::2], shuffled[1::2], strict=True))
    order_of = {kind: order for order, kinds in KINDS.items() for kind in kinds}
    kinds = _dealt(draws, pairs, list(order_of))
    measures = _dealt(draws, pairs, list(MEASURES))
    found = [
        Noun(word, synonym, kinds[pair], order_of[kinds[pair]], measures[pair])
        for pair in pairs
        for word, synonym in (pair, pair[::-1])
    ]
    return sorted(found, key=lambda noun: noun.word)


def _dealt(draws: Draws, items: Sequence[T], groups: Sequence[G]) -> dict[T, G]:
    """Each item with its group, equally many in every one."""
    shuffled = draws.shuffled(items)
    dealt = {item: groups[n % len(groups)] for n, item in enumerate(shuffled)}
    return {item: dealt[item] for item in items}


class _Words:
    """Made-up words, each given out once."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self._taken = {*_REAL}

    def take(self, count: int, make: Callable[[], str]) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            word = make()
            if word.lower() not in self._taken:
                self._taken.add(word.lower())
                found.append(word)
        return found

    def person(self) -> str:
        return (self._open() + self._open() + self._open(optional=True)).capitalize()

    def town(self) -> str:
        return (self._closed() + "dal").capitalize()

    def noun(self) -> str:
        return self._open(optional=True) + self._open() + self._closed()

    def verb(self) -> str:
        return self._closed() + self._draws.one(_VERB_ENDINGS)

    def adjective(self) -> str:
        return self._open() + self._closed() + "ish"

    def _open(self, optional: bool = False) -> str:
        if optional and self._draws.chance(0.5):
            return ""
        return self._draws.one(_CONSONANTS) + self._draws.one(_VOWELS)

    def _closed(self) -> str:
        return self._open() + self._draws.one(_CODAS)


def _log2_factorial(n: int) -> float:
    return math.log2(math.factorial(n))


def _log2_dealt(items: int, groups: int) -> float:
    """log2 of the number of ways to deal `items` evenly to `groups`."""
    return _log2_factorial(items) - groups * _log2_factorial(items // groups)
