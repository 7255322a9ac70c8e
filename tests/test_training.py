"""The training loop: resumed to the same bits, stopped by a bad loss, zeros kept."""

import os
import signal
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from bertprune import training
from bertprune.data.examples import PretrainingBatch
from bertprune.errors import UserError
from bertprune.models import Shape, fresh_model
from bertprune.pretraining import PretrainingLoss
from bertprune.pruning.masks import Criterion
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule

STEPS = 12
SETTINGS = training.Optimization(learning_rate=1e-3, steps=STEPS, warmup_steps=3)


def _batch(step: int, rank: int = 0, world: int = 1) -> PretrainingBatch:
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(0, 60, (4, 16), generator=generator)
    return PretrainingBatch(
        input_ids=ids,
        token_type_ids=torch.zeros_like(ids),
        attention_mask=torch.ones_like(ids),
        masked_positions=torch.tensor([3, 20, 40]),
        masked_labels=ids.flatten()[[3, 20, 40]],
        next_sentence_labels=torch.tensor([0, 1, 0, 1]),
        masked_total=3,
        examples_total=4,
    )


class _Stopped(Exception):
    pass


def _trained(folder: Path, stop_after: int | None = None) -> tuple[nn.Module, Pruner, list]:
    """A model trained with pruning and dropout; a hard stop comes after a step, as kill -9."""
    model = fresh_model(Shape(2, 16, 2, 60), seed=0)
    pruner = Pruner.following(model, Schedule(0.5, 0, 6, 2), Criterion())

    def batch(step: int, rank: int, world: int) -> PretrainingBatch:
        if step == stop_after:
            raise _Stopped
        return _batch(step)

    trained = training.train(
        PretrainingLoss(model),
        batch,
        SETTINGS,
        accelerator=Accelerator(cpu=True),
        seed=5,
        folder=folder,
        what="test",
        pruner=pruner,
        evaluate=lambda step: [{"step": step, "split": "dev", "metric": "loss", "value": 0.5}],
        evaluate_after={4, 8, 12},
    )
    return model, pruner, trained.history


@pytest.fixture
def save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(training, "_SAVING_SHARE", 1e9)


@pytest.mark.usefixtures("save_always")
@pytest.mark.parametrize("stop_after", [1, 4, 5, 9, 11])
def test_resumed_is_bit_equal_to_unbroken(tmp_path: Path, stop_after: int) -> None:
    whole, whole_pruner, whole_history = _trained(tmp_path / "whole")
    with pytest.raises(_Stopped):
        _trained(tmp_path / "broken", stop_after)
    model, pruner, history = _trained(tmp_path / "broken")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    for name, mask in whole_pruner.masks.items():
        assert torch.equal(mask, pruner.masks[name])
    assert history == whole_history
    pruner.check(0.5)


def test_a_signal_stops_after_a_whole_step_and_training_goes_on(tmp_path: Path) -> None:
    whole, _, whole_history = _trained(tmp_path / "whole")
    model = fresh_model(Shape(2, 16, 2, 60), seed=0)
    pruner = Pruner.following(model, Schedule(0.5, 0, 6, 2), Criterion())

    def batch(step: int, rank: int, world: int) -> PretrainingBatch:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return _batch(step)

    with pytest.raises(KeyboardInterrupt, match="stopped after step 6"):
        training.train(
            PretrainingLoss(model),
            batch,
            SETTINGS,
            accelerator=Accelerator(cpu=True),
            seed=5,
            folder=tmp_path / "broken",
            what="test",
            pruner=pruner,
            evaluate=lambda step: [{"step": step, "split": "dev", "metric": "loss", "value": 0.5}],
            evaluate_after={4, 8, 12},
        )
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    resumed, _, history = _trained(tmp_path / "broken")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert history == whole_history


@pytest.mark.usefixtures("save_always")
def test_a_loss_that_is_not_finite_names_step_and_checkpoint(tmp_path: Path) -> None:
    model = fresh_model(Shape(1, 16, 2, 60), seed=0)

    class Spoilt(PretrainingLoss):
        def forward(self, batch: PretrainingBatch) -> torch.Tensor:
            bad = batch.input_ids[0, 0] == _batch(7).input_ids[0, 0]
            return super().forward(batch) * (float("nan") if bad else 1.0)

    first_bad = next(
        s for s in range(STEPS) if _batch(s).input_ids[0, 0] == _batch(7).input_ids[0, 0]
    )
    with pytest.raises(training.NonFiniteLoss, match=rf"loss is nan at step {first_bad}") as error:
        training.train(
            Spoilt(model),
            lambda step, rank, world: _batch(step),
            SETTINGS,
            accelerator=Accelerator(cpu=True),
            seed=0,
            folder=tmp_path,
            what="test",
        )
    assert f"after step {first_bad}" in str(error.value)
    saved = torch.load(tmp_path / training.CHECKPOINT_FILE, weights_only=True)
    assert saved["step"] == first_bad
    assert all(bool(torch.isfinite(value).all()) for value in saved["model"].values())


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    settings = training.Optimization(learning_rate=1.0, steps=110, warmup_steps=10)
    rates = [settings.learning_rate_at(step) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert 0 < rates[-1] == pytest.approx(0.01)


def test_biases_and_layer_norms_do_not_decay() -> None:
    model = fresh_model(Shape(1, 16, 2, 60), seed=0)
    decayed, kept = training._parameter_groups(model, 0.01)
    assert decayed["weight_decay"] == 0.01 and kept["weight_decay"] == 0.0
    assert all(p.dim() == 2 for p in decayed["params"])
    assert all(p.dim() == 1 for p in kept["params"])
    total = len(decayed["params"]) + len(kept["params"])
    assert total == len(list(model.parameters()))


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / training.CHECKPOINT_FILE).write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="delete it to train anew"):
        _trained(tmp_path)
