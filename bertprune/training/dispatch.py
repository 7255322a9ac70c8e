"""Which module does the work of a run: pre-training or fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from bertprune.base.fingerprint import code_key
from bertprune.protocol.notebook_parameters import BurnIn, Finetune
from bertprune.protocol.rows import Rows

if TYPE_CHECKING:
    from accelerate import Accelerator

    from bertprune.training.variants import Ahead


def code_of(contract: type[BurnIn]) -> str:
    """The key of the code that the results of runs with such parameters come from."""
    module = "finetuning" if issubclass(contract, Finetune) else "pretraining"
    return code_key(f"{__package__}.{module}")


def work(
    parameters: BurnIn, upstream: Path | None, folder: Path, compared_with: Path | None = None
) -> Rows:
    """Do the work of a run in its `folder`, where its model goes to "model"; gives its rows.

    `upstream` is the folder of the model that it starts from, and `compared_with` that of the model
    that its own is compared with, where it has them.
    """
    rows: Rows = _module(parameters).work(parameters, upstream, folder, compared_with)
    return rows


def ahead(
    parameters: BurnIn,
    upstream: Path | None,
    folder: Path,
    compared_with: Path | None,
    accelerator: Accelerator,
) -> Iterator[Ahead]:
    """The trainings that such a run has ahead of it, none of which is made yet."""
    found: Iterator[Ahead] = _module(parameters).ahead(
        parameters, upstream, folder, compared_with, accelerator
    )
    return found


def _module(parameters: BurnIn) -> ModuleType:
    # Both import torch, which takes seconds.
    from bertprune.training import finetuning, pretraining

    return finetuning if isinstance(parameters, Finetune) else pretraining
