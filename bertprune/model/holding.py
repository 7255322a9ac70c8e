"""Zeros that stay zero in somebody else's training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from bertprune.base.errors import UserError
from bertprune.base.files import replacing
from bertprune.model.loading import MASKS_FILE, load_masks
from bertprune.model.model_folder import local_folder
from bertprune.pruning.masks import Masks
from bertprune.pruning.matrices import check_same_matrices, prunable_matrices
from bertprune.pruning.storage import SPARSE_FILE


def hold_masks(model: PreTrainedModel, masks: Masks | None = None) -> Callable[[], None]:
    """Keep the pruned weights of a BERT at zero, in whatever loop and with whatever optimizer.

    Their gradients are zeroed as soon as they are there, before an optimizer or a clipping sees
    them. Adam and SGD leave a weight at zero that has no gradient and never had a momentum, so give
    this the model before the optimizer makes its first step.

    `masks` are bool, True where a weight is kept, by the names and of the shapes of the prunable
    matrices. By default they are those beside the model's files. Gives a function that ends it.

    Raises UserError if there are no masks, if they do not fit the model, or if a weight that they
    prune is not zero.
    """
    weights = prunable_matrices(model)
    found = _masks_beside(model) if masks is None else masks
    try:
        check_same_matrices(found, weights)
    except ValueError as error:
        raise UserError(f"the masks do not fit the model: {error}") from error
    check_zeros(weights, found)
    handles = [
        weight.register_post_accumulate_grad_hook(partial(_mask_gradient, found[name]))
        for name, weight in weights.items()
        if not bool(found[name].all())
    ]

    def end() -> None:
        for handle in handles:
            handle.remove()

    return end


def check_zeros(weights: Mapping[str, nn.Parameter], masks: Masks) -> None:
    """Raise UserError if one of the matrices `weights` is not zero where `masks` prune it."""
    for name, weight in weights.items():
        if wrong := int(weight.detach()[~masks[name].to(weight.device)].count_nonzero()):
            raise UserError(f"{wrong} weights of {name} that the masks prune are not zero")


class HoldMasks(TrainerCallback):
    """The same for a Hugging Face `Trainer`: `Trainer(..., callbacks=[HoldMasks()])`.

    It holds from the beginning of the training to its end, also of one that is resumed, and puts
    the masks into each checkpoint, from where a later training has them.
    """

    def __init__(self, masks: Masks | None = None) -> None:
        self._masks = masks
        self._held: Masks = {}
        self._end: Callable[[], None] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        model = given["model"]
        self._held = _masks_beside(model) if self._masks is None else self._masks
        self._end = hold_masks(model, self._held)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        # A search over hyperparameters has its checkpoints elsewhere.
        if args.should_save and folder.is_dir():
            with replacing(folder / MASKS_FILE) as unfinished:
                kept = {name: mask.cpu().contiguous() for name, mask in self._held.items()}
                save_file(kept, unfinished)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        if self._end is not None:
            self._end()


def _mask_gradient(mask: torch.Tensor, weight: nn.Parameter) -> None:
    if weight.grad is not None:
        weight.grad.mul_(mask.to(weight.device))


def _masks_beside(model: PreTrainedModel) -> Masks:
    """The masks in the folder that the model was loaded from. Raises UserError if it has none."""
    folder = local_folder(model.name_or_path) if model.name_or_path else None
    if folder is None:
        raise UserError(
            "the model was loaded from no folder, so there are no masks beside it: give them"
        )
    # Without them load_masks takes a model for dense, and nothing would be held.
    if not any((folder / file).exists() for file in (MASKS_FILE, SPARSE_FILE)):
        raise UserError(
            f"{folder} has no masks beside the weights (no {MASKS_FILE}): give them as masks=, or "
            "load the model from a folder that has them"
        )
    return load_masks(folder, model)
