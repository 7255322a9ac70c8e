"""What is to be measured for a plan: its models, lengths and threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from bertprune.experiments.runs import Run
from bertprune.lab.language import language_of
from bertprune.model.shape import Shape, shape_of
from bertprune.protocol.notebook_parameters import Finetune
from bertprune.speed.cost import amounts_of_work as work


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
            sizes = [work.task_size(name, p) for name in p.task]
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
            )
    return list(found.values())


def _trains(run: Run) -> bool:
    steps = (work.PRETRAINING_STEP, work.FINETUNING_STEP)
    return any(one.times and one.unit in steps for one in work.run_work(run))
