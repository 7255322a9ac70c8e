"""bertprune: weight pruning of BERT and its effect on transfer, as a re-executable book."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import BertForPreTraining, BertForSequenceClassification

    from bertprune.model.holding import HoldMasks, hold_masks

__all__ = ["HoldMasks", "__version__", "hold_masks", "load", "load_classifier"]

__version__ = "0.1.0"

# Libraries that we import would like to draw progress bars as widgets. Ours are text.
warnings.filterwarnings("ignore", message="IProgress not found")


def load(name: str) -> BertForPreTraining:
    """The BERT in a folder, dense or in sparse storage, or of that name (`lab`, or on the Hugging
    Face Hub), in float32; heads that it lacks are new, drawn from seed 0.

    Raises `bertprune.base.errors.UserError` if it cannot be had.
    """
    from bertprune.model.loading import load_pretraining_model

    return load_pretraining_model(_place(name), seed=0)


def load_classifier(name: str, *, labels: int) -> BertForSequenceClassification:
    """The same with a classifier of `labels` classes: its own, or a new one drawn from seed 0."""
    from bertprune.model import loading

    return loading.load_classifier(_place(name), labels=labels, seed=0)


def __getattr__(name: str) -> object:
    if name not in ("HoldMasks", "hold_masks"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Torch and transformers take seconds to import.
    from bertprune.model import holding

    return getattr(holding, name)


def _place(name: str) -> str:
    """`name`, or where a folder of that name lies: here first, elsewhere than in notebooks."""
    from bertprune.base import paths

    folder = paths.expanded(name)
    return str(folder.resolve()) if (folder / "config.json").is_file() else name
