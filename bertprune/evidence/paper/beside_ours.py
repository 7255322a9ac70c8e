"""The paper's tables 1 to 3 beside our numbers."""

from __future__ import annotations

import pandas as pd

from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper, scores
from bertprune.evidence.scores import of_usual_length, with_averages, with_dense, without_own
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING, WHOLE, Metric, Rows, final, where


def numbers(found: Rows) -> dict[str, pd.DataFrame]:
    """Every number of the paper's tables 1 to 3 beside ours: `table1`, `table2`, `table3`.

    Columns: what it is of; `paper`; `ours`, a mean over `seeds`; `difference`, ours − paper. Ours
    is NaN where the rows have nothing at exactly that place, and seeds 0. Accuracies and movements
    are shares, losses nats. Table 1 has besides, of accuracies, `paper_drop` and `our_drop`, this
    one minus the dense model's, and a task "average" over the paper's five, ours where a
    study has all five.
    """
    theirs, found = paper.rows(), without_own(found)
    return {
        "table1": _beside(_of_table1(theirs), _of_table1(found)),
        "table2": _beside(_of_table2(theirs), _of_table2(found)),
        "table3": _beside(_of_table3(theirs), _of_table3(found)),
    }


def _beside(theirs: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Both side by side, line by line of `theirs`; columns are what it is of, seed, value, and of
    table 1 its drop."""
    values = [name for name in ("value", "drop") if name in theirs]
    on = [name for name in theirs if name not in ("seed", *values)]
    left = theirs.groupby(on, sort=False)[values].mean().add_prefix("paper_")
    right, seeds = ours.groupby(on)[values].mean().add_prefix("our_"), ours.groupby(on).seed
    both = left.join(right).join(seeds.nunique().rename("seeds")).reset_index()
    both = both.rename(columns={"paper_value": "paper", "our_value": "ours"})
    both = both.fillna({"seeds": 0}).astype({"seeds": int})
    drops = [f"{whose}_drop" for whose in ("paper", "our") if "drop" in values]
    columns = [*on, "paper", "ours", "seeds", "difference", *drops]
    return both.assign(difference=both.ours - both.paper)[columns]


def _of_table1(found: Rows) -> pd.DataFrame:
    """Accuracy with its drop from the dense model, training loss and pre-training loss by arm,
    sparsity, task and seed."""
    best = scores.best_accuracies(found)
    best = best[best.position.isna() & best.task.isin(PAPER_TASKS)]
    if best.task.nunique() == len(PAPER_TASKS):
        best = with_averages(best, "accuracy")
    scored = with_dense(best, "accuracy")
    training = scores.training_losses(found)
    training = training[training.task.isin(PAPER_TASKS)]
    pretraining = scores.pretraining_losses(found).assign(task=PRETRAINING)
    parts = {
        "accuracy": scored.assign(value=scored.accuracy, drop=scored.accuracy - scored.dense),
        "training loss": training.rename(columns={"loss": "value"}),
        "pre-training loss": pretraining.rename(columns={"loss": "value"}),
    }
    columns = ["arm", "sparsity", "task", "quantity", "seed", "value", "drop"]
    return pd.concat(
        [part.assign(quantity=name).reindex(columns=columns) for name, part in parts.items()]
    )


def _of_table2(found: Rows) -> pd.DataFrame:
    """Movement of the whole model after the last epoch, by task and learning rate."""
    dense = where(found[found.task != PRETRAINING], arm=PRUNE_PRETRAIN, sparsity=0)
    moved = where(dense, metric=[Metric.MOVEMENT_MEAN, Metric.MOVEMENT_STD], part=WHOLE)
    last = of_usual_length(final(moved))
    return last[["task", "learning_rate", "metric", "seed", "value"]]


def _of_table3(found: Rows) -> pd.DataFrame:
    """Mean and standard deviation of the dense model's weights, by matrix."""
    dense = where(found, arm=PRUNE_PRETRAIN, sparsity=0, task=PRETRAINING)
    weights = final(where(dense, metric=["weight_mean", "weight_std"]))
    return weights.rename(columns={"part": "matrix"})[["matrix", "metric", "seed", "value"]]
