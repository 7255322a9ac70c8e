"""Figures: from rows to pictures that say what they show and which study or run made them.

The page of a run imports from `figures.runs`, so that a change of a study's figure leaves it as it
is; all others import from here.
"""

from bertprune.figures.accuracy import (
    accuracy_and_loss,
    accuracy_drop,
    average_and_loss,
    average_and_training_loss,
)
from bertprune.figures.comparison import drops_beside
from bertprune.figures.information import information_deletion
from bertprune.figures.lab import bits_against, bits_recalled
from bertprune.figures.masks import before_pruning, mask_difference, pruned_heads
from bertprune.figures.movement import movement_by_epoch, movement_by_position
from bertprune.figures.recovery import recovery
from bertprune.figures.runs import learning_curves
from bertprune.figures.saving import inference_time, storage
from bertprune.figures.study import drawn, of_study
from bertprune.figures.style import Picture, made_by
from bertprune.figures.weights import embedding_magnitudes, memory, weight_histograms, weight_std

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
