"""Contracts: what is refused, and how it is said."""

from typing import Any

import pytest

from bertprune.base.errors import UserError
from bertprune.protocol import notebook_parameters
from bertprune.protocol.notebook_parameters import (
    BurnIn,
    Finetune,
    InformationDeletion,
    PruneAfterFinetune,
    PrunePretrain,
    own_values,
    parse,
)
from bertprune.protocol.views import parameters_of_run


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sparsity": 1.2}, "sparsity must be at least 0, at most 1, got 1.2"),
        ({"sparsity": float("nan")}, "sparsity must be at least 0, at most 1, got nan"),
        ({"sparsity": "half"}, 'sparsity must be a number, got "half"'),
        ({"sparsity": True}, "sparsity must be a number, got True"),
        ({"sparsty": 0.5}, "finetune has no parameter 'sparsty': did you mean 'sparsity'?"),
        ({"epochs": 2.5}, "epochs must be a whole number, got 2.5"),
        ({"epochs": -1}, "epochs must be at least 0, got -1"),
        ({"burn_in_seed": 2**31}, "burn_in_seed must be at most 2147483647, got 2147483648"),
        ({"seed": 10**400}, "seed must be at most 2147483647, got 1000"),
        ({"sparsity": 10**400}, "sparsity must be a number, got 1000"),
        ({"learning_rates": [1e-3, "fast"]}, 'learning_rates must be a number, got "fast"'),
        ({"learning_rates": []}, "learning_rates is empty"),
        ({"learning_rates": [1e-3, 1e-3]}, "same value twice"),
        ({"method": "magnitud"}, "did you mean 'magnitude'?"),
        (
            {"ramp_steps": 60, "pretrain_steps": 60},
            "ramp_steps 60 must be less than pretrain_steps 60",
        ),
        ({"text": [""]}, "text has an empty entry"),
        ({"task_data": ""}, "task_data is empty"),
        ({"hidden_size": 65}, "hidden_size 65 is not a multiple of heads 2"),
        ({"method": "random", "scope": "global"}, "set scope to 'matrix'"),
        ({"text": ["lab", "lab:1"]}, "text 'lab' and text 'lab:1' are different languages"),
        ({"text": "lab:1", "model": "lab"}, "text 'lab:1' and model 'lab' are different"),
        ({"text": "lab:1", "tokenizer": "lab:2"}, "text 'lab:1' and tokenizer 'lab:2'"),
        ({"text": "lab:1:50", "task_data": "lab"}, "text 'lab:1:50' and task_data 'lab'"),
        (
            {"burn_in_short_steps": 101},
            "burn_in_short_steps is 101, of 100 burn_in_steps in all",
        ),
        ({"decay_ends_epochs": [2, 1]}, "decay_ends_epochs must ascend, got [2.0, 1.0]"),
        ({"pretrain_decay_ends_steps": [5, 5]}, "pretrain_decay_ends_steps must ascend"),
        ({"burn_in_decay_ends_steps": [0]}, "must be at least 1, got 0"),
        ({"optimizer": "adam"}, "did you mean 'adamw'?"),
        ({"masks_after_ramp": "update"}, "did you mean 'updated'?"),
        (
            {"burn_in_short_steps": 9, "max_length_tokens": 100},
            "max_length_tokens 100 is not a multiple of burn_in_short_tokens 32",
        ),
    ],
)
def test_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        parse(Finetune, values)
    assert said in str(error.value)


def test_a_recovery_counts_on_only_where_its_decays_are_said() -> None:
    with pytest.raises(UserError, match="give these too"):
        parse(PruneAfterFinetune, {"recovery_begins_epoch": 3})


def test_accepted() -> None:
    parameters = parse(Finetune, {"sparsity": 1, "task": "cola", "learning_rates": 2e-5})
    assert parameters.sparsity == 1.0 and type(parameters.sparsity) is float
    assert parameters.task == ("cola",) and parameters.learning_rates == (2e-5,)
    assert parse(Finetune, {"seed": 2**31 - 1}).seed == 2**31 - 1
    # As papermill and YAML hand them over, and back.
    assert parse(Finetune, notebook_parameters.as_values(parameters)) == parameters


def test_each_notebook_starts_from_what_it_says() -> None:
    for contract in (Finetune, InformationDeletion):
        upstream = contract(sparsity=0.7, seed=3).upstream()
        assert type(upstream) is PrunePretrain
        assert (upstream.sparsity, upstream.seed) == (0.7, 3)
    after = PruneAfterFinetune(sparsity=0.7, epochs=2).upstream()
    assert type(after) is Finetune and after.sparsity == 0.0 and after.epochs == 2
    assert type(PrunePretrain().upstream()) is BurnIn
    assert BurnIn().upstream() is None


def test_own_values_are_what_the_upstream_run_does_not_settle() -> None:
    assert own_values(Finetune()) == {}
    assert own_values(Finetune(epochs=5, layers=4, sparsity=0.7)) == {"epochs": 5}
    assert own_values(PrunePretrain(sparsity=0.7, layers=4)) == {"sparsity": 0.7}
    # The default sparsity is not that of the dense model it starts from.
    assert own_values(PruneAfterFinetune()) == {"sparsity": 0.5}


def test_without_pruning_the_method_does_not_matter() -> None:
    dense = PrunePretrain(sparsity=0.0).canonical()
    assert PrunePretrain(sparsity=0.0, method="random", ramp_steps=7).canonical() == dense
    assert PrunePretrain(method="random").canonical() != PrunePretrain().canonical()


@pytest.mark.parametrize("notebook", notebook_parameters.CONTRACTS)
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_what_is_valid_stays_so_when_idle_parameters_are_set_aside(
    notebook: str, sparsity: float
) -> None:
    contract = parameters_of_run(notebook)
    values = {"pretrain_steps": 2, "ramp_steps": 1, "sparsity": sparsity}
    if contract is BurnIn:
        values = {"burn_in_steps": 1}
    parameters = parse(contract, values).canonical()
    parameters.check()
    assert parse(contract, notebook_parameters.as_values(parameters)).canonical() == parameters


@pytest.mark.parametrize(
    "contract", notebook_parameters.CONTRACTS.values(), ids=lambda c: c.notebook
)
def test_the_parameters_cell_gives_the_defaults(contract: type[BurnIn]) -> None:
    namespace: dict[str, Any] = {}
    exec(notebook_parameters.parameters_cell(contract), namespace)
    namespace.pop("__builtins__")
    assert parse(contract, namespace) == contract()
    assert list(namespace) == list(notebook_parameters.help_of(contract))


def test_minus_zero_is_zero() -> None:
    """Else the dense model would be two runs."""
    assert str(parse(PrunePretrain, {"sparsity": -0.0}).sparsity) == "0.0"
