"""Which module does the work of a run: pre-training or fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from bertprune.base.fingerprint import code_key
from bertprune.protocol.notebook_parameters import BurnIn, Finetune
from bertprune.protocol.rows import Rows

if TYPE_CHECKING:
    from accelerate import Accelerator

    from bertprune.training.variants import Ahead


@dataclass(frozen=True)
class Job:
    """The work of a run, and where it is done."""

    parameters: BurnIn
    folder: Path
    """What is unfinished lies here; its model goes to "model" below."""
    upstream: Path | None = None
    """The folder of the model that it starts from."""
    compared_with: Path | None = None
    """The folder of the model that its own is compared with."""


def code_of(contract: type[BurnIn]) -> str:
    """The key of the code that the results of runs with such parameters come from."""
    module = "finetuning" if issubclass(contract, Finetune) else "pretraining"
    return code_key(f"{__package__}.{module}")


def work(job: Job) -> Rows:
    """Do the work of a run; gives its rows."""
    rows: Rows = _module(job.parameters).work(job)
    return rows


def ahead(job: Job, accelerator: Accelerator) -> Iterator[Ahead]:
    """The trainings that such a run has ahead of it, none of which is made yet."""
    found: Iterator[Ahead] = _module(job.parameters).ahead(job, accelerator)
    return found


def _module(parameters: BurnIn) -> ModuleType:
    # Both import torch, which takes seconds.
    from bertprune.training import finetuning, pretraining

    return finetuning if isinstance(parameters, Finetune) else pretraining
