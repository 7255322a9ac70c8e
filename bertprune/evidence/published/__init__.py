"""Published rows: those of a study that come with the book, and what is known of their runs.

They are two files of `book/published`: `<study>.csv`, and beside it `<study>.json`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import check_readable, read_json, write_json
from bertprune.base.words import NOTHING, listed
from bertprune.experiments.studies import Study
from bertprune.protocol import notebook_parameters, predictions, rows
from bertprune.protocol.arms import bert_of
from bertprune.protocol.predictions import Predictions
from bertprune.protocol.record import Execution
from bertprune.protocol.rows import Rows
from bertprune.training import dispatch


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
        file = paths.published(study).with_suffix(".json")
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

    def write(self, study: str, found: Rows) -> None:
        """It and the rows `found`, as those of the study of this name."""
        file = paths.published(study)
        rows.write(found, file)
        records = [record.published() for record in self.records]
        write_json(dataclasses.asdict(self) | {"records": records}, file.with_suffix(".json"))


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
    return _with_bert(rows.read(file), study)


def _with_bert(found: Rows, study: str) -> Rows:
    given = {record.id: record.parameters for record in Published.read(study).records}
    # Former editions noted no parameters, or not these.
    named = {run: p for run, p in given.items() if {"model", "burn_in_seed"} <= p.keys()}
    berts = {run: bert_of(p["model"], p["burn_in_seed"]) for run, p in named.items()}
    return found.assign(bert=[berts.get(run, "") for run in found.run])


def predictions_of(study: str) -> Predictions:
    """The published predictions of the study of this name, with the columns position, run and
    bert; no lines where none were published."""
    return _with_bert(predictions.join([]).assign(position=[], run=[]), study)


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
