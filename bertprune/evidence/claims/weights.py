"""Claims C6, C8, C9 and C12 to C14: what pruning and fine-tuning make of weights and features."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bertprune.base.words import SPACE, counted, percent
from bertprune.evidence.claims.claim import (
    FAILS,
    HOLDS,
    ROUNDING,
    SPELLED,
    USUAL_EPOCHS,
    Finding,
    at_end,
    claim,
    finding,
    in_percent,
    no_rows,
    of_all,
    of_parts,
)
from bertprune.evidence.scores import of_usual_length
from bertprune.evidence.statistics import (
    LEAST_SEEDS,
    LEAST_TASKS,
    TOO_FEW,
    Difference,
    Sample,
    mean_difference,
    sample,
)
from bertprune.model.shape import BERT_BASE
from bertprune.protocol.arms import PRUNE_AFTER_FINETUNE, PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING, WHOLE, Metric, Rows, Split, final, where

_PRETRAINED = {"arm": PRUNE_PRETRAIN, "task": PRETRAINING}

# Where features begin to diverge, and how much faster they must from there on.
DIVERGE_FROM = 0.4
TIMES_FASTER = 2


@claim(
    "C6",
    "Features stay those of the unpruned model up to 40 % and diverge from there.",
    f"1 − mean cosine grows at least {SPELLED[TIMES_FASTER]} as fast per unit of sparsity above "
    f"{in_percent(DIVERGE_FROM)} as up to {in_percent(DIVERGE_FROM)}, by the bounds over seeds, "
    f"{SPELLED[LEAST_SEEDS]} at least; the two meet at the study's highest sparsity up to "
    f"{in_percent(DIVERGE_FROM)}. It does not hold where the bounds say less.",
    "a bend at about 40 % (its figure 2; its tables have no number)",
)
def features(found: Rows) -> Finding:
    cosine = at_end(found, split=Split.FEATURES, metric=Metric.COSINE_SIMILARITY, **_PRETRAINED)
    cosine = cosine[cosine.sparsity > 0]
    away = 1 - cosine.pivot_table(index="seed", columns="sparsity", values="value").dropna()
    compared: list[float] = away.columns.to_numpy(float).tolist()
    below = [at for at in compared if at <= DIVERGE_FROM]
    above = [at for at in compared if at > DIVERGE_FROM]
    if away.empty or not below or not above:
        return no_rows(f"features on both sides of {percent(DIVERGE_FROM)}, of the same seeds")
    knee, end = max(below), max(above)
    slow, fast = away[knee] / knee, (away[end] - away[knee]) / (end - knee)
    d = mean_difference(fast - TIMES_FASTER * slow)
    lack = f"fewer than {LEAST_SEEDS} seeds at all sparsities, and features are of no task"
    n = f"n = {counted(d.seeds, 'seed')}, each a mean over layers"
    return finding(
        Sample(d, n, lack if d.seeds < LEAST_SEEDS else ""),
        f"1 − cosine grows {slow.mean():.3f} per unit of sparsity up to {percent(knee)}, "
        f"{fast.mean():.3f} from there to {percent(end)}",
        (d.is_gain, HOLDS, ""),
        (d.is_loss, FAILS, ""),
        unit="per unit of sparsity",
        scale=1,
    )


# Share of the mask's entries.
FEW_ENTRIES = 0.06


@claim(
    "C8",
    "Which weights are pruned changes little by fine-tuning: less than 6 % of the mask.",
    "At every sparsity, task and learning rate the upper bound over seeds, or the value of one "
    f"seed, is below {in_percent(FEW_ENTRIES)}. It does not hold where a lower bound is above.",
    "less than 6 % at every sparsity, task and learning rate (its figure 3; its tables have no "
    "number)",
)
def masks(found: Rows) -> Finding:
    of = {"arm": PRUNE_AFTER_FINETUNE, "split": Split.MASKS, "metric": Metric.MASK_DIFFERENCE}
    ends = at_end(found, part=WHOLE, **of)
    ends = ends[(ends.task != PRETRAINING) & (ends.sparsity > 0) & (ends.sparsity < 1)]
    if ends.empty:
        return no_rows("mask differences")
    cells: dict[Any, Difference] = {}
    for place, cell in ends.groupby(["sparsity", "task", "learning_rate"]):
        d = mean_difference(cell.groupby("seed").value.mean())
        cells[place] = Difference(d.mean, d.mean, d.mean, 1) if d.seeds < 2 else d
    worst = max(cells.values(), key=lambda d: d.upper)
    over = [place for place, d in cells.items() if d.lower > FEW_ENTRIES]
    means = [d.mean for d in cells.values()]
    seeds, tasks = ends.seed.nunique(), ends.task.nunique()
    n = f"{len(cells)} points (sparsity × task × learning rate), {counted(seeds, 'seed')}"
    lack = TOO_FEW if seeds < LEAST_SEEDS and tasks < LEAST_TASKS else ""
    where_over = "".join(f"more at {percent(sparsity)} on {task}" for sparsity, task, _ in over[:1])
    others = f", and at {counted(len(over) - 1, 'other point')}" * (len(over) > 1)
    return finding(
        Sample(worst, n, lack),
        f"{of_all(min(means))} to {of_all(max(means))} of the entries differ",
        (over, FAILS, where_over + others),
        (worst.upper < FEW_ENTRIES, HOLDS, ""),
        unit="% of the entries, worst point",
    )


# "0 to 4 %" as the paper rounds it; where "high" magnitudes begin; and the share of all movement
# that one epoch must bring. With fewer epochs than usual the first is a large part of all.
LITTLE_MOVEMENT = 0.045
TOP_FROM = 0.9
SETTLED = 2 / 3


@claim(
    "C9",
    "Fine-tuning moves weights by 0 to 4 % of the sort order on average, those of high "
    "magnitude least, and most of it in the first epoch.",
    f"The mean over tasks and learning rates is below {in_percent(LITTLE_MOVEMENT)}, the top "
    f"{SPELLED[round(1 - TOP_FROM, 2)]} of starting positions moves less than all do, and the "
    f"first of {SPELLED[USUAL_EPOCHS]} epochs or more brings {SPELLED[SETTLED]}. Parts without "
    "rows are named and not tested.",
)
def movement(found: Rows) -> Finding:
    tuned = where(found[found.task != PRETRAINING], arm=PRUNE_PRETRAIN, sparsity=0)
    moved = where(tuned, split=Split.WEIGHTS, metric=Metric.MOVEMENT_MEAN)
    whole = where(moved, part=WHOLE)
    if whole.empty:
        return no_rows("movement in the sort order")
    curve = ["task", "learning_rate", "seed"]
    last = final(whole)
    all_of = last.groupby(curve).value.mean()
    overall = sample(of_usual_length(last)[[*curve, "value"]])
    mean = overall.difference.mean
    said, untested = [f"moved {of_all(mean)} on average"], []
    failed = [] if mean < LITTLE_MOVEMENT else ["moves more"]

    top = at_end(moved[moved.position > TOP_FROM], part="starting position")
    of_top = top.groupby(curve).value.mean()
    if of_top.empty:
        untested.append("by starting position")
    else:
        rest = all_of.reindex(of_top.index).mean()
        said.append(f"the top tenth {of_all(of_top.mean())} where all move {of_all(rest)}")
        failed += [] if of_top.mean() < rest else ["high magnitudes move no less"]

    first = where(whole, epoch=1).groupby(curve).value.mean()
    later = last[last.epoch >= USUAL_EPOCHS].groupby(curve).value.mean()
    ratio = (first / later).dropna()
    if ratio.empty:
        untested.append(f"the first epoch, as no training has {USUAL_EPOCHS}")
    else:
        tasks = counted(len(ratio.index.unique("task")), "task")
        said.append(
            f"{100 * ratio.mean():.0f}{SPACE}% of it in the first epoch "
            f"({tasks} of {USUAL_EPOCHS} epochs or more)"
        )
        failed += [] if ratio.mean() >= SETTLED else ["it does not settle in one epoch"]
    verdict = (True, *of_parts(failed, untested))
    return finding(overall, "; ".join(said), verdict, unit="% of the matrix")


# Share of a head beyond the model's rate.
MUCH_MORE = 0.10


@claim(
    "C12",
    "No attention head is pruned much more than the model.",
    "At every sparsity no head's share, its mean over seeds, is more than "
    f"{100 * MUCH_MORE:g} points above the model's. Every head is counted, none is sampled: one "
    "seed is enough.",
    "none in its figure 4; its tables have no number",
)
def heads(found: Rows) -> Finding:
    shares = at_end(found, split=Split.HEADS, metric=Metric.PRUNED_SHARE, **_PRETRAINED)
    shares = shares[(shares.sparsity > 0) & (shares.sparsity < 1)]
    if shares.empty:
        return no_rows("pruned shares of attention heads")
    by_head = shares.groupby(["sparsity", "part"], as_index=False).value.mean()
    by_head["excess"] = by_head.value - by_head.sparsity
    worst = by_head.loc[by_head.excess.idxmax()]
    of_worst = where(shares, sparsity=worst.sparsity, part=worst.part)
    levels = counted(shares.sparsity.nunique(), "sparsity level")
    n = f"{shares.part.nunique()} heads × {levels}, {counted(shares.seed.nunique(), 'seed')}"
    return finding(
        Sample(mean_difference(of_worst.value - of_worst.sparsity), n),
        f"at most {100 * worst.excess:+.1f} points beyond the model's rate: {worst.part} "
        f"at {percent(worst.sparsity)}",
        (worst.excess <= MUCH_MORE + ROUNDING, HOLDS, ""),
        (True, FAILS, ""),
        unit="points, worst head",
    )


# "Almost every" is this share of matrices. What near normal, mean 0 and std 0.03 to 0.05 are, each
# half a unit of the last digit or so beyond.
ALMOST_EVERY = 0.9
MEAN_NEAR_ZERO = 0.1
STD_RANGE = (0.025, 0.055)
NEAR_NORMAL_KURTOSIS = 1.0


@claim(
    "C13",
    "Almost every matrix is near normal, with mean 0 and standard deviation 0.03 to 0.05.",
    f"Three parts, each of at least {in_percent(ALMOST_EVERY)} of the matrices: the mean is within "
    f"a {SPELLED[MEAN_NEAR_ZERO]} of the standard deviation from 0; the standard deviation is "
    f"from {STD_RANGE[0]} to {STD_RANGE[1]}; the excess kurtosis is within "
    f"{NEAR_NORMAL_KURTOSIS:g}, where rows have it.",
)
def near_normal(found: Rows) -> Finding:
    metrics = ["weight_mean", "weight_std", "weight_kurtosis"]
    dense = at_end(found, sparsity=0, split=Split.WEIGHTS, metric=metrics, **_PRETRAINED)
    by_matrix = dense.pivot_table(index="part", columns="metric", values="value")
    by_matrix = by_matrix.reindex(columns=metrics).dropna(subset=metrics[:2])
    if by_matrix.empty:
        return no_rows("means and standard deviations of the weights")
    std, kurtosis = by_matrix.weight_std, by_matrix.weight_kurtosis
    is_so = {
        "mean near 0": by_matrix.weight_mean.abs() <= MEAN_NEAR_ZERO * std,
        "std in range": std.between(*STD_RANGE),
        "near normal": (kurtosis.abs() < NEAR_NORMAL_KURTOSIS)[kurtosis.notna()],
    }
    parts = pd.Series({name: each.mean() for name, each in is_so.items()})
    shares = parts.dropna()
    too_few = shares.index[shares < ALMOST_EVERY]
    verdict, reason = of_parts(
        ["too few: " + ", ".join(too_few)] if len(too_few) else [], list(parts.index[parts.isna()])
    )
    listed = ", ".join(f"{name}: {of_all(share)}" for name, share in shares.items())
    return Finding(
        f"{listed} of the matrices; std from {std.min():.3f} to {std.max():.3f}",
        f"n = {len(by_matrix)} matrices, {counted(dense.seed.nunique(), 'seed')}",
        verdict=verdict,
        reason=reason,
    )


# "About 21 %".
EMBEDDINGS_SHARE = (0.205, 0.219)


@claim(
    "C14",
    "Word embeddings are about 21 % of BERT-Base's memory.",
    f"Counted from BERT-Base's shape their share is from {100 * EMBEDDINGS_SHARE[0]:g} to "
    f"{in_percent(EMBEDDINGS_SHARE[1])}.",
    "about 21 %",
)
def memory(found: Rows) -> Finding:
    parts = BERT_BASE.parts
    base = parts["word embeddings"] / BERT_BASE.parameters
    of_dense = {"sparsity": 0, "split": Split.WEIGHTS, "metric": Metric.MEMORY_BYTES}
    stored = at_end(found, **of_dense, **_PRETRAINED)
    by_seed = stored.pivot_table(index="seed", columns="part", values="value")
    ours = "missing"
    if "word embeddings" in by_seed:
        ours = of_all(float((by_seed["word embeddings"] / by_seed.sum(axis=1)).mean()))
    return Finding(
        f"BERT-Base's shape {of_all(base)}; this study's model {ours}",
        f"counted, {BERT_BASE.parameters:,} parameters of BERT-Base",
        verdict=HOLDS if EMBEDDINGS_SHARE[0] <= base <= EMBEDDINGS_SHARE[1] else FAILS,
        reason="the verdict is about BERT-Base's shape, whatever the study",
    )
