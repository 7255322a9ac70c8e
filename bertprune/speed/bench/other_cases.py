"""Cases: what is not a training step. Masks, analyses, data, a whole study, the machine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

from bertprune.analysis.feature_similarity import similarity
from bertprune.analysis.pruned_parts import difference, shares_of_heads
from bertprune.analysis.sort_order import Movement
from bertprune.analysis.weight_statistics import histograms, magnitudes, statistics
from bertprune.data.corpus import prepare_corpus
from bertprune.data.documents import documents
from bertprune.data.pretraining_examples import sentence_pairs
from bertprune.data.tokenizer import load_tokenizer
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.protocol.record import Record
from bertprune.pruning.masks import Criterion, Masks, pruned_count, pruned_entries
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.speed.bench.pretraining_cases import SPARSITY
from bertprune.speed.bench.quantities import (
    NNCF,
    OFF,
    OFF_AT_ZERO,
    OFF_WITH_TIES,
    OURS,
    TORCH_PRUNE,
)
from bertprune.speed.bench.rival import NncfPruner, TorchPruner, has_nncf
from bertprune.speed.bench.timing import Row, Setting, matrix_rates
from bertprune.speed.fresh_project import sweep_in
from bertprune.speed.made_up_inputs import MAX_LENGTH_TOKENS, Pairs, classifier
from bertprune.speed.stopwatch import quiet, seconds_of

DATASETS = "datasets.map, as run_mlm"
TEXT = "lab:0:4000"
STUDY = "ci"
_SIMILAR_PAIRS = 32


def machine(setting: Setting) -> Iterator[Row]:
    """What matrix products reach here by precision, library and size: shares are of the best."""
    for one in setting.in_each_precision():
        for (library, size), rates in matrix_rates(one).items():
            named = " × ".join(map(str, size))
            yield one.row(library, f"matrix rate, {named}", "FLOP/s", rates)


def mask_update(setting: Setting, shape: Shape) -> Iterator[Row]:
    """New masks for all prunable matrices; and in how many entries more or fewer are pruned than
    were asked for, also of weights that are equal, and with none to be pruned."""
    # Without a decoder that has the same masks.
    model = classifier(shape).to(setting.device)
    sizes = {name: weight.numel() for name, weight in prunable_matrices(model).items()}
    pruners: dict[str, Callable[[Any], Any]] = {OURS: _OurPruner, TORCH_PRUNE: TorchPruner}
    if has_nncf():
        pruners[NNCF] = NncfPruner
    off: dict[str, int] = {}

    def update(side: str, start: Any, sparsity: float) -> float:
        pruner = pruners[side](copy.deepcopy(start))
        seconds = seconds_of(lambda: pruner.update(sparsity))
        found = pruner.pruned()
        differences = (found[name] - pruned_count(sparsity, size) for name, size in sizes.items())
        off[side] = sum(map(abs, differences))
        return seconds

    sides = {side: partial(update, side, model, SPARSITY) for side in pruners}
    yield from setting.compared(sides, "time")
    for side in pruners:
        yield setting.row(side, OFF, "", [off[side]])
    rounded = copy.deepcopy(model).bfloat16().float()
    for quantity, *given in ((OFF_WITH_TIES, rounded, SPARSITY), (OFF_AT_ZERO, model, 0.0)):
        for side in pruners:
            with quiet():
                update(side, *given)
            yield setting.row(side, quantity, "", [off[side]])


class _OurPruner:
    """New masks, and the matrices multiplied by them, as torch.nn.utils.prune does it too."""

    def __init__(self, model: Any) -> None:
        self._weights = {name: one.detach() for name, one in prunable_matrices(model).items()}
        self._masks: Masks = {}

    def update(self, sparsity: float) -> None:
        self._masks = Criterion().masks(self._weights, sparsity)
        for name, weight in self._weights.items():
            weight * self._masks[name]

    def pruned(self) -> dict[str, int]:
        return {name: pruned_entries(mask) for name, mask in self._masks.items()}


def analyses(setting: Setting, shape: Shape) -> Iterator[Row]:
    """The analyses of a model: bytes of weights a second, and tokens a second of features."""
    model = fresh_model(shape, seed=0).to(setting.device)
    matrices = prunable_matrices(model)
    before = {name: weight.detach() for name, weight in matrices.items()}
    after = {name: weight + 0.01 * torch.randn_like(weight) for name, weight in before.items()}
    kept, others = (Criterion().masks(one, SPARSITY) for one in (before, after))
    movement, words = Movement(before), before[WORD_EMBEDDINGS]
    batch = Pairs(_SIMILAR_PAIRS, shape.vocabulary_size).examples.batch(0).to(setting.device)
    weights = "B/s", sum(weight.nbytes for weight in before.values())
    looked_at: dict[str, tuple[str, int, Callable[[], object]]] = {
        "statistics of weights": (*weights, lambda: statistics(before)),
        "histograms of weights": (*weights, lambda: histograms(before)),
        "magnitudes of embeddings": ("B/s", words.nbytes, lambda: magnitudes(words)),
        "movement": (*weights, lambda: movement.entries(after)),
        "difference of masks": (
            "B/s",
            sum(mask.nbytes for mask in kept.values()),
            lambda: difference(kept, others),
        ),
        "pruned shares of heads": (*weights, lambda: shares_of_heads(kept, heads=shape.heads)),
        "similarity of features": (
            "tokens/s",
            int(batch.attention_mask.sum()),
            lambda: similarity(model, copy.copy(model), [batch], pairs=_SIMILAR_PAIRS),
        ),
    }
    seconds = setting.in_turn(
        {name: partial(seconds_of, work) for name, (_, _, work) in looked_at.items()}
    )
    for name, (unit, amount, _) in looked_at.items():
        yield setting.row(OURS, name, unit, [amount / time for time in seconds[name]])


def data(setting: Setting, text: str = TEXT) -> Iterator[Row]:
    """From text to numbers: ours splits sentences, tokenises and pairs; run_mlm tokenises and cuts
    the text into blocks."""
    tokenizer = load_tokenizer("lab")
    with TemporaryDirectory() as name:
        folder = Path(name)
        table = pd.DataFrame({"text": list(documents([text]))})
        table.to_parquet(folder / "text.parquet")
        size = sum(len(document.encode()) for document in table.text)

        def by_us() -> float:
            with TemporaryDirectory() as cache:
                return seconds_of(lambda: prepared(Path(cache)))

        def prepared(cache: Path) -> None:
            corpus = prepare_corpus([str(folder)], tokenizer, cache)
            sentence_pairs(corpus, np.arange(corpus.documents_total), seed=0)

        def by_datasets() -> float:
            return _seconds_of_datasets(table, tokenizer, setting.threads)

        sides = {OURS: by_us, DATASETS: by_datasets}
        yield from setting.compared(sides, a_second={"MB/s": size / 1e6})


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
    records: list[Record] = []
    with TemporaryDirectory() as folder:
        wall = seconds_of(lambda: records.extend(sweep_in(Path(folder), name)))
    work = sum(record.wall_time_s for record in records)
    yield setting.row(OURS, f"study {name}, wall time", "s", [wall])
    yield setting.row(OURS, f"study {name}, work of its runs", "s", [work])
    yield setting.row(OURS, f"study {name}, wall time a notebook", "s", [wall / len(records)])
