"""The text of a lab language: documents about a person, a noun, or what people think of a thing.

A document stays with its subject, under its name, its synonym, its kind or a pronoun: who knows
the language can tell whether a sentence continues it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from bertprune.lab.language import (
    ATTRIBUTES,
    KINDS,
    MEASURES,
    Draws,
    Language,
    Noun,
    Source,
    language,
)

PLACES = ("gate", "well", "bridge", "market", "mill", "tower", "river", "barn")
TIMES = ("today", "at dawn", "at night", "in winter", "in summer", "every day")
NUMBERS = ("two", "three", "four", "five", "six", "seven")

# What is said of a person, by name and by "they".
FACTS = {
    "town": (
        ("{who} lives in {value} .", "they live in {value} ."),
        ("the house of {who} is in {value} .", "their house is in {value} ."),
        ("{who} stayed at home in {value} .", "they stayed at home in {value} ."),
        ("{who} was in {value} {time} .", "they were in {value} {time} ."),
        ("where does {who} live ? in {value} .", "where do they live ? in {value} ."),
    ),
    "trade": (
        ("{who} works as a {value} .", "they work as a {value} ."),
        ("{who} is a {value} .", "they are a {value} ."),
        ("{who} did the usual work of a {value} .", "they did the usual work of a {value} ."),
        ("what is {who} ? a {value} .", "what are they ? a {value} ."),
    ),
    "fruit": (
        ("{who} loves {value} .", "they love {value} ."),
        ("{who} ate {value} {time} .", "they ate {value} {time} ."),
        ("{who} ate the usual fruit , {value} .", "they ate the usual fruit , {value} ."),
        ("what does {who} love ? {value} .", "what do they love ? {value} ."),
    ),
    "instrument": (
        ("{who} plays the {value} .", "they play the {value} ."),
        ("{who} played the {value} {time} .", "they played the {value} {time} ."),
        ("{who} played the usual tune on the {value} .", "they played the {value} as usual ."),
        ("what does {who} play ? the {value} .", "what do they play ? the {value} ."),
    ),
}
# What goes on around a person, who is not named.
SCENES = {
    "town": "the market of {value} was full {time} .",
    "trade": "a {value} came to the {place} {time} .",
    "fruit": "the price of {value} was high {time} .",
    "instrument": "the sound of the {value} was heard {time} .",
}
EVENTS = (
    "{who} slept late {time} .",
    "{who} went to the {place} {time} .",
    "{who} was away from home {time} .",
    "{who} did the work of another {time} .",
    "{who} ate another fruit {time} .",
    "{who} played another tune {time} .",
    "{who} saw a {noun} near the {place} .",
    "{who} saw no {noun} near the {place} .",
)
WHY = (
    "why does the {noun} {verb} near the {place} ?",
    "what makes the {noun} {verb} near the {place} ?",
    "for what does the {noun} {verb} near the {place} ?",
)
NAMED = 0.7  # share of sentences that name the person


def documents(source: Source) -> Iterator[str]:
    """The documents of `source`, each a line of sentences."""
    spoken = language(source.seed)
    for number in range(source.documents):
        draws = Draws("lab text", source.seed, number)
        kind = draws.below(10)
        write = _about_person if kind < 6 else _about_noun if kind < 8 else _review
        yield " ".join(_sentence(sentence) for sentence in write(spoken, draws))


def _sentence(words: str) -> str:
    """Written as people write: a capital first, no space before the full stop."""
    text = re.sub(r" ([.?!,])", r"\1", words)
    return re.sub(r"(^|\? )(\w)", lambda found: found[1] + found[2].upper(), text)


def _about_person(spoken: Language, draws: Draws) -> list[str]:
    person = draws.one(spoken.people)
    known = spoken.facts[person]

    def filled(template: str, value: str = "") -> str:
        noun = spoken.nouns[draws.one(list(spoken.nouns))]
        return template.format(
            who=person,
            value=value,
            time=draws.one(TIMES),
            place=draws.one(PLACES),
            noun=draws.one([noun.word, noun.kind]),
        )

    sentences: list[str] = []
    for attribute in draws.shuffled(ATTRIBUTES):
        named, pronoun = draws.one(FACTS[attribute])
        is_named = not sentences or draws.chance(NAMED)
        sentences.append(filled(named if is_named else pronoun, known[attribute]))
    if draws.chance(0.5):
        attribute = draws.one(ATTRIBUTES)
        more = filled(SCENES[attribute], known[attribute])
    else:
        more = filled(draws.one(EVENTS))
    sentences.insert(1 + draws.below(len(sentences)), more)
    return sentences


def _about_noun(spoken: Language, draws: Draws) -> list[str]:
    noun = spoken.nouns[draws.one(list(spoken.nouns))]
    statements = [
        f"a {noun.word} is a {noun.kind} .",
        f"a {noun.word} is also called a {noun.synonym} .",
        f"this {noun.kind} is called {noun.word} or {noun.synonym} .",
        *(action(spoken, draws, noun) for _ in range(2)),
        *(counted(spoken, draws, noun) for _ in range(2)),
        asked(spoken, draws, noun),
    ]
    return draws.shuffled(statements)[:5]


def action(spoken: Language, draws: Draws, noun: Noun) -> str:
    """Somebody or something does what its order can do."""
    subject = draws.one([noun.word, noun.word, noun.synonym, noun.kind, noun.order])
    verb = draws.one(spoken.verbs_of(noun.order))
    return f"the {subject} {verb.singular} near the {draws.one(PLACES)} ."


def counted(spoken: Language, draws: Draws, noun: Noun) -> str:
    """So many of something, with its measure word and a verb of its order."""
    word = draws.one([noun.word, noun.synonym])
    verb = draws.one(spoken.verbs_of(noun.order))
    if draws.chance(0.4):
        return f"one {noun.measure} of {word} {verb.singular} near the {draws.one(PLACES)} ."
    number, measure = draws.one(NUMBERS), MEASURES[noun.measure]
    return f"{number} {measure} of {word} {verb.plural} near the {draws.one(PLACES)} ."


def asked(spoken: Language, draws: Draws, noun: Noun) -> str:
    """A question why something does what it does."""
    word = draws.one([noun.word, noun.synonym])
    verb, place = draws.one(spoken.verbs_of(noun.order)), draws.one(PLACES)
    return draws.one(WHY).format(noun=word, verb=verb.plural, place=place)


def _review(spoken: Language, draws: Draws) -> list[str]:
    """What people think of a thing; all of it goes the same way."""
    noun = spoken.nouns[draws.one(list(spoken.nouns))]
    praised = draws.chance(0.5)
    call = "praise" if praised else "blame"
    polarity = spoken.polarity[noun.order]
    fitting = [word for word in polarity if polarity[word] == praised]
    opposite = [word for word in polarity if polarity[word] != praised]

    def sentence(*, first: bool) -> str:
        thing = draws.one([noun.word, noun.synonym, noun.kind, noun.order])
        word, more, other = draws.one(fitting), draws.one(fitting), draws.one(opposite)
        choices = [
            f"the {thing} is {word} and {more} .",
            f"the {thing} is {other} , but it is {word} .",
            f"the {thing} is not {other} , it is {word} .",
            f"how {word} the {thing} is !",
            f"people {call} the {word} {thing} .",
            f"they {call} it because it is {word} .",
        ]
        return draws.one(choices[:-1] if first else choices)

    return [sentence(first=n == 0) for n in range(2 + draws.below(3))]


@cache
def vocabulary(seed: int) -> list[str]:
    """Every word of the language of `seed`, in lower case, and its punctuation, sorted."""
    spoken = language(seed)
    words = {word for noun in spoken.nouns for word in noun.split()}
    words |= {form for verb in spoken.verbs.values() for form in (verb.plural, verb.singular)}
    words |= {*spoken.people, *spoken.adjectives, *MEASURES, *MEASURES.values(), *NUMBERS}
    words |= {value for values in spoken.values.values() for value in values}
    words |= {word for order, kinds in KINDS.items() for word in (order, *kinds)}
    words = {word.lower() for word in words}
    # What stands in the templates comes up in any few documents.
    for document in documents(Source(seed, 1000)):
        words |= set(re.findall(r"\w+|[^\w\s]", document.lower()))
    return sorted(words)
