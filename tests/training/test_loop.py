"""The training loop: resumed to the same bits, stopped by a bad loss, zeros kept."""

import dataclasses
import os
import signal
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional
from transformers import BertForPreTraining, BertForSequenceClassification

from bertprune.base.errors import UserError
from bertprune.data.batches import ClassificationBatch, PretrainingBatch
from bertprune.model import forward
from bertprune.model.loading import fresh_model
from bertprune.model.precision import BF16, FLOAT32
from bertprune.model.products import Share
from bertprune.model.shape import Shape
from bertprune.protocol.rows import History
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.training import checkpoint, loop, processes
from bertprune.training.checkpoint import CHECKPOINT_FILE
from bertprune.training.finetuning import ClassificationLoss
from bertprune.training.flat_weights import FlatWeights
from bertprune.training.pretraining import PretrainingLoss, evaluate
from bertprune.training.variants import Loss, Optimization, Variant

from ..models import assert_same
from .small import SETTINGS, STEPS, Shapes, labels_of, make_batch


def _train(variants: Sequence[Variant], folder: Path, precision: str = FLOAT32) -> list[History]:
    return loop.train(variants, processes.accelerator(precision), folder=folder, what="test")


def _evaluated(model: BertForPreTraining, step: int) -> History:
    loss = evaluate(model, [make_batch(99)], Accelerator())["loss"]
    return [{"step": step, "split": "dev", "metric": "loss", "value": loss}]


AS_RUN = Optimization(1e-3, STEPS, 3, decay_ends=(5, 12), bias_correction=False)
"""As the authors' scripts trained."""


def _variants(dropout: float, *, as_run: bool = False) -> list[Variant]:
    """Four that differ in learning rate, seed, sparsity, and in the shape of their batches."""

    def batches(wide: int) -> Callable[[int, int, int], PretrainingBatch]:
        return lambda step, rank, world: make_batch(step + 100 * wide, length=16 + 2 * wide)

    shared, other = batches(0), batches(1)
    found = []
    for number, (rate, seed, sparsity) in enumerate(
        [(1e-3, 5, 0.5), (3e-3, 5, 0.0), (1e-3, 6, 0.8), (1e-3, 6, 0.5)]
    ):
        model = fresh_model(Shape(2, 16, 2, 60, 32, dropout), seed=number % 2)
        found.append(
            Variant(
                PretrainingLoss(model),
                shared if seed == 5 else other,
                dataclasses.replace(AS_RUN if as_run else SETTINGS, learning_rate=rate),
                seed,
                Pruner.following(model, Schedule(sparsity, 0, 6, 2, as_run), Criterion()),
                partial(_evaluated, model),
                {6, 12},
            )
        )
    return found


def _stopped(variants: list[Variant], after: int, stop: Callable[[], object]) -> list[Variant]:
    """The same, but `stop` is called in the step after so many."""

    def batch(step: int, rank: int, world: int) -> PretrainingBatch:
        if step == after:
            stop()
        return make_batch(step)

    return [dataclasses.replace(variants[0], batch=batch), *variants[1:]]


@pytest.fixture
def save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(checkpoint, "_SAVING_SHARE", 1e9)


@pytest.mark.usefixtures("save_always")
@pytest.mark.parametrize("precision", [FLOAT32, BF16])
@pytest.mark.parametrize(
    ("models", "after", "as_run"),
    [(1, 1, False), (1, 4, False), (1, 9, False), (4, 7, False), (1, 9, True)],
)
def test_resumed_is_bit_equal_to_unbroken(
    tmp_path: Path, models: int, after: int, as_run: bool, precision: str
) -> None:
    """After a hard stop, as of kill -9."""
    whole, broken, resumed = (_variants(0.1, as_run=as_run)[:models] for _ in range(3))
    histories = _train(whole, tmp_path / "whole", precision)
    with pytest.raises(ZeroDivisionError):
        _train(_stopped(broken, after, lambda: 1 // 0), tmp_path / "broken", precision)
    assert _train(resumed, tmp_path / "broken", precision) == histories
    for one, other in zip(whole, resumed, strict=True):
        assert one.pruner is not None and other.pruner is not None
        assert_same(one.loss.model.state_dict(), other.loss.model.state_dict())
        assert_same(one.pruner.state(), other.pruner.state())
    assert resumed[0].pruner is not None
    resumed[0].pruner.check(0.5)


def test_a_signal_stops_after_a_whole_step_and_training_goes_on(tmp_path: Path) -> None:
    (whole, *_), (broken, *_), (resumed, *_) = (_variants(0.1) for _ in range(3))
    histories = _train([whole], tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="stopped after step 6"):
        _train(
            _stopped([broken], 5, lambda: os.kill(os.getpid(), signal.SIGTERM)),
            tmp_path / "broken",
        )
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert _train([resumed], tmp_path / "broken") == histories
    assert_same(whole.loss.model.state_dict(), resumed.loss.model.state_dict())


class _Spoilt(PretrainingLoss):
    """A loss that spoils the step whose batch is that of `at`, for the last model of a stack: it
    is not a number itself, or it is finite, and its gradient is not."""

    at = 3
    is_finite = False

    def of(
        self, weights: forward.Weights, batch: PretrainingBatch, drop: forward.Drop
    ) -> torch.Tensor:
        loss = super().of(weights, batch, drop)
        if not torch.equal(batch.input_ids.view(-1, 4, 16)[-1], make_batch(self.at).input_ids):
            return loss
        last = weights["bert.pooler.dense.weight"][..., :1, 0].reshape(-1)[-1:]
        bad = (last - last.detach()).sqrt() if self.is_finite else last * torch.nan
        return loss + functional.pad(bad, (loss.numel() - 1, 0)).view(loss.shape)


def _spoilt_variant(is_finite: bool) -> Variant:
    model = fresh_model(Shape(1, 16, 2, 60), seed=0)
    loss = _Spoilt(model)
    loss.is_finite = is_finite
    pruner = Pruner.following(model, Schedule(0.5, 0, 6, 2), Criterion())
    return Variant(loss, make_batch, SETTINGS, 0, pruner)


@pytest.mark.usefixtures("save_always")
def test_a_loss_that_is_not_finite_names_step_and_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(loop.NonFiniteLoss, match="loss is nan at step 3; .* after step 3"):
        _train([_spoilt_variant(is_finite=False)], tmp_path)
    saved = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    assert saved["step"] == 3
    (model_saved,) = saved["models"]
    assert all(bool(torch.isfinite(value).all()) for value in model_saved.values())


@pytest.mark.parametrize("is_finite", [True, False])
@pytest.mark.parametrize("models", [1, 3])
def test_no_masks_are_made_of_weights_that_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: int, is_finite: bool
) -> None:
    """Step 3 spoils the weights, from which the masks of step 4 are made."""
    # As on a GPU, where losses wait.
    monkeypatch.setattr(
        loop._Losses, "add", lambda self, done, loss: self._waiting.append(loss.detach())
    )
    what = "a weight is not finite at step 4" if is_finite else "the loss is nan at step 3"
    where = "there is no checkpoint yet" if models == 1 else f"in model {models} of {models}"
    with pytest.raises(loop.NonFiniteLoss, match=f"{what}; {where}. Try a smaller"):
        _train([_spoilt_variant(is_finite) for _ in range(models)], tmp_path)


def test_a_model_that_is_trained_is_not_kept(tmp_path: Path) -> None:
    (variant, *_) = _variants(0.0)
    model = weakref.ref(variant.loss.model)
    _train([variant], tmp_path)
    del variant, _
    assert model() is None


def test_a_step_on_a_gpu_is_in_the_precision_of_the_accelerator() -> None:
    """On a device that has shapes alone, for want of a GPU."""
    entered = []

    class Precision(nullcontext[None]):
        def __enter__(self) -> None:
            entered.append(True)

    loss = Shapes(fresh_model(Shape(1, 16, 2, 60), seed=0))
    loss.to("meta")
    fake: Any = SimpleNamespace(
        device=torch.device("meta"), process_index=0, num_processes=1, autocast=Precision
    )
    step_loss = loop._step_loss(
        [Variant(loss, make_batch, SETTINGS, 0)], FlatWeights([loss.model], [SETTINGS]), fake
    )
    found, words = step_loss(0)
    assert entered == [True] and loss.asked == [(4, 16)]
    assert found.shape == (1,) and words is None


@pytest.mark.parametrize("task", ["pretraining", "classification"])
def test_steps_are_those_of_plain_torch(tmp_path: Path, task: str) -> None:
    """Against transformers' forward pass, torch's clipping, and AdamW over single parameters."""
    model: Any = fresh_model(Shape(2, 16, 2, 60, dropout=0.0), seed=0)
    loss: Loss = PretrainingLoss(model)
    if task == "classification":
        model = BertForSequenceClassification(model.config)
        loss = ClassificationLoss(model)
    masks = Criterion().masks(prunable_matrices(model), 0.4)
    pruner = Pruner.holding(model, masks, Criterion())
    rival = deepcopy(model).train()

    def batch(step: int, rank: int, world: int) -> Any:
        given = make_batch(step)
        if task == "pretraining":
            return given
        return ClassificationBatch(
            input_ids=given.input_ids,
            token_type_ids=given.token_type_ids,
            attention_mask=given.attention_mask,
            labels=given.next_sentence_labels,
            examples_total=4,
        )

    settings = Optimization(learning_rate=1e-2, steps=5, warmup_steps=2)
    _train([Variant(loss, batch, settings, 0, pruner)], tmp_path)
    pruner.check(0.4)
    groups = [
        {"params": [p for p in rival.parameters() if p.dim() == axes], "weight_decay": decay}
        for axes, decay in ((2, 0.01), (1, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, eps=1e-6)
    for step in range(5):
        given = batch(step, 0, 1)
        labels = {"labels": given.labels} if task == "classification" else labels_of(given)
        rival(given.input_ids, attention_mask=given.attention_mask, **labels).loss.backward()
        for name, weight in prunable_matrices(rival).items():
            assert weight.grad is not None
            weight.grad *= masks[name]
        nn.utils.clip_grad_norm_(rival.parameters(), settings.max_gradient_norm)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(step)
        optimizer.step()
        optimizer.zero_grad()
    states = (dict(one.state_dict()) for one in (model, rival))
    torch.testing.assert_close(*states, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_models_that_train_together_end_where_each_would_alone(
    tmp_path: Path, dropout: float
) -> None:
    together = _variants(dropout)
    histories = _train(together, tmp_path / "together")
    for number, (variant, mine) in enumerate(zip(_variants(dropout), together, strict=True)):
        (alone,) = _train([variant], tmp_path / str(number))
        assert variant.pruner is not None and mine.pruner is not None
        assert_same(variant.pruner.masks, mine.pruner.masks)
        states = (dict(one.loss.model.state_dict()) for one in (mine, variant))
        torch.testing.assert_close(*states, rtol=1e-3, atol=1e-5)
        assert len(alone) == len(histories[number]) > 2
        for one, other in zip(alone, histories[number], strict=True):
            assert one == other | {"value": pytest.approx(other["value"], rel=1e-5)}


def test_in_bf16_they_end_as_close_as_its_rounding_lets_them(tmp_path: Path) -> None:
    """Adam makes a whole step of a gradient's sign, which rounding may turn near zero."""
    together = _variants(0.1)
    histories = _train(together, tmp_path / "together", BF16)
    for number, (variant, mine) in enumerate(zip(_variants(0.1), together, strict=True)):
        (alone,) = _train([variant], tmp_path / str(number), BF16)
        assert mine.pruner is not None
        mine.pruner.check((0.5, 0.0, 0.8, 0.5)[number])
        of_stack, of_one = (
            torch.cat([weight.flatten() for weight in one.loss.parameters()])
            for one in (mine, variant)
        )
        # A weight moves by 0.01 in these steps.
        assert (of_stack - of_one).abs().mean() < 2e-4
        for one, other in zip(alone, histories[number], strict=True):
            assert one == other | {"value": pytest.approx(other["value"], rel=2e-3)}


def test_bf16_keeps_weights_and_masks_in_float32_and_zeros_exact(tmp_path: Path) -> None:
    """Trained in bf16, from the same start as in float32."""
    (mixed, *_), (exact, *_) = _variants(0.1), _variants(0.1)
    _train([mixed], tmp_path / BF16, BF16)
    _train([exact], tmp_path / FLOAT32)
    assert mixed.pruner is not None
    mixed.pruner.check(0.5)
    found, expected = (one.loss.model.state_dict() for one in (mixed, exact))
    trained = [weight for weight in found.values() if weight.is_floating_point()]
    assert {weight.dtype for weight in trained} == {torch.float32}
    # They moved by less than bf16 can say.
    assert not any(torch.equal(weight, weight.bfloat16().float()) for weight in trained)
    difference = torch.cat([(found[n] - expected[n]).flatten().float() for n in found])
    assert 0 < difference.abs().mean() < 1e-3


@pytest.mark.usefixtures("save_always")
def test_another_library_for_products_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a checkpoint that was made on another processor."""
    broken, resumed = (_variants(0.0)[:1] for _ in range(2))
    monkeypatch.setattr(checkpoint, "share_of_one_dnn", lambda: Share.ALL)
    with pytest.raises(ZeroDivisionError):
        _train(_stopped(broken, 4, lambda: 1 // 0), tmp_path)
    monkeypatch.setattr(checkpoint, "share_of_one_dnn", lambda: Share.NONE)
    _train(resumed, tmp_path)
    assert "float32 products by oneDNN; here it is MKL" in capsys.readouterr().out


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="delete it to train anew"):
        _train(_variants(0.0)[:1], tmp_path)
