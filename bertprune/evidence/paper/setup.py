"""In what a study differs from the paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.words import NOTHING
from bertprune.data.glue import PAPER_TASKS, RELEASED
from bertprune.evidence import gathering, paper, scores
from bertprune.evidence.published import Published
from bertprune.experiments.studies import Study
from bertprune.lab.language import find_source
from bertprune.model.shape import BERT_BASE, Shape, shape_of
from bertprune.protocol.arms import ARMS, COMPARED, EPOCHS_BEFORE_PRUNING, FROM_SCRATCH
from bertprune.protocol.notebook_parameters import (
    Finetune,
    InformationDeletion,
    PruneAfterFinetune,
)
from bertprune.protocol.rows import Rows

_NOT_COUNTED = "not counted here"


def differences(study: Study, found: Rows) -> pd.DataFrame:
    """What `the paper` did and what was done `here`, a line for each thing, as a page shows it.

    Ours is what the parameters of the study say, of the pruned models of table 1's arms, and of
    published rows those that they were made with; several values stand beside each other. Seeds
    are those of the rows `found`. Training examples are as they were published, or counted where
    the task is at hand; no network is asked. A dash stands for what is unknown or not there.
    """
    counted: Mapping[str, Mapping[str, float]] = {}
    if gathering.is_shown_as_published(study):
        counted = Published.read(study.name).tasks
    study = gathering.as_shown(study)
    given = _parameters(study)
    ours = [(p.task, _of_run(p)) for p in given]
    lines = {
        what: (theirs, _by_task((tasks, one.get(what, NOTHING)) for tasks, one in ours))
        for what, theirs in _OF_PAPER.items()
    }
    lines["seeds"] = ("not said, one number each", _seeds(found))
    sources = {task: p.task_data for p in given for task in p.task}
    for task in PAPER_TASKS:
        theirs = f"{RELEASED[task].train_examples:,}"
        if task in sources and task in counted:
            here = f"{int(counted[task]['train examples']):,}"
        else:
            here = _counted(task, sources[task]) if task in sources else NOTHING
        lines[f"{task}: training examples"] = (theirs, here)
    return pd.DataFrame.from_dict(lines, orient="index", columns=["the paper", "here"])


def _sizes(shape: Shape) -> dict[str, str]:
    return {
        "layers × hidden size": f"{shape.layers} × {shape.hidden_size}",
        "prunable weights": f"{shape.prunable:,}",
        "vocabulary": f"{shape.vocabulary_size:,}",
    }


# Gordon, Duh & Andrews (2020), section 3, and where that says less, the code of its authors.
_OF_PAPER = {
    **_sizes(BERT_BASE),
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
    """The same of the models that one run fine-tunes, but for what is unknown or not there."""
    try:
        lines = _sizes(shape_of(p))
    except UserError:
        # The shape of a model that is not at hand, say.
        lines = {}
    begun = f"from {_name(p.model)}" if p.model else "from random weights"
    if p.burn_in_short_steps:
        begun += f", {p.burn_in_short_steps:,} of them on pairs of {p.burn_in_short_tokens} tokens"
    if p.burn_in_steps:
        lines["learning rate of burn-in"] = _rate(p.burn_in_learning_rate)
    return lines | {
        "text": ", ".join(map(_name, p.text)),
        "steps of burn-in": f"{p.burn_in_steps:,}, {begun}",
        "steps while and after pruning": f"{p.pretrain_steps:,}, pruned over the first "
        f"{p.ramp_steps:,}",
        "sentence pairs a step × longest sequence": f"{p.pretrain_batch_size} × "
        f"{p.max_length_tokens}",
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
    scored = scores.best_accuracies(found)
    by_arm = scored[~scored.own & scored.arm.isin(COMPARED)].groupby("arm").seed.nunique()
    if by_arm.nunique() < 2:
        return str(by_arm.max() if len(by_arm) else 0)
    return _listed(f"{ARMS[arm].words}: {by_arm[arm]}" for arm in COMPARED if arm in by_arm)


def _by_task(said: Iterable[tuple[Sequence[str], str]]) -> str:
    """What was `said` of runs with their tasks; by task where these have not the same."""
    each = pd.DataFrame(
        [(task, one) for tasks, one in said for task in tasks], columns=["task", "said"]
    )
    by_task = each.groupby("task", sort=False).said.agg(_listed)
    if by_task.nunique() < 2:
        return _listed(by_task)
    alike = by_task.index.to_series().groupby(by_task, sort=False).agg(", ".join)
    return ". ".join(f"{tasks}: {said_of_all}" for said_of_all, tasks in alike.items())


def _listed(said: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(said)) or NOTHING


def _name(source: str) -> str:
    """A model, text or task data as others know it, not where it lies on this machine."""
    return Path(source).name if Path(source).is_absolute() else source


def _rate(value: float) -> str:
    """A learning rate as the paper writes it: 2e-5."""
    mantissa, exponent = f"{value:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
