"""A BERT as an ONNX file, which ONNX Runtime and others compute without torch."""

from __future__ import annotations

import logging
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import PreTrainedModel

from bertprune.base.errors import UserError, full_disk_is_user_error

ONNX_FILE = "model.onnx"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def check_exporter() -> None:
    """Raise UserError unless what torch exports with is installed."""
    if find_spec("onnxscript") is None:
        raise UserError(
            "ONNX needs packages that are not here: .venv/bin/pip install -e '.[onnx]' brings them"
        )


def save_onnx(model: PreTrainedModel, folder: Path) -> None:
    """Write `model`, a BERT on the CPU, to the ONNX file of `folder`, in float32.

    It takes the INPUTS, each int64 (batch, length) of any batch and length that the model has
    positions for, and gives what the model does, by the same names: `logits` (batch, labels), or
    `prediction_logits` (batch, length, vocabulary) and `seq_relationship_logits` (batch, 2). The
    weights keep their names and zeros. Raises UserError without the packages that it needs.
    """
    check_exporter()
    model.eval()
    # What has size 1 here, or is the same tensor twice, the exporter would take to be so always.
    example = {name: torch.ones(3, 2, dtype=torch.int64) for name in INPUTS}
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    with torch.no_grad():
        outputs = list(model(**example))
    # It warns of a torchvision that is not there, of its own code, and that inputs share sizes.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), full_disk_is_user_error(folder):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            kwargs=example,
            f=folder / ONNX_FILE,
            input_names=INPUTS,
            output_names=outputs,
            dynamic_shapes=dict.fromkeys(INPUTS, sizes),
            external_data=False,
            # It would rename the weights. Runtimes optimize what they load.
            optimize=False,
            verbose=False,
        )
