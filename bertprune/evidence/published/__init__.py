"""Published rows: those of a study that come with the book, and what is known of their runs.

They are files of `book/published`: `<study>.parquet` and `<study>.json`; and of runs that have
stored theirs, predictions at the best learning rate in `<study>.predictions.parquet`, labels and
lengths of dev examples, once for each task, in `<study>.examples.parquet`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import check_readable, read_json, replacing, write_json
from bertprune.base.words import NOTHING, listed
from bertprune.experiments.studies import Study
from bertprune.protocol import notebook_parameters, predictions, rows
from bertprune.protocol.predictions import Predictions
from bertprune.protocol.record import Execution
from bertprune.protocol.rows import Rows
from bertprune.training import dispatch

_PREDICTIONS, _EXAMPLES = ".predictions.parquet", ".examples.parquet"


@dataclass(frozen=True, kw_only=True)
class Published:
    """When, where and from what the published rows of a study were made.

    Former editions noted less.
    """

    changes: list[str] = field(default_factory=list)
    """Settings `key=value` that changed what the study's file says."""
    finished: str = ""
    """When its last run was, UTC, as 2026-11-30T12:00:00Z."""
    runs: int = 0
    work_s: float = 0.0
    """Of all runs together."""
    devices: list[str] = field(default_factory=list)
    """Each with how many threads a run had."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of Python, this package and the libraries; where runs had different ones, all of them."""
    code: list[str] = field(default_factory=list)
    """The keys of the code that the runs were made by."""
    tasks: dict[Any, dict[Any, float]] = field(default_factory=dict)
    """Of each task its baselines and how many examples it has (see `baselines.of_study`)."""
    executed_again: list[dict[str, Any]] = field(default_factory=list)
    """Lines of `gathering.executed_again`."""
    records: list[Execution] = field(default_factory=list)
    """What made each run, and what it took."""

    @classmethod
    def read(cls, study: str) -> Published:
        """What was published of the study of this name. Raises UserError if it cannot be read."""
        file = paths.published(study, ".json")
        check_readable(file)
        try:
            content = read_json(file)
            records = [Execution.of(one) for one in content.pop("records", [])]
            return cls(**content, records=records)
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{file} is damaged ({error}): take it from the repository again, or execute the "
                "study and publish it"
            ) from error

    def write(self, study: str, found: Rows, predicted: Predictions) -> None:
        """It, the rows `found` and what was `predicted`, as those of the study of this name."""
        with replacing(paths.published(study)) as unfinished:
            found.to_parquet(unfinished, index=False, compression="zstd", compression_level=19)
        examples = predicted.drop_duplicates("task")[["task", "labels", "lengths"]]
        predictions.write(examples, paths.published(study, _EXAMPLES))
        by_run = predicted.drop(columns=["labels", "lengths"])
        predictions.write(by_run, paths.published(study, _PREDICTIONS))
        records = [record.published() for record in self.records]
        content = dataclasses.asdict(self) | {"records": records}
        write_json(content, paths.published(study, ".json"))


def files(study: str) -> dict[str, Path]:
    """The files of a published study that are there, by what is in them."""
    suffixes = {
        "rows": ".parquet",
        "records": ".json",
        "predictions": _PREDICTIONS,
        "dev examples": _EXAMPLES,
    }
    named = {what: paths.published(study, suffix) for what, suffix in suffixes.items()}
    return {what: file for what, file in named.items() if file.exists()}


def is_published(study: str) -> bool:
    """Whether rows of the study of this name come with the book."""
    return paths.published(study).exists()


def rows_of(study: str) -> Rows:
    """The published rows of the study of this name, with `bert` (see `gathering.rows_of`). Raises
    UserError if there are none."""
    file = paths.published(study)
    if not file.exists():
        raise UserError(
            f"there is no {file}: execute the study and publish it with "
            f"`bertprune sweep {study}` and `bertprune results {study} --publish`"
        )
    try:
        return pd.read_parquet(file).astype(rows.COLUMNS)
    except (OSError, ValueError, KeyError) as error:
        raise rows.DamagedRows(
            f"the rows {file} are damaged ({error}): take them from the repository again, or "
            "execute the study and publish it"
        ) from error


def predictions_of(study: str) -> Predictions:
    """The published predictions of the study of this name, at the best learning rate of each run,
    with the columns position, run and bert; no lines where none were published."""
    file = paths.published(study, _PREDICTIONS)
    if not file.exists():
        return predictions.join([]).assign(position=[], run=[], bert=[])
    return predictions.read(file, paths.published(study, _EXAMPLES))


def rows_beside(study: Study) -> dict[str, Rows]:
    """The published rows of the studies that the book of `study` shows beside it, by name."""
    others = [name for name in study.beside if name != study.name]
    return {name: rows_of(name) for name in others if is_published(name)}


def overview(studies: Iterable[str]) -> pd.DataFrame:
    """When, where and from what the published rows of studies were made, a line each; `code` says
    whether each run would be what this edition's code gives."""
    present = {dispatch.code_of(kind) for kind in notebook_parameters.CONTRACTS.values()}
    lines = {}
    for name in studies:
        of = Published.read(name)
        is_present = present.issuperset(of.code)
        lines[name] = {
            "finished": of.finished[:10],
            "runs": of.runs,
            "work (min)": f"{of.work_s / 60:.0f}",
            "device × threads": listed(of.devices),
            "torch": of.versions.get("torch", NOTHING),
            "code": "this edition's" if of.code and is_present else "an earlier edition's",
            "changed by --set": listed(of.changes),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("study")
