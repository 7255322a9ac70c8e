"""What one would take instead: Hugging Face's Trainer, with masks by torch.nn.utils.prune, and NNCF
for masks alone."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.nn.utils import prune
from transformers import (
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from bertprune.pruning.masks import Masks, pruned_count, pruned_entries
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.pruning.schedule import Schedule
from bertprune.speed.bench.timing import Setting
from bertprune.speed.made_up_inputs import Example
from bertprune.speed.stopwatch import LEARNING_RATE, seconds_of, wall_time
from bertprune.training.variants import Optimization

# Embeddings too, which NNCF takes by itself.
_NOT_PRUNABLE = (
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
)


class TorchPruner:
    """Masks of a BERT's prunable matrices by torch.nn.utils.prune.

    That library keeps a weight and its mask apart and multiplies them in each forward pass. What
    it has pruned it never lets return. The MLM decoder gets the mask of the word embeddings, which
    are its weights, so that both sides train the same function.
    """

    def __init__(self, model: Any) -> None:
        self._modules: dict[str, Any] = {
            name: model.bert.get_submodule(name.removesuffix(".weight"))
            for name in prunable_matrices(model)
        }
        self._pruned = dict.fromkeys(self._modules, 0)
        self._decoder = model.cls.predictions.decoder if hasattr(model, "cls") else None

    def update(self, sparsity: float) -> None:
        """Prune the smallest weights that are left in each matrix until it has `sparsity`."""
        for name, module in self._modules.items():
            count = pruned_count(sparsity, module.weight.numel())
            prune.l1_unstructured(module, "weight", amount=count - self._pruned[name])
            self._pruned[name] = count
        self._share_with_decoder()

    def hold(self, masks: Masks) -> None:
        for name, module in self._modules.items():
            prune.custom_from_mask(module, "weight", masks[name])
        self._share_with_decoder()

    def masks(self) -> Masks:
        return {name: module.weight_mask.bool() for name, module in self._modules.items()}

    def pruned(self) -> dict[str, int]:
        """How many entries of each matrix are pruned."""
        return {name: pruned_entries(mask) for name, mask in self.masks().items()}

    def _share_with_decoder(self) -> None:
        if self._decoder is None:
            return
        mask = self._modules[WORD_EMBEDDINGS].weight_mask
        if prune.is_pruned(self._decoder):
            self._decoder.weight_mask = mask
        else:
            prune.custom_from_mask(self._decoder, "weight", mask)


def has_nncf() -> bool:
    return find_spec("nncf") is not None


class NncfPruner:
    """Masks of a BERT's prunable matrices by NNCF, which multiplies them in the forward pass.

    Raises ImportError where it is not installed: the extra `bench` has it.
    """

    def __init__(self, model: BertForSequenceClassification) -> None:
        # It would tell its makers over the network that it is used.
        os.environ.setdefault("NNCF_CI", "1")
        import nncf
        from nncf.torch.function_hook.pruning.magnitude import schedulers

        self._statistic = nncf.pruning_statistic
        mode = nncf.PruneMode.UNSTRUCTURED_MAGNITUDE_LOCAL
        self._model = nncf.prune(
            model.bert,
            mode,
            ratio=0.0,
            ignored_scope=nncf.IgnoredScope(names=list(_NOT_PRUNABLE)),
            examples_inputs={"input_ids": torch.zeros(1, 2, dtype=torch.long, device=model.device)},
        )
        self._scheduler = partial(
            schedulers.MultiStepMagnitudePruningScheduler, self._model, mode=mode
        )

    def update(self, sparsity: float) -> None:
        """Make all masks anew."""
        self._scheduler(steps={0: sparsity}).step()

    def pruned(self) -> dict[str, int]:
        """How many entries of each matrix are pruned."""
        return {
            one.tensor_name: round(one.pruned_ratio * math.prod(one.shape))
            for one in self._statistic(self._model).pruned_tensors
        }


class _Watch(TrainerCallback):
    """Notes the time after some steps, and has the masks made anew before those of a schedule."""

    def __init__(self, steps: Sequence[int], pruner: TorchPruner, schedule: Schedule | None):
        self.marks: list[float] = []
        self._steps = steps
        self._pruner = pruner
        self._schedule = schedule

    def on_train_begin(self, *given: Any, **named: Any) -> None:
        self._note(0)

    def on_step_begin(self, args: Any, state: TrainerState, control: Any, **given: Any) -> None:
        if self._schedule is not None and self._schedule.is_update(state.global_step):
            self._pruner.update(self._schedule.sparsity(state.global_step))

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **given: Any) -> None:
        self._note(state.global_step)

    def _note(self, done: int) -> None:
        if done in self._steps:
            self.marks.append(wall_time())


def seconds_of_trainer_step(
    model: Any,
    examples: list[Example],
    *,
    setting: Setting,
    batch_size: int,
    steps: int,
    skip: int,
    pruner: TorchPruner,
    schedule: Schedule | None = None,
    collator: Any = None,
    sampling: str = "random",
) -> float:
    """Mean seconds of the steps of Trainer after the first `skip`; no evaluation, nothing saved or
    logged. `pruner` has the masks of `model`, which follow `schedule` where there is one."""
    watch = _Watch((skip, steps), pruner, schedule)
    arguments = {
        "per_device_train_batch_size": batch_size,
        "max_steps": steps,
        "train_sampling_strategy": sampling,
    }
    given = {"train_dataset": examples, "data_collator": collator, "callbacks": [watch]}
    with _trainer(model, setting, arguments, **given) as trainer:
        trainer.train()
    first, last = watch.marks
    return (last - first) / (steps - skip)


def seconds_of_evaluation(
    model: Any, examples: list[Example], *, setting: Setting, batch_size: int, collator: Any
) -> float:
    """Seconds of Trainer.evaluate over all `examples`, with the accuracy."""
    given = {"eval_dataset": examples, "data_collator": collator, "compute_metrics": _accuracy}
    arguments = {"per_device_eval_batch_size": batch_size}
    with _trainer(model, setting, arguments, **given) as trainer:
        return seconds_of(trainer.evaluate)


@contextmanager
def _trainer(
    model: Any, setting: Setting, arguments: Mapping[str, Any], **given: Any
) -> Iterator[Trainer]:
    """A Trainer with the arguments of our optimizer and its own, and the rest as by default."""
    with TemporaryDirectory() as folder:
        own = TrainingArguments(
            output_dir=folder,
            learning_rate=LEARNING_RATE,
            weight_decay=Optimization.weight_decay,
            adam_epsilon=Optimization.epsilon,
            warmup_steps=Optimization.warmup_steps,
            max_grad_norm=Optimization.max_gradient_norm,
            seed=0,
            use_cpu=setting.device.type == "cpu",
            bf16=setting.precision == "bf16",
            save_strategy="no",
            logging_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **arguments,
        )
        trainer = Trainer(model=model, args=own, **given)
        trainer.remove_callback(PrinterCallback)
        yield trainer


def _accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())}
