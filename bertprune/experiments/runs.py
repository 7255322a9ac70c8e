"""Runs: one execution of one notebook with one set of parameters, and where its result lies.

A run's identity is a hash over what determines its result: its parameters, the code it reaches,
its data, and its upstream run. While it is in work its folder is `runs/.partial/<id>`; when it is
done the folder gets its name `runs/<id>` by one rename, so that what is there is whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import PART, part_of_name, read_json, remove_folder, write_json
from bertprune.base.fingerprint import code_key, page_key, template_cells
from bertprune.experiments import timekeeping
from bertprune.experiments.lock import is_free, locked
from bertprune.lab.language import find_source
from bertprune.lab.text import vocabulary
from bertprune.model.model_folder import model_key
from bertprune.model.precision import FLOAT32, precision_of
from bertprune.protocol import notebook_parameters
from bertprune.protocol.arms import arm_of, bert_of, seed_of
from bertprune.protocol.notebook_parameters import BurnIn, Finetune, PrunePretrain
from bertprune.protocol.predictions import PREDICTIONS_FILE, Predictions
from bertprune.protocol.predictions import read as read_predictions
from bertprune.protocol.pruning_methods import MAGNITUDE
from bertprune.protocol.record import RECORD_FILE, Record, digest_of, sha256_of, utc_now
from bertprune.protocol.rows import Rows
from bertprune.protocol.rows import read as read_rows
from bertprune.protocol.rows import write as write_rows
from bertprune.protocol.views import parameters_of_run
from bertprune.training import dispatch

# Parameters of which counts what they come to: what lies at a place, and the precision here.
_RESOLVED = {"text", "model", "tokenizer", "task_data", "precision"}

# The environment variable that names the run which a kernel was started for.
EXPECTED_RUN = "BERTPRUNE_RUN"

NOTEBOOK_FILE = "notebook.ipynb"
ROWS_FILE = "rows.csv"
FACTS_FILE = "facts.json"
LOG_FILE = "log.txt"
PARAMETERS_FILE = "parameters.json"
MODEL_FOLDER = "model"

# What later runs read of a model's folder, nothing of which is ever executed.
_MODEL_FILES = {".safetensors", ".json", ".txt"}


@dataclass(frozen=True)
class Run:
    """One notebook with one set of parameters."""

    parameters: BurnIn

    @classmethod
    def of(cls, parameters: BurnIn) -> Run:
        """The run of `parameters`, with those that do not matter there set to their defaults."""
        return cls(parameters.canonical())

    @property
    def notebook(self) -> str:
        return self.parameters.notebook

    @cached_property
    def upstream(self) -> Run | None:
        """The run whose model this one starts from."""
        parameters = self.parameters.upstream()
        return Run.of(parameters) if parameters else None

    @cached_property
    def compared_with(self) -> Run | None:
        """The run whose model that of this one is compared with."""
        parameters = self.parameters.compared_with()
        return Run.of(parameters) if parameters else None

    @cached_property
    def precision(self) -> str:
        """What this machine computes the run in: `FLOAT32` or `BF16` of `model.precision`."""
        return precision_of(self.parameters)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What determines the result: parameters, code, data, and the runs that it needs."""
        # Here and below: what takes seconds to import is imported where it is needed.
        from bertprune.data.documents import text_key

        p = self.parameters
        own = notebook_parameters.own_values(p)
        data: dict[str, str] = {}
        # Data and models go by their content, wherever they lie.
        if self.upstream is None:
            data["text"] = text_key(p.text)
            for name in ("model", "tokenizer"):
                if named := getattr(p, name):
                    data[name] = _key_of(name, named)
        if isinstance(p, Finetune):
            from bertprune.data.tasks import task_key

            data |= {name: task_key(name, p.task_data) for name in p.task}
        # In float32 nothing is said, as before there was a choice.
        computed = {"precision": self.precision} if self.precision != FLOAT32 else {}
        return computed | {
            "notebook": self.notebook,
            "parameters": {name: own[name] for name in own.keys() - _RESOLVED},
            # As rows have them.
            "arm": arm_of(p),
            "seed": seed_of(p),
            "data": data,
            "code": dispatch.code_of(type(p)),
            "upstream": self.upstream.id if self.upstream else None,
            "compared_with": self.compared_with.id if self.compared_with else None,
        }

    @cached_property
    def id(self) -> str:
        """`<notebook>/<what it is>-<hash of its identity>`, also its folder below `runs/`."""
        return f"{self.notebook}/{self.slug}-{digest_of(self.identity)}"

    @property
    def slug(self) -> str:
        """What the run is, in short: not unique, but readable."""
        p = self.parameters
        if not isinstance(p, PrunePretrain):
            return bert_of(p.model, p.burn_in_seed)
        parts = [part_of_name("-".join(p.task))] if isinstance(p, Finetune) else []
        parts += [] if p.method == MAGNITUDE else [p.method]
        return "-".join([*parts, f"{p.sparsity:.2f}", f"seed{p.seed}"])

    @property
    def folder(self) -> Path:
        """Where the result lies once the run is done."""
        return paths.runs_folder() / self.id

    @property
    def partial_folder(self) -> Path:
        """Where the run is in work."""
        return paths.runs_folder() / ".partial" / self.id.replace("/", "-")

    def is_done(self) -> bool:
        """Whether the result is there and was made with these parameters."""
        if not (self.folder / RECORD_FILE).exists():
            return False
        return self.is_made_with(self.record().parameters)

    def is_made_with(self, parameters: Mapping[str, Any]) -> bool:
        """Whether this run was made with `parameters`, those that only one side has left aside: a
        default that was changed since does not show in the identity, but here it does.

        Where the data lie does not matter, since their content is in the identity, nor whether the
        precision was asked for.
        """
        now = notebook_parameters.as_values(self.parameters)
        named = parameters.keys() & now.keys() - _RESOLVED
        return all(parameters[name] == now[name] for name in named)

    def is_current(self) -> bool:
        """Whether the run is done, and its page is what the present notebook would show."""
        return (
            self.is_done() and self.has_own_page() and self.record().page == page_key(self.notebook)
        )

    def has_own_page(self) -> bool:
        """Whether the executed notebook of a run that is done is as it was left: an editor that
        shows it may save it too."""
        page = self.folder / NOTEBOOK_FILE
        return page.is_file() and sha256_of(page) == self.record().notebook_sha256

    def has_model(self) -> bool:
        """Whether the model is there that a run of this kind leaves, if it leaves any.

        One that was imported may have come without.
        """
        return not self.parameters.leaves_model() or self.model_folder.is_dir()

    def is_trained(self) -> bool:
        """Whether all is there that takes training: what is left to do is the page, if anything."""
        return (self.partial_folder / ROWS_FILE).exists() or self.is_whole()

    def is_whole(self) -> bool:
        """Whether the run is done and its model is there, so that others can start from it."""
        return self.is_done() and self.has_model()

    @property
    def needs(self) -> list[Run]:
        """The runs whose models this one takes."""
        return [run for run in (self.upstream, self.compared_with) if run]

    def among(self, known: dict[Run, Run]) -> Run:
        """This run as one of those `known`, and those that it needs likewise: equal ones are one
        object then, which is named once."""
        if self not in known:
            known[self] = self
            for name in ("upstream", "compared_with"):
                if needed := getattr(self, name):
                    vars(self)[name] = needed.among(known)
        return known[self]

    def record(self) -> Record:
        """The record of a run that is done. Raises DamagedRecord if it cannot be read."""
        return Record.read(self.folder)

    def rows(self) -> Rows:
        """The tidy rows of a run that is done, with its notebook and id."""
        return read_rows(self.folder / ROWS_FILE).assign(notebook=self.notebook, run=self.id)

    def predictions(self) -> Predictions | None:
        """What a run that is done predicts on the dev sets of its tasks; None of pre-training, and
        of runs of former editions, which did not keep it."""
        if PREDICTIONS_FILE not in self.record().files_sha256:
            return None
        return read_predictions(self.folder / PREDICTIONS_FILE)

    @property
    def model_folder(self) -> Path:
        """The Hugging Face folder that the run leaves for those downstream."""
        return self.folder / MODEL_FOLDER

    def check_inputs(self) -> None:
        """Raise UserError for text, model, tokenizer or task data that cannot be had."""
        from bertprune.data.documents import check_text
        from bertprune.data.tasks import check_task

        p = self.parameters
        check_text(p.text)
        # Both take seconds to import.
        if p.model:
            from bertprune.model.loading import check_fit, check_model

            config = check_model(p.model)
        if named := p.tokenizer or p.model:
            from bertprune.data.tokenizer import load_tokenizer, vocabulary_size

            tokens = vocabulary_size(load_tokenizer(named))
        if p.model:
            check_fit(config, tokens, p.max_length_tokens)
        if isinstance(p, Finetune):
            for name in p.task:
                check_task(name, p.task_data)

    @property
    def inputs(self) -> tuple[object, ...]:
        """What of the parameters is looked up outside: equal ones need no second `check_inputs`."""
        names = (*sorted(_RESOLVED), "task", "max_length_tokens")
        return tuple(getattr(self.parameters, name, None) for name in names)

    def check_needs(self) -> None:
        """Raise UserError naming a run that this one starts from whose model is not there."""
        for run in self.needs:
            if not run.is_done():
                why = "which is not done"
            elif not run.has_model():
                why = "which was imported without its model"
            else:
                continue
            raise UserError(
                f"{self.id} starts from {run.id}, {why}: execute it with "
                f"`bertprune run {run.notebook}` and the same parameters first"
            )

    def work(self) -> Rows:
        """Do the run's work, or take up what is there already, and give its rows.

        What is finished lies in the run's folder, what was interrupted goes on in the partial
        one. The runs that it needs must be done: see `begin`.
        """
        if self.is_whole():
            return read_rows(self.folder / ROWS_FILE)
        from bertprune.training import processes

        # Of several processes that work together, the first one holds the lock.
        with self.only_here() if processes.is_main_process() else nullcontext():
            return self._work()

    def _work(self) -> Rows:
        from bertprune.base import progress
        from bertprune.training import processes
        from bertprune.training.checkpoint import CHECKPOINT_FILE

        folder = self.partial_folder
        is_main = processes.is_main_process()
        # Another process may have done it while this one waited for the lock.
        if is_main and not self.is_whole():
            self.start_or_go_on()
        processes.wait_for_everyone()
        if self.is_whole():
            return read_rows(self.folder / ROWS_FILE)
        if (folder / ROWS_FILE).exists():
            return read_rows(folder / ROWS_FILE)
        self.check_needs()
        tries, before_s = timekeeping.begin_try(folder) if is_main else (0, 0.0)
        progress.report_to(folder / timekeeping.PROGRESS_FILE)
        started = time.monotonic()
        found = dispatch.work(self.job)
        if is_main:
            facts = timekeeping.facts(folder, tries, before_s + time.monotonic() - started)
            write_json(facts, folder / FACTS_FILE)
            (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
            write_rows(found, folder / ROWS_FILE)
        progress.report_to(None)
        return found

    @property
    def job(self) -> dispatch.Job:
        """The work of the run, in its partial folder."""
        others = (run.model_folder if run else None for run in (self.upstream, self.compared_with))
        return dispatch.Job(self.parameters, self.partial_folder, *others)

    def start_or_go_on(self) -> None:
        """Make the partial folder, or keep what it has if it was made with these parameters."""
        file = self.partial_folder / PARAMETERS_FILE
        if not self.is_made_with(timekeeping.read_if_whole(file)):
            remove_folder(self.partial_folder)
        for left in self.partial_folder.rglob(f"*{PART}"):
            left.unlink()
        write_json(notebook_parameters.as_values(self.parameters), file)

    def only_here(self, *, wait: bool = True) -> AbstractContextManager[None]:
        """Hold the run's lock (see `lock.locked`)."""
        return locked(self.id, self._lock, wait=wait)

    def is_in_work(self) -> bool:
        """Whether a process executes or trains it."""
        return not is_free(self._lock)

    @property
    def _lock(self) -> Path:
        return self.partial_folder.with_name(f"{self.partial_folder.name}.lock")

    def model_files(self) -> Path:
        """The model folder of this run, done or still in work."""
        done = self.model_folder
        return done if done.exists() else self.partial_folder / MODEL_FOLDER

    def finish(self, executed: Path, wall_time_s: float) -> None:
        """Make the partial folder, with its `executed` notebook, the run's result."""
        record = Record.of(
            {
                "id": self.id,
                "notebook": self.notebook,
                "parameters": notebook_parameters.as_values(self.parameters),
                "identity": self.identity,
                "page": page_key(self.notebook),
                "notebook_sha256": sha256_of(executed),
                "files_sha256": file_hashes(self.partial_folder),
                "finished": utc_now(),
                "notebook_wall_time_s": round(wall_time_s, 2),
                **read_json(self.partial_folder / FACTS_FILE),
            }
        )
        record.write(self.partial_folder)
        (self.partial_folder / timekeeping.PROGRESS_FILE).unlink(missing_ok=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        remove_folder(self.folder)
        os.replace(self.partial_folder, self.folder)

    def reopen(self) -> None:
        """Put a result whose page is out of date back in work; what was trained is kept.

        One without its model stays until it is replaced: it has to be trained again.
        """
        if self.is_whole():
            remove_folder(self.partial_folder)
            self.partial_folder.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.folder, self.partial_folder)
            (self.partial_folder / RECORD_FILE).unlink()

    def _repr_html_(self) -> str:
        upstream = f", from <code>{self.upstream.id}</code>" if self.upstream else ""
        table = notebook_parameters.table(self.parameters)
        return f"<p>Run <code>{self.id}</code>{upstream}</p>{table}"


def _key_of(kind: str, named: str) -> str:
    """Identity of the model or tokenizer `named`."""
    if kind == "tokenizer" and (source := find_source(named)):
        return f"lab {source.seed} {code_key(vocabulary.__module__)}"
    return model_key(named)


def lineage(run: Run) -> list[Run]:
    """The runs that `run` needs, each after those that it needs itself."""
    found: dict[Run, None] = {}
    for needed in run.needs:
        found |= dict.fromkeys([*lineage(needed), needed])
    return list(found)


def to_execute(plan: Sequence[Run], models_of: Iterable[Run] = ()) -> list[Run]:
    """Those of `plan`, each after those that it needs, that have to be executed.

    They are not done, or their page is out of date, or the model that one of them or somebody who
    asks for `models_of` starts from was not imported with them. Raises UserError where one of
    their notebooks could not be executed.
    """
    found, wanted = [], set(models_of)
    for run in reversed(plan):
        if run.is_current() and (run.has_model() or run not in wanted):
            continue
        found.append(run)
        if not run.is_trained():
            wanted.update(run.needs)
    for notebook in {run.notebook for run in found}:
        template_cells(notebook)
    return found[::-1]


def done(besides: Collection[Run] = ()) -> list[Run]:
    """All runs, `besides` some, whose result is there and is what the present code would give."""
    found = []
    for file in sorted(paths.runs_folder().glob(f"*/*/{RECORD_FILE}")):
        # A record that cannot be read, or of parameters that are no longer, is of no run of today.
        with suppress(OSError, UserError):
            record = Record.read(file.parent)
            contract = parameters_of_run(record.notebook)
            run = Run.of(notebook_parameters.parse(contract, record.parameters))
            if run not in besides and run.folder == file.parent and run.is_done():
                found.append(run)
    return found


def files_of_model(folder: Path) -> list[Path]:
    """The files of the model that the run in `folder` left, if it has left any."""
    found = sorted((folder / MODEL_FOLDER).rglob("*"))
    return [file for file in found if file.is_file() and file.suffix in _MODEL_FILES]


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the rows, predictions and model of the run in `folder`, by the place of each file
    in it."""
    files = [folder / ROWS_FILE, folder / PREDICTIONS_FILE, *files_of_model(folder)]
    whole = [file for file in files if file.is_file()]
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in whole}
