"""The paper's tables 1 to 3 beside our numbers."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper, scores
from bertprune.evidence.scores import AVERAGE, of_usual_length, without_own
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING, WHOLE, Metric, Rows, final, where


def numbers(found: Rows) -> dict[str, pd.DataFrame]:
    """Every number of the paper's tables 1 to 3 beside ours: `table1`, `table2`, `table3`.

    Columns: what it is of; `paper`; `ours`, a mean over `seeds`; `difference`, ours − paper. Ours
    is NaN where the rows have nothing at exactly that place, and seeds 0. Accuracies and movements
    are shares, losses nats. Table 1 has besides, of accuracies, `paper_drop` and `our_drop`, the
    dense model's accuracy minus this one, and a task "average" over the paper's five, ours where a
    study has all five.
    """
    theirs, found = paper.rows(), without_own(found)
    return {
        "table1": _beside(_of_table1(theirs), _of_table1(found), ["drop"]),
        "table2": _beside(_of_table2(theirs), _of_table2(found)),
        "table3": _beside(_of_table3(theirs), _of_table3(found)),
    }


def _beside(theirs: pd.DataFrame, ours: pd.DataFrame, more: Sequence[str] = ()) -> pd.DataFrame:
    """Both side by side, line by line of `theirs`; columns are what it is of, seed and value."""
    on = [name for name in theirs.columns if name not in ("seed", "value", *more)]
    means = {name: (name, "mean") for name in more}
    left = theirs.groupby(on, as_index=False, sort=False).agg(paper=("value", "mean"), **means)
    right = ours.groupby(on, as_index=False).agg(
        ours=("value", "mean"), seeds=("seed", "nunique"), **means
    )
    both = left.merge(right, on=on, how="left", suffixes=("_of_paper", "_of_ours"))
    both["seeds"] = both.seeds.fillna(0).astype(int)
    both["difference"] = both.ours - both.paper
    names = {f"{name}_of_paper": f"paper_{name}" for name in more}
    names |= {f"{name}_of_ours": f"our_{name}" for name in more}
    columns = [*on, "paper", "ours", "seeds", "difference", *names.values()]
    return both.rename(columns=names)[columns]


def _of_table1(found: Rows) -> pd.DataFrame:
    """Accuracy with its drop from the dense model, training loss and pre-training loss by arm,
    sparsity, task and seed."""
    best = scores.best_accuracies(found)
    best = best[best.position.isna() & best.task.isin(PAPER_TASKS)]
    point = ["arm", "sparsity", "seed"]
    over_tasks = best.groupby(point, as_index=False).agg(
        accuracy=("accuracy", "mean"), tasks=("task", "nunique")
    )
    whole = over_tasks[over_tasks.tasks == len(PAPER_TASKS)].drop(columns="tasks")
    scored = pd.concat([best[[*point, "task", "accuracy"]], whole.assign(task=AVERAGE)])
    dense = where(scored, arm=PRUNE_PRETRAIN, sparsity=0)
    scored = scored.merge(dense[["task", "seed", "accuracy"]], on=["task", "seed"], how="left")
    scored["drop"] = scored.accuracy_y - scored.accuracy_x
    training = scores.training_losses(found)
    training = training[training.task.isin(PAPER_TASKS)]
    pretraining = scores.pretraining_losses(found).assign(task=PRETRAINING)
    parts = {
        "accuracy": scored.rename(columns={"accuracy_x": "value"}),
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
