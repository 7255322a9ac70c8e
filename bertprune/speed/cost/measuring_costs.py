"""Measuring unit costs on this machine: a few steps of the real training, and a tiny real sweep.

What is measured is kept in the cache, named by machine, code, torch and what was asked, so that a
change of any of them measures anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, replace
from functools import partial
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, TypeVar

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import read_json, write_json
from bertprune.base.fingerprint import code_key
from bertprune.base.machine import device_name, gpu_name, usable_cores
from bertprune.data.glue import TASKS
from bertprune.experiments.runs import Run
from bertprune.experiments.sweep import local_workers, thread_counts
from bertprune.lab.language import SOURCE
from bertprune.model.shape import Shape
from bertprune.protocol.evaluation import FINETUNING_EVALUATION_BATCH, PRETRAINING_EVALUATION_BATCH
from bertprune.protocol.notebook_parameters import CONTRACTS
from bertprune.speed.cost import amounts_of_work as work
from bertprune.speed.cost.estimate import default_workers
from bertprune.speed.cost.runs_without_steps import runs_without_steps
from bertprune.speed.cost.unit_costs import Line, Machine, Table, scaled, through
from bertprune.speed.cost.what_to_measure import Request, requests
from bertprune.training import dispatch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import BertForPreTraining, PreTrainedTokenizerFast

    from bertprune.data.corpus import Corpus

T = TypeVar("T")

# A larger batch is measured as a smaller one, and scaled: a step shall take a few seconds at most.
_LARGEST_STEP_FLOP = 2e11
# Of steps that take long a few are enough.
_LONG_STEP_FLOP = 4e10
_STEPS, _LONG_STEPS = 25, 3
_LONG_S = 0.5

# What runs of a larger model take beside their steps is measured with a small one, and scaled.
_LARGEST_RUN_PARAMETERS = 20_000_000
_SMALL_LAYERS, _SMALL_HIDDEN_SIZE, _SMALL_HEADS = 2, 128, 2

_LAB_DOCUMENTS = 2000
_DOCUMENTS, _SENTENCES_A_DOCUMENT, _TOKENS_A_SENTENCE = 100, 30, 20


def for_plan(plan: Sequence[Run], workers: int | None = None, *, again: bool = False) -> Machine:
    """This machine, with unit costs for the runs of `plan` in a sweep of `workers`: those stored,
    or measured now.

    `again` measures anew what is stored. What is being measured is told on stderr. Raises
    UserError if nothing trains.
    """
    # A GPU counts as one core: a sweep gives it one run at a time.
    cores = 1 if gpu_name() else usable_cores()
    machine = Machine(device_name(), cores, {}, is_gpu=bool(gpu_name()))
    threads = thread_counts(plan, workers or default_workers(machine), cores)
    return replace(machine, table=_measured(requests(threads), again))


def _measured(wanted: Sequence[Request], again: bool) -> Table:
    if not wanted:
        raise UserError("no run of the study has a training step: there is nothing to measure")
    table: Table = {}
    of_runs: dict[tuple[Shape, int | None], dict[str, Line]] = {}
    for one in wanted:
        sized = _small_enough(one)
        sort = one.size, one.language
        if sort not in of_runs:
            key = {"size": asdict(sized.size), "language": one.language}
            what = f"loading, saving and notebooks: {sized.in_words()}"
            found = _kept(key, what, partial(runs_without_steps, sized), again)
            of_runs[sort] = dict(scaled(found, sized.size, one.size))
        threads = f"{one.threads} thread{'s' * (one.threads != 1)}"
        what = f"steps: {one.in_words()}, {threads}"
        steps = _kept(asdict(one), what, partial(_side_by_side, one), again)
        table[one.size, one.threads] = of_runs[sort] | steps
    return table


def _small_enough(request: Request) -> Request:
    if request.size.parameters <= _LARGEST_RUN_PARAMETERS:
        return request
    small = replace(
        request.size, layers=_SMALL_LAYERS, hidden_size=_SMALL_HIDDEN_SIZE, heads=_SMALL_HEADS
    )
    return replace(request, size=small)


def _kept(
    key: Mapping[str, Any],
    what: str,
    measured: Callable[[], dict[str, Line]],
    again: bool,
) -> dict[str, Line]:
    """What is stored for `key`, or else is measured now and stored."""
    identity = {
        "asked": key,
        "machine": [device_name(), usable_cores(), platform.platform()],
        "code": [dispatch.code_of(contract) for contract in CONTRACTS.values()],
        "measuring": code_key(__name__),
        "torch": metadata.version("torch"),
    }
    text = json.dumps(identity, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = paths.cache_folder() / "costs" / f"{name}.json"
    if again or not file.exists():
        print(f"measuring {what} ...", end="", flush=True, file=sys.stderr)
        started = time.monotonic()
        lines = measured()
        print(f" {time.monotonic() - started:.0f} s", file=sys.stderr)
        values = {unit: asdict(line) for unit, line in lines.items()}
        write_json(identity | {"lines": values}, file)
    stored = read_json(file)["lines"]
    return {unit: Line(**line) for unit, line in stored.items()}


# Steps.


def _side_by_side(request: Request) -> dict[str, Line]:
    """Unit costs while all cores are busy, as in a sweep: the means of processes side by side."""
    processes = 1 if gpu_name() else max(1, usable_cores() // request.threads)
    with local_workers(processes) as workers:
        found = list(workers.map(steps, [request] * processes))
    return {
        unit: Line(
            fmean(one[unit].fixed_s for one in found),
            fmean(one[unit].per_token_s for one in found),
        )
        for unit in found[0]
    }


def steps(request: Request) -> dict[str, Line]:
    """Unit costs of steps, evaluations, mask updates and text, measured in this process."""
    import torch

    from bertprune.data.tokenizer import load_tokenizer
    from bertprune.model import loading
    from bertprune.model.shape import Shape
    from bertprune.training import processes

    torch.set_num_threads(request.threads)
    size = request.size
    accelerator = processes.accelerator()
    tokenizer = load_tokenizer(f"{SOURCE}:{request.language or 0}")
    shape = Shape(
        layers=size.layers,
        hidden_size=size.hidden_size,
        heads=size.heads,
        # As many as the tokenizer that stands in for the study's own, at least.
        vocabulary_size=max(size.vocabulary_size, len(tokenizer)),
        max_length_tokens=max(size.max_length_tokens, request.max_length_tokens),
        dropout=size.dropout,
    )
    model = loading.fresh_model(shape, seed=0).to(accelerator.device)
    # Bars of several processes at once would only be in each other's way.
    with (
        tempfile.TemporaryDirectory() as folder,
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stderr(nowhere),
    ):
        found = _of_text(request, tokenizer, Path(folder))
        found |= _of_pretraining(request, model, tokenizer, accelerator, Path(folder))
        model.save_pretrained(Path(folder) / "model")
        found |= _of_tasks(request, tokenizer, accelerator, Path(folder))
    return found


def _of_text(request: Request, tokenizer: PreTrainedTokenizerFast, folder: Path) -> dict[str, Line]:
    from bertprune.data.corpus import prepare_corpus
    from bertprune.data.documents import text_size_bytes
    from bertprune.data.pretraining_examples import sentence_pairs

    text = [f"{SOURCE}:{request.language or 0}:{_LAB_DOCUMENTS}"]
    prepared, tokenising = _timed(lambda: prepare_corpus(text, tokenizer, folder / "text"))
    documents = _numbers(prepared)
    _, pairing = _timed(
        lambda: sentence_pairs(
            prepared, documents, max_length_tokens=request.max_length_tokens, seed=0
        )
    )
    return {
        work.TEXT: Line(0.0, tokenising / (text_size_bytes(text) or 1)),
        work.PAIRING: Line(0.0, pairing / len(prepared.tokens)),
    }


def _of_pretraining(
    request: Request,
    model: BertForPreTraining,
    tokenizer: PreTrainedTokenizerFast,
    accelerator: Accelerator,
    folder: Path,
) -> dict[str, Line]:
    from bertprune.data.pretraining_examples import PretrainingExamples, dev_batches
    from bertprune.pruning.masks import Criterion
    from bertprune.pruning.pruner import Pruner
    from bertprune.pruning.schedule import Schedule
    from bertprune.training import pretraining

    corpus = _corpus(request, tokenizer, folder)
    length = request.max_length_tokens
    flop = request.size.flop_per_token(length, 0.15) * length
    # Sparse, and with masks that no step changes.
    pruner = Pruner.following(model, Schedule(final=0.5), Criterion())
    updates = [_timed(lambda: pruner.before_step(0))[1] for _ in range(3)]

    def step(batch_size: int) -> float:
        examples = PretrainingExamples(
            corpus,
            _numbers(corpus),
            tokenizer,
            max_length_tokens=length,
            batch_size=batch_size,
            seed=0,
            cache=folder,
        )
        loss = pretraining.PretrainingLoss(model)
        return _seconds_a_step(
            loss, lambda at, *of: examples.batch(at + 1, *of), accelerator, folder, flop, pruner
        )

    def evaluation(batch_size: int) -> float:
        batches = dev_batches(
            corpus,
            _numbers(corpus),
            tokenizer,
            max_length_tokens=length,
            batch_size=batch_size,
            examples=batch_size,
        )
        return _second_time(lambda: pretraining.evaluate(model, batches, accelerator))

    wanted = request.pretrain_batch_size
    return {
        work.PRETRAINING_STEP: _line(step, _sizes(wanted, 3 * flop), length),
        work.PRETRAINING_EVALUATION: _line(
            evaluation, _sizes(PRETRAINING_EVALUATION_BATCH, flop), length
        ),
        work.MASK_UPDATE: Line(min(updates)),
    }


def _of_tasks(
    request: Request,
    tokenizer: PreTrainedTokenizerFast,
    accelerator: Accelerator,
    folder: Path,
) -> dict[str, Line]:
    import pandas as pd

    from bertprune.data.task_examples import TaskExamples
    from bertprune.model import loading
    from bertprune.pruning.masks import Criterion
    from bertprune.pruning.pruner import Pruner
    from bertprune.training import finetuning

    task = TASKS["sst2"]
    words = [word for word in tokenizer.get_vocab() if word.isalpha()]
    model = loading.load_classifier(str(folder / "model"), labels=2, seed=0)
    model.to(accelerator.device)
    pruner = Pruner.holding(model, loading.load_masks(folder / "model", model), Criterion())
    tokenising: list[float] = []

    def examples(count: int, length: int) -> TaskExamples:
        """A task of `count` sentences, each so many tokens long."""
        texts = _sentences(words, count, length - 2)
        frame = pd.DataFrame({"sentence": texts, "label": [at % 2 for at in range(count)]})
        longest = request.max_length_tokens
        made, took = _timed(lambda: TaskExamples(frame, task, tokenizer, longest))
        tokenising.append(took / float(made.lengths.sum()))
        return made

    def step(length: int) -> float:
        flop = request.size.flop_per_token(length) * length
        _, batch_size = _sizes(request.batch_size, 3 * flop)
        data = examples(4 * batch_size, length)
        batches = data.order(0, 0, batch_size)
        took = _seconds_a_step(
            finetuning.ClassificationLoss(model),
            lambda at, *of: data.batch(batches[at % len(batches)], *of),
            accelerator,
            folder,
            batch_size * flop,
            pruner,
        )
        return took * request.batch_size / batch_size

    def evaluation(length: int) -> float:
        wanted = FINETUNING_EVALUATION_BATCH
        _, count = _sizes(wanted, request.size.flop_per_token(length) * length)
        data = examples(count, length)
        took = _second_time(lambda: finetuning.evaluate(model, data, task, accelerator))
        return took * wanted / count

    lengths = (request.shortest_tokens, request.longest_tokens)
    return {
        work.FINETUNING_STEP: _line(step, lengths, request.batch_size),
        work.FINETUNING_EVALUATION: _line(evaluation, lengths, FINETUNING_EVALUATION_BATCH),
        work.TASK_TOKENISING: Line(0.0, median(tokenising)),
    }


def _sentences(words: Sequence[str], count: int, length: int) -> list[str]:
    """Different sentences of `length` of the words each, of one at least."""
    places = range(max(1, length))
    return [
        " ".join(words[(start + place) % len(words)] for place in places) for start in range(count)
    ]


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


def _seconds_a_step(
    loss: Any,
    batch: Callable[[int, int, int], Any],
    accelerator: Accelerator,
    folder: Path,
    flop: float,
    pruner: Any,
) -> float:
    """The time of a step of the real training loop: the shortest, since what else a machine does
    makes steps longer, never shorter."""
    from bertprune.training.checkpoint import CHECKPOINT_FILE
    from bertprune.training.loop import train
    from bertprune.training.variants import Optimization, Variant

    count = _LONG_STEPS if flop > _LONG_STEP_FLOP else _STEPS
    times: list[float] = []

    def tick(_: int) -> list[Any]:
        times.append(_now())
        return []

    variant = Variant(
        loss,
        batch,
        Optimization(learning_rate=1e-5, steps=count),
        seed=0,
        pruner=pruner,
        evaluate=tick,
        evaluate_after=range(1, count + 1),
    )
    train([variant], accelerator, folder=folder / "training", what="measuring")
    (folder / "training" / CHECKPOINT_FILE).unlink(missing_ok=True)
    return min(later - earlier for earlier, later in pairwise(times))


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = _now()
    return work(), _now() - started


def _second_time(work: Callable[[], object]) -> float:
    """Seconds of `work` when it is done again; of the first time where it takes long."""
    took = _timed(work)[1]
    return took if took > _LONG_S else _timed(work)[1]


def _now() -> float:
    """A clock in seconds: of the GPU's work where there is one, else of this process's threads.

    What else the machine is busy with does not count.
    """
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()


def _corpus(request: Request, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Corpus:
    """Text to train on: the lab's where the study has it, else random tokens in sentences."""
    import numpy as np

    from bertprune.data.corpus import Corpus, prepare_corpus

    if request.language is not None:
        text = [f"{SOURCE}:{request.language}:{_LAB_DOCUMENTS}"]
        return prepare_corpus(text, tokenizer, folder / "text")
    sentences = _DOCUMENTS * _SENTENCES_A_DOCUMENT
    tokens = sentences * _TOKENS_A_SENTENCE
    return Corpus(
        tokens=np.random.default_rng(0).integers(0, len(tokenizer), tokens),
        sentence_starts=np.arange(0, tokens + 1, _TOKENS_A_SENTENCE),
        document_starts=np.arange(0, sentences + 1, _SENTENCES_A_DOCUMENT),
        key="random",
        folder=folder,
    )


def _numbers(corpus: Corpus) -> Any:
    import numpy as np

    return np.arange(corpus.documents_total)
