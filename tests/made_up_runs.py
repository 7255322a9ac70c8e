"""A project with as many runs as wanted, none of which was executed: each has the rows,
predictions, page and model of a run of the study `ci`, said to be another sparsity's or seed's."""

import os
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

from bertprune.base.fingerprint import page_key
from bertprune.experiments import studies
from bertprune.experiments.runs import NOTEBOOK_FILE, ROWS_FILE, Run
from bertprune.experiments.studies import Study
from bertprune.protocol import notebook_parameters, predictions, rows
from bertprune.protocol.arms import arm_of, seed_of
from bertprune.protocol.predictions import PREDICTIONS_FILE
from bertprune.protocol.record import Record

SPARSITIES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.8, 0.9)


def of_seeds(seeds: int) -> list[str]:
    """What makes of `ci` a study of so many seeds, with 52 runs each."""
    return [f"sparsity={list(SPARSITIES)}", f"seed={list(range(seeds))}"]


def make(root: Path, seeds: int, executed: Path) -> Study:
    """Makes it in `root`, which is the present project then, of the project `executed`, in which
    `ci` was executed, by this edition of the code or another."""
    for name in ("book", "notebooks"):
        shutil.copytree(executed / name, root / name)
    shutil.copy(executed / "_config.yml", root)
    there = {_executed(file.parent): file.parent for file in executed.glob("runs/*/*/record.json")}
    os.environ["BERTPRUNE_ROOT"] = str(root)
    study = studies.load("ci", of_seeds(seeds))
    chance = random.Random(0)
    for run in study.plan():
        _make(run, there[_alike(run, there)], chance)
    return study


def _executed(folder: Path) -> Run:
    record = Record.read(folder)
    contract = notebook_parameters.CONTRACTS[record.notebook]
    return Run.of(notebook_parameters.parse(contract, record.parameters))


def _alike(run: Run, there: Iterable[Run]) -> Run:
    """Of the runs that are `there`, the one that is most like `run`."""
    p = run.parameters

    def distance(other: Run) -> tuple[bool, float, float]:
        q = other.parameters
        apart = (
            abs(getattr(p, name, 0.0) - getattr(q, name, 0.0)) for name in ("sparsity", "epochs")
        )
        same = (run.notebook, arm_of(p), p.model) == (other.notebook, arm_of(q), q.model)
        return not same, *apart

    return min(there, key=distance)


def _make(run: Run, folder: Path, chance: random.Random) -> None:
    """Have `run` look done, by what lies in `folder`."""
    run.folder.mkdir(parents=True)
    p = run.parameters
    place = {"arm": arm_of(p), "seed": seed_of(p), "sparsity": getattr(p, "sparsity", 0.0)}
    found = rows.read(folder / ROWS_FILE)
    change = [chance.gauss(1.0, 0.01) for _ in range(len(found))]
    rows.write(found.assign(**place, value=found.value * change), run.folder / ROWS_FILE)
    if (folder / PREDICTIONS_FILE).exists():
        table = predictions.read(folder / PREDICTIONS_FILE).assign(**place)
        predictions.write(table, run.folder / PREDICTIONS_FILE)
    os.link(folder / NOTEBOOK_FILE, run.folder / NOTEBOOK_FILE)
    if (folder / "model").exists():
        shutil.copytree(folder / "model", run.folder / "model", copy_function=os.link)
    record = Record.read(folder).replace(
        id=run.id,
        parameters=notebook_parameters.as_values(p),
        identity=run.identity,
        page=page_key(run.notebook),
    )
    record.write(run.folder)
