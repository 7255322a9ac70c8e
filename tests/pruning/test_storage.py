"""Sparse storage: exact round trips, what it takes, and files that are not what they seem."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from transformers import BertForPreTraining

import bertprune
from bertprune.base.errors import UserError
from bertprune.model.loading import (
    fresh_model,
    load_classifier,
    load_masks,
    load_pretraining_model,
)
from bertprune.model.model_folder import model_key
from bertprune.model.shape import Shape
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.storage import SPARSE_FILE, load_sparse, pack, save_sparse, unpack

from ..models import assert_same, pruned_model

# Sizes that are no multiple of 8, so that the last byte of a mask is filled up.
TINY = Shape(layers=2, hidden_size=6, heads=2, vocabulary_size=61, max_length_tokens=16)


def stored(folder: Path, sparsity: float, precision: str = "float32") -> BertForPreTraining:
    model, masks = pruned_model(TINY, sparsity)
    model.config.save_pretrained(folder)
    save_sparse(model, masks, folder, precision)
    return model


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("scope", ["matrix", "global"])
def test_a_round_trip_is_exact(tmp_path: Path, sparsity: float, scope: str) -> None:
    model, masks = pruned_model(TINY, sparsity, scope)
    model.config.save_pretrained(tmp_path)
    save_sparse(model, masks, tmp_path)
    loaded = bertprune.load(str(tmp_path))
    assert_same(loaded.state_dict(), model.state_dict())
    assert_same(load_masks(tmp_path, loaded), masks)
    decoder = loaded.cls.predictions.decoder.weight
    assert decoder is loaded.bert.embeddings.word_embeddings.weight


def test_a_classifier_is_new_as_of_the_dense_folder(tmp_path: Path) -> None:
    stored(tmp_path / "sparse", 0.3).save_pretrained(tmp_path / "dense")
    dense, sparse = (
        load_classifier(str(tmp_path / name), labels=3, seed=3) for name in ("dense", "sparse")
    )
    assert dense.config.num_labels == sparse.config.num_labels == 3
    assert_same(sparse.state_dict(), dense.state_dict())


def test_bits_are_in_order_and_a_kept_weight_may_be_zero() -> None:
    mask = torch.tensor([[True, False, False], [False, True, False], [False, False, True]])
    weight = torch.eye(3) * torch.tensor([5.0, 0.0, 7.0])
    bits, values = pack(weight, mask)
    assert bits.tolist() == [0b10001000, 0b10000000]
    assert values.tolist() == [5.0, 0.0, 7.0]
    again, held = unpack(bits, values, (3, 3))
    assert torch.equal(held, mask) and torch.equal(again, weight)


def test_a_pruned_weight_that_is_not_zero_is_refused(tmp_path: Path) -> None:
    model, masks = pruned_model(TINY, 0.3)
    with torch.no_grad():
        prunable_matrices(model)["pooler.dense.weight"].fill_(1.0)
    with pytest.raises(UserError, match=r"pooler\.dense\.weight .*: 11 pruned weights are not"):
        save_sparse(model, masks, tmp_path)


def test_bf16_rounds_and_keeps_the_mask(tmp_path: Path) -> None:
    model = stored(tmp_path, 0.3, "bf16")
    loaded = load_pretraining_model(str(tmp_path), seed=0)
    for name, weight in prunable_matrices(model).items():
        again = prunable_matrices(loaded)[name]
        assert again.dtype == torch.float32
        # Eight bits of significand: off by at most half a unit in the last of them.
        assert ((again - weight).abs() <= weight.abs() * 2**-8).all()
        assert torch.equal(again, weight.bfloat16().float())


def test_a_dense_and_a_sparse_model_in_one_folder_are_refused(tmp_path: Path) -> None:
    stored(tmp_path, 0.3).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has both"):
        load_pretraining_model(str(tmp_path), seed=0)


def test_the_identity_of_a_model_is_that_of_its_sparse_file(tmp_path: Path) -> None:
    stored(tmp_path, 0.3)
    key = model_key(str(tmp_path))
    stored(tmp_path, 0.9)
    assert model_key(str(tmp_path)) != key


def test_masks_of_another_model_are_refused(tmp_path: Path) -> None:
    stored(tmp_path, 0.3)
    other = fresh_model(Shape(1, 8, 2, 61), seed=0)
    with pytest.raises(UserError, match="does not fit the model beside it"):
        load_masks(tmp_path, other)


def _with_shapes(content: bytes, shapes: dict[str, list[int]]) -> bytes:
    """The file with other shapes of matrices in its metadata."""
    size = 8 + int.from_bytes(content[:8], "little")
    about = json.loads(content[8:size])["__metadata__"]
    tensors = load(content)
    return save(tensors, about | {"shapes": json.dumps(json.loads(about["shapes"]) | shapes)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda whole: whole[:-9], "is damaged, or no safetensors file"),
        (lambda whole: b"no tensors at all", "is damaged, or no safetensors file"),
        (lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), "damaged: .* its checksum"),
        (lambda whole: _with_shapes(whole, {"bert.pooler.dense.weight": [6, 7]}), "of the shape"),
        (lambda whole: _with_shapes(whole, {"gone": [1]}), r"damaged: 'gone\.kept_bits'"),
        (lambda whole: save(load(whole)), "not in the sparse storage"),
        (
            lambda whole: save({}, {"format": "bertprune sparse", "version": "2"}),
            "version '2' .* reads version 1",
        ),
    ],
)
def test_files_that_are_not_what_they_seem(
    tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    stored(tmp_path, 0.3)
    file = tmp_path / SPARSE_FILE
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(UserError, match=said):
        load_sparse(file)


@pytest.mark.parametrize(
    ("bits", "values", "shape"),
    [
        (b"\xf0", 4, (3, 3)),
        (b"\xf0", 3, (2, 4)),
        (b"\xff", 4, (2, 2)),
        (b"\xf0", 4, (2, 1_000_000_000)),
    ],
)
def test_parts_that_do_not_belong_together(
    bits: bytes, values: int, shape: tuple[int, ...]
) -> None:
    packed = torch.from_numpy(np.frombuffer(bits, np.uint8).copy())
    with pytest.raises(ValueError, match="mask"):
        unpack(packed, torch.ones(values), shape)


def test_a_config_of_another_shape_is_an_error(tmp_path: Path) -> None:
    stored(tmp_path, 0.3)
    fresh_model(Shape(2, 8, 2, 61), seed=0).config.save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "config.json", tmp_path)
    with pytest.raises(UserError, match="cannot load the model"):
        load_pretraining_model(str(tmp_path), seed=0)
