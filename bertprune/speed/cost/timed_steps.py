"""Unit costs of steps, evaluations, mask updates and text, measured in the process that asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerFast

from bertprune.data.corpus import Corpus, prepare_corpus
from bertprune.data.documents import text_size_bytes
from bertprune.data.glue import TASKS
from bertprune.data.pretraining_examples import PretrainingExamples, sentence_pairs
from bertprune.data.task_examples import TaskExamples
from bertprune.data.tokenizer import load_tokenizer
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.protocol.evaluation import FINETUNING_EVALUATION_BATCH, PRETRAINING_EVALUATION_BATCH
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.speed import made_up_inputs
from bertprune.speed.cost.amounts_of_work import (
    FINETUNING_EVALUATION,
    FINETUNING_STEP,
    MASK_UPDATE,
    MASKED_SHARE,
    PAIRING,
    PRETRAINING_EVALUATION,
    PRETRAINING_STEP,
    TASK_TOKENISING,
    TEXT,
)
from bertprune.speed.cost.unit_costs import Line, through
from bertprune.speed.cost.what_to_measure import Request
from bertprune.speed.stopwatch import (
    finetuning_steps,
    own_time,
    pretraining_steps,
    quiet,
    seconds_of,
    times_after,
)
from bertprune.training import finetuning, pretraining, processes
from bertprune.training.variants import Variant

# A larger batch is measured as a smaller one, and scaled: a step shall take a few seconds at most.
_LARGEST_STEP_FLOP = 2e11
# Of steps that take long a few are enough: FLOP of a batch's forward pass.
_LONG_STEP_FLOP = 4e10
_STEPS, _LONG_STEPS = 25, 3
_LONG_S = 0.5

_LAB_DOCUMENTS = 2000
_SPARSITY = 0.5


def steps(request: Request) -> dict[str, Line]:
    """Unit costs of all but `runs_without_steps`, with the threads that the request has."""
    torch.set_num_threads(request.threads)
    # Bars of several processes at once would only be in each other's way.
    with TemporaryDirectory() as folder, quiet():
        tokenizer = load_tokenizer(request.lab)
        timer = _Timer(request, tokenizer, processes.accelerator(request.precision), Path(folder))
        return timer.of_text() | timer.of_pretraining() | timer.of_tasks()


@dataclass(frozen=True)
class _Timer:
    """What is asked, and what it is measured with."""

    request: Request
    tokenizer: PreTrainedTokenizerFast
    accelerator: Accelerator
    folder: Path

    def of_text(self) -> dict[str, Line]:
        tokenising = seconds_of(self._lab_text, own_time)
        corpus = self._lab_text()
        length, documents = self.request.max_length_tokens, np.arange(corpus.documents_total)
        pairing = seconds_of(
            lambda: sentence_pairs(corpus, documents, max_length_tokens=length, seed=0), own_time
        )
        return {
            TEXT: Line(0.0, tokenising / (text_size_bytes([self._lab]) or 1)),
            PAIRING: Line(0.0, pairing / len(corpus.tokens)),
        }

    @property
    def _lab(self) -> str:
        return f"{self.request.lab}:{_LAB_DOCUMENTS}"

    def _lab_text(self) -> Corpus:
        """Prepared the first time, then read."""
        return prepare_corpus([self._lab], self.tokenizer, self.folder)

    def of_pretraining(self) -> dict[str, Line]:
        """On the lab's text where the study has it, which decides how full batches are; else on a
        made-up one."""
        if self.request.language is None:
            corpus = made_up_inputs.corpus(len(self.tokenizer), self.folder)
        else:
            corpus = self._lab_text()
        model = fresh_model(self._shape, seed=0).to(self.accelerator.device)
        # Sparse, and with masks that no step changes.
        schedule = Schedule(_SPARSITY)
        pruner = Pruner.following(model, schedule, Criterion())
        updates = [seconds_of(lambda: pruner.before_step(0), own_time) for _ in range(3)]
        length = self.request.max_length_tokens
        flop = self.request.size.flop_per_token(length, MASKED_SHARE) * length

        def pairs(batch_size: int) -> PretrainingExamples:
            return made_up_inputs.pairs(corpus, self.tokenizer, batch_size, length, self.folder)

        def step(batch_size: int) -> float:
            batches = pairs(batch_size).batch
            training = partial(pretraining_steps, model, batches, schedule)
            return self._step(training, batch_size * flop)

        def evaluation(batch_size: int) -> float:
            batches = [pairs(batch_size).batch(0)]
            return _second_time(lambda: pretraining.evaluate(model, batches, self.accelerator))

        trained = _sizes(self.request.pretrain_batch_size, 3 * flop)
        evaluated = _sizes(PRETRAINING_EVALUATION_BATCH, flop)
        return {
            PRETRAINING_STEP: _line(step, trained, length),
            PRETRAINING_EVALUATION: _line(evaluation, evaluated, length),
            MASK_UPDATE: Line(min(updates)),
        }

    def of_tasks(self) -> dict[str, Line]:
        """On made-up phrases that are all of one length."""
        task, request = TASKS["sst2"], self.request
        model = made_up_inputs.classifier(self._shape).to(self.accelerator.device)
        masks = Criterion().masks(prunable_matrices(model), _SPARSITY)

        def examples(phrases: pd.DataFrame) -> TaskExamples:
            return TaskExamples(phrases, task, self.tokenizer, request.max_length_tokens)

        def phrases(count: int, length: int) -> pd.DataFrame:
            return made_up_inputs.phrases(count, (length, length), self.tokenizer)

        def step(length: int) -> float:
            flop = request.size.flop_per_token(length) * length
            _, count = _sizes(request.batch_size, 3 * flop)
            data, all_of_it = examples(phrases(count, length)), np.arange(count)
            took = self._step(
                lambda steps: finetuning_steps(model, data, [all_of_it] * steps, masks),
                count * flop,
            )
            return took * request.batch_size / count

        def evaluation(length: int) -> float:
            wanted = FINETUNING_EVALUATION_BATCH
            _, count = _sizes(wanted, request.size.flop_per_token(length) * length)
            data = examples(phrases(count, length))
            took = _second_time(lambda: finetuning.evaluate(model, data, task, self.accelerator))
            return took * wanted / count

        lengths = request.shortest_tokens, request.longest_tokens
        some = phrases(FINETUNING_EVALUATION_BATCH, request.longest_tokens)
        tokenising = _second_time(lambda: examples(some)) / examples(some).lengths.sum()
        return {
            FINETUNING_STEP: _line(step, lengths, request.batch_size),
            FINETUNING_EVALUATION: _line(evaluation, lengths, FINETUNING_EVALUATION_BATCH),
            TASK_TOKENISING: Line(0.0, float(tokenising)),
        }

    @property
    def _shape(self) -> Shape:
        return self.request.shape_for(len(self.tokenizer))

    def _step(self, training: Callable[[int], Variant], flop: float) -> float:
        """The time of a step of the real training loop: the shortest, since what else a machine
        does makes steps longer, never shorter."""
        count = _LONG_STEPS if flop > _LONG_STEP_FLOP else _STEPS
        times = times_after(range(1, count + 1), [training(count)], self.accelerator, own_time)
        return min(later - earlier for earlier, later in pairwise(times))


def _line(seconds: Callable[[int], float], sizes: tuple[int, int], tokens_each: int) -> Line:
    """The line through the seconds of a small and a large batch, or of one if they are equal."""
    small, large = sizes
    last = large * tokens_each, seconds(large)
    first = last if small == large else (small * tokens_each, seconds(small))
    return through(first, last)


def _sizes(wanted: int, flop_of_one: float) -> tuple[int, int]:
    """A small batch and a large one, the one wanted if a step of it does not take too long."""
    large = max(1, min(wanted, int(_LARGEST_STEP_FLOP / flop_of_one)))
    return max(1, large // 4), large


def _second_time(work: Callable[[], object]) -> float:
    """Seconds of `work` when it is done again; of the first time where it takes long."""
    took = seconds_of(work, own_time)
    return took if took > _LONG_S else seconds_of(work, own_time)
