"""Shipping: a model as a folder of its own, with a card that is made from the run's record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import new_folder
from bertprune.base.words import percent
from bertprune.book.pages.records import filled
from bertprune.data.tokenizer import load_tokenizer
from bertprune.evidence.scores import AVERAGE, scores
from bertprune.experiments.runs import ROWS_FILE
from bertprune.model import loading
from bertprune.model.holding import check_zeros
from bertprune.model.loading import CARD_FILE, CURVE_FILE, DENSE_FILE
from bertprune.model.onnx_file import ONNX_FILE, check_exporter, save_onnx
from bertprune.protocol import notebook_parameters, rows
from bertprune.protocol.arms import words_of_arm
from bertprune.protocol.record import RECORD_FILE, DamagedRecord, Record
from bertprune.protocol.views import parameters_of_run
from bertprune.pruning.masks import Masks, pruned_count, pruned_entries, sparsity_of
from bertprune.pruning.matrices import matrix_of, prunable_matrices
from bertprune.pruning.storage import SPARSE_FILE

STORAGES = ("sparse", "dense", "onnx")
"""What `ship` writes: weights without their zeros, an ordinary Hugging Face folder with the masks
beside the weights, or an ONNX file."""


def ship(
    named: str, destination: Path, *, storage: str = "sparse", precision: str | None = None
) -> Path:
    """Write the model of the run or in the folder `named` to the new folder `destination`.

    It gets its weights in one of the STORAGES (a model that is not pruned has no zeros to leave
    out: sparse is dense) and in `precision` (by default bf16, and float32 in ONNX), config,
    tokenizer, a model card, and the curve of its pre-training where a run has one. Raises UserError
    if there is no such model, if a weight that its mask prunes is not zero, if `destination` is
    there already, or for ONNX in bf16 or without the packages that it needs.
    """
    if destination.exists():
        raise UserError(f"{destination} is there already: name a new folder")
    if storage == "onnx":
        check_exporter()
        if precision == "bf16":
            raise UserError("ONNX is written in float32: leave out --precision bf16")
    precision = precision or ("float32" if storage == "onnx" else "bf16")
    folder = _model_folder(named)
    run = _run_folder(folder)
    model = _load(folder)
    held = loading.load_masks(folder, model)
    masks = {name: held[name] for name in prunable_matrices(model)}
    check_zeros(prunable_matrices(model), masks)
    if storage == "sparse" and not sparsity_of(masks):
        storage = "dense"
    with new_folder(destination.absolute()) as unfinished:
        weights = _save(model, masks, load_tokenizer(str(folder)), unfinished, storage, precision)
        card = _card(model, masks, run, precision, destination.name, weights)
        (unfinished / CARD_FILE).write_text(card, encoding="utf-8")
        if run is not None and len(curve := _curve(run)):
            rows.write(curve, unfinished / CURVE_FILE)
    return destination


def _save(
    model: PreTrainedModel,
    masks: Masks,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    storage: str,
    precision: str,
) -> Path:
    """Write a model and its tokenizer to `folder`; gives the file of its weights."""
    if storage == "sparse":
        loading.save_sparse(model, tokenizer, masks, folder, precision)
        return folder / SPARSE_FILE
    if storage == "onnx":
        tokenizer.save_pretrained(folder)
        model.config.save_pretrained(folder)
        save_onnx(model, folder)
        return folder / ONNX_FILE
    dense = model.bfloat16() if precision == "bf16" else model
    loading.save_pretrained(dense, tokenizer, masks if sparsity_of(masks) else {}, folder)
    return folder / DENSE_FILE


def _curve(run: Path) -> rows.Rows:
    """The losses and dev metrics of a run of pre-training, step by step."""
    found = rows.read(run / ROWS_FILE)
    return rows.where(found, task=rows.PRETRAINING, split=[rows.Split.TRAIN, rows.Split.DEV])


def _model_folder(named: str) -> Path:
    """The folder of the model of the run `named`, by its id or its folder, or in that folder."""
    for place in (paths.runs_folder() / named, paths.expanded(named).absolute()):
        for folder in (place, place / "model"):
            if (folder / "config.json").is_file():
                return folder
        if (place / RECORD_FILE).is_file():
            below = sorted(one.name for one in (place / "model").glob("*") if one.is_dir())
            hint = f": name one of its models, model/{', model/'.join(below)}" if below else ""
            raise UserError(f"the run {named} has no model of its own{hint}")
    raise UserError(
        f"there is no run and no model folder {named!r}: name a run as "
        "prune_pretrain/0.60-seed0-..., its folder, or a Hugging Face folder"
    )


def _run_folder(folder: Path) -> Path | None:
    """The run that the model in `folder` is of, if it is of one."""
    above = [folder.parent, folder.parent.parent]
    return next((place for place in above if (place / RECORD_FILE).is_file()), None)


def _load(folder: Path) -> PreTrainedModel:
    loading.check_model(str(folder))
    config = BertConfig.from_pretrained(folder)
    if "BertForSequenceClassification" in (config.architectures or []):
        return loading.load_classifier(str(folder), labels=config.num_labels or 0, seed=0)
    return loading.load_pretraining_model(str(folder), seed=0)


# The card.


def _card(
    model: PreTrainedModel,
    masks: Masks,
    run: Path | None,
    precision: str,
    name: str,
    weights: Path,
) -> str:
    return filled(
        "model_card",
        name=name,
        storage=weights.name,
        precision=precision,
        sparsity=sparsity_of(masks),
        config=model.config,
        is_classifier=type(model).__name__ == "BertForSequenceClassification",
        size=sum(p.numel() for p in model.parameters()),
        stored_bytes=weights.stat().st_size,
        settings=_settings(masks, model.config),
        masks=masks,
        matrix_of=matrix_of,
        pruned_entries=pruned_entries,
        percent=percent,
        shown=_shown,
        megabytes=_megabytes,
        **({"record": None} if run is None else _of_run(run)),
    )


def _settings(masks: Masks, config: PreTrainedConfig) -> str:
    """What a run is told, so that it prunes what is pruned already."""
    sparsity, scope = asked_for(masks)
    settings = f"-p sparsity {sparsity:.12g}" + (" -p scope global" if scope == "global" else "")
    if config.max_position_embeddings < notebook_parameters.BurnIn.max_length_tokens:
        settings += f" -p max_length_tokens {config.max_position_embeddings}"
    return settings


def asked_for(masks: Masks) -> tuple[float, str]:
    """The sparsity, with as few digits as will do, and the scope that prune exactly as many weights
    as `masks`: one-shot pruning by magnitude then takes those that are zero, and no others.

    Where kept weights are zero too, it may take these instead.
    """
    of_all = torch.cat([mask.flatten() for mask in masks.values()])
    for scope, groups in (("matrix", list(masks.values())), ("global", [of_all])):
        for digits in range(1, 13):
            sparsity = round(sparsity_of(masks), digits)
            if all(pruned_entries(m) == pruned_count(sparsity, m.numel()) for m in groups):
                return sparsity, scope
    raise AssertionError("twelve digits count every weight")


def _of_run(run: Path) -> dict[str, Any]:
    """What the record and the rows of a run say."""
    record, found = Record.read(run), rows.read(run / ROWS_FILE)
    here = {one.id: one for one in _records()}
    started = [one.id for one in here.values() if one.identity["upstream"] == record.id]
    return {
        "record": record,
        "helps": notebook_parameters.help_of(parameters_of_run(record.notebook)),
        "lineage": _lineage(record, here),
        "measured": _measured(found),
        "tasks": _tasks(found, started),
    }


def _shown(value: Any) -> str:
    """A parameter's value; of a path of the machine that it is from, the name."""
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    is_path = isinstance(value, str) and value.startswith(("/", "~", "."))
    return Path(value).name if is_path else str(value)


def _measured(found: rows.Rows) -> dict[str, float]:
    """The last values of pre-training's dev metrics."""
    dev = rows.where(found, split=rows.Split.DEV, task=rows.PRETRAINING)
    return {str(one.metric): float(str(one.value)) for one in rows.final(dev).itertuples()}


def _tasks(found: rows.Rows, started: Iterable[str]) -> list[Mapping[str, Any]]:
    """Scores of the run itself where it is of a task, and of those that `started` from it."""
    gathered = [found, *(rows.read(paths.runs_folder() / run / ROWS_FILE) for run in started)]
    try:
        scored = scores(rows.join(gathered))
    except UserError:
        return []
    scored = scored[scored.task != AVERAGE]
    return [
        {
            "task": task,
            "arm": (words_of_arm(str(arm)) or arm),
            "sparsity": percent(float(str(sparsity))),
            "accuracy": f"{100 * point.accuracy.mean():.1f} %",
        }
        for (task, arm, sparsity), point in scored.groupby(["task", "arm", "sparsity"])
    ]


def _lineage(record: Record, here: Mapping[str, Record]) -> list[Record]:
    """Records of what a run starts from, nearest first, as far as they are here."""
    found = [record]
    while upstream := here.get(found[-1].identity["upstream"]):
        found.append(upstream)
    return found[1:]


def _records() -> Iterator[Record]:
    """Of all runs that are here, those that can be read."""
    for file in sorted(paths.runs_folder().glob(f"[!.]*/*/{RECORD_FILE}")):
        with suppress(DamagedRecord):
            yield Record.read(file.parent)


def _megabytes(size: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(max(size, 1) / 1e6)))
    return f"{size / 1e6:.{digits}f} MB"
