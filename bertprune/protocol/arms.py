"""Arms: the paper's ways to a pruned and fine-tuned model, each with all that others ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bertprune.base.files import part_of_name
from bertprune.protocol.notebook_parameters import (
    BurnIn,
    Finetune,
    InformationDeletion,
    PruneAfterFinetune,
    PrunePretrain,
)
from bertprune.protocol.pruning_methods import RANDOM

BURN_IN = "burn_in"
"""What rows of the dense pre-training before any arm have in the place of one."""
PRUNE_PRETRAIN = "prune_pretrain"
"""Its point at sparsity 0 is the dense model that all arms are compared with."""
INFORMATION_DELETION = "information_deletion"
PRUNE_AFTER_FINETUNE = "prune_after_finetune"
RANDOM_PRUNING = "random_pruning"
FROM_SCRATCH = "from_scratch"
EPOCHS_BEFORE_PRUNING = "epochs_before_pruning"


class Look(NamedTuple):
    """How one of several things is drawn: told apart without colours too."""

    colour: str
    marker: str


@dataclass(frozen=True)
class Arm:
    """One way to a fine-tuned model, over the sparsities, tasks and seeds of a study."""

    name: str
    """In rows and in the files of studies."""
    words: str
    """What pages, tables and legends call it."""
    how: str
    """How it works, in a sentence."""
    look: Look
    parameters: type[Finetune]
    """Those of its notebook."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """The parameters that make it this arm, whatever a study says."""
    pretrained_by: str = PRUNE_PRETRAIN
    """The arm whose pruned models it starts from; empty if it starts from the dense one."""
    axis: str = "sparsity"
    """What its points lie along: sparsity, epochs before pruning, or nothing."""

    def fixed_for(self, seed: int) -> dict[str, Any]:
        """`fixed`, for a run of `seed`: never pre-trained, each seed has its own random weights."""
        own = {"burn_in_seed": seed} if self.name == FROM_SCRATCH else {}
        return {**self.fixed, **own}


ARMS = {
    arm.name: arm
    for arm in (
        Arm(
            PRUNE_PRETRAIN,
            "pruned while pre-training",
            "The smallest weights are pruned during pre-training; fine-tuning holds the masks.",
            Look("#0173b2", "o"),
            Finetune,
        ),
        Arm(
            INFORMATION_DELETION,
            "information deletion",
            "The same pruned models, but fine-tuning takes the masks off: pruned weights start "
            "at 0 and may move.",
            Look("#b07d00", "s"),
            InformationDeletion,
        ),
        Arm(
            PRUNE_AFTER_FINETUNE,
            "pruned after fine-tuning",
            "The dense model is fine-tuned, pruned at once, and fine-tuned again with its masks "
            "held.",
            Look("#029e73", "D"),
            PruneAfterFinetune,
            pretrained_by="",
        ),
        Arm(
            RANDOM_PRUNING,
            "pruned at random",
            "Random weights are pruned during pre-training, whatever their size; fine-tuning holds "
            "the masks.",
            Look("#d55e00", "^"),
            Finetune,
            {"method": RANDOM},
            pretrained_by=RANDOM_PRUNING,
        ),
        Arm(
            FROM_SCRATCH,
            "never pre-trained",
            "A BERT of the same shape is fine-tuned from random weights: it shows what "
            "pre-training is worth.",
            Look("#c566b3", "v"),
            Finetune,
            {
                "model": "",
                "burn_in_steps": 0,
                "burn_in_short_steps": 0,
                "pretrain_steps": 0,
                "sparsity": 0.0,
            },
            pretrained_by=FROM_SCRATCH,
            axis="",
        ),
        Arm(
            EPOCHS_BEFORE_PRUNING,
            "epochs before pruning",
            "Pruning after fine-tuning, over how long the model was fine-tuned before.",
            Look("#8a5a2b", "P"),
            PruneAfterFinetune,
            pretrained_by="",
            axis="epochs",
        ),
    )
}
"""All arms by name, in the order of tables and legends."""

BY_SPARSITY = tuple(name for name, arm in ARMS.items() if arm.axis == "sparsity")
"""Names of the arms that have curves against sparsity: those of the paper's table 1."""

COMPARED = (*BY_SPARSITY, FROM_SCRATCH)
"""Names of the arms whose fine-tuned models are compared with the dense one."""


def words_of_arm(name: str) -> str:
    """What pages call the arm `name`; nothing for what is no arm."""
    return ARMS[name].words if name in ARMS else ""


def arm_of(parameters: BurnIn) -> str:
    """Name of the arm that the rows of a run belong to."""
    p = parameters
    if not isinstance(p, PrunePretrain):
        return BURN_IN
    if isinstance(p, InformationDeletion):
        return INFORMATION_DELETION
    if isinstance(p, PruneAfterFinetune):
        return PRUNE_AFTER_FINETUNE
    if not (p.model or p.burn_in_steps or p.pretrain_steps or p.sparsity):
        return FROM_SCRATCH
    of_method = [arm.name for arm in ARMS.values() if arm.fixed.get("method") == p.method]
    return of_method[0] if of_method else PRUNE_PRETRAIN


def seed_of(parameters: BurnIn) -> int:
    """The seed that the rows of a run have."""
    return parameters.seed if isinstance(parameters, PrunePretrain) else parameters.burn_in_seed


def bert_of(model: str, burn_in_seed: int) -> str:
    """What tells the BERTs of a study apart, of which the runs of a seed begin with one: the name
    of `model`, or of a fresh one "fresh", and the seed of its burn-in."""
    return f"{part_of_name(Path(model).name or 'fresh')}-seed{burn_in_seed}"
