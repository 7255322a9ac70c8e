"""Five tasks in a lab language, one for each of the paper's, like it in kind and relative size.

Each needs what only the text tells. The words that decide an example of the dev set (people,
nouns, verbs, adjectives) stand in the text but not in the task's training set. The other words go
with every label alike, but for mnli, where a denial is a contradiction and a change of subject is
neutral, as they often are in the real one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pandas as pd

from bertprune.lab.language import (
    ATTRIBUTES,
    KINDS,
    MEASURES,
    Draws,
    Language,
    Noun,
    Verb,
    language,
)
from bertprune.lab.text import NUMBERS, PLACES, SCENES, TIMES, WHY

TRAIN_EXAMPLES = {"cola": 600, "sst2": 700, "qnli": 800, "qqp": 1200, "mnli": 1600}
DEV_EXAMPLES = 500

NEEDS = {
    "cola": "which measure word a noun takes, which things do what a verb says, and its singular",
    "sst2": "which adjectives praise, which mean the opposite of made things, and what is made",
    "qnli": "the facts about people",
    "qqp": "which nouns are synonyms",
    "mnli": "the facts about people, and the kinds of nouns",
}

# In this order the labels are numbered, as in GLUE.
_ENTAILMENT, _NEUTRAL, _CONTRADICTION = range(3)

Example = dict[str, object]
Write = Callable[["Words", Draws], Example]


class Words:
    """The words that one split of a task may use, apart from those of the other split."""

    def __init__(self, spoken: Language, task: str, *, dev: bool) -> None:
        self.spoken = spoken
        draws = Draws("lab split", task, spoken.seed)
        self.people = _part(draws.shuffled(spoken.people), dev)
        self.adjectives = _part(draws.shuffled(spoken.adjectives), dev)
        self.verbs = {
            order: _part(draws.shuffled(spoken.verbs_of(order)), dev)
            for order in sorted({verb.order for verb in spoken.verbs.values()})
        }
        # Half of the synonym pairs of every kind: a noun has a sibling that is no synonym.
        self.nouns: list[Noun] = []
        for kind in sorted({noun.kind for noun in spoken.nouns.values()}):
            pairs = draws.shuffled([n for n in spoken.nouns_of(kind) if n.word < n.synonym])
            chosen = pairs[len(pairs) // 2 :] if dev else pairs[: len(pairs) // 2]
            self.nouns += [spoken.nouns[word] for n in chosen for word in (n.word, n.synonym)]

    def verb(self, draws: Draws, order: str) -> Verb:
        return draws.one(self.verbs[order])

    def siblings(self, noun: Noun) -> list[Noun]:
        """Nouns of the same kind that are not its synonym."""
        own = (noun.word, noun.synonym)
        return [n for n in self.nouns if n.kind == noun.kind and n.word not in own]


@cache
def task(name: str, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and dev frame of the task `name` in the language of `seed`, in GLUE's columns."""
    frames = []
    for dev in (False, True):
        words = Words(language(seed), name, dev=dev)
        draws = Draws("lab task", name, seed, dev)
        count = DEV_EXAMPLES if dev else TRAIN_EXAMPLES[name]
        frames.append(pd.DataFrame([_WRITERS[name](words, draws) for _ in range(count)]))
    return frames[0], frames[1]


def _acceptability(words: Words, draws: Draws) -> Example:
    """Whether measure word, verb and number agree with the noun; three of five do."""
    noun = draws.one(words.nouns)
    measure, order, plural = noun.measure, noun.order, draws.chance(0.6)
    acceptable = draws.chance(0.6)
    counted = draws.chance(0.7)
    wrong = "" if acceptable else draws.one(["measure", "verb", "number"] if counted else ["verb"])
    if wrong == "measure":
        measure = draws.other(list(MEASURES), measure)
    if wrong == "verb":
        order = draws.other(list(words.verbs), order)
    verb = words.verb(draws, order)
    place = draws.one(PLACES)
    if not counted:
        sentence = f"the {noun.word} {verb.singular} near the {place} ."
    else:
        agrees = plural != (wrong == "number")
        number = draws.one(NUMBERS) if plural else "one"
        measures = MEASURES[measure] if plural else measure
        form = verb.plural if agrees else verb.singular
        sentence = f"{number} {measures} of {noun.word} {form} near the {place} ."
    return {"sentence": sentence, "label": int(acceptable)}


def _sentiment(words: Words, draws: Draws) -> Example:
    """Whether a sentence praises; where it says "but", what follows counts."""
    positive = draws.chance(0.55)
    noun = draws.one(words.nouns)
    polarity = words.spoken.polarity[noun.order]
    good = [word for word in words.adjectives if polarity[word] == positive]
    bad = [word for word in words.adjectives if polarity[word] != positive]
    sentence = draws.one(
        [
            f"the {noun.word} is {draws.one(good)} and {draws.one(good)} .",
            f"the {noun.word} is {draws.one(bad)} , but it is {draws.one(good)} .",
            f"the {noun.word} is not {draws.one(bad)} , it is {draws.one(good)} .",
            f"how {draws.one(good)} the {noun.word} is !",
        ]
    )
    return {"sentence": sentence, "label": int(positive)}


_QUESTIONS = {
    "town": "where does {who} live ?",
    "trade": "what is {who} ?",
    "fruit": "what does {who} love ?",
    "instrument": "what does {who} play ?",
}


def _answer(words: Words, draws: Draws) -> Example:
    """Whether the thing that a sentence is about is the answer to a question about a person."""
    person, attribute = draws.one(words.people), draws.one(ATTRIBUTES)
    value = words.spoken.facts[person][attribute]
    answers = draws.chance(0.5)
    if not answers:
        value = draws.other(words.spoken.values[attribute], value)
    sentence = SCENES[attribute].format(value=value, time=draws.one(TIMES), place=draws.one(PLACES))
    question = _QUESTIONS[attribute].format(who=person)
    return {"question": question, "sentence": sentence, "label": int(not answers)}


def _paraphrase(words: Words, draws: Draws) -> Example:
    """Whether two questions ask the same: about two things under their other names, or with one
    of them another of its kind."""
    nouns = [draws.one(words.nouns), draws.one(words.nouns)]
    same = draws.chance(0.37)
    others = [noun.synonym for noun in nouns]
    if not same:
        changed = draws.below(2)
        others[changed] = draws.one(words.siblings(nouns[changed])).word
    verb = words.verb(draws, nouns[0].order)
    question1, question2 = (
        draws.one(WHY).format(noun=first, verb=verb.plural, place=second)
        for first, second in ([noun.word for noun in nouns], others)
    )
    return {"question1": question1, "question2": question2, "label": int(same)}


# What a premise takes for granted of a person, and what then follows for who knows them.
_PREMISES = {
    "town": "{who} stayed at home {time} .",
    "trade": "{who} did the usual work {time} .",
    "fruit": "{who} ate the usual fruit {time} .",
    "instrument": "{who} played the usual tune {time} .",
}
_HYPOTHESES = {
    "town": "they were in {value} .",
    "trade": "they did the usual work of a {value} .",
    "fruit": "they ate {value} .",
    "instrument": "they played the {value} .",
}


def _inference(words: Words, draws: Draws) -> Example:
    """Whether the premise entails the hypothesis, contradicts it, or leaves it open."""
    label = draws.below(3)
    if draws.chance(0.5):
        person, attribute = draws.one(words.people), draws.one(ATTRIBUTES)
        premise = _PREMISES[attribute].format(who=person, time=draws.one(TIMES))
        # Of what the premise does not speak of nothing follows, whether it is so or not.
        about = draws.other(ATTRIBUTES, attribute) if label == _NEUTRAL else attribute
        value = words.spoken.facts[person][about]
        if label == _CONTRADICTION or (label == _NEUTRAL and draws.chance(0.5)):
            value = draws.other(words.spoken.values[about], value)
        hypothesis = _HYPOTHESES[about].format(value=value)
    else:
        thing, place = draws.one(words.nouns), draws.one(PLACES)
        verb = words.verb(draws, thing.order).singular
        kind = thing.kind
        if label == _NEUTRAL:
            kind = draws.other(KINDS[thing.order], kind)
        article = "no" if label == _CONTRADICTION else "the"
        premise = f"the {thing.word} {verb} near the {place} ."
        hypothesis = f"{article} {kind} {verb} near the {place} ."
    return {"premise": premise, "hypothesis": hypothesis, "label": label}


_WRITERS: dict[str, Write] = {
    "cola": _acceptability,
    "sst2": _sentiment,
    "qnli": _answer,
    "qqp": _paraphrase,
    "mnli": _inference,
}


def _part(items: list, dev: bool) -> list:
    """A third of `items` for the dev set, the others for training."""
    return items[: len(items) // 3] if dev else items[len(items) // 3 :]
