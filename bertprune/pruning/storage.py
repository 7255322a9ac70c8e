"""Sparse storage: a pruned BERT in one safetensors file that leaves out its zeros.

A prunable matrix of n weights is two tensors in the file: `<name>.kept_bits`, uint8 (ceil(n / 8),),
its mask row by row with the first weight in the highest bit, and `<name>.kept_values` (kept,), the
kept weights in the same order. All other parameters are there as they are, those that two parts
share once. The metadata has the version of the format, the shapes of the matrices, and a checksum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from bertprune.base.errors import UserError
from bertprune.base.files import check_readable, replacing
from bertprune.pruning.masks import Masks
from bertprune.pruning.matrices import prunable_matrices

SPARSE_FILE = "sparse.safetensors"
"""What the file is called in a model's folder, where it stands in for `model.safetensors`."""

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}

_FORMAT = "bertprune sparse"
_VERSION = "1"
_BITS = ".kept_bits"
_VALUES = ".kept_values"


def pack(weight: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The bits of `mask`, uint8 (ceil(n / 8),), and the kept entries of `weight`, (kept,).

    Raises ValueError if a pruned entry is not zero: it would be lost.
    """
    if lost := int(weight[~mask].count_nonzero()):
        raise ValueError(f"{lost} pruned weights are not zero")
    return torch.from_numpy(np.packbits(mask.flatten().numpy())), weight[mask]


def unpack(bits: Tensor, values: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The weight and the mask of `shape` that `pack` was given; pruned weights are plain zeros.

    Raises ValueError for parts that do not belong together.
    """
    size = math.prod(shape)
    if bits.dtype != torch.uint8 or bits.shape != (-(-size // 8),):
        raise ValueError(f"a mask of the shape {shape} has {-(-size // 8)} bytes, not {len(bits)}")
    flags = np.unpackbits(bits.numpy())
    mask = torch.from_numpy(flags[:size].astype(bool)).view(shape)
    if flags[size:].any() or values.shape != (int(mask.sum()),):
        raise ValueError(f"the mask keeps {flags.sum()} weights, but there are {len(values)}")
    weight = torch.zeros(shape, dtype=values.dtype)
    weight[mask] = values
    return weight, mask


def dense_tensors(model: nn.Module, precision: str = "float32") -> dict[str, Tensor]:
    """All parameters of `model` on the CPU, those that two parts share once."""
    dtype = PRECISIONS[precision]
    return {
        name: parameter.detach().to("cpu", dtype).contiguous()
        for name, parameter in model.named_parameters()
    }


def sparse_bytes(model: nn.Module, masks: Masks, precision: str = "float32") -> bytes:
    """The file of `model`, pruned by `masks`: exact in float32, rounded to 8 bits of significand
    in bf16.

    Raises UserError if a weight that `masks` prune is not zero.
    """
    tensors = dense_tensors(model, precision)
    shapes = {}
    for name in prunable_matrices(model):
        full = _full_name(name, tensors)
        weight = tensors.pop(full)
        shapes[full] = list(weight.shape)
        try:
            tensors[full + _BITS], tensors[full + _VALUES] = pack(weight, masks[name].cpu())
        except ValueError as error:
            raise UserError(f"cannot store {name} by its mask: {error}") from error
    about = {"format": _FORMAT, "version": _VERSION, "shapes": json.dumps(shapes)}
    return save(tensors, about | {"xxh3_128": _checksum(tensors)})


def save_sparse(model: nn.Module, masks: Masks, folder: Path, precision: str = "float32") -> None:
    """Write `sparse_bytes` to the sparse file of `folder`, replaced atomically."""
    with replacing(folder / SPARSE_FILE) as unfinished:
        unfinished.write_bytes(sparse_bytes(model, masks, precision))


def load_sparse(file: Path) -> tuple[dict[str, Tensor], Masks]:
    """The parameters in `file`, in float32, by their names in the model, and the masks.

    Raises UserError for a file that is damaged, of another kind, or of a later version.
    """
    check_readable(file)
    try:
        with safe_open(file, framework="pt") as content:
            about = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} is damaged, or no safetensors file: {error}") from error
    if about.get("format") != _FORMAT:
        raise UserError(f"{file} is not in the sparse storage of bertprune")
    if about.get("version") != _VERSION:
        raise UserError(
            f"{file} has version {about.get('version')!r} of the sparse storage, this bertprune "
            f"reads version {_VERSION}: take a newer bertprune"
        )
    if about.get("xxh3_128") != _checksum(tensors):
        raise UserError(f"{file} is damaged: its content does not match its checksum")
    masks: Masks = {}
    try:
        for name, shape in json.loads(about["shapes"]).items():
            bits, values = tensors.pop(name + _BITS), tensors.pop(name + _VALUES)
            tensors[name], masks[name.removeprefix("bert.")] = unpack(bits, values, tuple(shape))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged: {error}") from error
    return {name: tensor.float() for name, tensor in tensors.items()}, masks


def _full_name(name: str, tensors: Mapping[str, Tensor]) -> str:
    """What a parameter of the `BertModel` is called in the whole model."""
    return name if name in tensors else f"bert.{name}"


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = xxhash.xxh3_128()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
