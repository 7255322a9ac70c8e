"""The lab language as tables for a page: examples, contents, tasks."""

from __future__ import annotations

from itertools import islice

import pandas as pd

from bertprune.base.shown import Prose
from bertprune.book.drawing.picture import Picture, made_by
from bertprune.book.figures.accuracy import average_and_loss
from bertprune.data.glue import PAPER_TASKS, TASKS
from bertprune.data.tasks import load_task
from bertprune.evidence.baselines import bag_of_words, majority
from bertprune.evidence.scores import pretraining_losses, scores
from bertprune.experiments import studies
from bertprune.lab.language import SOURCE, Language, Source
from bertprune.lab.task_data import NEEDS
from bertprune.lab.text import documents
from bertprune.protocol.rows import Rows

_SORTS = {
    "facts": "each person's town, trade, fruit and instrument, one of 16 each",
    "synonyms": "which two nouns mean the same",
    "kinds": "which of 16 kinds a noun is of",
    "measures": "which of 4 measure words a noun is counted with",
    "selection": "which of 4 orders of things a verb speaks of",
    "polarity": "whether an adjective praises, and whether it means the opposite of made things",
}


def examples(spoken: Language, count: int = 12) -> Prose:
    """The first documents of the language's text."""
    shown = islice(documents(Source(spoken.seed)), count)
    return Prose(pd.DataFrame({"document": list(shown)}, index=range(1, count + 1)))


def content(spoken: Language) -> Prose:
    """What there is to know, and how many bits that is."""
    bits = spoken.content_bits()
    table = pd.DataFrame(
        {"what": _SORTS, "bits": {sort: f"{value:,.1f}" for sort, value in bits.items()}}
    )
    table.loc["all"] = ["", f"{sum(bits.values()):,.1f}"]
    return Prose(table)


def person(spoken: Language) -> pd.DataFrame:
    """What is known of the first few people."""
    return pd.DataFrame(dict(islice(spoken.facts.items(), 5))).T.rename_axis("person")


def task_table(seed: int) -> Prose:
    """The five tasks: what each needs, its size, and what it gives away without the language."""
    lines = {}
    for name in sorted(NEEDS, key=lambda name: len(load_task(name, f"{SOURCE}:{seed}").train)):
        data = load_task(name, f"{SOURCE}:{seed}")
        lines[name] = {
            "needs": NEEDS[name],
            "train": f"{len(data.train):,}",
            "dev": f"{len(data.dev):,}",
            "majority": f"{100 * majority(data):.1f}",
            "bag of words": f"{100 * bag_of_words(data):.1f}",
        }
    return Prose(pd.DataFrame.from_dict(lines, orient="index"))


def average(name: str, found: Rows) -> Picture:
    """Average accuracy and pre-training loss against sparsity of a study, from its rows."""
    maker = made_by(f"study {name}", studies.load(name).typical().parameters)
    return average_and_loss(scores(found), pretraining_losses(found)).drawn(maker)


def task_examples(seed: int, count: int = 2) -> Prose:
    """Some examples of each label of each task."""
    lines = []
    for name in PAPER_TASKS:
        task = TASKS[name]
        frame = load_task(name, f"{SOURCE}:{seed}").train
        for number, label in enumerate(task.labels):
            for example in frame[frame.label == number].head(count).itertuples():
                texts = [str(getattr(example, column)) for column in task.columns]
                lines.append({"task": name, "example": " / ".join(texts), "label": label})
    return Prose(pd.DataFrame(lines).set_index("task").rename_axis(None))
