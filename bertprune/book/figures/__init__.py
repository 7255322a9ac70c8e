"""Figures: from rows to pictures that say what they show and which study or run made them.

The page of a run imports from `figures.runs`, so that a change of a study's figure leaves it as it
is; all others import from here.
"""

from bertprune.book.figures.accuracy import (
    accuracy_and_loss,
    accuracy_drop,
    average_and_loss,
    average_and_training_loss,
)
from bertprune.book.figures.comparison import drops_beside
from bertprune.book.figures.information import information_deletion
from bertprune.book.figures.lab import bits_against, bits_recalled
from bertprune.book.figures.masks import before_pruning, mask_difference, pruned_heads
from bertprune.book.figures.movement import movement_by_epoch, movement_by_position
from bertprune.book.figures.recovery import recovery
from bertprune.book.figures.runs import learning_curves
from bertprune.book.figures.saving import inference_time, storage
from bertprune.book.figures.study import drawn, of_study
from bertprune.book.figures.style import Picture, made_by
from bertprune.book.figures.weights import (
    embedding_magnitudes,
    memory,
    weight_histograms,
    weight_std,
)

__all__ = [
    "Picture",
    "accuracy_and_loss",
    "accuracy_drop",
    "average_and_loss",
    "average_and_training_loss",
    "before_pruning",
    "bits_against",
    "bits_recalled",
    "drawn",
    "drops_beside",
    "embedding_magnitudes",
    "inference_time",
    "information_deletion",
    "learning_curves",
    "made_by",
    "mask_difference",
    "memory",
    "movement_by_epoch",
    "movement_by_position",
    "of_study",
    "pruned_heads",
    "recovery",
    "storage",
    "weight_histograms",
    "weight_std",
]
