"""What each notebook takes: one frozen dataclass a notebook, with default, range and help.

The strict check, the parameter table on the page, a notebook's parameters cell and the name of a
run all come from here. A notebook's contract extends that of the notebook it builds on, so each
one says everything that its result depends on, from the text up.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from bertprune.base.errors import UserError, did_you_mean
from bertprune.lab.language import find_source, language_of
from bertprune.protocol.fields import checked, help_with_range, parameter, shown, type_hints
from bertprune.protocol.pruning_methods import MAGNITUDE, METHODS

ADAMW, BERTADAM = "adamw", "bertadam"
"""Optimizers: BERT's own is the second."""

FROZEN, UPDATED = "frozen", "updated"
"""What becomes of masks after the ramp."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What the parameters of every notebook have in common."""

    notebook: ClassVar[str]

    def check(self) -> None:
        """Raise UserError for parameters that are valid one by one, but not together."""


@dataclass(frozen=True, kw_only=True)
class BurnIn(Contract):
    """A dense BERT, pre-trained on the text: a fresh one, or further training of a given one."""

    notebook: ClassVar[str] = "burn_in"

    model: str = parameter(
        "", "Hugging Face BERT to start from, folder or Hub name; empty: a fresh one of this shape"
    )
    layers: int = parameter(2, "layers of a fresh model", low=1)
    hidden_size: int = parameter(64, "hidden size of a fresh model", low=1)
    heads: int = parameter(2, "attention heads of a fresh model", low=1)
    dropout: float = parameter(
        0.1, "dropout of a fresh model, in pre-training and after", low=0.0, high=0.9
    )
    initializer_range: float = parameter(
        0.02, "standard deviation of a fresh model's weights", above=0.0, high=1.0
    )
    tokenizer: str = parameter(
        "",
        "folder or Hub name; empty: the model's, the lab's, or a WordPiece of the text",
    )
    vocabulary_size: int = parameter(500, "entries of a WordPiece trained on the text", low=100)
    text: tuple[str, ...] = parameter(
        ("lab",), "text to pre-train on: folders or files of text, Hub data sets, lab"
    )
    max_length_tokens: int = parameter(128, "longest sequence, in tokens", low=8, high=512)
    dev_share: float = parameter(
        0.02, "share of the documents kept for the dev set", above=0.0, high=0.5
    )
    dev_examples: int = parameter(16_000, "most sentence pairs in the dev set", low=1)
    burn_in_steps: int = parameter(100, "training steps without pruning", low=0)
    burn_in_learning_rate: float = parameter(1e-3, "peak learning rate of burn-in", above=0.0)
    burn_in_warmup_steps: int = parameter(10, "steps until that peak", low=0)
    burn_in_decay_ends_steps: tuple[int, ...] = parameter(
        (), "rate falls to 0 there, begins anew; empty: at the end", low=1
    )
    burn_in_short_steps: int = parameter(
        0, "first steps of burn-in, on short pairs of as many tokens", low=0
    )
    burn_in_short_tokens: int = parameter(32, "longest of the short pairs, in tokens", low=8)
    burn_in_seed: int = parameter(0, "seed of the fresh weights and of burn-in", low=0)
    pretrain_batch_size: int = parameter(32, "sentence pairs a pre-training step", low=1)
    optimizer: str = parameter(
        ADAMW,
        "bertadam: without bias correction, as BERT's own code",
        choices=(ADAMW, BERTADAM),
    )
    precision: str = parameter(
        "auto",
        "auto: bf16 where the machine has it and it pays",
        choices=("auto", "float32", "bf16"),
    )

    def upstream(self) -> BurnIn | None:
        """The parameters of the run whose model this one starts from."""
        return None

    def compared_with(self) -> BurnIn | None:
        """The parameters of the run whose model this one's is compared with."""
        return None

    def canonical(self) -> Self:
        """The same work with parameters that do not matter set to their defaults."""
        shape = ["layers", "hidden_size", "heads", "dropout", "initializer_range"]
        idle = shape if self.model else []
        own = self.model or self.tokenizer or language_of(self.text) is not None
        idle += ["vocabulary_size"] if own else []
        idle += [] if self.burn_in_short_steps else ["burn_in_short_tokens"]
        return self._without(*idle)

    def _without(self, *idle: str) -> Self:
        """The same with the parameters `idle` set to their defaults."""
        return self.replace(**{name: getattr(type(self), name) for name in idle})

    def replace(self, **changes: Any) -> Self:
        return dataclasses.replace(self, **changes)

    def leaves_model(self) -> bool:
        """Whether the run leaves a model that others start from."""
        return True

    def check(self) -> None:
        if self.hidden_size % self.heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}"
            )
        self._check_short_steps()
        self._check_ascending("burn_in_decay_ends_steps")
        if not self.text:
            raise UserError("text is empty: name at least one folder, file or Hub data set")
        self._check_languages(("text", *self.text), ("model", self.model))
        self._check_languages(("text", *self.text), ("tokenizer", self.tokenizer))

    def _check_short_steps(self) -> None:
        if self.burn_in_short_steps > self.burn_in_steps:
            raise UserError(
                f"burn_in_short_steps is {self.burn_in_short_steps}, of {self.burn_in_steps} "
                "burn_in_steps in all"
            )
        if self.burn_in_short_steps and self.max_length_tokens % self.burn_in_short_tokens:
            raise UserError(
                f"max_length_tokens {self.max_length_tokens} is not a multiple of "
                f"burn_in_short_tokens {self.burn_in_short_tokens}"
            )

    def _check_ascending(self, name: str) -> None:
        """Raise UserError unless the numbers of the parameter `name` ascend."""
        values = getattr(self, name)
        if list(values) != sorted(set(values)):
            raise UserError(f"{name} must ascend, got {shown(values)}")

    @staticmethod
    def _check_languages(*named: tuple[str, ...]) -> None:
        """Raise UserError if two parameters name different lab languages."""
        seeds = {
            source.seed: f"{what} {name!r}"
            for what, *names in named
            for name in names
            if (source := find_source(name))
        }
        if len(seeds) > 1:
            raise UserError(
                f"{' and '.join(seeds.values())} are different languages: take the same seed"
            )


@dataclass(frozen=True, kw_only=True)
class PrunePretrain(BurnIn):
    """The burnt-in BERT, pruned while pre-training goes on."""

    notebook: ClassVar[str] = "prune_pretrain"

    sparsity: float = parameter(
        0.5, "share of the prunable weights that is zero", low=0.0, high=1.0
    )
    method: str = parameter(
        MAGNITUDE,
        "which weights go first",
        choices=tuple(METHODS),
    )
    scope: str = parameter(
        "matrix",
        "each matrix to the same sparsity, or one threshold for all",
        choices=("matrix", "global"),
    )
    pretrain_steps: int = parameter(60, "training steps while and after pruning", low=0)
    ramp_steps: int = parameter(
        20, "steps of the cubic ramp to the final sparsity; 0: one-shot", low=0
    )
    pruning_frequency_steps: int = parameter(5, "steps between two mask updates", low=1)
    masks_after_ramp: str = parameter(
        FROZEN,
        "what becomes of masks after the ramp",
        choices=(FROZEN, UPDATED),
    )
    pretrain_learning_rate: float = parameter(5e-4, "peak learning rate", above=0.0)
    pretrain_warmup_steps: int = parameter(10, "steps until that peak", low=0)
    pretrain_decay_ends_steps: tuple[int, ...] = parameter(
        (), "rate falls to 0 there, begins anew; empty: at the end", low=1
    )
    seed: int = parameter(0, "seed of everything after burn-in", low=0)

    def upstream(self) -> BurnIn | None:
        return _part(self, BurnIn)

    def compared_with(self) -> BurnIn | None:
        # The dense model that has trained as long.
        return self.replace(sparsity=0.0) if self.sparsity > 0 else None

    def canonical(self) -> Self:
        # Without pruning there is no method and no ramp: the dense model is one and the same.
        same = super().canonical()
        if same.sparsity > 0:
            return same
        return same._without(
            "method", "scope", "ramp_steps", "pruning_frequency_steps", "masks_after_ramp"
        )

    def check(self) -> None:
        super().check()
        self._check_ascending("pretrain_decay_ends_steps")
        if self.sparsity > 0 and self.ramp_steps >= max(1, self.pretrain_steps):
            raise UserError(
                f"ramp_steps {self.ramp_steps} must be less than pretrain_steps "
                f"{self.pretrain_steps}: the final sparsity would never be reached"
            )
        if self.scope == "global" and not METHODS[self.method].may_be_global:
            raise UserError(
                f"method {self.method!r} prunes matrix by matrix: set scope to 'matrix'"
            )


@dataclass(frozen=True, kw_only=True)
class Finetune(PrunePretrain):
    """The pruned BERT fine-tuned on tasks, its masks held."""

    notebook: ClassVar[str] = "finetune"

    task: tuple[str, ...] = parameter(("sst2",), "one task or several")
    task_data: str = parameter(
        "lab", "Hub data set in GLUE's layout, a folder with a folder for each task, or lab"
    )
    epochs: int = parameter(3, "passes over the training set", low=0)
    learning_rates: tuple[float, ...] = parameter((1e-3,), "learning rates to try", above=0.0)
    batch_size: int = parameter(32, "examples a fine-tuning step", low=1)
    warmup_steps: int = parameter(10, "steps until the peak learning rate", low=0)
    warmup_epochs: float = parameter(
        0.0, "epochs until the peak learning rate; 0: warmup_steps", low=0.0
    )
    decay_ends_epochs: tuple[float, ...] = parameter(
        (),
        "rate falls to 0 there, begins anew; empty: at the end",
        above=0.0,
    )

    def upstream(self) -> BurnIn | None:
        return _part(self, PrunePretrain)

    def compared_with(self) -> BurnIn | None:
        return None

    def leaves_model(self) -> bool:
        # Pruning after fine-tuning starts from the dense one.
        return self.sparsity == 0

    def check(self) -> None:
        super().check()
        if not self.task_data:
            raise UserError("task_data is empty: name a Hub data set or a folder")
        self._check_ascending("decay_ends_epochs")
        self._check_languages(("text", *self.text), ("task_data", self.task_data))
        for name in ("task", "learning_rates"):
            values = getattr(self, name)
            if not values:
                raise UserError(f"{name} is empty: name at least one")
            if len(set(values)) < len(values):
                raise UserError(f"{name} has the same value twice: {shown(values)}")


@dataclass(frozen=True, kw_only=True)
class InformationDeletion(Finetune):
    """The pruned BERT fine-tuned with its masks taken off: pruned weights start at 0, but move."""

    notebook: ClassVar[str] = "information_deletion"

    def leaves_model(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class PruneAfterFinetune(Finetune):
    """The dense BERT that `finetune` has fine-tuned, pruned in one shot, then fine-tuned on."""

    notebook: ClassVar[str] = "prune_after_finetune"

    recovery_epochs: int = parameter(5, "passes over the training set after pruning", low=0)
    recovery_begins_epoch: float = parameter(
        0.0, "epoch at which recovery begins, for decay of the rate", low=0.0
    )
    recovery_decay_ends_epochs: tuple[float, ...] = parameter(
        (), "as decay_ends_epochs, in recovery; empty: at the end", above=0.0
    )

    def check(self) -> None:
        super().check()
        self._check_ascending("recovery_decay_ends_epochs")
        if self.recovery_begins_epoch and not self.recovery_decay_ends_epochs:
            raise UserError(
                f"recovery_begins_epoch is {self.recovery_begins_epoch:g}, which only counts with "
                "recovery_decay_ends_epochs: give these too"
            )

    def leaves_model(self) -> bool:
        return False

    def upstream(self) -> BurnIn | None:
        return _part(self, Finetune).replace(sparsity=0.0)

    def compared_with(self) -> BurnIn | None:
        # The masks of the model pruned to the same sparsity while it was pre-trained.
        return _part(self, PrunePretrain) if self.sparsity > 0 else None


C = TypeVar("C", bound=Contract)
B = TypeVar("B", bound=BurnIn)

CONTRACTS: dict[str, type[BurnIn]] = {
    contract.notebook: contract
    for contract in (BurnIn, PrunePretrain, Finetune, InformationDeletion, PruneAfterFinetune)
}
"""The parameters of the notebooks that are executed as runs, by notebook."""


def parse(contract: type[C], values: Mapping[str, object]) -> C:
    """The parameters `values`, checked strictly; what is not named has its default.

    Raises UserError for an unknown name (with the closest valid one), a wrong type, a value out
    of range, and values that do not go together. A single value stands for a list of one.
    """
    fields = {f.name: f for f in dataclasses.fields(contract)}
    kinds = type_hints(contract)
    found = {}
    for name, value in values.items():
        if name not in fields:
            raise UserError(
                f"{contract.notebook} has no parameter {name!r}: {did_you_mean(name, fields)}"
            )
        found[name] = checked(name, value, kinds[name], fields[name].metadata)
    parameters = contract(**found)
    parameters.check()
    return parameters


def parse_namespace(contract: type[C], namespace: Mapping[str, object]) -> C:
    """The parameters that the variables of a notebook give, checked as `parse` does."""
    names = help_of(contract)
    return parse(contract, {name: namespace[name] for name in names if name in namespace})


def as_values(parameters: Contract, only: Iterable[str] | None = None) -> dict[str, Any]:
    """Parameters as plain values for YAML, JSON and papermill: tuples become lists."""
    names = [f.name for f in dataclasses.fields(parameters)] if only is None else only
    values = {name: getattr(parameters, name) for name in names}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def own_values(parameters: BurnIn) -> dict[str, Any]:
    """Parameters that determine a run beyond its upstream run: those that differ from their
    defaults, or from what the upstream run has for them."""
    upstream = parameters.upstream()
    settled = as_values(upstream.canonical()) if upstream else {}
    defaults = as_values(type(parameters)())
    return {
        name: value
        for name, value in as_values(parameters).items()
        if value != settled.get(name, defaults[name])
    }


def help_of(contract: type[Contract]) -> dict[str, str]:
    """Help of each parameter, with its range."""
    return {f.name: help_with_range(f.metadata) for f in dataclasses.fields(contract)}


def table(parameters: BurnIn) -> str:
    """HTML that a notebook shows: each parameter with its help, those in bold that determine the
    run (see `own_values`)."""
    helps, own = help_of(type(parameters)), own_values(parameters)
    lines = [
        f"<tr><td>{'<b>' if name in own else ''}<code>{name}</code></td>"
        f"<td><code>{html.escape(str(value))}</code></td>"
        f"<td>{html.escape(helps[name])}</td></tr>"
        for name, value in as_values(parameters).items()
    ]
    return (
        "<details><summary>All parameters</summary>"
        "<table><thead><tr><th>parameter</th><th>value</th><th>meaning</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></details>"
    )


def parameters_cell(contract: type[Contract], *, with_choices: bool = False) -> str:
    """Source of the parameters cell of the contract's notebook: `name = value  # help`.

    What a parameter may be chosen from stands in the notebook that it begins with alone, so that a
    new choice changes one notebook; `with_choices` shows all.
    """
    values, helps = as_values(contract()), help_of(contract)
    above = [base for base in contract.__mro__ if issubclass(base, BurnIn) and base is not contract]
    for one in dataclasses.fields(contract):
        begun = [base.notebook for base in above if one.name in vars(base)]
        if begun and one.metadata["choices"] and not with_choices:
            helps[one.name] = f"{one.metadata['help']} (choices: see {begun[-1]})"
    return "\n".join(f"{name} = {shown(value)}  # {helps[name]}" for name, value in values.items())


def _part(parameters: BurnIn, contract: type[B]) -> B:
    return contract(**{f.name: getattr(parameters, f.name) for f in dataclasses.fields(contract)})
