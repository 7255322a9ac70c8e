"""Classification tasks in the HUB_DATA layout: their declarations and tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import xxhash

from bertprune.base import strict_yaml
from bertprune.base.errors import UserError, check_known, did_you_mean
from bertprune.base.files import file_key
from bertprune.base.fingerprint import code_key
from bertprune.base.paths import resolve
from bertprune.base.words import listed
from bertprune.data.documents import HUB_NAME
from bertprune.data.glue import HUB_DATA, TASKS, Metric, Task
from bertprune.data.reading.folders import split_files
from bertprune.data.reading.hub import check_hub, load_rows
from bertprune.data.reading.streams import kind_of
from bertprune.data.reading.table_files import (
    check_names,
    class_names,
    holds_strings,
    open_table,
    words_of,
)
from bertprune.lab import language as lab
from bertprune.lab import task_data as lab_tasks
from bertprune.protocol.notebook_parameters import Finetune

DECLARATION = "task.yaml"
LABEL = "label"
ROWS_A_BATCH = 1000
# Where a row has a task, these stand for none of them in particular.
RESERVED = ("pretraining", "average")


@dataclass(frozen=True)
class TaskData:
    """The two splits; each frame has the task's text columns and `label`."""

    task: Task
    train: pd.DataFrame
    dev: pd.DataFrame


def find_task(name: str, source: str = HUB_DATA) -> Task:
    """The declaration of `name`: the reader's own in the folder `source`, else one of TASKS."""
    folder = resolve(source)
    # A folder that happens to be called so has nothing to do with the language.
    declared = {} if lab.find_source(source) else _declarations(folder)
    if name in declared:
        return _read_declaration(declared[name])
    if name in TASKS:
        if lab.find_source(source):
            check_known(f"{source} has no task", [name], lab_tasks.TRAIN_EXAMPLES)
        return TASKS[name]
    raise UserError(
        f"unknown task {name!r}: {did_you_mean(name, {*TASKS, *declared})} (a task of your own is "
        f"a folder with {DECLARATION} and its tables, inside a local folder of tasks)"
    )


def _declarations(folder: Path) -> dict[str, Path]:
    return {file.parent.name: file for file in folder.glob(f"*/{DECLARATION}")}


def check_task(name: str, source: str = HUB_DATA) -> None:
    """Raise UserError, before any work, if the task is unknown or its tables cannot be used.

    Local tables are read through, which takes a second at most; the Hub is only asked whether it
    has them.
    """
    if lab.find_source(source):
        find_task(name, source)
    elif resolve(source).is_dir():
        load_task(name, source)
    else:
        find_task(name, source)
        repository, revision = _hub_name(source)
        check_hub(repository, kind="dataset", revision=revision, instead=_folder_wanted(source))


def load_task(name: str, source: str = HUB_DATA) -> TaskData:
    """Both splits of a task from a folder, the Hub data set `owner/name`, or of a lab language.

    Raises UserError naming file, row and value for a missing text or a label out of range.
    """
    task = find_task(name, source)
    if generated := lab.find_source(source):
        return TaskData(task, *lab_tasks.task(task.name, generated.seed))
    train, dev = (
        pd.concat(
            [_checked(table, task, where) for where, table in _tables(task, split, source)],
            ignore_index=True,
        )
        for split in (task.train_split, task.dev_split)
    )
    return TaskData(task, train, dev)


def dev_labels(parameters: Finetune) -> dict[str, pd.Series]:
    """The labels of the dev set of each task that a run fine-tunes on."""
    names, source = parameters.task, parameters.task_data
    return {name: load_task(name, source).dev.label for name in names}


def task_key(name: str, source: str = HUB_DATA) -> str:
    """Hex hash of a task's declaration and tables: local ones by content, the Hub's by name."""
    task = find_task(name, source)
    digest = xxhash.xxh3_128(repr(task).encode())
    folder = resolve(source)
    if generated := lab.find_source(source):
        # The examples follow from the code that writes them.
        digest.update(f"{generated.seed} {code_key(lab_tasks.__name__)}".encode())
    elif folder.is_dir():
        for split in (task.train_split, task.dev_split):
            for file in split_files(resolve(folder / task.name), split):
                kind = kind_of(file)
                # Equal content that is read otherwise is another table.
                digest.update((f"{kind}" * (kind != ".parquet") + file_key(file)).encode())
    else:
        digest.update(repr(_hub_name(source)).encode())
    return digest.hexdigest()


def _read_declaration(file: Path) -> Task:
    """A reader's own task: a mapping with the keys of `Task`; the name is the folder's.

    Its metrics have the accuracy, which everything goes by, whether it names that or not.
    """
    name = file.parent.name
    if name in RESERVED:
        raise UserError(f"{file}: a task cannot be called {name!r}: give its folder another name")
    declared = {"columns": [], "labels": [], "metrics": ["accuracy"], **strict_yaml.read(file)}
    valid = [field.name for field in fields(Task) if field.name != "name"]
    check_known(f"{file}: unknown key", declared, valid)
    for key, value in declared.items():
        if key.endswith("_split"):
            if not isinstance(value, str):
                raise UserError(f"{file}: {key} is {value!r}, it must be a string")
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            declared[key] = tuple(value)
        else:
            raise UserError(f"{file}: {key} is {value!r}, it must be a list of strings")
    if "accuracy" not in declared["metrics"]:
        declared["metrics"] = ("accuracy", *declared["metrics"])
    task = Task(name=name, **declared)
    if len(task.columns) not in (1, 2):
        raise UserError(f"{file}: columns has {len(task.columns)} names, it must have 1 or 2")
    if len(set(task.columns)) != len(task.columns):
        raise UserError(f"{file}: columns is {list(task.columns)}, they must differ")
    if len(set(task.labels)) != len(task.labels) or len(task.labels) < 2:
        raise UserError(f"{file}: labels is {list(task.labels)}, it must be 2 or more names")
    check_known(f"{file}: unknown metric", task.metrics, get_args(Metric))
    return task


def _tables(task: Task, split: str, source: str) -> Iterator[tuple[str, pa.Table]]:
    """The tables of a split, each with where it is from."""
    folder = resolve(source)
    if folder.is_dir():
        for file in split_files(resolve(folder / task.name), split):
            with open_table(file, [*task.columns, LABEL]) as opened:
                table = pa.Table.from_batches(opened.batches(ROWS_A_BATCH), opened.schema)
                table.validate(full=True)
            yield str(file), table
        return
    repository, revision = _hub_name(source)
    rows = load_rows(
        repository, task.name, split, revision=revision, instead=_folder_wanted(source)
    )
    yield f"{source}, {task.name}, {split}", rows.with_format("arrow")[:]


def _hub_name(source: str) -> tuple[str, str | None]:
    """Repository and revision of `owner/name[@revision]`."""
    named = HUB_NAME.fullmatch(source)
    if source.startswith((".", "~")) or not named or named["config"]:
        raise UserError(
            f"task data {source!r}: give {_folder_wanted(source)}, or the Hub data set {HUB_DATA!r}"
        )
    return named["repository"], named["revision"]


def _folder_wanted(source: str) -> str:
    return (
        "a local folder with the tables as <task>/<split>.parquet, .csv, .jsonl or the like "
        f"(there is no folder {resolve(source)})"
    )


def _check_columns(schema: pa.Schema, task: Task, where: str) -> None:
    check_names(where, (*task.columns, LABEL), schema.names)
    for column in task.columns:
        kind = schema.field(column).type
        if not holds_strings(kind):
            raise UserError(
                f"{where}: column {column!r} holds {words_of(kind)}, it must hold strings"
            )
    kind = schema.field(LABEL).type
    if not (pa.types.is_integer(kind) or holds_strings(kind)):
        raise UserError(
            f"{where}: column {LABEL!r} holds {words_of(kind)}, it must hold integers, "
            + ", ".join(f"{number} = {label}" for number, label in enumerate(task.labels))
            + ", or these names"
        )


def _numbered(labels: pd.Series, noted: tuple[str, ...], task: Task, where: str) -> pd.Series:
    """The numbers of labels that are numbers, or names; `noted` has other names of the numbers.

    Raises UserError naming row and value of a label that is neither, and if it could be both.
    """
    numbers = {name: number for number, name in enumerate(task.labels)}
    text = labels.astype(str)
    named, numbered = text.isin(numbers), text.isin(map(str, numbers.values()))
    if named.all():
        found = text.map(numbers)
        if numbered.all() and (found.astype(str) != text).any():
            raise UserError(
                f"{where}: the labels of task {task.name!r} are called {listed(task.labels)}, and "
                f"label {text.iloc[0]} could be a name or a number: give them other names"
            )
        return found
    if not (named | numbered).all():
        row = int(np.flatnonzero(~(named | numbered))[0])
        raise UserError(
            f"{where}, row {row}: label {text.iloc[row]} is outside the range of task "
            f"{task.name!r}, 0 to {len(task.labels) - 1}, and none of its names: "
            f"{did_you_mean(text.iloc[row], task.labels)}"
        )
    if not numbered.all():
        row = int(np.flatnonzero(~named)[0])
        raise UserError(
            f"{where}, row {row}: label {text.iloc[row]} is a number and others are names: give "
            "all as numbers, or all as names"
        )
    if not set(noted) & set(numbers) or noted == task.labels:
        return labels.astype(np.int64)
    if set(noted) != set(numbers):
        raise UserError(
            f"{where}: its labels are noted as {listed(noted)}, those of task {task.name!r} are "
            f"{listed(task.labels)}"
        )
    return text.astype(np.int64).map(dict(enumerate(numbers[name] for name in noted)))


def _checked(table: pa.Table, task: Task, where: str) -> pd.DataFrame:
    """The table's texts and labels; UserError for what is missing or out of range."""
    _check_columns(table.schema, task, where)
    # What pandas has noted there of a frame's index would take columns away.
    noted = class_names(table.schema, LABEL)
    table = table.select([*task.columns, LABEL]).replace_schema_metadata()
    if table.num_rows == 0:
        raise UserError(f"{where} has no rows")
    for column in table.column_names:
        if table[column].null_count:
            row = int(np.flatnonzero(table[column].is_null().to_numpy())[0])
            raise UserError(f"{where}, row {row}: {column!r} is missing")
    frame = table.to_pandas()
    frame[LABEL] = _numbered(frame[LABEL], noted, task, where)
    return frame
