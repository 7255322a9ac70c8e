"""Zeros that stay zero in plain loops, and in a Hugging Face Trainer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertForPreTraining, Trainer, TrainingArguments

import bertprune
from bertprune.base.errors import UserError
from bertprune.data.tokenizer import wordpiece
from bertprune.model.loading import save_pretrained
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Masks
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.storage import save_sparse

from ..models import pruned_model

SHAPE = Shape(layers=1, hidden_size=16, heads=2, vocabulary_size=60)
POOLER = "pooler.dense.weight"


def _example(number: int) -> dict[str, Tensor]:
    ids = torch.randint(0, 60, (12,), generator=torch.Generator().manual_seed(number))
    return {"input_ids": ids, "labels": ids, "next_sentence_label": torch.tensor(number % 2)}


def _step(model: BertForPreTraining, optimizer: torch.optim.Optimizer, number: int) -> None:
    batch = {name: value[None] for name, value in _example(number).items()}
    model(**batch).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _moved(model: Any, masks: Masks) -> int:
    """How many pruned weights are not zero."""
    return sum(
        int(weight.detach()[~masks[name]].count_nonzero())
        for name, weight in prunable_matrices(model).items()
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.1),
        lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9, nesterov=True),
        lambda weights: torch.optim.Adagrad(weights, lr=0.1),
    ],
    ids=["AdamW", "SGD", "Adagrad"],
)
def test_zeros_stay_zero_in_a_plain_loop_until_it_ends(make: Any) -> None:
    model, masks = pruned_model(SHAPE, 0.6)
    end = bertprune.hold_masks(model, masks)
    optimizer = make(model.parameters())
    before = prunable_matrices(model)[POOLER].detach().clone()
    for number in range(20):
        _step(model, optimizer, number)
    assert _moved(model, masks) == 0
    assert not torch.equal(prunable_matrices(model)[POOLER], before)
    end()
    _step(model, optimizer, 20)
    assert _moved(model, masks) > 0


def _saved(folder: Path, sparse: bool) -> Path:
    model, masks = pruned_model(SHAPE, 0.6)
    tokenizer = wordpiece(("lab:0:300",), 200, folder / "cache")
    save_pretrained(model, tokenizer, masks, folder / "model")
    if sparse:
        save_sparse(model, masks, folder / "model")
        (folder / "model" / "model.safetensors").unlink()
        (folder / "model" / "masks.safetensors").unlink()
    return folder / "model"


def _trainer(folder: Path, output: Path, steps: int, callbacks: Sequence[Any]) -> Trainer:
    return Trainer(
        model=bertprune.load(str(folder)),
        args=TrainingArguments(
            output_dir=str(output),
            max_steps=steps,
            save_steps=10,
            learning_rate=1e-2,
            per_device_train_batch_size=4,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=[_example(number) for number in range(16)],
        callbacks=list(callbacks),
    )


@pytest.mark.parametrize("sparse", [False, True], ids=["dense storage", "sparse storage"])
def test_zeros_stay_zero_in_a_trainer_and_when_it_is_resumed(tmp_path: Path, sparse: bool) -> None:
    folder = _saved(tmp_path, sparse)
    _, masks = pruned_model(SHAPE, 0.6)
    free = _trainer(folder, tmp_path / "free", 2, [])
    free.train()
    assert _moved(free.model, masks) > 0
    _trainer(folder, tmp_path / "held", 10, [bertprune.HoldMasks()]).train()
    resumed = _trainer(folder, tmp_path / "held", 20, [bertprune.HoldMasks()])
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 20
    assert _moved(resumed.model, masks) == 0
    checkpoint = tmp_path / "held" / "checkpoint-20"
    pooler = load_file(checkpoint / "model.safetensors")["bert.pooler.dense.weight"]
    assert torch.equal(pooler != 0, masks[POOLER])
    later = _trainer(checkpoint, tmp_path / "later", 2, [bertprune.HoldMasks()])
    later.train()
    assert _moved(later.model, masks) == 0


def test_a_model_that_was_saved_without_its_masks_is_not_held_by_none(tmp_path: Path) -> None:
    model, masks = pruned_model(SHAPE, 0.6)
    model.save_pretrained(tmp_path / "bare")
    bare = bertprune.load(str(tmp_path / "bare"))
    with pytest.raises(UserError, match=r"bare has no masks beside the weights.* as masks="):
        bertprune.hold_masks(bare)
    with pytest.raises(UserError, match="bare has no masks"):
        _trainer(tmp_path / "bare", tmp_path / "held", 2, [bertprune.HoldMasks()]).train()
    bertprune.hold_masks(bare, masks)
    _step(bare, torch.optim.AdamW(bare.parameters(), lr=1e-2), 0)
    assert _moved(bare, masks) == 0


def test_what_cannot_be_held_is_said() -> None:
    model, masks = pruned_model(SHAPE, 0.6)
    with pytest.raises(UserError, match="was loaded from no folder"):
        bertprune.hold_masks(model)
    with pytest.raises(UserError, match=r"only one of the two models has pooler\.dense\.weight"):
        bertprune.hold_masks(model, {n: m for n, m in masks.items() if "pooler" not in n})
    with torch.no_grad():
        prunable_matrices(model)[POOLER].fill_(1.0)
    with pytest.raises(UserError, match="154 weights of pooler"):
        bertprune.hold_masks(model, masks)
