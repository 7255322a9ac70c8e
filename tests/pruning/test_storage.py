"""Sparse storage: exact round trips, what it takes, and files that are not what they seem."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertForPreTraining

import bertprune
from bertprune.base.errors import UserError
from bertprune.data.tokenizer import load_tokenizer
from bertprune.model.loading import (
    fresh_model,
    load_classifier,
    load_masks,
    load_pretraining_model,
    model_key,
    save_pretrained,
)
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion, Masks
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.pruning.storage import SPARSE_FILE, load_sparse, pack, save_sparse, unpack

# Sizes that are no multiple of 8, so that the last byte of a mask is filled up.
TINY = Shape(layers=2, hidden_size=6, heads=2, vocabulary_size=61, max_length_tokens=16)
SPARSITIES = [0.0, 0.3, 0.9, 1.0]


def pruned(sparsity: float, scope: str = "matrix") -> tuple[BertForPreTraining, Masks]:
    model = fresh_model(TINY, seed=0)
    pruner = Pruner.following(model, Schedule(sparsity), Criterion(scope=scope))
    pruner.before_step(0)
    return model, pruner.masks


def stored(folder: Path, sparsity: float, precision: str = "float32") -> BertForPreTraining:
    model, masks = pruned(sparsity)
    model.config.save_pretrained(folder)
    save_sparse(model, masks, folder, precision)
    return model


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("scope", ["matrix", "global"])
def test_a_round_trip_is_exact(tmp_path: Path, sparsity: float, scope: str) -> None:
    model, masks = pruned(sparsity, scope)
    model.config.save_pretrained(tmp_path)
    save_sparse(model, masks, tmp_path)
    loaded = bertprune.load(str(tmp_path))
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    held = load_masks(tmp_path, loaded)
    assert held.keys() == masks.keys()
    assert all(torch.equal(mask, held[name]) for name, mask in masks.items())
    decoder = loaded.cls.predictions.decoder.weight
    assert decoder is loaded.bert.embeddings.word_embeddings.weight


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_it_loads_as_the_dense_folder_does(tmp_path: Path, sparsity: float) -> None:
    model, masks = pruned(sparsity)
    save_pretrained(model, load_tokenizer("lab"), masks, tmp_path / "dense")
    stored(tmp_path / "sparse", sparsity)
    dense, sparse = (str(tmp_path / name) for name in ("dense", "sparse"))
    for first, second in (
        (load_pretraining_model(dense, seed=3), load_pretraining_model(sparse, seed=3)),
        # The classifier is new in both, drawn from the same seed.
        (load_classifier(dense, labels=3, seed=3), load_classifier(sparse, labels=3, seed=3)),
    ):
        assert first.config.num_labels == second.config.num_labels
        expected = first.state_dict()
        assert expected.keys() == second.state_dict().keys()
        for name, tensor in second.state_dict().items():
            assert torch.equal(tensor, expected[name]), name


def test_a_kept_weight_may_be_zero() -> None:
    weight, mask = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[True, True, False]])
    again, held = unpack(*pack(weight, mask), (1, 3))
    assert torch.equal(held, mask) and torch.equal(again, weight)


def test_bits_are_in_order() -> None:
    mask = torch.tensor([[True, False, False], [False, True, False], [False, False, True]])
    bits, values = pack(torch.eye(3) * torch.tensor([5.0, 6.0, 7.0]), mask)
    assert bits.tolist() == [0b10001000, 0b10000000]
    assert values.tolist() == [5.0, 6.0, 7.0]


def test_a_pruned_weight_that_is_not_zero_is_refused(tmp_path: Path) -> None:
    model, masks = pruned(0.3)
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


def _rewritten(file: Path, about: dict[str, str], **changed: Tensor) -> None:
    save_file(load_file(file) | changed, file, about)


def test_damage_is_noticed(tmp_path: Path) -> None:
    stored(tmp_path, 0.3)
    file = tmp_path / SPARSE_FILE
    whole = file.read_bytes()
    for name, content in {
        "cut": whole[:-9],
        "empty": b"",
        "flipped": whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:],
        "text": b"no tensors at all",
    }.items():
        file.write_bytes(content)
        with pytest.raises(UserError, match="damaged"):
            load_sparse(file)
        assert name
    file.write_bytes(whole)
    load_sparse(file)


def test_files_of_another_kind_or_version_are_refused(tmp_path: Path) -> None:
    file = tmp_path / SPARSE_FILE
    save_file({"bert.pooler.dense.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(UserError, match="not in the sparse storage"):
        load_sparse(file)
    save_file({}, file, {"format": "bertprune sparse", "version": "2"})
    with pytest.raises(UserError, match="version '2' .* reads version 1"):
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


def test_a_file_with_a_wrong_shape_is_damaged(tmp_path: Path) -> None:
    stored(tmp_path, 0.3)
    from safetensors import safe_open

    file = tmp_path / SPARSE_FILE
    with safe_open(file, framework="pt") as content:
        about = content.metadata()
    shapes = json.loads(about["shapes"])
    shapes["bert.pooler.dense.weight"] = [6, 7]
    _rewritten(file, about | {"shapes": json.dumps(shapes)})
    with pytest.raises(UserError, match="damaged: a mask of the shape"):
        load_sparse(file)
    _rewritten(file, about | {"shapes": json.dumps({"gone": [1]})})
    with pytest.raises(UserError, match=r"damaged: 'gone\.kept_bits'"):
        load_sparse(file)


def test_a_config_of_another_shape_is_an_error(tmp_path: Path) -> None:
    stored(tmp_path, 0.3)
    fresh_model(Shape(2, 8, 2, 61), seed=0).config.save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "config.json", tmp_path)
    with pytest.raises(UserError, match="cannot load the model"):
        load_pretraining_model(str(tmp_path), seed=0)
