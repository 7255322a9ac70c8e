"""Designs of studies: where they measure, with how many seeds, and how much chance is in it.

Means and noise are those of published rows. A replicate of a design (see `replicates`) has rows of
just this shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bertprune.base.words import counted
from bertprune.evidence import paper, scores
from bertprune.evidence.published import Published, predictions_of, rows_of
from bertprune.experiments import studies
from bertprune.protocol.arms import (
    ARMS,
    BURN_IN,
    EPOCHS_BEFORE_PRUNING,
    PRUNE_AFTER_FINETUNE,
    PRUNE_PRETRAIN,
)
from bertprune.protocol.rows import ANOTHER_SEED, PRETRAINING, Metric, Rows, Split, final, where

Points = pd.DataFrame
"""Places where a study measures: the columns of PLACE; `value`, what is expected there; `std`, its
standard deviation over seeds on one BERT; `seeds`, how many; `examples`, of how many an accuracy is
a share, else NaN."""

PLACE = ["arm", "task", "sparsity", "epoch", "split", "metric", "part", "position"]
KIND = ["split", "metric", "task"]
"""What values have in common that vary alike."""

_READ = pd.MultiIndex.from_tuples(
    [
        (Split.DEV, Metric.ACCURACY),
        (Split.DEV, Metric.LOSS),
        (Split.TRAIN, Metric.LOSS),
        (Split.FEATURES, Metric.COSINE_SIMILARITY),
        (Split.MASKS, Metric.MASK_DIFFERENCE),
        (Split.HEADS, Metric.PRUNED_SHARE),
        (Split.WEIGHTS, Metric.MOVEMENT_MEAN),
    ],
    names=["split", "metric"],
)
"""What rules read that chance has a part in."""

PAPER = "paper"
NEAREST_TO_PAPER = "english"
"""Whose noise the paper's one seed is given: of the published studies the one of GLUE."""

BERT_VARIANCE = 1.0
"""Between independently trained BERTs, in units of that between seeds on one: what is assumed
where a study has one BERT, so that nothing is known of it."""


STUDIES = ("lab", NEAREST_TO_PAPER, PAPER)
"""Those that are asked what they can tell."""


@dataclass(frozen=True)
class Design:
    """What a study measures, and the chance in it."""

    points: Points
    shares: pd.DataFrame
    """See `shares_in_common`."""
    facts: pd.DataFrame
    """Of tasks (see `baselines.of_study`)."""
    berts: int
    """Trained independently, dealt out to the seeds in turn."""
    has_answers: bool
    """Whether it is known which dev examples each model gets right."""
    is_published: bool = True
    """Or is to be so large, with means and noise of the edition before."""

    @property
    def says(self) -> str:
        """How large it is, in words."""
        most = int(where(self.points, metric=Metric.ACCURACY).seeds.max())
        seeds, berts = counted(most, "seed"), counted(self.berts, "BERT")
        known = "answers are known" if self.has_answers else "answers are not known"
        noise = "" if self.is_published else "; as planned, with the noise of the edition before"
        return f"at most {seeds} of {berts}, {known}{noise}"


def design(study: str) -> Design:
    """The design of the published study of this name, or of the paper. Where a study's file asks
    for more seeds than are published, it is as large as the file has it, and has all that the rules
    ask for. Raises UserError if nothing of it is published."""
    if study == PAPER:
        measured, points = rows_of(NEAREST_TO_PAPER), points_of(paper.rows())
        facts = paper.facts_of_tasks()
    else:
        measured = rows_of(study)
        points, facts = points_of(measured), _facts(study)
    points["std"] = _std(points, points_of(measured))
    examples = points.task.map(facts["dev examples"])
    points["examples"] = examples.where(points.metric == Metric.ACCURACY)
    shares = shares_in_common(measured)
    if study == PAPER:
        return Design(points, shares, facts, berts=1, has_answers=False)
    grid = studies.load(study).grid
    if len(grid["seed"]) > points.seeds.max():
        points = _at_sparsities(points, grid["sparsity"])
        every = pd.concat([points, _controls(points)], ignore_index=True)
        # What was measured comes first.
        points = every.drop_duplicates(PLACE, ignore_index=True)
        points["seeds"] = len(grid["seed"])
        return Design(points, shares, facts, len(grid.get("model", [""])), True, False)
    berts = where(measured, arm=PRUNE_PRETRAIN).bert.nunique()
    return Design(points, shares, facts, berts, has_answers=not predictions_of(study).empty)


def _controls(points: Points) -> Points:
    """What else the rules ask for: as many epochs before pruning with nothing pruned, and the masks
    of two seeds; as exact as what is most alike of what there is."""
    varied = where(points, arm=EPOCHS_BEFORE_PRUNING, split=[Split.DEV, Split.TRAIN])
    dense = where(points, arm=PRUNE_AFTER_FINETUNE, sparsity=0)[[*KIND, "value", "std"]]
    unpruned = varied.drop(columns=["value", "std"]).merge(dense, on=KIND).assign(sparsity=0.0)
    masks = where(points, arm=PRUNE_AFTER_FINETUNE, split=Split.MASKS).drop_duplicates("sparsity")
    of_seeds = masks.assign(arm=PRUNE_PRETRAIN, task=PRETRAINING, part=ANOTHER_SEED)
    return pd.concat([unpruned, of_seeds])[points.columns]


def _facts(study: str) -> pd.DataFrame:
    return pd.DataFrame.from_dict(Published.read(study).tasks, orient="index")


def _by_seed(found: Rows) -> pd.DataFrame:
    """What rules read, after training, at the learning rate that is best for each accuracy, as in
    the paper: a line for each place of PLACE, a column for each (bert, seed); NaN where one was not
    measured."""
    # How weights move is read by epoch.
    ends = found[found.index.isin(final(found).index) | (found.metric == Metric.MOVEMENT_MEAN)]
    is_read = pd.MultiIndex.from_frame(ends[_READ.names]).isin(_READ) & (ends.arm != BURN_IN)
    is_read &= (ends.split != Split.DEV) | (ends.metric != Metric.LOSS) | (ends.task == PRETRAINING)
    ends = ends[is_read]
    trained = ["arm", "task", "sparsity", "seed", "position"]
    best = scores.best_accuracies(found)[[*trained, "learning_rate"]]
    both = ends.merge(best, on=trained, how="left", suffixes=("", "_best"))
    rate = both.learning_rate_best
    of_best = both[rate.isna() | (both.learning_rate == rate)]
    of_best = of_best.assign(bert=of_best.get("bert", ""))
    by_place = of_best.groupby([*PLACE, "bert", "seed"], dropna=False, sort=False).value
    return by_place.mean().unstack(["bert", "seed"])


def points_of(found: Rows) -> Points:
    """The points of rows that rules read, with their means; `std` is NaN where a BERT has one seed,
    and `examples` everywhere."""
    values = _by_seed(found)
    return pd.DataFrame(
        {"value": values.mean(axis=1), "std": _within(values), "seeds": values.count(axis=1)}
    ).reset_index()


def _within(values: pd.DataFrame) -> pd.Series:
    """The standard deviation of each line over seeds of one BERT, pooled over BERTs."""
    by_bert = values.T.groupby(level="bert")
    freedom = (by_bert.count() - 1).clip(lower=0)
    squares = (by_bert.var() * freedom).sum()
    return (squares / freedom.sum().where(lambda n: n > 0)) ** 0.5


def _std(points: Points, like: Points) -> pd.Series:
    """The standard deviation at each point: its own, else the mean one of the points of `like` that
    have most in common with it."""
    std = points["std"]
    for place in ([*KIND, "sparsity", "arm"], [*KIND, "sparsity"], KIND, KIND[:2]):
        known = (like["std"] ** 2).groupby([like[name] for name in place]).mean() ** 0.5
        std = std.fillna(points[place].merge(known.reset_index(), on=place, how="left")["std"])
    return std.fillna(0)


def _at_sparsities(points: Points, sparsities: Sequence[float]) -> Points:
    """The points of curves at other sparsities, on straight lines between what is known, and below
    that as it is at the lowest; what has no curve stays."""
    curve = [name for name in PLACE if name != "sparsity"]
    moved = []
    for _, known in points.groupby(curve, dropna=False, sort=False):
        known = known.sort_values("sparsity")
        lowest, highest = known.sparsity.iloc[[0, -1]]
        # Epochs before pruning are varied at one sparsity, beside a control at 0 %.
        is_curve = lowest < highest and known.arm.iloc[0] != EPOCHS_BEFORE_PRUNING
        at = [s for s in sparsities if s <= highest and (s > 0 or lowest == 0)]
        at = at if is_curve else list(known.sparsity)
        columns = {name: np.interp(at, known.sparsity, known[name]) for name in ("value", "std")}
        moved.append(known.iloc[[0] * len(at)].assign(sparsity=at, **columns))
    return pd.concat(moved, ignore_index=True)


def starts(places: pd.DataFrame) -> npt.NDArray[np.str_]:
    """What tells apart the models that fine-tuning started from: by what arm's pre-training, to
    what sparsity."""
    both = zip(places.arm, places.sparsity, strict=True)
    return np.array([f"{ARMS[arm].pretrained_by or arm} {at:.4f}" for arm, at in both], str)


def shares_in_common(found: Rows) -> pd.DataFrame:
    """By KIND, what chance points have in common, as shares of the variance over seeds on one BERT:
    `seed`, all points of one seed; `start`, beyond that those that start from one model. And
    `bert`, the variance between BERTs in the same unit, which is shared alike.

    The first two are sums of covariances over sums of products of standard deviations, over pairs
    of points; 0 where that is negative, or no two points are there.
    """
    by_kind = {}
    for kind, lines in _by_seed(found).groupby(level=KIND, sort=False):
        values = lines.dropna(axis=1, how="all").dropna()
        of_bert = values.columns.get_level_values("bert")
        centred = values - values.T.groupby(level="bert").transform("mean").T
        start = starts(values.index.to_frame())
        is_other = np.not_equal.outer(start, start)
        is_same = ~is_other & ~np.eye(len(start), dtype=bool)
        products = (centred @ centred.T).to_numpy()
        seed, both = (_share(products, pairs) for pairs in (is_other, is_same))
        by_kind[kind] = {
            "seed": seed,
            "start": max(both - seed, 0.0),
            "bert": _between(values) if of_bert.nunique() > 1 else BERT_VARIANCE,
        }
    index = pd.MultiIndex.from_tuples(by_kind, names=KIND)
    return pd.DataFrame(list(by_kind.values()), index=index)


def _share(products: npt.NDArray[np.float64], pairs: npt.NDArray[np.bool_]) -> float:
    """How large sums of products are for `pairs`, beside what they are where all is in common."""
    deviations = np.sqrt(np.diag(products))
    whole = float(np.outer(deviations, deviations)[pairs].sum())
    return float(np.clip(products[pairs].sum() / whole, 0, 1)) if whole else 0.0


def _between(values: pd.DataFrame) -> float:
    """The variance between BERTs beyond what seeds explain, in units of that over seeds."""
    by_bert = values.T.groupby(level="bert")
    within = float((_within(values) ** 2).mean())
    explained = within / float(by_bert.count().mean().mean())
    between = float(by_bert.mean().var().mean())
    return max(between - explained, 0.0) / within if within else 0.0
