"""Studies: YAML files that say which notebooks, over which grid, at which sizes.

like: ...                # another study: this one says only where it differs
title: ...
description: ...
caution: ...             # what a reader must not take from it; stands on every page of its book
parameters: {...}        # for every notebook that has them; names as in the contracts
grid:                    # every combination is a run of each arm
  sparsity: [0.0, 0.5]
  task: [sst2, cola]
  seed: [0]
arms:                    # any of ARMS, each with parameters of its own, and a grid where it differs
  prune_pretrain: {}
  information_deletion: {epochs: 13}
  epochs_before_pruning: {grid: {sparsity: [0.5], epochs: [0, 1, 3, 6]}}
beside: [...]            # published studies whose chapters its book has too
exceptions:              # parameters at some points of the grid; of several the last one counts
  - {arm: information_deletion, sparsity: [0.7, 0.8, 0.9], set: {epochs: 15}}
"""

from __future__ import annotations

import dataclasses
import html
import itertools
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bertprune import contracts, paths, runs
from bertprune.contracts import BurnIn, Finetune, InformationDeletion, PruneAfterFinetune, View
from bertprune.errors import UserError, did_you_mean
from bertprune.lab.language import Language, language, language_of
from bertprune.runs import Run, lineage

GRID = ("sparsity", "task", "seed")

# Arm: the contract of its notebook, and the parameters that make it this arm.
ARMS: dict[str, tuple[type[Finetune], dict[str, Any]]] = {
    "prune_pretrain": (Finetune, {}),
    "information_deletion": (InformationDeletion, {}),
    "prune_after_finetune": (PruneAfterFinetune, {}),
    "random_pruning": (Finetune, {"method": "random"}),
    # Pruning after fine-tuning again, over how long that was.
    "epochs_before_pruning": (PruneAfterFinetune, {}),
    # The same shape fine-tuned from random weights: what pre-training is worth.
    "from_scratch": (
        Finetune,
        {
            "model": "",
            "burn_in_steps": 0,
            "burn_in_short_steps": 0,
            "pretrain_steps": 0,
            "sparsity": 0.0,
        },
    ),
}

# Arms that are about what pruning did: of the dense model there is nothing that they could ask.
_PRUNED_ONLY = ("information_deletion", "prune_after_finetune", "epochs_before_pruning")


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
    exceptions: tuple[Mapping[str, Any], ...] = ()
    beside: tuple[str, ...] = ()
    given_as: str = ""
    """What the study was loaded as: its name, or the path of its file."""
    changes: tuple[str, ...] = ()
    """Settings `key=value` that changed what the file says."""

    def command(self, name: str) -> str:
        """The command `name` for this study, as its user would type it."""
        settings = [word for change in self.changes for word in ("--set", change)]
        return shlex.join(["bertprune", name, self.given_as or self.name, *settings])

    def view_command(self, notebook: str) -> str:
        """The command that executes a page about this study, as its user would type it."""
        named = ["--study", self.given_as or self.name]
        changes = ["-p", "changes", f"[{', '.join(map(repr, self.changes))}]"]
        return shlex.join(["bertprune", "run", notebook, *named, *(changes * bool(self.changes))])

    def _repr_html_(self) -> str:
        said = f"{self.title}. {self.description} {self.caution}".rstrip()
        return f"<p><b>Study {html.escape(self.name)}</b>: {html.escape(said)}</p>"

    def plan(self) -> list[Run]:
        """All runs of the study, each after those that it needs, none twice.

        Raises UserError for parameters that the contracts refuse.
        """
        needed = dict.fromkeys(run for arm in self.arms for run in self.needed_for(arm))
        # What others wait for is done first.
        order = list(contracts.CONTRACTS)
        return sorted(needed, key=lambda run: (order.index(run.notebook), len(lineage(run))))

    def runs_of(self, arm: str) -> list[Run]:
        """The runs of `arm`, without those that they need; none if the study has no such arm."""
        if arm not in self.arms:
            return []
        points = self._points(arm)
        if arm in _PRUNED_ONLY:
            points = (point for point in points if point.get("sparsity") != 0)
        return [self.run(arm, point) for point in points]

    def needed_for(self, arm: str) -> list[Run]:
        """The runs of `arm`, each after those that it needs."""
        return [needed for run in self.runs_of(arm) for needed in [*lineage(run), run]]

    def own_runs(self) -> list[Run]:
        """Runs that a reader has added: done, at points of an arm that the grid does not have, with
        what they need."""
        plan = set(self.plan())
        found: dict[Run, None] = {}
        for run in runs.done():
            point = {key: getattr(run.parameters, key, None) for key in GRID}
            arms = [arm for arm in self.arms if ARMS[arm][0] is type(run.parameters)]
            if run not in plan and any(self.run(arm, point) == run for arm in arms):
                found |= dict.fromkeys([*lineage(run), run])
        return [run for run in found if run not in plan and run.is_current()]

    def typical(self) -> Run:
        """The run that pages describe the study by: of its first arm, at its first point."""
        arm = next(iter(self.arms))
        return self.run(arm, next(self._points(arm), {}))

    def language(self) -> Language:
        """The lab language that the study's text is in. Raises UserError if it is in none."""
        text = self.typical().parameters.text
        seed = language_of(text)
        if seed is None:
            raise UserError(
                f"study {self.name} is not about a lab language: its text is {list(text)}"
            )
        return language(seed)

    def views(self) -> list[View]:
        """The pages that there are about the study as a whole."""
        is_lab = language_of(self.typical().parameters.text) is not None
        return [
            view(study=self.given_as or self.name, changes=self.changes)
            for view in contracts.VIEWS.values()
            if (is_lab or not view.needs_language)
            and self.name not in view.beside
            and all(paths.published(name).exists() for name in view.beside)
        ]

    def run(self, arm: str, point: Mapping[str, Any]) -> Run:
        """The run of `arm` at one `point` of its grid: sparsity, task and seed, say."""
        contract, _ = ARMS[arm]
        return Run.of(contracts.parse(contract, _known(contract, self._values(arm, point))))

    def values_for(self, contract: type[BurnIn], given: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters of `contract`'s notebook in this study: what is `given`, at the first point
        of the grid where it says nothing else."""
        arms = [arm for arm, (kind, _) in ARMS.items() if kind is contract]
        if given.get("method") == "random" and "random_pruning" in arms:
            arms = ["random_pruning"]
        point = next(self._points(""), {}) | {key: given[key] for key in GRID if key in given}
        return {**_known(contract, self._values(arms[0] if arms else "", point)), **given}

    def _values(self, arm: str, point: Mapping[str, Any]) -> dict[str, Any]:
        _, fixed = ARMS.get(arm, (None, {}))
        point = {**point, **{key: fixed[key] for key in GRID if key in fixed}}
        own = {key: value for key, value in self.arms.get(arm, {}).items() if key != "grid"}
        values = {**self.parameters, **own}
        for exception in self.exceptions:
            if all(
                _agrees(wanted, {"arm": arm, **point}.get(key))
                for key, wanted in exception.items()
                if key != "set"
            ):
                values |= exception["set"]
        values |= point
        if arm == "from_scratch":
            # Each seed has random weights of its own.
            fixed = {**fixed, "burn_in_seed": values.get("seed", 0)}
        return values | fixed

    def _points(self, arm: str) -> Iterator[dict[str, Any]]:
        """The points of the grid of `arm`, or of the study's for no arm."""
        grid = {**self.grid, **self.arms.get(arm, {}).get("grid", {})}
        for values in itertools.product(*grid.values()):
            yield dict(zip(grid, values, strict=True))


def names() -> list[str]:
    """Names of the studies in `notebooks/studies/`."""
    return sorted(file.stem for file in _folder().glob("*.yaml"))


def load(name: str, changes: Iterable[str] = ()) -> Study:
    """The study `name`: one of `notebooks/studies/`, or the path of a YAML file.

    `changes` are texts `key=value` that set a parameter or a list of the grid. Raises UserError
    for an unknown study, key, arm or parameter, naming the closest valid one.
    """
    file, content = _content(name)
    study = Study(
        name=file.stem,
        title=str(content.get("title", file.stem)),
        description=" ".join(str(content.get("description", "")).split()),
        caution=" ".join(str(content.get("caution", "")).split()),
        parameters=content.get("parameters", {}),
        grid=content.get("grid", {}),
        arms={arm: values or {} for arm, values in content.get("arms", {}).items()},
        exceptions=tuple(content.get("exceptions", [])),
        beside=tuple(content.get("beside", [])),
        given_as=name,
        changes=tuple(changes),
    )
    study = _changed(study)
    _check(study, file.name)
    return study


def _content(name: str, below: tuple[str, ...] = ()) -> tuple[Path, dict[str, Any]]:
    """The file of the study `name` and what it says, over what the study says that it is like.

    `below` are the studies that are like this one.
    """
    file = _folder() / f"{name}.yaml"
    if not file.exists() and name.endswith((".yaml", ".yml")):
        file = paths.resolve(name)
    if not file.exists():
        raise UserError(f"unknown study {name!r}: {did_you_mean(name, names())}")
    try:
        content = yaml.load(file.read_text(), Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} must map keys to values, as the other studies do")
    ours = {"name", "given_as", "changes"}
    valid = ["like", *(f.name for f in dataclasses.fields(Study) if f.name not in ours)]
    for key in content:
        if key not in valid:
            raise UserError(f"{file.name}: unknown key {key!r}: {did_you_mean(str(key), valid)}")
    kinds = {"parameters": dict, "grid": dict, "arms": dict, "exceptions": list, "beside": list}
    for key, kind in kinds.items():
        if not isinstance(content.get(key, kind()), kind):
            wanted = "a mapping" if kind is dict else "a list"
            raise UserError(f"{file.name}: {key} must be {wanted}, got {content[key]!r}")
    like = content.pop("like", None)
    if like is None:
        return file, content
    if like not in names():
        raise UserError(f"{file.name}: like {like!r}: {did_you_mean(str(like), names())}")
    if like in below or like == name:
        raise UserError(f"{file.name}: like {like!r}: a study cannot be like itself")
    _, base = _content(like, (*below, name))
    for key in ("parameters", "grid"):
        content[key] = base.get(key, {}) | content.get(key, {})
    return file, base | content


def parse_value(text: str) -> Any:
    """A value typed on the command line, as YAML reads it, with 1e-4 a number; nothing is ""."""
    try:
        return yaml.load(text, Loader=_Loader) if text else ""
    except yaml.YAMLError as error:
        raise UserError(
            f"cannot read the value {text!r}: quote texts with special signs"
        ) from error


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set takes key=value, got {text!r}")
    return key.strip(), parse_value(value)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number, as everybody expects, not a text."""


_Loader.yaml_implicit_resolvers = {
    letter: list(resolvers) for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"), list("-+0123456789")
)


def _folder() -> Path:
    return paths.root() / "notebooks" / "studies"


def _changed(study: Study) -> Study:
    """The study with its changes made."""
    parameters, grid, arms = dict(study.parameters), dict(study.grid), dict(study.arms)
    for key, value in map(parse_setting, study.changes):
        if key in GRID:
            grid[key] = value if isinstance(value, list) else [value]
            # Other tasks and seeds are meant for all arms; at which sparsity one is, is its own.
            if key != "sparsity":
                arms = {arm: _regridded(values, key, grid[key]) for arm, values in arms.items()}
        else:
            parameters[key] = value
    return dataclasses.replace(study, parameters=parameters, grid=grid, arms=arms)


def _regridded(values: Any, key: str, wanted: list[Any]) -> Any:
    """The values of an arm with `wanted` in its own grid, where that says anything of `key`."""
    own = values.get("grid") if isinstance(values, dict) else None
    if not isinstance(own, dict) or key not in own:
        return values
    return {**values, "grid": {**own, key: wanted}}


def _check(study: Study, where: str) -> None:
    """Raise UserError for names that nothing would read, and for a study without runs."""
    known = {f.name for contract in contracts.CONTRACTS.values() for f in _fields(contract)}
    for arm in study.arms:
        if arm not in ARMS:
            raise UserError(f"{where}: unknown arm {arm!r}: {did_you_mean(arm, ARMS)}")
    for name in study.beside:
        if name not in names():
            raise UserError(f"{where}: beside has {name!r}: {did_you_mean(name, names())}")
    if not study.arms:
        raise UserError(f"{where}: arms is empty: name at least one of {', '.join(ARMS)}")
    for key in study.grid:
        if key not in GRID:
            raise UserError(f"{where}: grid has no key {key!r}: {did_you_mean(key, GRID)}")
    settings = [study.parameters]
    grids = [study.grid]
    for arm, values in study.arms.items():
        if not isinstance(values, dict):
            raise UserError(f"{where}: {arm}: parameters must be a mapping, got {values!r}")
        own = dict(values)
        grids.append(own.pop("grid", {}))
        settings.append(own)
        # Rows could not tell other runs of an arm apart.
        valid_keys = [*GRID, "epochs"] if arm == "epochs_before_pruning" else GRID
        for key in grids[-1] if isinstance(grids[-1], dict) else ():
            if key not in valid_keys:
                raise UserError(
                    f"{where}: {arm}: grid has no key {key!r}: {did_you_mean(str(key), valid_keys)}"
                )
    for grid in grids:
        if not isinstance(grid, dict):
            raise UserError(f"{where}: grid must be a mapping, got {grid!r}")
        for key, values in grid.items():
            if not isinstance(values, list) or not values:
                raise UserError(f"{where}: grid {key} must be a list of values, got {values!r}")
    for exception in study.exceptions:
        valid = {"arm", *GRID, "set"}
        if not isinstance(exception, dict) or "set" not in exception or set(exception) - valid:
            raise UserError(
                f"{where}: an exception has the keys {', '.join(sorted(valid))}, got {exception!r}"
            )
        settings.append(exception["set"])
    for setting in settings:
        if not isinstance(setting, dict):
            raise UserError(f"{where}: parameters must be a mapping, got {setting!r}")
        for name in setting:
            if name not in known:
                raise UserError(
                    f"{where}: unknown parameter {name!r}: {did_you_mean(str(name), known)}"
                )


def _fields(contract: type[BurnIn]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(contract)


def _known(contract: type[BurnIn], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that the contract has: a study speaks to several notebooks."""
    valid = {f.name for f in _fields(contract)}
    return {name: value for name, value in values.items() if name in valid}


def _agrees(wanted: Any, value: Any) -> bool:
    """Whether a value, or each of several, is the one wanted or one of those."""
    those = wanted if isinstance(wanted, list) else [wanted]
    return all(one in those for one in (value if isinstance(value, list) else [value]))
