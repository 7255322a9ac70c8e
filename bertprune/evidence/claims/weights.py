"""Claims C6, C8, C9 and C12 to C14: what pruning and fine-tuning make of weights and features.

Nothing of this is measured on a sample of examples of a task: what is left to chance is BERT and
seed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bertprune.base.words import SPACE, counted, percent, signed
from bertprune.evidence.claims.chance import Estimate
from bertprune.evidence.claims.claim import (
    FAILS,
    HOLDS,
    SPELLED,
    UNTESTED,
    USUAL_EPOCHS,
    Finding,
    Part,
    at_end,
    claim,
    decide,
    decided,
    in_percent,
    no_rows,
    of_all,
    points,
    than,
)
from bertprune.evidence.claims.measured import Measured, Seeds
from bertprune.evidence.scores import of_usual_length
from bertprune.model.shape import BERT_BASE
from bertprune.protocol.arms import PRUNE_AFTER_FINETUNE, PRUNE_PRETRAIN
from bertprune.protocol.rows import (
    ANOTHER_SEED,
    PRETRAINING,
    WHOLE,
    Metric,
    Rows,
    Split,
    final,
    where,
)

_PRETRAINED = {"arm": PRUNE_PRETRAIN, "task": PRETRAINING}


def _by_seed(found: Rows, *index: str) -> pd.DataFrame:
    """The mean values of `found`, a line for each of `index`, a column for each seed."""
    return found.groupby([*index, "seed"]).value.mean().unstack("seed")


def _pruned(found: Rows) -> Rows:
    return found[(found.sparsity > 0) & (found.sparsity < 1)]


def _above(found: Estimate, value: float, says: str) -> Part:
    """That it is above a value."""
    less, more = than(says)
    return Part(more, less, found.above(value), found.below(value))


def _below(found: Estimate, value: float, says: str, where: str = "") -> Part:
    """That it is below a value."""
    return Part(*than(says), found.below(value), found.above(value), where)


def _unknown(says: str, contrary: str, lacks: str = "such rows") -> Part:
    """Of which there are no rows."""
    return Part(says, contrary, np.nan, np.nan, lacks=lacks)


KNEE = 0.4
"""Where features begin to diverge."""

BENDS_BY = 1.0
"""The least by which the power of growth must be higher beyond: one, as from a square to a cube."""


@claim(
    "C6",
    "Features stay those of the unpruned model up to 40 % and diverge from there.",
    "C6 holds if 1 − mean cosine grows with sparsity by a power that is higher by more than "
    f"{BENDS_BY:g} from {in_percent(KNEE)} to {in_percent(2 * KNEE)} than up to "
    f"{in_percent(KNEE)}. It is refuted if it is higher by less. The powers are the slopes of two "
    f"lines that meet at {in_percent(KNEE)}, in a plot of both logarithms.",
    "a bend at about 40 % (its figure 2, its tables have no number)",
)
def features(m: Measured) -> Finding:
    """The authors would take it as borne out where something begins at 40 %, and as refuted where
    one smooth law goes through it, which looks bent just because its power is high."""
    cosine = at_end(m.rows, split=Split.FEATURES, metric=Metric.COSINE_SIMILARITY, **_PRETRAINED)
    away = 1 - _by_seed(cosine[cosine.sparsity.between(1e-9, 2 * KNEE + 1e-9)], "sparsity")
    over = Seeds.of(m, away[away > 0].dropna(how="all"))
    at = over.index.to_numpy(float)
    if min((at <= KNEE).sum(), (at > KNEE).sum()) < 2:
        return no_rows(f"features at two sparsities on each side of {percent(KNEE)}")
    x = np.log(at / KNEE)
    design = np.column_stack([np.ones_like(x), x, np.maximum(x, 0)])
    # Height at the knee, power below it, and by how much it is higher beyond.
    _, below, bend = over.summed(np.linalg.pinv(design), np.log)
    return decided(
        [_above(bend, BENDS_BY, f"the power is higher by {{}} than {BENDS_BY:g}")],
        says=f"The distance of features grows as sparsity^{below.mean:.1f} up to {percent(KNEE)} "
        f"and as sparsity^{below.mean + bend.mean:.1f} above. The power is {_number(bend)} higher; "
        f"this book’s rule asks for more than {BENDS_BY:g}.",
        statistic=f"1 − cosine grows by power {_number(below)} up to {percent(KNEE)}, by "
        f"{_number(bend)} more beyond; a smooth law has one power",
        at=over,
        of=bend,
        margin=BENDS_BY,
        unit="of a power",
        scale=1,
    )


def _number(of: Estimate, scale: float = 1) -> str:
    return points(of, scale, unit="", sign="")


FEW = 0.06
"""The paper's number: of the mask's entries, and here of the weights that are pruned too."""


@claim(
    "C8",
    "Which weights are pruned changes little by fine-tuning: less than 6 % of the mask.",
    "C8 holds if two things are so. First, at every sparsity, task and learning rate less than "
    f"{in_percent(FEW)} of the mask's entries differ from those of the model that was pruned while "
    "pre-training. Second, the share of the pruned weights that are others is on average less than "
    f"{100 * FEW:g} points above that between prunings of one BERT by two seeds. These "
    "differ without fine-tuning. It is refuted if one of them is more.",
    "less than 6 % at every sparsity, task and learning rate (its figure 3, its tables have no "
    "number)",
)
def masks(m: Measured) -> Finding:
    """The authors would take it as borne out where a mask made for all tasks is nearly that of each
    task, and as refuted where it is not: where more than their 6 % differs, or where at low
    sparsities the entries are few only since few are pruned."""
    of = {"split": Split.MASKS, "metric": Metric.MASK_DIFFERENCE}
    ends = _pruned(at_end(m.rows, part=WHOLE, arm=PRUNE_AFTER_FINETUNE, **of))
    over = Seeds.of(m, _by_seed(ends, "sparsity", "task", "learning_rate"))
    if not len(over.index):
        return no_rows("mask differences")
    every = over.estimates()
    entries = f"{{}} than {in_percent(FEW)} of the entries differ at"
    parts = [
        _below(one, FEW, entries, f"{percent(at)} on {task}")
        for one, (at, task, _) in zip(every, over.index, strict=True)
    ]
    means = pd.Series([one.mean for one in every], over.index)
    # A weight that is pruned here alone has one that is pruned there alone: two entries.
    others = (means / over.index.get_level_values("sparsity") / 2).groupby("sparsity").mean()
    levels = others.index.to_numpy(float)
    beyond, said = _beyond_seeds(m, ends)
    says = (
        f"fine-tuning parts the pruned weights by {{}} than {100 * FEW:g} points beyond two seeds"
    )
    worst = max(every, key=lambda one: one.upper)
    return decided(
        [
            *parts,
            _below(beyond, FEW, says)
            if beyond
            else _unknown(*than(says), lacks="masks of two seeds of one BERT"),
        ],
        says=f"After fine-tuning {of_all(means.min())} to {of_all(means.max())} of the mask's "
        f"entries differ; the claim allows {in_percent(FEW)}. Where few weights are pruned, few "
        f"can differ: of the pruned weights alone {of_all(others.max())} are other ones at "
        f"{percent(levels[others.argmax()])}, and {of_all(others.iloc[-1])} at "
        f"{percent(levels[-1])}.",
        statistic="other weights among the pruned: "
        + ", ".join(
            f"{percent(at)} {of_all(share)}" for at, share in zip(levels, others, strict=True)
        )
        + said,
        at=over,
        of=worst,
        margin=FEW,
        unit="% of the entries, worst point",
    )


def _beyond_seeds(m: Measured, tuned: Rows) -> tuple[Estimate | None, str]:
    """Of the weights that are pruned, the share that is another after fine-tuning less that between
    two seeds, the mean over sparsities; and both in words."""
    of = {"split": Split.MASKS, "metric": Metric.MASK_DIFFERENCE, "part": ANOTHER_SEED}
    seeds = _by_seed(_pruned(at_end(m.rows, **of, **_PRETRAINED)), "sparsity")
    both = _by_seed(tuned, "sparsity").reindex_like(seeds)
    scale = 1 / (2 * seeds.index.to_numpy(float))[:, None]
    over = Seeds.of(m, pd.concat({"tuned": both * scale, "seeds": seeds * scale}))
    if not len(over.index):
        return None, ""
    is_tuned = over.index.get_level_values(0) == "tuned"
    weights = np.stack([is_tuned / is_tuned.sum(), ~is_tuned / (~is_tuned).sum()])
    by_tuning, by_seeds, beyond = over.summed(np.vstack([weights, weights[0] - weights[1]]))
    return beyond, (
        f"; on average {of_all(by_tuning.mean)}, between two seeds {of_all(by_seeds.mean)}, beyond "
        f"that {_number(beyond, 100)} points"
    )


LITTLE_MOVEMENT = 0.045
"""0 to 4 %, as the paper rounds it."""

TOP_FROM = 0.9
"""Where high magnitudes begin."""

SETTLED = 2 / 3
"""The share of all movement that one epoch must bring. With fewer epochs than usual the first is a
large part of all."""


@claim(
    "C9",
    "Fine-tuning moves weights by 0 to 4 % of the sort order on average, those of high "
    "magnitude least, and most of it in the first epoch.",
    "C9 holds if three things are so on average over tasks and learning rates. First, weights "
    f"move by less than {in_percent(LITTLE_MOVEMENT)}. Second, the top "
    f"{SPELLED[round(1 - TOP_FROM, 2)]} of starting positions moves less than all do. Third, the "
    f"first of {SPELLED[USUAL_EPOCHS]} epochs or more brings more than {SPELLED[SETTLED]} of it. "
    "It is refuted if the contrary of one is shown.",
)
def movement(m: Measured) -> Finding:
    """The authors would take it as borne out by their three numbers, and as refuted by any other.
    When it settles depends on the schedule of the learning rate too."""
    tuned = where(m.rows[m.rows.task != PRETRAINING], arm=PRUNE_PRETRAIN, sparsity=0)
    moved = where(tuned, split=Split.WEIGHTS, metric=Metric.MOVEMENT_MEAN)
    whole = where(moved, part=WHOLE)
    if whole.empty:
        return no_rows("movement in the sort order")
    last = final(whole)
    over = Seeds.of(m, _by_seed(of_usual_length(last), "task", "learning_rate"))
    (overall,) = over.mean()
    little = f"weights move by {{}} than {in_percent(LITTLE_MOVEMENT)}"
    parts = [_below(overall, LITTLE_MOVEMENT, little)]
    said = [f"moved {_number(overall, 100)} %"]

    curve = ["task", "learning_rate"]
    top = at_end(moved[moved.position > TOP_FROM], part="starting position")
    less = _by_seed(top, *curve) / _by_seed(last, *curve)
    says = "high magnitudes move {} than all"
    if of_top := Seeds.of(m, less).mean():
        parts.append(_below(of_top[0], 1, says))
        said.append(f"the top tenth moves {_number(of_top[0])} times as far as all")
    else:
        parts.append(_unknown(*than(says)))

    first = _by_seed(where(whole, epoch=1), *curve)
    long_enough = last[last.epoch >= USUAL_EPOCHS]
    ratio = Seeds.of(m, first / _by_seed(long_enough, *curve))
    says = f"the first epoch brings {{}} than {SPELLED[SETTLED]} of it"
    when = ""
    if in_first := ratio.mean():
        parts.append(_above(in_first[0], SETTLED, says))
        tasks = counted(len(ratio.index.unique("task")), "task")
        said.append(
            f"{_number(in_first[0], 100)}{SPACE}% of it in the first epoch "
            f"({tasks} of {USUAL_EPOCHS} epochs or more)"
        )
        ends = long_enough.epoch.agg(["min", "max"]).unique()
        epochs = " to ".join(f"{one:g}" for one in ends)
        when = (
            f" Of this the first of {epochs} epochs brings {of_all(in_first[0].mean)}; the rule "
            f"asks for more than {SPELLED[SETTLED]}."
        )
    else:
        parts.append(_unknown(*than(says)[::-1]))
    return decided(
        parts,
        says=f"Fine-tuning moves weights by {of_all(overall.mean)} of their matrix's sort order."
        + when,
        statistic="; ".join(said),
        at=over,
        of=overall,
        margin=LITTLE_MOVEMENT,
        unit="% of the matrix",
    )


MUCH_MORE = 0.2
"""The share of what the model keeps that a head may lose beyond the model's rate."""

LEAST_HEADS = 4
"""Heads of a layer: with fewer, one that is pruned more is a half of its layer or so."""


@claim(
    "C12",
    "No attention head is pruned much more than the model.",
    "C12 holds if at every sparsity each head loses, beyond the model's rate, less than "
    f"{in_percent(MUCH_MORE)} of the weights that the model keeps. It is refuted if one loses "
    f"more. It is asked of models with {LEAST_HEADS} heads a layer or more.",
    "none in its figure 4; its tables have no number",
)
def heads(m: Measured) -> Finding:
    """The authors would take it as borne out where no head stands out that one could call pruned as
    a whole, and as refuted where one does."""
    shares = _pruned(at_end(m.rows, split=Split.HEADS, metric=Metric.PRUNED_SHARE, **_PRETRAINED))
    over = Seeds.of(m, _by_seed(shares, "sparsity", "part"))
    if not len(over.index):
        return no_rows("pruned shares of attention heads")
    every = over.estimates()
    names = over.index.get_level_values("part")
    by_layer = pd.Series(names.unique()).str.rpartition(" head ")[0].value_counts()
    too_many = f"{{}} than {in_percent(MUCH_MORE)} beyond the model's rate is lost by"
    parts = [
        _below(one, at + MUCH_MORE * (1 - at), too_many, head)
        for one, (at, head) in zip(every, over.index, strict=True)
    ]
    excess = [one.mean - at for one, (at, _) in zip(every, over.index, strict=True)]
    kept = [1 - at for at, _ in over.index]
    worst = int(np.argmax(np.divide(excess, kept)))
    at, head = over.index[worst]
    found = decided(
        parts,
        says=f"{head} stands out most. Pruning to {percent(at)} takes "
        f"{of_all(every[worst].mean)} of its weights, {100 * excess[worst]:.1f} points more than "
        f"average. The claim allows less than {100 * MUCH_MORE * kept[worst]:.1f} more.",
        statistic=f"at most {signed(100 * excess[worst])} points beyond the model's rate: {head} "
        f"at {percent(at)}; {counted(len(names.unique()), 'head')}",
        at=over,
        of=every[worst] - at,
        margin=MUCH_MORE * kept[worst],
        unit="points, worst head",
    )
    if (heads := by_layer.min()) >= LEAST_HEADS:
        return found
    return found._replace(verdict=UNTESTED, reason=f"{heads} heads a layer are too few to ask it")


ALMOST_EVERY = 0.9
"""The share of matrices."""

MEAN_NEAR_ZERO = 0.1
"""As a share of the standard deviation."""

STD_RANGE = (0.025, 0.055)
"""0.03 to 0.05, each half a unit of the last digit beyond."""

NEAR_NORMAL_KURTOSIS = 1.0
"""Excess, up to which a shape counts as near normal."""

BERT_BASE_MATRICES = 74


@claim(
    "C13",
    "Almost every matrix is near normal, with mean 0 and standard deviation 0.03 to 0.05.",
    f"C13 holds if three things are so, each of at least {in_percent(ALMOST_EVERY)} of the "
    f"matrices. First, the mean is within a {SPELLED[MEAN_NEAR_ZERO]} of the standard deviation "
    f"from 0. Second, the standard deviation is from {STD_RANGE[0]} to {STD_RANGE[1]}. Third, the "
    f"excess kurtosis is within {NEAR_NORMAL_KURTOSIS:g}. It is asked of models of BERT-Base's "
    f"{BERT_BASE_MATRICES} matrices: how large weights are goes by the shape.",
)
def near_normal(m: Measured) -> Finding:
    """The authors would take it as borne out by numbers like theirs. How large weights are goes by
    the shape, so that it is asked of BERT-Base's alone; of others the numbers are given."""
    metrics = ["weight_mean", "weight_std", "weight_kurtosis"]
    dense = at_end(m.rows, sparsity=0, split=Split.WEIGHTS, metric=metrics, **_PRETRAINED)
    by_matrix = dense.pivot_table(index="part", columns="metric", values="value")
    by_matrix = by_matrix.reindex(columns=metrics).dropna(subset=metrics[:2])
    if by_matrix.empty:
        return no_rows("means and standard deviations of the weights")
    std, kurtosis = by_matrix.weight_std, by_matrix.weight_kurtosis
    shares = {
        "a mean near 0": (by_matrix.weight_mean.abs() <= MEAN_NEAR_ZERO * std).mean(),
        "a std in range": std.between(*STD_RANGE).mean(),
        "a near normal shape": (kurtosis.abs() < NEAR_NORMAL_KURTOSIS)[kurtosis.notna()].mean(),
    }
    every = in_percent(ALMOST_EVERY)
    almost = f"at least {every} of the matrices have:", f"fewer than {every} of the matrices have:"
    # Every matrix is counted, and none is drawn: a share is there or is not.
    parts = [
        Part(*almost, *_certain(share >= ALMOST_EVERY), name)
        if not np.isnan(share)
        else Part(*almost, np.nan, np.nan, name, "kurtosis of the weights")
        for name, share in shares.items()
    ]
    is_base = len(by_matrix) == BERT_BASE_MATRICES
    verdict, reason = decide(parts) if is_base else (UNTESTED, "asked of BERT-Base's shape alone")
    listed = ", ".join(
        f"{name}: {of_all(share)}" for name, share in shares.items() if not np.isnan(share)
    )
    return Finding(
        f"{listed} of the matrices; std from {std.min():.3f} to {std.max():.3f}",
        f"n = {len(by_matrix)} matrices, {counted(dense.seed.nunique(), 'seed')}",
        verdict=verdict,
        reason=reason,
        says=f"Shares of matrices with {listed}. Standard deviations are from {std.min():.3f} to "
        f"{std.max():.3f}.",
    )


def _certain(is_so: bool) -> tuple[float, float]:
    return (0.0, 1.0) if is_so else (1.0, 0.0)


# "About 21 %".
EMBEDDINGS_SHARE = (0.205, 0.219)


@claim(
    "C14",
    "Word embeddings are about 21 % of BERT-Base's memory.",
    "C14 holds if, counted from BERT-Base's shape, their share is from "
    f"{100 * EMBEDDINGS_SHARE[0]:g} to {in_percent(EMBEDDINGS_SHARE[1])}.",
    "about 21 %",
)
def memory(m: Measured) -> Finding:
    parts = BERT_BASE.parts
    base = parts["word embeddings"] / BERT_BASE.parameters
    of_dense = {"sparsity": 0, "split": Split.WEIGHTS, "metric": Metric.MEMORY_BYTES}
    stored = at_end(m.rows, **of_dense, **_PRETRAINED)
    by_seed = stored.pivot_table(index="seed", columns="part", values="value")
    ours = ""
    if "word embeddings" in by_seed:
        share = float((by_seed["word embeddings"] / by_seed.sum(axis=1)).mean())
        ours = f"; this study's model {of_all(share)}"
    return Finding(
        f"BERT-Base's shape {of_all(base)}{ours}",
        f"counted, {BERT_BASE.parameters:,} parameters of BERT-Base",
        verdict=HOLDS if EMBEDDINGS_SHARE[0] <= base <= EMBEDDINGS_SHARE[1] else FAILS,
        reason="the verdict is about BERT-Base's shape, whatever the study",
        says=f"Of BERT-Base's memory {of_all(base)} is word embeddings.",
    )
