"""The lab language for a page: examples, contents, tasks, and bits beside loss and accuracy."""

from __future__ import annotations

from itertools import islice

import pandas as pd

from bertprune.base.shown import Prose
from bertprune.book.drawing.picture import Sketch
from bertprune.book.figures.information import bits_against
from bertprune.data.glue import PAPER_TASKS, TASKS
from bertprune.data.tasks import load_task
from bertprune.evidence.baselines import bag_of_words, majority
from bertprune.evidence.scores import with_bits
from bertprune.lab.language import SOURCE, Language, Source
from bertprune.lab.task_data import NEEDS
from bertprune.lab.text import documents
from bertprune.protocol.arms import INFORMATION_DELETION, PRUNE_PRETRAIN

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


def bits_and_loss(losses: pd.DataFrame, bits: pd.DataFrame) -> Sketch:
    """The pre-training loss of each model against the bits that it recalls."""
    lost = with_bits(losses.assign(panel="dev loss (nats)", value=losses.loss), bits)
    what = "Pre-training dev loss"
    return bits_against(lost, what=what, caption=f"{what} against bits recalled.", is_share=False)


def bits_and_accuracy(scored: pd.DataFrame, bits: pd.DataFrame) -> Sketch:
    """By task the accuracy of information deletion, and of the dense model, against the bits that
    the pruned model recalled before fine-tuning."""
    is_dense = (scored.arm == PRUNE_PRETRAIN) & (scored.sparsity == 0)
    deleted = scored[is_dense | (scored.arm == INFORMATION_DELETION)]
    points = with_bits(deleted.assign(panel=deleted.task, value=deleted.accuracy), bits)
    what = "Dev accuracy of information deletion, and of the dense model,"
    return bits_against(points, what=what, caption=f"{what} against bits recalled.")


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
