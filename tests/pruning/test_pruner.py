"""Pruning during training: underlying weights on the ramp, zeros that stay zero after it."""

import pytest
import torch
from transformers import BertForPreTraining

from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion, RealisedSparsityError
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule

from ..models import assert_same


def _model() -> BertForPreTraining:
    return fresh_model(Shape(layers=2, hidden_size=16, heads=2, vocabulary_size=50), seed=0)


def test_zeros_stay_zero_through_adamw() -> None:
    model = _model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    pruner = Pruner.following(model, Schedule(0.6, 0, 6, 2), Criterion())
    names: dict[torch.Tensor, str] = {
        parameter: name for name, parameter in model.named_parameters()
    }
    for step in range(12):
        moments = {names[one]: state["exp_avg"] for one, state in optimizer.state.items()}
        pruner.before_step(step, moments)
        ids = torch.randint(0, 50, (4, 12), generator=torch.Generator().manual_seed(step))
        model(input_ids=ids, labels=ids, next_sentence_label=ids[:, 0] % 2).loss.backward()
        pruner.mask_gradients()
        optimizer.step()
        optimizer.zero_grad()
        for name, weight in prunable_matrices(model).items():
            assert not weight[~pruner.masks[name]].any(), f"{name} at step {step}"
    pruner.check(0.6)


@pytest.mark.parametrize("scope", ["matrix", "global"])
def test_masked_weights_keep_their_value_on_the_ramp_and_may_return(scope: str) -> None:
    model = _model()
    weights = prunable_matrices(model)
    pooler = weights["pooler.dense.weight"]
    with torch.no_grad():
        pooler.mul_(0.1)
    before = pooler.detach().clone()
    pruner = Pruner.following(model, Schedule(0.5, 0, 10, 1), Criterion(scope=scope))
    pruner.before_step(1)
    gone = ~pruner.masks["pooler.dense.weight"]
    assert gone.any() and not pooler[gone].any()
    # All that was kept there, or with one threshold for all what is in the other matrices, shrinks
    # below what was pruned: that comes back at the next update, with the value that it had.
    with torch.no_grad():
        for weight in weights.values():
            if (weight is pooler) == (scope == "matrix"):
                weight.mul_(1e-6)
    pruner.before_step(2)
    kept = pruner.masks["pooler.dense.weight"]
    assert kept[gone].all() and kept.all() == (scope == "global")
    assert torch.equal(pooler[gone], before[gone])


def test_after_the_ramp_masks_never_change() -> None:
    model = _model()
    pruner = Pruner.following(model, Schedule(0.5, 0, 3, 1), Criterion())
    for step in range(4):
        pruner.before_step(step)
    state = {name: tensor.clone() for name, tensor in pruner.state().items()}
    assert all(name.startswith("mask.") for name in state)
    with torch.no_grad():
        for weight in prunable_matrices(model).values():
            weight.normal_()
    pruner.before_step(4)
    assert_same(pruner.state(), state)


def test_a_weight_may_return_after_the_ramp_where_the_schedule_goes_on() -> None:
    model = _model()
    weight = prunable_matrices(model)["pooler.dense.weight"]
    before = weight.detach().clone()
    pruner = Pruner.following(model, Schedule(0.5, 0, 3, 1, goes_on=True), Criterion())
    for step in range(4):
        pruner.before_step(step)
    gone = ~pruner.masks["pooler.dense.weight"]
    with torch.no_grad():
        weight.mul_(1e-6)
    pruner.before_step(4)
    assert torch.equal(pruner.masks["pooler.dense.weight"], gone)
    assert torch.equal(weight[gone], before[gone])
    pruner.check(0.5)


def test_state_goes_round() -> None:
    model, other = _model(), _model()
    pruner, copy = (
        Pruner.following(one, Schedule(0.5, 0, 10, 1), Criterion()) for one in (model, other)
    )
    pruner.before_step(3)
    copy.load_state(pruner.state())
    other.load_state_dict(model.state_dict())
    # Some come back, with values that are in the state alone.
    for one in (model, other):
        prunable_matrices(one)["pooler.dense.weight"].data.mul_(1e-6)
    for step in (4, 10):
        pruner.before_step(step)
        copy.before_step(step)
    assert_same(copy.state(), pruner.state())
    assert_same(other.state_dict(), model.state_dict())


def test_check_finds_a_weight_that_moved() -> None:
    model = _model()
    pruner = Pruner.following(model, Schedule(0.5), Criterion())
    pruner.before_step(0)
    pruner.check(0.5)
    weight = prunable_matrices(model)["pooler.dense.weight"]
    with torch.no_grad():
        weight[~pruner.masks["pooler.dense.weight"]] = 1.0
    with pytest.raises(RealisedSparsityError, match=r"pooler.dense.weight: 128 pruned"):
        pruner.check(0.5)
