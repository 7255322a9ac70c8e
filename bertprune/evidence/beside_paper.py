"""A study beside the paper: in what they differ, and how far their drops in accuracy agree.

A drop is what accuracy loses against the dense model of the same seed, in points. Levels depend on
model, text and tasks; drops can be laid beside each other. A cell is the drop of an arm at a
sparsity above 0 on a task, where both the paper's table 1 and the study have one.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.words import percent
from bertprune.data.glue import PAPER_TASKS, RELEASED
from bertprune.evidence import paper, results
from bertprune.evidence.claims.ledger import numbers
from bertprune.evidence.results import AVERAGE
from bertprune.experiments.studies import Study
from bertprune.lab.language import find_source
from bertprune.protocol.arms import ARMS, COMPARED, EPOCHS_BEFORE_PRUNING, FROM_SCRATCH
from bertprune.protocol.notebook_parameters import (
    Finetune,
    InformationDeletion,
    PruneAfterFinetune,
)
from bertprune.protocol.rows import Rows
from bertprune.speed.cost.work import ModelSize, model_size

NEAR_POINTS = 1.0
"""Drops that are no further apart count as near."""

BERT_BASE = ModelSize(layers=12, hidden_size=768, vocabulary_size=30_522)
"""The paper's model (section 3): BERT-Base uncased, with the vocabulary of its release."""

_TASKS = (*PAPER_TASKS, AVERAGE)
_ALL_CELLS = "all cells"
_NOTHING = "–"
_NOT_COUNTED = "not counted here"


# In what they differ.


def differences(study: Study, found: Rows) -> pd.DataFrame:
    """What `the paper` did and what was done `here`, a line for each thing, as a page shows it.

    Ours is what the parameters of the study say, of the pruned models of table 1's arms, and of
    published rows those that they were made with; several values stand beside each other. Seeds
    are those of the rows `found`. Training examples are as they were published, or counted where
    the task is at hand; no network is asked. A dash stands for what is unknown or not there.
    """
    published: Mapping[str, Any] = {}
    if results.is_shown_as_published(study):
        published = results.facts_of(study.name)
    study = results.as_shown(study)
    given = _parameters(study)
    ours = [(p.task, _of_run(p)) for p in given]
    lines = {
        what: (theirs, _by_task((tasks, one[what]) for tasks, one in ours))
        for what, theirs in _OF_PAPER.items()
    }
    lines["seeds"] = ("not said, one number each", _seeds(found))
    examples = _train_examples(given, published.get("tasks", {}))
    for task, released in RELEASED.items():
        theirs = f"{released.train_examples:,}"
        lines[f"{task}: training examples"] = (theirs, examples.get(task, _NOTHING))
    return pd.DataFrame.from_dict(lines, orient="index", columns=["the paper", "here"])


# Gordon, Duh & Andrews (2020), section 3, and where that says less, the code of its authors.
_OF_PAPER = {
    "layers × hidden size": f"{BERT_BASE.layers} × {BERT_BASE.hidden_size}",
    "prunable weights": f"{BERT_BASE.prunable:,}",
    "vocabulary": f"{BERT_BASE.vocabulary_size:,}",
    "text": "English Wikipedia, BookCorpus",
    "steps of burn-in": "15,000, from BERT as released",
    "steps while and after pruning": f"{paper.PRETRAINING_STEPS:,}, pruned over the first 10,000",
    "sentence pairs a step × longest sequence": "32 × 128",
    "learning rate of burn-in": "2e-5",
    "learning rate while and after pruning": "2e-5",
    "learning rates of fine-tuning, the best kept": "2e-5, 3e-5, 4e-5, 5e-5",
    "epochs of fine-tuning": "3; 13 to 15 with masks off; 3, then 5 to 7 after pruning",
    "source of the tasks": "GLUE",
}


def _of_run(p: Finetune) -> dict[str, str]:
    """The same of the models that one run fine-tunes."""
    try:
        size = model_size(p)
    except UserError:
        # The shape of a model that is not at hand, say.
        size = None
    begun = f"from {_name(p.model)}" if p.model else "from random weights"
    if p.burn_in_short_steps:
        begun += f", {p.burn_in_short_steps:,} of them on pairs of {p.burn_in_short_tokens} tokens"
    return {
        "layers × hidden size": f"{size.layers} × {size.hidden_size}" if size else _NOTHING,
        "prunable weights": f"{size.prunable:,}" if size else _NOTHING,
        "vocabulary": f"{size.vocabulary_size:,}" if size else _NOTHING,
        "text": ", ".join(map(_name, p.text)),
        "steps of burn-in": f"{p.burn_in_steps:,}, {begun}",
        "steps while and after pruning": f"{p.pretrain_steps:,}, pruned over the first "
        f"{p.ramp_steps:,}",
        "sentence pairs a step × longest sequence": f"{p.pretrain_batch_size} × "
        f"{p.max_length_tokens}",
        "learning rate of burn-in": _rate(p.burn_in_learning_rate) if p.burn_in_steps else _NOTHING,
        "learning rate while and after pruning": _rate(p.pretrain_learning_rate),
        "learning rates of fine-tuning, the best kept": ", ".join(map(_rate, p.learning_rates)),
        "epochs of fine-tuning": _epochs(p),
        "source of the tasks": _name(p.task_data),
    }


def _epochs(p: Finetune) -> str:
    if isinstance(p, InformationDeletion):
        return f"{p.epochs} with masks off"
    if isinstance(p, PruneAfterFinetune):
        return f"{p.epochs}, then {p.recovery_epochs} after pruning"
    return f"{p.epochs}"


def _parameters(study: Study) -> list[Finetune]:
    """Those of the pruned models of table 1's arms; of all their models where none is pruned."""
    arms = [arm for arm in study.arms if arm not in (FROM_SCRATCH, EPOCHS_BEFORE_PRUNING)]
    runs = [run for arm in arms for run in study.runs_of(arm)] or [study.typical()]
    given = [run.parameters for run in runs if isinstance(run.parameters, Finetune)]
    return [p for p in given if p.sparsity > 0] or given


def _train_examples(given: list[Finetune], published: Mapping[str, Any]) -> dict[str, str]:
    """How many training examples the tasks have, as `published` (see `publishing`) or counted."""
    sources = {task: p.task_data for p in given for task in p.task if task in RELEASED}
    return {
        task: f"{int(published[task]['train examples']):,}"
        if task in published
        else _counted(task, source)
        for task, source in sources.items()
    }


def _counted(task: str, source: str) -> str:
    """The training examples of a task that lies on this machine, or that of a lab language."""
    if find_source(source) is None and not paths.resolve(source).is_dir():
        return _NOT_COUNTED
    # Here, since it takes a second, and only some studies need it.
    from bertprune.data.tasks import load_task

    try:
        return f"{len(load_task(task, source).train):,}"
    except UserError:
        return _NOT_COUNTED


def _seeds(found: Rows) -> str:
    """How many seeds the study's own models have that were taken to tasks, by arm where they have
    not the same."""
    scored = results.best_accuracies(found)
    by_arm = scored[~scored.own & scored.arm.isin(COMPARED)].groupby("arm").seed.nunique()
    if by_arm.nunique() < 2:
        return str(by_arm.max() if len(by_arm) else 0)
    return _listed(f"{ARMS[arm].words}: {by_arm[arm]}" for arm in COMPARED if arm in by_arm)


def _by_task(said: Iterable[tuple[Sequence[str], str]]) -> str:
    """What was `said` of runs with their tasks; by task where these have not the same."""
    of_task: dict[str, list[str]] = {}
    for tasks, one in said:
        for task in tasks:
            of_task.setdefault(task, []).append(one)
    tasks_of: dict[str, list[str]] = {}
    for task, each in of_task.items():
        tasks_of.setdefault(_listed(each), []).append(task)
    if len(tasks_of) < 2:
        return _listed(tasks_of)
    return ". ".join(f"{', '.join(tasks)}: {each}" for each, tasks in tasks_of.items())


def _listed(said: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(said)) or _NOTHING


def _name(source: str) -> str:
    """A model, text or task data as others know it, not where it lies on this machine."""
    return Path(source).name if Path(source).is_absolute() else source


def _rate(value: float) -> str:
    """A learning rate as the paper writes it: 2e-5."""
    mantissa, exponent = f"{value:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


# In what they agree.


def cells(table1: pd.DataFrame) -> pd.DataFrame:
    """The cells of `table1` (see `ledger.numbers`): arm, sparsity, task, and the drop `paper` and
    `ours`, in points. "average" is a task where a study has all five of the paper's."""
    of = table1[(table1.quantity == "accuracy") & (table1.sparsity > 0)]
    of = of.dropna(subset=["paper_drop", "our_drop"])
    # What is equal in digits must not differ for being a difference of floats.
    drops = {
        name: (100 * of[column]).round(6)
        for name, column in {"paper": "paper_drop", "ours": "our_drop"}.items()
    }
    return of[["arm", "sparsity", "task"]].assign(**drops).reset_index(drop=True)


def cells_by_seed(found: Rows) -> pd.DataFrame:
    """The cells of each `seed` of the rows by itself."""
    by_seed = [cells(numbers(of)["table1"]).assign(seed=seed) for seed, of in found.groupby("seed")]
    return pd.concat(by_seed or [cells(numbers(found)["table1"])], ignore_index=True)


def tasks_of(compared: pd.DataFrame) -> list[str]:
    """The tasks of cells, in the paper's order; the average last."""
    return [task for task in _TASKS if task in set(compared.task)]


def arms_of(compared: pd.DataFrame) -> list[str]:
    """The arms of cells, in the order of tables and legends."""
    return [arm for arm in COMPARED if arm in set(compared.arm)]


def agreement(table1: pd.DataFrame) -> pd.DataFrame:
    """How far the drops agree, as a page shows it: a line for each arm and task, and one for all
    cells of the arm, without the averages.

    `cells`: how many, one for each sparsity that both have. `rank correlation`: Spearman's, of our
    drops with the paper's; a dash for fewer than three cells or where either is constant. `mean
    difference (points)`: of the drops, without its sign. `within 1 point`: how many cells differ by
    no more. Raises UserError if there is no cell.
    """
    compared = cells(table1)
    lines = []
    for arm in arms_of(compared):
        of_arm = compared[compared.arm == arm]
        parts = {task: of_arm[of_arm.task == task] for task in tasks_of(of_arm)}
        parts[_ALL_CELLS] = of_arm[of_arm.task != AVERAGE]
        lines += [
            {"arm": ARMS[arm].words, "task": task, **_line(part)} for task, part in parts.items()
        ]
    if not lines:
        raise UserError(_no_cell())
    return pd.DataFrame(lines).set_index(["arm", "task"])


def shared_order(table1: pd.DataFrame) -> pd.DataFrame:
    """Whether the arms lose in the paper's order, a line for each sparsity as a page shows it.

    `arms` and `tasks`: how many; tasks are those that all of these arms have there. `rank
    correlation`: Kendall's tau of the arms' mean drops over these tasks, ours with the paper's; a
    dash for fewer than three arms or where either is constant. Raises UserError if there is no
    cell.
    """
    compared = cells(table1)
    lines = {}
    for sparsity, at in compared[compared.task != AVERAGE].groupby("sparsity"):
        wide = at.pivot(index="task", columns="arm", values=["paper", "ours"]).dropna()
        means = wide.mean().round(6).unstack(0)
        lines[percent(float(str(sparsity)))] = {
            "arms": len(means),
            "tasks": len(wide),
            "rank correlation": _shown(_correlation(stats.kendalltau, means)),
        }
    if not lines:
        raise UserError(_no_cell())
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("sparsity")


@dataclass(frozen=True)
class Overall:
    """All cells together, without the averages."""

    cells: int
    near: int
    """How many are within NEAR_POINTS."""
    near_unharmed: int
    """How many would be of a study that loses nothing anywhere."""
    correlation: float
    """Spearman's of our drops with the paper's; NaN where there is none (see `agreement`)."""

    def in_words(self) -> str:
        if not self.cells:
            return f"Nothing to compare: {_no_cell()}."
        said = (
            f"{self.near} of {self.cells} cells are within {NEAR_POINTS:g} point of the paper's "
            f"drop; of a study that loses nothing anywhere {self.near_unharmed} would be."
        )
        if math.isnan(self.correlation):
            return said
        return f"{said} Over all of them the rank correlation is {_shown(self.correlation)}."

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.in_words())}</p>"


def overall(table1: pd.DataFrame) -> Overall:
    """How far all drops agree; `table1` as `ledger.numbers` has it."""
    compared = cells(table1)
    single = compared[compared.task != AVERAGE]
    unharmed = _near(single.assign(ours=0.0))
    return Overall(len(single), _near(single), unharmed, _correlation(stats.spearmanr, single))


def _line(compared: pd.DataFrame) -> dict[str, object]:
    return {
        "cells": len(compared),
        "rank correlation": _shown(_correlation(stats.spearmanr, compared)),
        "mean difference (points)": f"{(compared.ours - compared.paper).abs().mean():.1f}",
        f"within {NEAR_POINTS:g} point": _near(compared),
    }


def _near(compared: pd.DataFrame) -> int:
    return int(((compared.ours - compared.paper).abs().round(6) <= NEAR_POINTS).sum())


def _correlation(measure: Callable[..., Any], compared: pd.DataFrame) -> float:
    """NaN for fewer than three pairs of `paper` and `ours`, and where either is constant."""
    if len(compared) < 3 or min(compared.paper.nunique(), compared.ours.nunique()) < 2:
        return math.nan
    return float(measure(compared.paper, compared.ours).statistic)


def _shown(correlation: float) -> str:
    return _NOTHING if math.isnan(correlation) else f"{correlation:+.2f}"


def _no_cell() -> str:
    return (
        "the study has no accuracy on a task of the paper, in one of its arms at one of its "
        "sparsities above 0, with a dense model of the same seed"
    )
