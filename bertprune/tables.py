"""Tables: from rows, summaries and saved models to what a page shows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from safetensors import safe_open

from bertprune.rows import PRETRAINING, Rows, final

ARM_NAMES = {
    "prune_pretrain": "pruned while pre-training",
    "information_deletion": "information deletion",
    "prune_after_finetune": "pruned after fine-tuning",
    "random_pruning": "pruned at random",
}
"""What the arms are called on pages, in the order of tables and legends."""


def percent(share: float) -> str:
    """A sparsity as prose has it: `50 %`, with a space that does not break."""
    return f"{100 * share:.4g}\N{NO-BREAK SPACE}%"


def summary_text(summary: pd.DataFrame) -> str:
    """A study's summary as a text table for a terminal."""
    return summary.to_string(
        index=False,
        na_rep="-",
        formatters={
            "accuracy": "{:.4f}".format,
            "std": "{:.4f}".format,
            "dense": "{:.4f}".format,
            "difference": "{:+.4f}".format,
            "pretraining_loss": "{:.4f}".format,
        },
    )


def summary_table(summary: pd.DataFrame) -> pd.DataFrame:
    """A study's summary as a page shows it: arms and sparsities down, tasks across.

    A cell is the accuracy in %, ± the standard deviation in points where there are several seeds,
    and in brackets the difference from the dense model in points.
    """
    tasks = summary.task.drop_duplicates()
    lines = []
    for arm in [arm for arm in ARM_NAMES if arm in summary.arm.array]:
        for sparsity, point in summary[summary.arm == arm].groupby("sparsity"):
            loss = point.pretraining_loss.iloc[0]
            cells = {str(one.task): _accuracy_cell(one) for one in point.itertuples()}
            lines.append(
                {
                    "arm": ARM_NAMES[arm],
                    "sparsity": percent(float(str(sparsity))),
                    "pre-training loss": "–" if pd.isna(loss) else f"{loss:.3f}",
                    **{task: cells.get(task, "–") for task in tasks},
                    "seeds": int(point.seeds.min()),
                }
            )
    return pd.DataFrame(lines).set_index(["arm", "sparsity"])


def task_scores(rows: Rows) -> pd.DataFrame:
    """Of a fine-tuning run: dev metrics and training loss after the last epoch, by task and
    learning rate. The best learning rate of a task is the one that counts."""
    last = final(rows)
    last = last[(last.metric != "running_loss") & (last.task != PRETRAINING)]
    name = last.split + " " + last.metric
    table = last.assign(name=name).pivot_table(
        index=["task", "learning_rate"], columns="name", values="value", sort=False
    )
    best = table.groupby("task")["dev accuracy"].transform("idxmax")
    # Not every metric is every task's.
    shown = table.map(lambda value: "–" if pd.isna(value) else f"{value:.4f}")
    shown["best"] = ["✓" if point == chosen else "" for point, chosen in best.items()]
    return shown.rename_axis(columns=None)


def loss_curve(rows: Rows) -> pd.DataFrame:
    """Of a pre-training run: the dev metrics on the way, by step."""
    dev = rows[(rows.task == PRETRAINING) & (rows.split == "dev")]
    table = dev.pivot_table(index="step", columns="metric", values="value", sort=False)
    return table.rename_axis(index=None, columns="step").round(4)


def sparsity_by_matrix(model_folder: Path) -> pd.DataFrame:
    """What is pruned in each prunable matrix of a saved model.

    `pruned` counts the weights that the mask prunes and that are zero, so a mask that its model
    does not obey shows as too low a number.
    """
    # Here, since it brings transformers, which few tables need.
    from bertprune.models import MASKS_FILE

    with (
        safe_open(model_folder / MASKS_FILE, framework="np") as masks,
        safe_open(model_folder / "model.safetensors", framework="np") as model,
    ):
        lines = []
        for name in masks.keys():  # noqa: SIM118, a safetensors file is no mapping
            mask, weight = masks.get_tensor(name), model.get_tensor(f"bert.{name}")
            pruned = int(((weight == 0) & ~mask).sum())
            lines.append(
                {
                    "matrix": name.removesuffix(".weight"),
                    "shape": " × ".join(map(str, weight.shape)),
                    "weights": weight.size,
                    "pruned": pruned,
                    "sparsity": pruned / weight.size,
                }
            )
    return pd.DataFrame(lines).set_index("matrix").rename_axis(index=None, columns="matrix")


def _accuracy_cell(point: object) -> str:
    accuracy, std, difference = (
        100 * float(getattr(point, name)) for name in ("accuracy", "std", "difference")
    )
    spread = "" if pd.isna(std) else f" ± {std:.1f}"
    change = "" if pd.isna(difference) else f" ({difference:+.1f})"
    return f"{accuracy:.1f}{spread}{change}"
