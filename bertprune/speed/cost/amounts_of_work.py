"""How much work the runs of a study do: steps, evaluations, mask updates, in tokens.

Only what is trained is counted here, not how long it takes. Whatever lies on this machine is asked
itself: local task data, the lab, a local model. What is on the Hub only has known sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from bertprune.base.errors import UserError
from bertprune.data.glue import RELEASED, mean_length_tokens
from bertprune.experiments.runs import Run
from bertprune.lab import language as lab
from bertprune.lab.language import find_source, language_of
from bertprune.model.shape import is_at_hand, shape_of
from bertprune.protocol.arms import seed_of
from bertprune.protocol.evaluation import (
    EVALUATIONS_OF_A_TRAINING,
    FINETUNING_EVALUATION_BATCH,
    PAIRS_COMPARED,
    PRETRAINING_EVALUATION_BATCH,
    TRAINING_EXAMPLES_EVALUATED,
)
from bertprune.protocol.notebook_parameters import (
    BurnIn,
    Finetune,
    PruneAfterFinetune,
    PrunePretrain,
)
from bertprune.pruning.schedule import goes_on

PRETRAINING_STEP = "pre-training step"
PRETRAINING_EVALUATION = "pre-training evaluation, a batch"
FINETUNING_STEP = "fine-tuning step"
FINETUNING_EVALUATION = "fine-tuning evaluation, a batch"
MASK_UPDATE = "mask update"
TASK_TOKENISING = "tokenising a task"
TEXT = "preparing text"
PAIRING = "pairing sentences"
NOTEBOOK = "notebook"

MASKED_SHARE = 0.15
"""That of `data.pretraining_examples`, which takes seconds to import."""

# Of text, about: bytes of English to a piece of a WordPiece, and pieces to a word.
_BYTES_A_TOKEN = 4.5
_TOKENS_A_WORD = 1.4
_EXAMPLES_LOOKED_AT = 2000

_FLOAT_BYTES, _HALF_BYTES = 4, 2  # of a number in float32, and in bf16
_MASK_BYTES = 1  # of a weight, as torch.bool

# Float32 numbers for each weight of a model in training: itself, its gradient, a copy of that while
# it is clipped, and AdamW's two moments. A checkpoint has the weight and the moments.
_TRAINED, _SAVED = 5, 3
# Bytes for each prunable weight beside: its mask, and the value that it had before.
_PRUNER_BYTES = _MASK_BYTES + _FLOAT_BYTES
# Float32 numbers for each logit of the vocabulary: itself, its logarithm, and a gradient of each.
_LOGIT = 4
# Numbers of a token, in hidden sizes: what a layer keeps for the backward pass, measured; and what
# an evaluation has at once, which keeps nothing: a layer's input, queries, keys and values, and the
# inner states, four hidden sizes wide, before and after their activation.
_KEPT_BY_LAYER, _IN_A_LAYER = 26, 1 + 3 + 2 * 4
# How much longer the longest example of a batch is than the mean one, where a task has some.
_LONGEST_BY_MEAN = 3
# A process that has done nothing but import what a notebook needs. Measured.
_LIBRARIES_BYTES = 0.45e9

# Of files, about: an executed notebook, and an entry of a tokenizer's vocabulary.
_NOTEBOOK_BYTES = 0.6e6
_TOKENIZER_BYTES_AN_ENTRY = 40
# Of a pair in the cache: five int64, as `data.pretraining_examples.sentence_pairs` makes them.
_PAIR_BYTES = 5 * 8


@dataclass(frozen=True)
class TaskSize:
    """How large a task is."""

    train: int
    dev: int
    mean_length_tokens: float
    examples_assumed: bool = False
    """Whether the examples were not counted, but are those of GLUE in full."""
    tokens_assumed: bool = False
    """Whether the mean length is not that of the data at hand, but what is known of GLUE."""


Examples = Mapping[str, tuple[int, int]]
"""By task, how many examples there are to train on, and of the dev set."""


@dataclass(frozen=True)
class Amount:
    """So many `times` a unit of work, each of so many `tokens` (bytes where it is text)."""

    unit: str
    times: float = 1.0
    tokens: float = 0.0


# Bytes of text of data sets on the Hub, about, from their cards.
_HUB_TEXTS = {
    "wikimedia/wikipedia:20231101.en": 20.2e9,
    "wikimedia/wikipedia:20231101.simple": 0.29e9,
    "bookcorpus/bookcorpus": 4.85e9,
}


def task_size(name: str, parameters: Finetune, counted: Examples | None = None) -> TaskSize:
    """How large the task `name` is for a run with `parameters`; its examples are as `counted`
    elsewhere, if they are.

    Raises UserError for a task that is neither at hand nor one of GLUE's.
    """
    size = _known_size(name, parameters)
    if not counted or name not in counted:
        return size
    train, dev = counted[name]
    return replace(size, train=train, dev=dev, examples_assumed=False)


def _known_size(name: str, p: Finetune) -> TaskSize:
    """That of the data at hand, or what is known of GLUE."""
    vocabulary_size, longest = shape_of(p).vocabulary_size, p.max_length_tokens
    named = p.tokenizer or p.model
    if not named and (seed := language_of(p.text)) is not None:
        named = f"{lab.SOURCE}:{seed}"
    tokenizer = named if is_at_hand(named) else ""
    if is_at_hand(p.task_data):
        return _size_of_data(name, p.task_data, tokenizer, vocabulary_size, longest)
    if name not in RELEASED:
        raise UserError(
            f"the size of task {name!r} is not known, and `cost` asks no network: give its data "
            f"with --set task_data=FOLDER (known: {', '.join(RELEASED)})"
        )
    examples = RELEASED[name].train_examples, RELEASED[name].dev_examples
    length = min(mean_length_tokens(name, vocabulary_size), longest)
    return TaskSize(*examples, length, examples_assumed=True, tokens_assumed=True)


@cache
def _size_of_data(
    name: str, source: str, tokenizer: str, vocabulary_size: int, max_length_tokens: int
) -> TaskSize:
    from bertprune.data.task_examples import TaskExamples
    from bertprune.data.tasks import load_task

    data = load_task(name, source)
    some = data.train.head(_EXAMPLES_LOOKED_AT)
    if tokenizer:
        from bertprune.data.tokenizer import load_tokenizer

        found = TaskExamples(some, data.task, load_tokenizer(tokenizer), max_length_tokens)
        length = float(found.lengths.mean())
    elif name in RELEASED and not find_source(source):
        length = mean_length_tokens(name, vocabulary_size)
    else:
        words = sum(len(text.split()) for name in data.task.columns for text in some[name])
        length = _TOKENS_A_WORD * words / len(some) + 1 + len(data.task.columns)
    length = min(length, max_length_tokens)
    return TaskSize(len(data.train), len(data.dev), length, tokens_assumed=not tokenizer)


def text_bytes(parameters: BurnIn) -> float | None:
    """About how many bytes of text there are; None if that is not known without a network."""
    from bertprune.data.documents import text_size_bytes

    total = 0.0
    for source in parameters.text:
        size = text_size_bytes([source])
        known = [bytes for name, bytes in _HUB_TEXTS.items() if source.startswith(name)]
        if size is None and not known:
            return None
        total += known[0] if size is None else size
    return total


def text_work(plan: Iterable[Run]) -> list[Amount]:
    """What is done once for the text that the runs of `plan` train on, all but pre-training:
    cutting it into sentences and tokens, and pairing these for each seed."""
    pretrained = [run.parameters for run in plan if not isinstance(run.parameters, Finetune)]
    texts = {p.text: p for p in pretrained}
    amounts = []
    for text, parameters in texts.items():
        size = text_bytes(parameters) or 0.0
        seeds = {(type(p), seed_of(p)) for p in pretrained if p.text == text and _steps(p)}
        amounts.append(Amount(TEXT, 1, size))
        amounts.append(Amount(PAIRING, len(seeds), size / _BYTES_A_TOKEN))
    return amounts


def run_work(run: Run, counted: Examples | None = None) -> list[Amount]:
    """What the work of one run is, its notebook included; `counted` as for `task_size`."""
    p = run.parameters
    own = _finetuning(p, counted) if isinstance(p, Finetune) else _pretraining(p)
    return [*own, Amount(NOTEBOOK)]


def fixed(notebook: str) -> str:
    """The unit of what a run of `notebook` does beside its steps: loading, analyses, saving. For
    notebooks that fine-tune it is a task at a learning rate."""
    return f"{notebook}, without its steps"


def _steps(p: BurnIn) -> int:
    return p.pretrain_steps if isinstance(p, PrunePretrain) else p.burn_in_steps


def _pretraining(p: BurnIn) -> list[Amount]:
    steps = _steps(p)
    batches = math.ceil(p.dev_examples / PRETRAINING_EVALUATION_BATCH)
    evaluations = min(EVALUATIONS_OF_A_TRAINING, steps) or 1
    compared = updates = 0
    if isinstance(p, PrunePretrain) and p.sparsity > 0:
        updated = steps if goes_on(p) else p.ramp_steps
        updates = 1 + math.ceil(updated / p.pruning_frequency_steps)
        # The features of two models, each about an evaluation.
        pairs = min(PAIRS_COMPARED, p.dev_examples)
        compared = 2 * math.ceil(pairs / PRETRAINING_EVALUATION_BATCH)
    length = p.max_length_tokens
    evaluated_tokens = PRETRAINING_EVALUATION_BATCH * length
    return [
        Amount(PRETRAINING_STEP, steps, p.pretrain_batch_size * length),
        Amount(PRETRAINING_EVALUATION, evaluations * batches + compared, evaluated_tokens),
        Amount(MASK_UPDATE, updates),
        Amount(fixed(p.notebook)),
    ]


def _finetuning(p: Finetune, counted: Examples | None) -> list[Amount]:
    epochs = p.recovery_epochs if isinstance(p, PruneAfterFinetune) else p.epochs
    rates = len(p.learning_rates)
    amounts = []
    for name in p.task:
        size = task_size(name, p, counted)
        length = size.mean_length_tokens
        steps = epochs * math.ceil(size.train / p.batch_size)
        prunes = isinstance(p, PruneAfterFinetune) and goes_on(p)
        updates = math.ceil(steps / p.pruning_frequency_steps) if prunes else 0
        # The dev set after each epoch, of the training set a sample after the last one.
        batches = max(1, epochs) * math.ceil(size.dev / FINETUNING_EVALUATION_BATCH)
        evaluated = min(size.train, TRAINING_EXAMPLES_EVALUATED)
        batches += math.ceil(evaluated / FINETUNING_EVALUATION_BATCH)
        amounts += [
            Amount(FINETUNING_STEP, rates * steps, p.batch_size * length),
            Amount(FINETUNING_EVALUATION, rates * batches, FINETUNING_EVALUATION_BATCH * length),
            Amount(MASK_UPDATE, rates * updates),
            Amount(TASK_TOKENISING, 1, (size.train + size.dev) * length),
            Amount(fixed(p.notebook), rates),
        ]
    return amounts


def memory_bytes(p: BurnIn, *, on_gpu: bool) -> float:
    """About the peak of a run's memory; on a GPU that of the card alone.

    Weights, gradients, their copy when they are clipped, AdamW's two moments, masks and the values
    kept aside, for a comparison the dense model; and what a step keeps for its backward pass.
    """
    size = shape_of(p)
    weights = _TRAINED * _FLOAT_BYTES * size.parameters + _PRUNER_BYTES * size.prunable
    if p.compared_with() is not None:
        weights += _FLOAT_BYTES * size.parameters
    hidden_bytes = size.hidden_size * (_HALF_BYTES if on_gpu else _FLOAT_BYTES)
    kept_bytes = _KEPT_BY_LAYER * size.layers * hidden_bytes
    if isinstance(p, Finetune):
        longest = max(task_size(name, p).mean_length_tokens for name in p.task)
        # A batch is as wide as its longest example, and there are some that are far longer.
        width = min(p.max_length_tokens, _LONGEST_BY_MEAN * longest)
        training = p.batch_size * width * kept_bytes
        evaluation = FINETUNING_EVALUATION_BATCH * width * _IN_A_LAYER * hidden_bytes
    else:
        masked = MASKED_SHARE * p.max_length_tokens
        logits = _LOGIT * _FLOAT_BYTES * masked * size.vocabulary_size
        training = p.pretrain_batch_size * (p.max_length_tokens * kept_bytes + logits)
        evaluation = PRETRAINING_EVALUATION_BATCH * logits
    return weights + max(training, evaluation) + (0 if on_gpu else _LIBRARIES_BYTES)


def disk_bytes(run: Run) -> float:
    """About what a run leaves on the disk: models with masks, the notebook, rows."""
    p = run.parameters
    size = shape_of(p)
    model = _FLOAT_BYTES * size.parameters + _MASK_BYTES * size.prunable
    model += _TOKENIZER_BYTES_AN_ENTRY * size.vocabulary_size
    models = len(p.task) * len(p.learning_rates) if isinstance(p, Finetune) else 1
    return p.leaves_model() * models * model + _NOTEBOOK_BYTES


def checkpoint_bytes(p: BurnIn) -> float:
    """The checkpoint of a run in work: weights, AdamW's moments, masks and the values aside."""
    size = shape_of(p)
    return _SAVED * _FLOAT_BYTES * size.parameters + _PRUNER_BYTES * size.prunable


def cache_bytes(plan: Iterable[Run]) -> float:
    """About what stays in the cache: the text in tokens, the pairs of each seed, and what the Hub's
    text takes in its own cache."""
    from bertprune.data.corpus import CACHE_BYTES_PER_TEXT_BYTE
    from bertprune.data.documents import text_size_bytes

    plan = list(plan)
    texts = {run.parameters.text: run.parameters for run in plan if run.upstream is None}
    downloaded = sum(
        (text_bytes(p) or 0.0) for p in texts.values() if text_size_bytes(p.text) is None
    )
    bytes_a_token = {TEXT: CACHE_BYTES_PER_TEXT_BYTE}
    if plan:
        length = min(run.parameters.max_length_tokens for run in plan)
        bytes_a_token[PAIRING] = _PAIR_BYTES / length
    return downloaded + sum(
        one.times * one.tokens * bytes_a_token[one.unit] for one in text_work(plan)
    )
