"""The training loop: resumed to the same bits, stopped by a bad loss, zeros kept."""

import dataclasses
import os
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from torch import nn
from torch.nn import functional
from transformers import BertForPreTraining, BertForSequenceClassification

from bertprune.base.errors import UserError
from bertprune.data.pretraining_examples import PretrainingBatch
from bertprune.data.tasks import ClassificationBatch
from bertprune.model import forward
from bertprune.model.checkpoints import Shape, fresh_model
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.training import loop
from bertprune.training.finetuning import ClassificationLoss
from bertprune.training.pretraining import PretrainingLoss, evaluate

STEPS = 12
SETTINGS = loop.Optimization(learning_rate=1e-3, steps=STEPS, warmup_steps=3)


def _batch(step: int, rank: int = 0, world: int = 1, length: int = 16) -> PretrainingBatch:
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(0, 60, (4, length), generator=generator)
    return PretrainingBatch(
        input_ids=ids,
        token_type_ids=torch.zeros_like(ids),
        attention_mask=torch.ones_like(ids),
        read_positions=torch.tensor([[0, 3], [0, 4], [0, 8], [0, 0]]),
        masked_reads=torch.tensor([1, 3, 5]),
        masked_labels=ids[[0, 1, 2], [3, 4, 8]],
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

    trained = loop.train(
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
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(loop, "_SAVING_SHARE", 1e9)


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
        loop.train(
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
        def of(
            self, weights: forward.Weights, batch: PretrainingBatch, drop: forward.Drop
        ) -> torch.Tensor:
            bad = batch.input_ids[0, 0] == _batch(7).input_ids[0, 0]
            return super().of(weights, batch, drop) * (float("nan") if bad else 1.0)

    first_bad = next(
        s for s in range(STEPS) if _batch(s).input_ids[0, 0] == _batch(7).input_ids[0, 0]
    )
    with pytest.raises(loop.NonFiniteLoss, match=rf"loss is nan at step {first_bad}") as error:
        loop.train(
            Spoilt(model),
            lambda step, rank, world: _batch(step),
            SETTINGS,
            accelerator=Accelerator(cpu=True),
            seed=0,
            folder=tmp_path,
            what="test",
        )
    assert f"after step {first_bad}" in str(error.value)
    saved = torch.load(tmp_path / loop.CHECKPOINT_FILE, weights_only=True)
    assert saved["step"] == first_bad
    (model_saved,) = saved["models"]
    assert all(bool(torch.isfinite(value).all()) for value in model_saved.values())


class _Spoilt(PretrainingLoss):
    """A loss that spoils the step whose batch is that of `at`, for the last model of a stack: it
    is not a number itself, or it is finite, and its gradient is not."""

    at = 3
    is_finite = False

    def of(
        self, weights: forward.Weights, batch: PretrainingBatch, drop: forward.Drop
    ) -> torch.Tensor:
        loss = super().of(weights, batch, drop)
        if not torch.equal(batch.input_ids.view(-1, 4, 16)[-1], _batch(self.at).input_ids):
            return loss
        last = weights["bert.pooler.dense.weight"][..., :1, 0].reshape(-1)[-1:]
        bad = (last - last.detach()).sqrt() if self.is_finite else last * torch.nan
        return loss + functional.pad(bad, (loss.numel() - 1, 0)).view(loss.shape)


def _spoilt_variant(is_finite: bool) -> loop.Variant:
    model = fresh_model(Shape(1, 16, 2, 60), seed=0)
    loss = _Spoilt(model)
    loss.is_finite = is_finite
    pruner = Pruner.following(model, Schedule(0.5, 0, 6, 2), Criterion())
    return loop.Variant(loss, _batch, SETTINGS, 0, pruner)


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
        loop.train_together(
            [_spoilt_variant(is_finite) for _ in range(models)],
            accelerator=Accelerator(cpu=True),
            folder=tmp_path,
            what="test",
        )


def test_a_model_that_is_trained_is_not_kept(tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True)
    (variant, *_) = _variants(0.0)
    model = weakref.ref(variant.loss.model)
    loop.train_together([variant], accelerator=accelerator, folder=tmp_path, what="test")
    del variant, _
    assert model() is None


class _Shapes(PretrainingLoss):
    """A loss that does nothing but note the shapes of the batches that it is asked about."""

    def __init__(self, model: BertForPreTraining) -> None:
        super().__init__(model)
        self.asked: list[tuple[int, ...]] = []

    def of(
        self, weights: forward.Weights, batch: PretrainingBatch, drop: forward.Drop
    ) -> torch.Tensor:
        self.asked.append(tuple(batch.input_ids.shape))
        return weights["bert.pooler.dense.bias"].sum()


def test_a_step_on_a_gpu_is_in_the_precision_of_the_accelerator() -> None:
    """On a device that has shapes alone, for want of a GPU."""
    entered = []

    class Precision(nullcontext[None]):
        def __enter__(self) -> None:
            entered.append(True)

    loss = _Shapes(fresh_model(Shape(1, 16, 2, 60), seed=0))
    loss.to("meta")
    fake: Any = SimpleNamespace(
        device=torch.device("meta"), process_index=0, num_processes=1, autocast=Precision
    )
    step_loss = loop._step_loss(
        [loop.Variant(loss, _batch, SETTINGS, 0)], loop.FlatWeights([loss.model]), fake
    )
    found, words = step_loss(0)
    assert entered == [True] and loss.asked == [(4, 16)]
    assert found.shape == (1,) and words is None


@pytest.fixture
def no_state_of_accelerate() -> Iterator[None]:
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@pytest.mark.usefixtures("no_state_of_accelerate")
def test_runs_of_one_process_may_differ_in_precision() -> None:
    product = torch.ones(2, 2)
    for precision, dtype in (
        ("float32", torch.float32),
        ("bf16", torch.bfloat16),
        ("float32", torch.float32),
    ):
        with loop.accelerator(precision).autocast():
            assert (product.to(PartialState().device) @ product).dtype == dtype


@pytest.mark.usefixtures("no_state_of_accelerate")
def test_without_cuda_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(PartialState, "default_device", torch.device("mps"))
    assert loop.is_main_process()
    assert loop.accelerator().device == torch.device("cpu")


@pytest.mark.parametrize("has_bf16", [True, False])
def test_bf16_is_chosen_only_where_it_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or has_bf16
    )
    assert loop._mixed_precision("auto") == ("bf16" if has_bf16 else "no")
    assert loop._mixed_precision("bf16") == "bf16"
    assert loop._mixed_precision("float32") == "no"


def _job_of_shapes(folder: Path, shapes: list[tuple[int, int]]) -> loop.Job:
    """A job whose batches have these shapes until it is first evaluated, and are larger then."""

    def batch(step: int, rank: int, world: int) -> PretrainingBatch:
        examples, length = [*shapes, (4, 99)][step]
        whole = _batch(step, length=length)
        return dataclasses.replace(
            whole,
            input_ids=whole.input_ids[:examples],
            read_positions=whole.read_positions[:examples],
        )

    loss = _Shapes(fresh_model(Shape(1, 16, 2, 60), seed=0))
    variant = loop.Variant(loss, batch, SETTINGS, 0)
    return loop.Job(variant, folder, "", frozenset({len(shapes), STEPS}))


@pytest.mark.parametrize(
    ("shapes", "measured", "bytes_of_step"),
    [
        ([(4, 16), (4, 24), (4, 20)], (4, 24), 600),
        # The longest examples of a small task are in a last batch of a few, and in a stack with
        # batches of more.
        ([(4, 16), (2, 24)], (4, 16), 600 * 24 / 16),
    ],
)
def test_room_is_for_the_largest_batch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shapes: list[tuple[int, int]],
    measured: tuple[int, int],
    bytes_of_step: float,
) -> None:
    job = _job_of_shapes(tmp_path, shapes)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    # The peak that the record of a run has.
    monkeypatch.delattr(torch.cuda, "reset_peak_memory_stats")
    assert loop._bytes_of_step(job, Accelerator(cpu=True)) == bytes_of_step
    loss = job.variant.loss
    assert isinstance(loss, _Shapes) and loss.asked == [measured]
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_memory_that_earlier_trainings_left_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job_of_shapes(tmp_path, [(4, 16)])
    state = 16 * sum(p.numel() for p in job.variant.loss.parameters())
    kept = [7 * state]
    monkeypatch.setattr(loop, "_bytes_of_step", lambda *given: state)
    monkeypatch.setattr(torch.cuda, "empty_cache", kept.clear)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * state - sum(kept), 10 * state))
    fake: Any = SimpleNamespace(device=torch.device("cuda"))
    # 80 % of ten of which each model takes two.
    assert loop._room_for(job, fake) == 4


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    settings = loop.Optimization(learning_rate=1.0, steps=110, warmup_steps=10)
    rates = [settings.learning_rate_at(step) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert 0 < rates[-1] == pytest.approx(0.01)


def test_flat_weights_are_the_models_and_only_matrices_decay() -> None:
    model = fresh_model(Shape(1, 16, 2, 60), seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flat = loop.FlatWeights([model])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    with torch.no_grad():
        flat.weights.fill_(0.5)
    flat.gradients.fill_(0.25)
    for parameter in model.parameters():
        assert bool((parameter == 0.5).all()) and parameter.grad is not None
        assert bool((parameter.grad == 0.25).all())
    decayed, kept = flat.optimizer([SETTINGS]).param_groups
    assert decayed["weight_decay"] == 0.01 and kept["weight_decay"] == 0.0
    sizes = [0, 0]
    for parameter in model.parameters():
        sizes[parameter.dim() == 1] += parameter.numel()
    assert [len(decayed["params"][0]), len(kept["params"][0])] == sizes


def test_gradients_are_clipped_as_torch_does() -> None:
    models = [fresh_model(Shape(1, 16, 2, 60), seed=seed) for seed in (0, 1)]
    flat = loop.FlatWeights(models)
    generator = torch.Generator().manual_seed(0)
    # The first one's are too long, the second one's are not.
    flat.gradients.normal_(generator=generator)
    flat.gradients[1] *= 1e-3
    wanted = []
    for model in models:
        copies = [nn.Parameter(p.detach().clone()) for p in model.parameters()]
        for copy, parameter in zip(copies, model.parameters(), strict=True):
            assert parameter.grad is not None
            copy.grad = parameter.grad.clone()
        nn.utils.clip_grad_norm_(copies, 1.0)
        wanted.append([copy.grad for copy in copies])
    flat.clip_gradients(torch.ones(2))
    for model, theirs in zip(models, wanted, strict=True):
        for parameter, other in zip(model.parameters(), theirs, strict=True):
            torch.testing.assert_close(parameter.grad, other)


@pytest.mark.parametrize("task", ["pretraining", "classification"])
def test_steps_are_those_of_plain_torch(tmp_path: Path, task: str) -> None:
    """Against transformers' forward pass, torch's clipping, and AdamW over single parameters."""
    model: Any = fresh_model(Shape(2, 16, 2, 60, dropout=0.0), seed=0)
    loss: loop.Loss = PretrainingLoss(model)
    if task == "classification":
        model = BertForSequenceClassification(model.config)
        loss = ClassificationLoss(model)
    rival = deepcopy(model).train()

    def batch(step: int, rank: int, world: int) -> Any:
        given = _batch(step)
        if task == "pretraining":
            return given
        return ClassificationBatch(
            given.input_ids,
            given.token_type_ids,
            given.attention_mask,
            given.next_sentence_labels,
            4,
        )

    pruners = [
        Pruner.holding(one, Criterion().masks(prunable_matrices(one), 0.4), Criterion())
        for one in (model, rival)
    ]
    settings = loop.Optimization(learning_rate=1e-2, steps=5, warmup_steps=2)
    loop.train(
        loss,
        batch,
        settings,
        accelerator=Accelerator(cpu=True),
        seed=0,
        folder=tmp_path,
        what="test",
        pruner=pruners[0],
    )
    decayed = [p for p in rival.parameters() if p.dim() == 2]
    kept = [p for p in rival.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": kept, "weight_decay": 0.0}], eps=1e-6
    )
    for step in range(5):
        given = _batch(step)
        inputs = {"input_ids": given.input_ids, "attention_mask": given.attention_mask}
        if task == "pretraining":
            labels = torch.full((64,), -100)
            labels[given.masked_positions] = given.masked_labels
            found = rival(
                **inputs, labels=labels.view(4, 16), next_sentence_label=given.next_sentence_labels
            ).loss
        else:
            found = rival(**inputs, labels=given.next_sentence_labels).loss
        found.backward()
        for name, weight in prunable_matrices(rival).items():
            assert weight.grad is not None
            weight.grad *= pruners[1].masks[name]
        nn.utils.clip_grad_norm_(rival.parameters(), settings.max_gradient_norm)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(step)
        optimizer.step()
        optimizer.zero_grad()
    for name, weight in rival.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], weight, rtol=1e-4, atol=1e-5, msg=name)
    pruners[0].check(0.4)


def _evaluated(model: BertForPreTraining, step: int) -> loop.History:
    loss = evaluate(model, [_batch(99)], Accelerator(cpu=True))["loss"]
    return [{"step": step, "split": "dev", "metric": "loss", "value": loss}]


def _variants(dropout: float) -> list[loop.Variant]:
    """Four that differ in learning rate, seed, sparsity, and in the shape of their batches."""

    def batches(wide: int) -> Callable[[int, int, int], PretrainingBatch]:
        return lambda step, rank, world: _batch(step + 100 * wide, length=16 + 2 * wide)

    shared, other = batches(0), batches(1)
    found = []
    for number, (rate, seed, sparsity) in enumerate(
        [(1e-3, 5, 0.5), (3e-3, 5, 0.0), (1e-3, 6, 0.8), (1e-3, 6, 0.5)]
    ):
        model = fresh_model(Shape(2, 16, 2, 60, 32, dropout), seed=number % 2)
        found.append(
            loop.Variant(
                PretrainingLoss(model),
                shared if seed == 5 else other,
                loop.Optimization(learning_rate=rate, steps=STEPS, warmup_steps=3),
                seed,
                Pruner.following(model, Schedule(sparsity, 0, 6, 2), Criterion()),
                partial(_evaluated, model),
            )
        )
    return found


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_models_that_train_together_end_where_each_would_alone(
    tmp_path: Path, dropout: float
) -> None:
    together = _variants(dropout)
    histories = loop.train_together(
        together,
        accelerator=Accelerator(cpu=True),
        folder=tmp_path / "together",
        what="test",
        evaluate_after={6, 12},
    )
    for number, variant in enumerate(_variants(dropout)):
        (alone,) = loop.train_together(
            [variant],
            accelerator=Accelerator(cpu=True),
            folder=tmp_path / str(number),
            what="test",
            evaluate_after={6, 12},
        )
        mine = together[number]
        assert variant.pruner is not None and mine.pruner is not None
        for name, mask in variant.pruner.masks.items():
            assert torch.equal(mask, mine.pruner.masks[name]), name
        for name, weight in variant.loss.model.state_dict().items():
            torch.testing.assert_close(
                mine.loss.model.state_dict()[name], weight, rtol=1e-3, atol=1e-5, msg=name
            )
        assert len(alone.history) == len(histories[number].history) > 2
        for one, other in zip(alone.history, histories[number].history, strict=True):
            assert one == other | {"value": pytest.approx(other["value"], rel=1e-5)}


@pytest.mark.usefixtures("save_always")
def test_models_that_train_together_go_on_from_their_checkpoint(tmp_path: Path) -> None:
    def train(variants: list[loop.Variant], folder: str) -> None:
        loop.train_together(
            variants, accelerator=Accelerator(cpu=True), folder=tmp_path / folder, what="test"
        )

    whole = _variants(0.1)
    train(whole, "whole")
    broken = _variants(0.1)

    def stop(step: int, rank: int, world: int) -> PretrainingBatch:
        if step == 7:
            raise _Stopped
        return _batch(step)

    broken[0] = dataclasses.replace(broken[0], batch=stop)
    with pytest.raises(_Stopped):
        train(broken, "broken")
    resumed = _variants(0.1)
    train(resumed, "broken")
    for one, other in zip(whole, resumed, strict=True):
        for name, value in one.loss.model.state_dict().items():
            assert torch.equal(value, other.loss.model.state_dict()[name]), name


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / loop.CHECKPOINT_FILE).write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="delete it to train anew"):
        _trained(tmp_path)
