"""Questions about masks, movement, features and heads: of claims C6, C8, C9 and C12."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from bertprune.evidence.claims import weights
from bertprune.evidence.claims.claim import USUAL_EPOCHS
from bertprune.evidence.power.worlds import MUCH_CLAIMED, NONE_CLAIMED, World, question
from bertprune.protocol.rows import ANOTHER_SEED, PRETRAINING, WHOLE, Metric, Split

AS_CLAIMED = 0.5
"""What the parts of C9 that are not asked have, as a share of what the claim allows."""


def _are(world: World, split: str, metric: str) -> pd.Series:
    """Which points have this metric, at sparsities between 0 and 1 where it is of pruned models."""
    found = (world.points.split == split) & (world.points.metric == metric)
    is_dense = split == Split.WEIGHTS
    return found & (is_dense | world.points.sparsity.between(0, 1, inclusive="neither"))


@question("C6", "a bend", MUCH_CLAIMED, "of a power", splits=[Split.FEATURES])
def features(world: World, margins: float) -> float:
    cosine = _are(world, Split.FEATURES, Metric.COSINE_SIMILARITY)
    at = world.points.sparsity[cosine]
    if not (np.isclose(at, weights.KNEE)).any():
        return math.nan
    away = 1 - world.points.value[cosine].groupby(at).mean()
    # A smooth law of the power that there is up to the knee, and from there on a higher one.
    below = away[away.index <= weights.KNEE + 1e-9]
    power, height = np.polyfit(np.log(below.index / weights.KNEE), np.log(below), 1)
    x = np.log(at / weights.KNEE)
    bent = np.exp(height + power * x + margins * weights.BENDS_BY * np.maximum(x, 0))
    world.points.loc[cosine, "value"] = 1 - bent
    return weights.BENDS_BY


@question(
    "C8",
    "few entries",
    NONE_CLAIMED,
    "% of the entries",
    splits=[Split.MASKS],
)
def masks(world: World, margins: float) -> float:
    entries = _are(world, Split.MASKS, Metric.MASK_DIFFERENCE)
    of_tuning = entries & (world.points.task != PRETRAINING)
    if not of_tuning.any():
        return math.nan
    most = world.points.value[of_tuning].max()
    world.points.loc[entries, "value"] *= margins * weights.FEW / most
    return 100 * weights.FEW


LITTLE = 0.2
"""Of what the claim allows: entries by which two seeds differ."""


@question(
    "C8",
    "beyond two seeds",
    NONE_CLAIMED,
    "points of the pruned",
    splits=[Split.MASKS],
)
def beyond_seeds(world: World, margins: float) -> float:
    entries = _are(world, Split.MASKS, Metric.MASK_DIFFERENCE)
    is_of_seeds = world.points.part == ANOTHER_SEED
    if not is_of_seeds.any():
        return math.nan
    at = world.points.sparsity[entries].unique()
    beyond = margins * weights.FEW / (1 / (2 * at)).mean()
    world.points.loc[entries, "value"] = LITTLE * weights.FEW + beyond * ~is_of_seeds
    return 100 * weights.FEW


def _moved(world: World, all_of: float, of_top: float, in_first: float) -> bool:
    """Weights move by a share of the sort order, those at the top by a share of that, and in the
    first epoch by a share of that. Whether the study measured it."""
    p, moved = world.points, _are(world, Split.WEIGHTS, Metric.MOVEMENT_MEAN)
    moved &= (p.task != PRETRAINING) & (p.sparsity == 0)
    whole, top = moved & (p.part == WHOLE), moved & (p.position > weights.TOP_FROM)
    first = whole & (p.epoch == 1) & (p.groupby("task").epoch.transform("max") >= USUAL_EPOCHS)
    for lines, value in ((whole, 1.0), (top, of_top), (first, in_first)):
        # Seeds differ by a share of how far weights move.
        world.points.loc[lines, "std"] *= all_of * value / p.value[lines]
        world.points.loc[lines, "value"] = all_of * value
    return bool(whole.any() and top.any() and first.any())


_LITTLE = AS_CLAIMED * weights.LITTLE_MOVEMENT
_SETTLED = 1 - AS_CLAIMED * (1 - weights.SETTLED)


@question("C9", "little movement", NONE_CLAIMED, "% of the matrix", splits=[Split.WEIGHTS])
def little(world: World, margins: float) -> float:
    # What does not move at all has no share in the first epoch.
    all_of = max(margins, 0.01) * weights.LITTLE_MOVEMENT
    is_known = _moved(world, all_of, AS_CLAIMED, _SETTLED)
    return 100 * weights.LITTLE_MOVEMENT if is_known else math.nan


@question(
    "C9", "high magnitudes move less", NONE_CLAIMED, "% of what all move", splits=[Split.WEIGHTS]
)
def top(world: World, margins: float) -> float:
    return 100.0 if _moved(world, _LITTLE, margins, _SETTLED) else math.nan


@question(
    "C9",
    "most in the first epoch",
    NONE_CLAIMED,
    "% of all movement after it",
    splits=[Split.WEIGHTS],
)
def first_epoch(world: World, margins: float) -> float:
    later = 1 - weights.SETTLED
    is_known = _moved(world, _LITTLE, AS_CLAIMED, 1 - margins * later)
    return 100 * later if is_known else math.nan


@question("C12", "heads", NONE_CLAIMED, "% of what the model keeps", splits=[Split.HEADS])
def heads(world: World, margins: float) -> float:
    shares = _are(world, Split.HEADS, Metric.PRUNED_SHARE)
    if not shares.any():
        return math.nan
    at = world.points.sparsity[shares]
    one = world.points.part[shares] == world.points.part[shares].iloc[0]
    world.points.loc[shares, "value"] = at + one * margins * weights.MUCH_MORE * (1 - at)
    return 100 * weights.MUCH_MORE


QUESTIONS = (features, masks, beyond_seeds, little, top, first_epoch, heads)
