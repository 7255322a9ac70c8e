"""What is to be measured for a plan: its models, lengths and threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bertprune.experiments.runs import Run
from bertprune.lab.language import SOURCE, language_of
from bertprune.model.shape import Shape, shape_of
from bertprune.protocol.notebook_parameters import Finetune
from bertprune.speed.cost.amounts_of_work import (
    FINETUNING_STEP,
    PRETRAINING_STEP,
    run_work,
    task_size,
)


@dataclass(frozen=True)
class Request:
    """What is measured: a model of `size`, at these batches and lengths, with `threads`."""

    size: Shape
    max_length_tokens: int
    pretrain_batch_size: int
    batch_size: int
    shortest_tokens: int
    """The shortest mean length of the tasks; and the longest:"""
    longest_tokens: int
    language: int | None
    """Seed of the lab language that the text is in."""
    threads: int
    precision: str

    @property
    def lab(self) -> str:
        """The lab language of the text, or one that stands in for another text."""
        return f"{SOURCE}:{self.language or 0}"

    def shape_for(self, vocabulary_size: int) -> Shape:
        """The shape of the model that is measured, with a tokenizer of `vocabulary_size` entries:
        the stand-in for the study's own may have more."""
        return replace(
            self.size,
            vocabulary_size=max(self.size.vocabulary_size, vocabulary_size),
            max_length_tokens=max(self.size.max_length_tokens, self.max_length_tokens),
        )

    def in_words(self) -> str:
        size = self.size
        return f"{size.layers} layers × {size.hidden_size}, vocabulary {size.vocabulary_size:,}"


def requests(threads: Mapping[Run, int]) -> list[Request]:
    """What must be measured for runs with their `threads`: each shape once for each number of
    threads that a run with steps has, at the batches and lengths of the last such run."""
    lengths: defaultdict[Shape, set[int]] = defaultdict(set)
    found = {}
    for run in threads:
        p = run.parameters
        if isinstance(p, Finetune):
            sizes = [task_size(name, p) for name in p.task]
            lengths[shape_of(p)] |= {round(one.mean_length_tokens) for one in sizes}
    for run, count in threads.items():
        p = run.parameters
        if _trains(run):
            size = shape_of(p)
            of_tasks = lengths[size] or {p.max_length_tokens}
            found[size, count] = Request(
                size=size,
                max_length_tokens=p.max_length_tokens,
                pretrain_batch_size=p.pretrain_batch_size,
                batch_size=p.batch_size if isinstance(p, Finetune) else p.pretrain_batch_size,
                shortest_tokens=min(of_tasks),
                longest_tokens=max(of_tasks),
                language=language_of(p.text),
                threads=count,
                precision=run.precision,
            )
    return list(found.values())


def _trains(run: Run) -> bool:
    steps = (PRETRAINING_STEP, FINETUNING_STEP)
    return any(one.times and one.unit in steps for one in run_work(run))
