"""Training on a GPU, or where there is none on the CPU.

On a GPU sums differ in their last bits from run to run, so what is equal to the bit on a CPU is
equal but for rounding here. Zeros and counts are exact everywhere.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from bertprune.data.batches import PretrainingBatch
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.training import checkpoint, loop, processes, stacks
from bertprune.training.pretraining import PretrainingLoss, evaluate
from bertprune.training.variants import Variant

from ..training.small import SETTINGS, make_batch

# By how much of itself a loss may differ. Another seed makes 1.3e-3.
ROUNDING = {"float32": 1e-5, "bf16": 6e-4}


@pytest.fixture(params=ROUNDING)
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def accelerator(precision: str) -> Iterator[Accelerator]:
    # Accelerate keeps the device of the first test.
    AcceleratorState._reset_state(True)
    yield processes.accelerator(precision)
    AcceleratorState._reset_state(True)


def variant(
    device: torch.device, sparsity: float, *, seed: int = 5, stopped_at: int | None = None
) -> Variant:
    def batch(step: int, rank: int, world: int) -> PretrainingBatch:
        if step == stopped_at:
            raise ZeroDivisionError
        return make_batch(step)

    model = fresh_model(Shape(2, 16, 2, 60, 32, dropout=0.1), seed=0)
    model.to(device)  # type: ignore[arg-type]
    pruner = Pruner.following(model, Schedule(sparsity, 0, 6, 2), Criterion())
    settings = replace(SETTINGS, learning_rate=1e-2)
    return Variant(PretrainingLoss(model), batch, settings, seed, pruner)


def loss_of(trained: Variant, accelerator: Any) -> float:
    model: Any = trained.loss.model
    return evaluate(model, map(make_batch, range(99, 107)), accelerator)["loss"]


def assert_zeros(trained: Variant, sparsity: float) -> None:
    assert trained.pruner is not None
    for name, weight in prunable_matrices(trained.loss.model).items():
        mask = trained.pruner.masks[name]
        assert int((~mask).sum()) == round(sparsity * mask.numel())
        assert not weight[~mask].any()


def test_the_loss_is_that_of_the_cpu_in_float32(accelerator: Accelerator, precision: str) -> None:
    on_cpu = SimpleNamespace(device=torch.device("cpu"), autocast=nullcontext)
    expected = loss_of(variant(on_cpu.device, 0.5), on_cpu)
    found = loss_of(variant(accelerator.device, 0.5), accelerator)
    assert found == pytest.approx(expected, rel=ROUNDING[precision])


def test_models_that_train_together_end_where_each_would_alone(
    accelerator: Accelerator, precision: str, tmp_path: Path
) -> None:
    def trained(name: str, *variants: Variant) -> list[float]:
        loop.train(list(variants), accelerator, folder=tmp_path / name, what="test")
        return [loss_of(one, accelerator) for one in variants]

    sparsities = (0.0, 0.3, 0.6, 0.9)
    together = [variant(accelerator.device, sparsity) for sparsity in sparsities]
    losses = trained("together", *together)
    for sparsity, mine, found in zip(sparsities, together, losses, strict=True):
        alone = variant(accelerator.device, sparsity)
        assert trained(str(sparsity), alone) == [pytest.approx(found, rel=ROUNDING[precision])]
        assert_zeros(mine, sparsity)
        assert_zeros(alone, sparsity)


def test_a_training_that_was_stopped_ends_as_an_unbroken_one(
    accelerator: Accelerator, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(checkpoint, "_SAVING_SHARE", 1e9)
    whole, broken, resumed = (
        variant(accelerator.device, 0.5, stopped_at=step) for step in (None, 7, None)
    )
    loop.train([whole], accelerator, folder=tmp_path / "whole", what="test")
    with pytest.raises(ZeroDivisionError):
        loop.train([broken], accelerator, folder=tmp_path / "broken", what="test")
    loop.train([resumed], accelerator, folder=tmp_path / "broken", what="test")
    assert_zeros(resumed, 0.5)
    expected = loss_of(whole, accelerator)
    assert loss_of(resumed, accelerator) == pytest.approx(expected, rel=ROUNDING[precision])


def test_there_is_room_for_a_stack(accelerator: Accelerator) -> None:
    assert stacks._room_for(variant(accelerator.device, 0.5), accelerator) >= 16
