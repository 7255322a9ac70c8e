"""Cases: what is not a training step. Masks, analyses, data, a whole study, the machine."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.utils import prune

from bertprune.analysis import feature_similarity, pruned_parts, weight_statistics
from bertprune.analysis.sort_order import Movement
from bertprune.base import paths
from bertprune.data.corpus import prepare_corpus
from bertprune.data.documents import documents
from bertprune.data.pretraining_examples import sentence_pairs
from bertprune.data.tokenizer import load_tokenizer
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.protocol.record import RECORD_FILE, Record
from bertprune.pruning.masks import Criterion, pruned_count, pruned_entries
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.speed.bench.pretraining_cases import SPARSITY
from bertprune.speed.bench.quantities import OURS, TORCH_PRUNE
from bertprune.speed.bench.timing import Row, Setting, matrix_rates
from bertprune.speed.made_up_inputs import MAX_LENGTH_TOKENS, Pairs
from bertprune.speed.stopwatch import seconds_of

DATASETS = "datasets.map, as run_mlm"
TEXT = "lab:0:4000"
STUDY = "ci"
_SIMILAR_PAIRS = 32


def machine(setting: Setting) -> Iterator[Row]:
    """What this machine makes of square matrix products, the measure of all FLOP/s."""
    for size, rates in matrix_rates(setting).items():
        yield setting.row("torch", f"matrix rate, {size} × {size}", "FLOP/s", rates)


def mask_update(setting: Setting, shape: Shape) -> Iterator[Row]:
    """New masks for all prunable matrices, and the matrices masked by them."""
    model = fresh_model(shape, seed=0).to(setting.device)
    matrices = {name: weight.detach() for name, weight in prunable_matrices(model).items()}
    found: dict[str, list[int]] = {}

    def by_us() -> float:
        made: dict[str, torch.Tensor] = {}

        def work() -> None:
            made.update(Criterion().masks(matrices, SPARSITY))
            for name, weight in matrices.items():
                weight * made[name]

        seconds = seconds_of(work)
        found[OURS] = [pruned_entries(mask) for mask in made.values()]
        return seconds

    def by_torch() -> float:
        modules = [_holder(weight) for weight in matrices.values()]

        def work() -> None:
            for module in modules:
                size = module.get_parameter("weight").numel()
                prune.l1_unstructured(module, "weight", amount=pruned_count(SPARSITY, size))

        seconds = seconds_of(work)
        found[TORCH_PRUNE] = [int((module.weight_mask == 0).sum()) for module in modules]
        return seconds

    seconds = setting.in_turn({OURS: by_us, TORCH_PRUNE: by_torch})
    if found[OURS] != found[TORCH_PRUNE]:
        raise ValueError(f"counts differ: {found[OURS]} and {found[TORCH_PRUNE]}")
    yield from setting.rows(seconds, "time")
    yield from setting.ratios(seconds)


def _holder(weight: torch.Tensor) -> Any:
    module = nn.Module()
    module.weight = nn.Parameter(weight)
    return module


def analyses(setting: Setting, shape: Shape) -> Iterator[Row]:
    """The analyses of a model: bytes of weights a second, and tokens a second of features."""
    model = fresh_model(shape, seed=0).to(setting.device)
    matrices = prunable_matrices(model)
    before = {name: weight.detach() for name, weight in matrices.items()}
    after = {name: weight + 0.01 * torch.randn_like(weight) for name, weight in before.items()}
    kept, others = (Criterion().masks(one, SPARSITY) for one in (before, after))
    movement = Movement(before)
    batch = Pairs(_SIMILAR_PAIRS, shape.vocabulary_size).examples.batch(0)
    work: dict[str, Callable[[], object]] = {
        "statistics of weights": lambda: weight_statistics.statistics(before),
        "histograms of weights": lambda: weight_statistics.histograms(before),
        "magnitudes of embeddings": lambda: weight_statistics.magnitudes(before[WORD_EMBEDDINGS]),
        "movement": lambda: movement.entries(after),
        "difference of masks": lambda: pruned_parts.difference(kept, others),
        "pruned shares of heads": lambda: pruned_parts.shares_of_heads(kept, heads=shape.heads),
        "similarity of features": lambda: feature_similarity.similarity(
            model, copy.copy(model), [batch.to(setting.device)], pairs=_SIMILAR_PAIRS
        ),
    }
    size = sum(weight.nbytes for weight in before.values())
    sizes = dict.fromkeys(work, (size, "B/s")) | {
        "magnitudes of embeddings": (before[WORD_EMBEDDINGS].nbytes, "B/s"),
        "difference of masks": (sum(mask.nbytes for mask in kept.values()), "B/s"),
        "similarity of features": (int(batch.attention_mask.sum()), "tokens/s"),
    }
    seconds = setting.in_turn({name: partial(seconds_of, one) for name, one in work.items()})
    for name, times in seconds.items():
        amount, unit = sizes[name]
        yield setting.row(OURS, name, unit, [amount / time for time in times])


def data(setting: Setting, text: str = TEXT) -> Iterator[Row]:
    """From text to numbers: ours splits sentences, tokenises and pairs; run_mlm tokenises and cuts
    the text into blocks."""
    tokenizer = load_tokenizer("lab")
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "text").mkdir()
        table = pd.DataFrame({"text": list(documents([text]))})
        table.to_parquet(folder / "text" / "text.parquet")
        size = sum(len(document.encode()) for document in table.text)

        def by_us() -> float:
            def work() -> None:
                corpus = prepare_corpus([str(folder / "text")], tokenizer, folder / "cache")
                sentence_pairs(corpus, np.arange(corpus.documents_total), seed=0)

            seconds = seconds_of(work)
            shutil.rmtree(folder / "cache")
            return seconds

        def by_datasets() -> float:
            return _seconds_of_datasets(table, tokenizer, setting.threads)

        seconds = setting.in_turn({OURS: by_us, DATASETS: by_datasets})
    yield from setting.rows(seconds, a_second={"MB/s": size / 1e6})
    yield from setting.ratios(seconds)


def _seconds_of_datasets(table: pd.DataFrame, tokenizer: Any, processes: int) -> float:
    """Seconds of run_mlm's preparation: tokenise, then group into blocks of 128."""
    import datasets

    def tokenised(rows: dict[str, list[str]]) -> Any:
        return tokenizer(rows["text"], return_special_tokens_mask=True)

    def grouped(rows: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        flat = {name: list(chain.from_iterable(values)) for name, values in rows.items()}
        total = len(flat["input_ids"]) // MAX_LENGTH_TOKENS * MAX_LENGTH_TOKENS
        starts = range(0, total, MAX_LENGTH_TOKENS)
        return {
            name: [values[start : start + MAX_LENGTH_TOKENS] for start in starts]
            for name, values in flat.items()
        }

    datasets.disable_progress_bars()
    datasets.disable_caching()
    rows = datasets.Dataset.from_pandas(table)

    def work() -> None:
        ids = rows.map(tokenised, batched=True, num_proc=processes, remove_columns=["text"])
        ids.map(grouped, batched=True, num_proc=processes)

    return seconds_of(work)


def study(setting: Setting, name: str = STUDY) -> Iterator[Row]:
    """A whole small study, executed from nothing: its wall time, and the work of its runs.

    Nobody else has such a thing. It is executed once.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(paths.root() / "notebooks", root / "notebooks")
        command = [sys.executable, "-m", "bertprune", "sweep", name]
        environment = os.environ | {"BERTPRUNE_ROOT": folder}
        wall = seconds_of(
            lambda: subprocess.run(
                command, cwd=root, env=environment, check=True, capture_output=True
            )
        )
        records = [Record.read(file.parent) for file in root.glob(f"runs/*/*/{RECORD_FILE}")]
    work = sum(record.wall_time_s for record in records)
    yield setting.row(OURS, f"study {name}, wall time", "s", [wall])
    yield setting.row(OURS, f"study {name}, work of its runs", "s", [work])
    yield setting.row(OURS, f"study {name}, wall time a notebook", "s", [wall / len(records)])
