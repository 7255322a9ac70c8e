"""A small made-up language of template sentences: the text and tasks of the `ci` study.

The source name "templates" stands for it wherever a folder or a Hub name may stand. Sentences of
one document share a topic, so next-sentence prediction is learnable; sentiment hangs on words,
acceptability on word order.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

SOURCE = "templates"
TRAIN_EXAMPLES = 600
DEV_EXAMPLES = 200
DOCUMENTS = 300

# Topic: who acts (singular), what they do (third person), to what, and where.
TOPICS: dict[str, tuple[list[str], list[str], list[str], list[str]]] = {
    "harbour": (
        ["sailor", "captain", "fisher", "diver"],
        ["mends", "hauls", "paints", "hides"],
        ["net", "sail", "anchor", "boat"],
        ["at the pier", "on the deck", "in the bay"],
    ),
    "kitchen": (
        ["cook", "baker", "waiter", "guest"],
        ["stirs", "tastes", "serves", "burns"],
        ["soup", "bread", "sauce", "cake"],
        ["near the oven", "by the stove", "at the table"],
    ),
    "garden": (
        ["gardener", "farmer", "beekeeper", "neighbour"],
        ["waters", "plants", "trims", "picks"],
        ["rose", "hedge", "apple", "vine"],
        ["behind the fence", "under the tree", "along the path"],
    ),
    "theatre": (
        ["actor", "singer", "painter", "director"],
        ["rehearses", "praises", "changes", "forgets"],
        ["scene", "song", "costume", "dance"],
        ["on the stage", "before the curtain", "in the wings"],
    ),
    "laboratory": (
        ["chemist", "student", "engineer", "professor"],
        ["measures", "heats", "weighs", "breaks"],
        ["crystal", "lens", "magnet", "flask"],
        ["on the bench", "under the lamp", "beside the scale"],
    ),
    "forest": (
        ["hunter", "ranger", "child", "traveller"],
        ["follows", "watches", "feeds", "finds"],
        ["fox", "owl", "deer", "trail"],
        ["across the stream", "among the ferns", "in the clearing"],
    ),
}
OPENINGS = ["", "Today", "Then", "Later", "Once more"]
POSITIVE = ["lovely", "clever", "brilliant", "charming", "moving", "fresh"]
NEGATIVE = ["dull", "clumsy", "tedious", "shallow", "noisy", "stale"]


@cache
def documents() -> tuple[str, ...]:
    """`DOCUMENTS` documents of a few short paragraphs, one topic each."""
    generator = np.random.default_rng(0)
    topics = sorted(TOPICS)

    def paragraph(topic: str) -> str:
        return " ".join(_sentence(generator, topic) for _ in range(generator.integers(2, 6)))

    return tuple(
        "\n".join(paragraph(topics[n % len(topics)]) for _ in range(generator.integers(2, 5)))
        for n in range(DOCUMENTS)
    )


def task(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and dev frames (sentence, label) of `name`, one of `TASKS`."""
    generator = np.random.default_rng(1 + sorted(TASKS).index(name))
    labels = generator.integers(0, 2, TRAIN_EXAMPLES + DEV_EXAMPLES)
    sentences = [TASKS[name](generator, bool(label)) for label in labels]
    frame = pd.DataFrame({"sentence": sentences, "label": labels})
    return frame[:TRAIN_EXAMPLES], frame[TRAIN_EXAMPLES:].reset_index(drop=True)


def _any(generator: np.random.Generator, values: Sequence[str]) -> str:
    return values[int(generator.integers(len(values)))]


def _words(generator: np.random.Generator, topic: str) -> list[str]:
    """Who, does, what, where."""
    return [_any(generator, words) for words in TOPICS[topic]]


def _sentence(generator: np.random.Generator, topic: str) -> str:
    who, does, what, where = _words(generator, topic)
    opening = _any(generator, OPENINGS)
    sentence = f"the {who} {does} the {what} {where}."
    return f"{opening} {sentence}" if opening else sentence.capitalize()


def _review(generator: np.random.Generator, positive: bool) -> str:
    """A judgement, half of them turned round by "never"."""
    negated = bool(generator.integers(2))
    adjective = _any(generator, POSITIVE if positive != negated else NEGATIVE)
    _, _, what, where = _words(generator, _any(generator, sorted(TOPICS)))
    return f"the {what} {where} is {'never' if negated else 'always'} {adjective} ."


def _judged(generator: np.random.Generator, acceptable: bool) -> str:
    """A sentence, its words out of order where it is not to be acceptable."""
    who, does, what, where = _words(generator, _any(generator, sorted(TOPICS)))
    if acceptable:
        return f"The {who} {does} the {what} {where}."
    spoilt = [f"The {who} the {what} {does} {where}.", f"The {who} {does} {what} the {where}."]
    return _any(generator, spoilt)


TASKS = {"cola": _judged, "sst2": _review}
