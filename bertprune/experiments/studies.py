"""Studies: YAML files that say which notebooks, over which grid, at which sizes.

like: ...                # another study: this one says only where it differs
title: ...
description: ...
caution: ...             # what a reader must not take from it; stands on every page of its book
parameters: {...}        # for every notebook that has them; names as in the contracts
grid:                    # every combination is a run of each arm
  sparsity: [0.0, 0.5]
  task: [sst2, cola]
  seed: [0, 1, 2, 3]
  model: [lab, ...]      # dealt out to the seeds in turn: each seed has one of these BERTs
  burn_in_seed: [0, 1]   # dealt out likewise: each seed has a burn-in with one of these seeds
arms:                    # any of ARMS, each with parameters of its own, and a grid where it differs
  prune_pretrain: {}
  information_deletion: {epochs: 13}
  epochs_before_pruning: {grid: {sparsity: [0.5], epochs: [0, 1, 3, 6]}}
live: {seed: [0, 1]}     # the runs that `make book` executes; empty: all
beside: [...]            # published studies that chapters of its book show beside it
exceptions:              # parameters at some points of the grid; of several the last one counts
  - {arm: information_deletion, sparsity: [0.7, 0.8, 0.9], set: {epochs: 15}}
stages:                  # what is executed first, second, ...; points of no stage have no run
  - [{seed: 0}]
  - [{arm: prune_pretrain, seed: [1, 2]}, {arm: information_deletion, sparsity: 0.5}]
"""

from __future__ import annotations

import dataclasses
import html
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import Any

from bertprune.base import paths, strict_yaml
from bertprune.base.errors import UserError, check_known, did_you_mean
from bertprune.experiments import runs
from bertprune.experiments.runs import Run, lineage
from bertprune.lab.language import Language, language, language_of
from bertprune.protocol import notebook_parameters
from bertprune.protocol.arms import ARMS
from bertprune.protocol.notebook_parameters import BurnIn

GRID = ("sparsity", "task", "seed")

# These multiply nothing: a seed on one BERT has nothing in common with one on another.
_DEALT_OUT = ("model", "burn_in_seed")
_AXES = (*GRID, *_DEALT_OUT)

# What a study's file has that is no text.
_KINDS = {
    "parameters": dict,
    "grid": dict,
    "arms": dict,
    "live": dict,
    "exceptions": list,
    "stages": list,
    "beside": list,
}
_KEYS = ["title", "description", "caution", *_KINDS]


@dataclass(frozen=True)
class Study:
    """A named set of runs."""

    name: str
    title: str
    description: str
    caution: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, list[Any]] = field(default_factory=dict)
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    live: Mapping[str, Any] = field(default_factory=dict)
    exceptions: Sequence[Mapping[str, Any]] = ()
    stages: Sequence[Sequence[Mapping[str, Any]]] = ()
    beside: Sequence[str] = ()
    given_as: str = ""
    """What the study was loaded as: its name, or the path of its file."""
    changes: tuple[str, ...] = ()
    """Settings `key=value` that changed what the file says."""
    only: Mapping[str, Any] = field(default_factory=dict)
    """The points of the grid that this part of a study has; empty for all of it."""

    def command(self, name: str) -> str:
        """The command `name` for this study, or this part of it, as its user would type it."""
        settings = [word for change in self.changes for word in ("--set", change)]
        settings += ["--live"] if self.only else []
        return shlex.join(["bertprune", name, self.given_as or self.name, *settings])

    def _repr_html_(self) -> str:
        said = f"{self.title}. {self.description} {self.caution}".rstrip()
        return f"<p><b>Study {html.escape(self.name)}</b>: {html.escape(said)}</p>"

    def plan(self) -> list[Run]:
        """All runs of the study, each after those that it needs, none twice.

        Raises UserError for parameters that the contracts refuse.
        """
        return list(self._by_stage)

    def by_stage(self) -> dict[Run, int]:
        """`plan`, stage after stage: each run with the number of the first stage that needs it."""
        return dict(self._by_stage)

    # A command and a chapter ask for runs often; what one is called is found out once for each.
    @cached_property
    def _by_stage(self) -> dict[Run, int]:
        order = list(notebook_parameters.CONTRACTS)
        needed: defaultdict[int, dict[Run, None]] = defaultdict(dict)
        for run, stage in chain(*self._runs.values()):
            needed[stage] |= dict.fromkeys([*lineage(run), run])
        found: dict[Run, int] = {}
        for stage, of_stage in sorted(needed.items()):
            new = [run for run in of_stage if run not in found]
            # What others wait for is done first.
            new.sort(key=lambda run: (order.index(run.notebook), len(lineage(run))))
            found |= dict.fromkeys(new, stage)
        return found

    @cached_property
    def _runs(self) -> dict[str, list[tuple[Run, int]]]:
        """The runs of each arm, with the first stage that has them; several that need one share
        it."""
        known: dict[Run, Run] = {}
        return {
            arm: [(self.run(arm, point).among(known), stage) for point, stage in self._points(arm)]
            for arm in self.arms
        }

    def live_part(self) -> Study:
        """The part of the study that `make book` executes."""
        return dataclasses.replace(self, only=self.live)

    def runs_of(self, arm: str) -> list[Run]:
        """The runs of `arm`, without those that they need; none if the study has no such arm."""
        return [run for run, _ in self._runs.get(arm, [])]

    def needed_for(self, arm: str) -> list[Run]:
        """The runs of `arm`, each after those that it needs."""
        return [needed for run in self.runs_of(arm) for needed in [*lineage(run), run]]

    def own_runs(self) -> list[Run]:
        """Runs that a reader has added: done, at points of an arm that the grid does not have, with
        what they need."""
        plan = set(self.plan())
        found: dict[Run, None] = {}
        for run in runs.done(plan):
            point = {key: getattr(run.parameters, key, None) for key in GRID}
            arms = [arm for arm in self.arms if ARMS[arm].parameters is type(run.parameters)]
            if any(self.run(arm, point) == run for arm in arms):
                found |= dict.fromkeys([*lineage(run), run])
        return [run for run in found if run not in plan and run.is_current()]

    def typical(self) -> Run:
        """The run that pages describe the study by: of its first arm, at its first point."""
        arm = next(iter(self.arms))
        return self.run(arm, next(self._points(arm), ({}, 0))[0])

    def language(self) -> Language:
        """The lab language that the study's text is in. Raises UserError if it is in none."""
        text = self.typical().parameters.text
        seed = language_of(text)
        if seed is None:
            raise UserError(
                f"study {self.name} is not about a lab language: its text is {list(text)}"
            )
        return language(seed)

    def has_language(self) -> bool:
        """Whether the study is about a lab language."""
        return language_of(self.typical().parameters.text) is not None

    def run(self, arm: str, point: Mapping[str, Any]) -> Run:
        """The run of `arm` at one `point` of its grid: sparsity, task and seed, say."""
        contract = ARMS[arm].parameters
        return Run.of(
            notebook_parameters.parse(contract, _known(contract, self._values(arm, point)))
        )

    def values_for(self, contract: type[BurnIn], given: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters of `contract`'s notebook in this study: what is `given`, at the first point
        of the grid where it says nothing else."""
        arms = [name for name, arm in ARMS.items() if arm.parameters is contract]
        # A method other than the paper's makes an arm of its own.
        method = given.get("method")
        arms = [name for name in arms if ARMS[name].fixed.get("method") == method] or arms
        first, _ = next(self._points(""), ({}, 0))
        point = first | {key: given[key] for key in GRID if key in given}
        return {**_known(contract, self._values(arms[0] if arms else "", point)), **given}

    def _values(self, arm: str, point: Mapping[str, Any]) -> dict[str, Any]:
        own = {key: value for key, value in self.arms.get(arm, {}).items() if key != "grid"}
        values = {**self.parameters, **own}
        seed = point.get("seed", values.get("seed", 0))
        dealt = {name: of for name in _DEALT_OUT if (of := self._grid(arm).get(name))}
        if isinstance(seed, int):
            values |= {name: of[seed % len(of)] for name, of in dealt.items()} | own
        for exception in self.exceptions:
            if _is_for(exception, self._named(arm, point)):
                values |= exception["set"]
        values |= point
        return values | _fixed(arm, values.get("seed", 0))

    def _named(self, arm: str, point: Mapping[str, Any]) -> dict[str, Any]:
        """What exceptions name the run of `arm` at `point` by."""
        fixed = _fixed(arm)
        return {"arm": arm, **point, **{key: fixed[key] for key in GRID if key in fixed}}

    def _grid(self, arm: str) -> dict[str, list[Any]]:
        """The grid of `arm`, or the study's for no arm."""
        return {**self.grid, **self.arms.get(arm, {}).get("grid", {})}

    def _points(self, arm: str) -> Iterator[tuple[dict[str, Any], int]]:
        """The points of that grid that are in any stage, each with the first that it is in."""
        grid = {key: of for key, of in self._grid(arm).items() if key not in _DEALT_OUT}
        for values in product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            named = self._named(arm, point)
            for stage, places in enumerate(self.stages or [[{}]]):
                if _is_for(self.only, named) and any(_is_for(place, named) for place in places):
                    yield point, stage
                    break

    def _why_unread(self, arm: str, name: str) -> str:
        """Why the runs of `arm` would not read the parameter `name`, or nothing if they would."""
        contract = ARMS[arm].parameters
        if name not in notebook_parameters.help_of(contract):
            return f"the notebook {contract.notebook} has no such parameter"
        if name in _fixed(arm):
            return f"{arm} has a value of its own for it"
        return "the grid has it too" if name in self._grid(arm) else ""


def names() -> list[str]:
    """Names of the studies in `notebooks/studies/`."""
    return sorted(file.stem for file in paths.studies_folder().glob("*.yaml"))


def load(name: str, changes: Iterable[str] = ()) -> Study:
    """The study `name`: one of `notebooks/studies/`, or the path of a YAML file.

    `changes` are texts `key=value` that set a parameter or a list of the grid. Raises UserError
    for an unknown study, key, arm or parameter, naming the closest valid one, and for what the
    study says and no run of it would read.
    """
    return _changed(_load(name), tuple(changes))


def _load(name: str, below: tuple[str, ...] = ()) -> Study:
    """The study `name` as its file says it; `below` are the studies that are like this one."""
    file, given_as = _find(name)
    own = strict_yaml.read(file)
    where = file.name
    check_known(f"{where}: unknown key", own, ["like", *_KEYS])
    for key, kind in _KINDS.items():
        if not isinstance(own.get(key, kind()), kind):
            wanted = "a mapping" if kind is dict else "a list"
            raise UserError(f"{where}: {key} must be {wanted}, got {own[key]!r}")
    said = own
    if (like := own.pop("like", None)) is not None:
        check_known(f"{where}: like", [like], names())
        if like in below or like == name:
            raise UserError(f"{where}: like {like!r}: a study cannot be like itself")
        base = _load(like, (*below, name))
        said = {key: getattr(base, key) for key in _KEYS} | own
        for key in ("parameters", "grid"):
            said[key] = {**getattr(base, key), **own.get(key, {})}
    texts = {key: " ".join(str(said.get(key, "")).split()) for key in ("description", "caution")}
    rest: dict[str, Any] = {key: said.get(key, kind()) for key, kind in _KINDS.items()}
    rest["arms"] = {arm: {} if it is None else it for arm, it in rest["arms"].items()}
    title = str(said.get("title", file.stem))
    study = Study(name=file.stem, title=title, given_as=given_as, **texts | rest)
    _check(study, own, where)
    return study


def _find(name: str) -> tuple[Path, str]:
    """The file of the study `name`, and what it can be loaded as from everywhere."""
    if not name.endswith((".yaml", ".yml")):
        folder = paths.studies_folder()
        if name in names():
            return folder / f"{name}.yaml", name
        raise UserError(
            f"unknown study {name!r}: {did_you_mean(name, names())} (those in {folder}; of a file "
            "of your own give the path, with its .yaml)"
        )
    places = paths.places(name)
    for file in places:
        if file.exists():
            # Notebooks are executed in another folder.
            return file, name if file == places[-1] else str(file)
    raise UserError(f"there is no study {', nor '.join(map(str, places))}")


def parse_value(text: str) -> Any:
    """A value typed on the command line, as YAML reads it, with 1e-4 a number; nothing is ""."""
    return strict_yaml.parse(text) if text else ""


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set takes key=value, got {text!r}")
    return key.strip(), parse_value(value)


def _changed(study: Study, changes: tuple[str, ...]) -> Study:
    """The study with `changes` made."""
    values = dict(map(parse_setting, changes))
    grid = {key: _listed(value) for key, value in values.items() if key in _AXES}
    parameters = {key: value for key, value in values.items() if key not in _AXES}
    _check_grid(grid, _AXES, "--set")
    _check_parameters(study, parameters, ARMS, "--set")
    # What the file's stages do not name comes last.
    before, axes = study.grid, grid.keys() & {"sparsity", "seed"}
    new = {key: [one for one in grid[key] if one not in before.get(key, [])] for key in axes}
    last = [{key: of} for key, of in new.items() if of]
    # Other tasks and seeds are meant for all arms; at which sparsity one is, is its own.
    shared = {key: wanted for key, wanted in grid.items() if key != "sparsity"}
    return dataclasses.replace(
        study,
        parameters={**study.parameters, **parameters},
        grid={**study.grid, **grid},
        arms={arm: _regridded(own, shared) for arm, own in study.arms.items()},
        stages=[*study.stages, last] if study.stages and last else study.stages,
        changes=changes,
    )


def _regridded(own: Mapping[str, Any], wanted: Mapping[str, list[Any]]) -> Mapping[str, Any]:
    """The parameters of an arm with what is `wanted` in its own grid, where that says anything of
    it."""
    if "grid" not in own:
        return own
    return {**own, "grid": {key: wanted.get(key, values) for key, values in own["grid"].items()}}


def _check(study: Study, own: Mapping[str, Any], where: str) -> None:
    """Raise UserError for what is wrong in a study's `own` file, and for what it says and nothing
    would read. What it has from another study has been checked there."""
    if not study.arms:
        raise UserError(f"{where}: arms is empty: name at least one of {', '.join(ARMS)}")
    _check_grid(own.get("grid", {}), _AXES, where)
    if "arms" in own:
        _check_arms(study, where)
    _check_parameters(study, own.get("parameters", {}), ARMS, f"{where}: parameters")
    if "exceptions" in own:
        _check_exceptions(study, f"{where}: exceptions")
    if "stages" in own:
        whole = dataclasses.replace(study, stages=())
        for stage in study.stages:
            if not (isinstance(stage, list) and stage):
                raise UserError(f"{where}: a stage is a list of places, got {stage!r}")
            for places in stage:
                _check_places(whole, places, f"{where}: stages")
    if "live" in own:
        _check_places(study, study.live, f"{where}: live")
    if "beside" in own:
        check_known(f"{where}: beside has", study.beside, names())


def _check_grid(grid: Any, valid: Iterable[str], where: str) -> None:
    if not isinstance(grid, dict):
        raise UserError(f"{where}: grid must be a mapping, got {grid!r}")
    check_known(f"{where}: grid has no key", grid, valid)
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{where}: grid {key} must be a list of values, got {values!r}")


def _check_arms(study: Study, where: str) -> None:
    check_known(f"{where}: unknown arm", study.arms, ARMS)
    for arm, own in study.arms.items():
        if not isinstance(own, dict):
            raise UserError(f"{where}: {arm}: parameters must be a mapping, got {own!r}")
        # Rows could not tell other runs of an arm apart.
        valid = [*GRID, "epochs"] if ARMS[arm].axis == "epochs" else GRID
        _check_grid(own.get("grid", {}), valid, f"{where}: {arm}")
        parameters = {key: value for key, value in own.items() if key != "grid"}
        _check_parameters(study, parameters, [arm], f"{where}: {arm}")


def _check_exceptions(study: Study, where: str) -> None:
    for exception in study.exceptions:
        if not isinstance(exception, dict) or "set" not in exception:
            raise UserError(
                f"{where}: an exception has the keys arm, {', '.join(GRID)}, set, got {exception!r}"
            )
        places = {key: value for key, value in exception.items() if key != "set"}
        _check_places(study, places, where)
        arms = _listed(exception.get("arm", [*ARMS]))
        _check_parameters(study, exception["set"], arms, where)


def _check_places(study: Study, places: Any, where: str) -> None:
    """Raise UserError unless `places` names points that the study has."""
    valid = ["arm", *GRID]
    if not isinstance(places, dict) or {*places} - {*valid}:
        raise UserError(f"{where}: runs are named by {', '.join(valid)}, got {places!r}")
    runs = [study._named(arm, point) for arm in study.arms for point, _ in study._points(arm)]
    for key, wanted in places.items():
        there = [one for run in runs if key in run for one in _listed(run[key])]
        check_known(f"{where}: no run has {key}", _listed(wanted), there)
    if not any(_is_for(places, run) for run in runs):
        raise UserError(f"{where}: no run of the study is what this is for: {places!r}")


def _check_parameters(study: Study, given: Any, arms: Collection[str], where: str) -> None:
    """Raise UserError for parameters that no run of any of `arms` would read."""
    if not isinstance(given, dict):
        raise UserError(f"{where}: parameters must be a mapping, got {given!r}")
    known = chain(*map(notebook_parameters.help_of, notebook_parameters.CONTRACTS.values()))
    check_known(f"{where}: unknown parameter", given, known)
    for name in given:
        reasons = [study._why_unread(arm, name) for arm in arms]
        if all(reasons):
            raise UserError(f"{where}: {name} would not be read: {reasons[0]}")


def _known(contract: type[BurnIn], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that the contract has: a study speaks to several notebooks."""
    valid = notebook_parameters.help_of(contract)
    return {name: value for name, value in values.items() if name in valid}


def _fixed(arm: str, seed: int = 0) -> dict[str, Any]:
    """The parameters that make an arm, which its runs of `seed` have whatever else is said."""
    return ARMS[arm].fixed_for(seed) if arm in ARMS else {}


def _is_for(exception: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    """Whether an exception holds for the run that has these arm, sparsity, task and seed: each is,
    or all of its several are, among those that the exception names."""
    return all(
        all(one in _listed(wanted) for one in _listed(run.get(key)))
        for key, wanted in exception.items()
        if key != "set"
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
