"""Tables: from rows, summaries and saved models to what a page shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
from safetensors import safe_open

from bertprune.base.errors import UserError
from bertprune.base.shown import Prose, Sentence
from bertprune.base.words import NOTHING, listed, percent, signed
from bertprune.evidence.scores import LAST_SHARE, pretrained_and_not, worth_pretraining
from bertprune.protocol.arms import ARMS, COMPARED, PRUNE_PRETRAIN, words_of_arm
from bertprune.protocol.rows import PRETRAINING, WHOLE, Metric, Rows, Split, final, where


def beside(table1: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """The paper's table 1 beside a study's numbers, as a page shows it: `paper | here`, a dash for
    what is missing. `table1` as `beside_ours.numbers` has it; `quantity` is one of its quantities,
    or "drop", accuracy minus the dense model's, in points."""
    is_drop = quantity == "drop"
    of = table1[table1.quantity == ("accuracy" if is_drop else quantity)]
    theirs, ours = ("paper_drop", "our_drop") if is_drop else ("paper", "ours")
    show = signed if is_drop else ("{:.2f}" if "loss" in quantity else "{:.1f}").format
    scale = 1 if "loss" in quantity else 100
    cells = [
        " | ".join(NOTHING if pd.isna(value) else show(scale * value) for value in pair)
        for pair in zip(of[theirs], of[ours], strict=True)
    ]
    named = of.assign(
        cell=cells, arm=of.arm.map(words_of_arm), sparsity=[percent(one) for one in of.sparsity]
    )
    wide = named.pivot_table(
        index=["arm", "sparsity"], columns="task", values="cell", aggfunc="first", sort=False
    )
    return wide.rename_axis(columns=None)


def summary_text(summary: pd.DataFrame) -> str:
    """A study's summary as a text table for a terminal."""
    plain = ("accuracy", "std", "dense", "pretraining_loss")
    formatters = dict.fromkeys(plain, "{:.4f}".format) | {"difference": "{:+.4f}".format}
    return summary.to_string(index=False, na_rep="-", formatters=formatters)


def summary_table(summary: pd.DataFrame) -> pd.DataFrame:
    """A study's summary as a page shows it: arms and sparsities down, tasks across.

    A cell is the accuracy in %, ± the standard deviation in points where there are several seeds,
    and in brackets the difference from the dense model in points; † has runs that a reader added.
    """
    lines = []
    for place, point in _points(summary):
        loss = point.pretraining_loss.iloc[0]
        cells = dict.fromkeys(summary.task, NOTHING)
        cells |= {str(one.task): _accuracy_cell(one) for one in point.itertuples()}
        shown_loss = {"pre-training loss": NOTHING if pd.isna(loss) else f"{loss:.3f}"}
        lines.append(place | shown_loss | cells | {"seeds": _seeds(point)})
    return pd.DataFrame(lines).set_index(["arm", "sparsity"])


def _points(measured: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """What is `measured` by arm, in the order of legends, and sparsity, with what a table calls
    these."""
    for arm in COMPARED:
        for sparsity, point in where(measured, arm=arm).groupby("sparsity"):
            yield {"arm": ARMS[arm].words, "sparsity": percent(float(str(sparsity)))}, point


def arms_table() -> Prose:
    """Which arms there are, by the words of tables and legends, and how each works."""
    return Prose(pd.DataFrame({"how": {arm.words: arm.how for arm in ARMS.values()}}))


def seeds_apart(repeatability: pd.DataFrame) -> pd.DataFrame:
    """`scores.repeatability` as a page shows it, in points. Raises UserError without lines."""
    if repeatability.empty:
        raise UserError("what another seed changes is not known: there is one seed")
    return pd.DataFrame(
        {
            "cells with several seeds": repeatability.cells,
            "standard deviation": (100 * repeatability["std"]).map("{:.2f}".format),
            "two runs are within": (100 * repeatability.limit).map("{:.1f}".format),
        }
    )


def again_table(again: pd.DataFrame) -> pd.DataFrame:
    """`gathering.executed_again` as a page shows it, a line for each arm, measure and two devices:
    points of accuracy, nats of loss. Raises UserError without lines."""
    if again.empty:
        raise UserError("no published run was rerun")
    units = {"loss": ("loss (nats)", 1), "accuracy": ("accuracy (points)", 100)}
    by = ["metric", "published_on", "again_on"]
    lines = []
    for arm in COMPARED:
        for (metric, first, second), of in where(again, arm=arm).groupby(by, sort=False):
            name, scale = units[str(metric)]
            apart = scale * (of.again - of.published)
            same, mean, largest = (apart == 0).sum(), apart.mean(), apart.abs().max()
            shown = (len(of), same, f"{mean:+.2g}", f"{largest:.2g}", first, second)
            lines.append((ARMS[arm].words, name, *shown))
    columns = ["arm", "measure", "trainings", "the same", "mean", "largest", "first on", "then on"]
    return pd.DataFrame(lines, columns=columns).set_index(["arm", "measure"])


def against_intervals_table(against: pd.DataFrame) -> pd.DataFrame:
    """`replication.against_intervals` as a page shows it: accuracy in %, loss in nats. Raises
    UserError without lines."""
    if against.empty:
        raise UserError("nothing was rerun that several published seeds have")
    lines = []
    for arm in COMPARED:
        for one in where(against, arm=arm).to_dict("records"):
            is_loss = one["metric"] == Metric.LOSS
            show = "{:.3f}".format if is_loss else lambda share: f"{100 * share:.1f}"
            interval = f"{show(one['mean'])} [{show(one['low'])}, {show(one['high'])}]"
            inside = "yes" if one["low"] <= one["again"] <= one["high"] else "no"
            name = "loss (nats)" if is_loss else "accuracy (%)"
            tasks = NOTHING if is_loss else listed(one["tasks"])
            shown = (interval, show(one["again"]), inside, one["seeds"])
            lines.append((ARMS[arm].words, name, percent(one["sparsity"]), tasks, *shown))
    columns = ["arm", "measure", "sparsity", "tasks", "published", "rerun", "inside"]
    columns += ["seeds rerun"]
    return pd.DataFrame(lines, columns=columns).set_index(["arm", "measure"])


def recovery_table(recovery: pd.DataFrame) -> pd.DataFrame:
    """`scores.recovery` as a page shows it. Raises UserError without lines."""
    if recovery.empty:
        raise UserError("how the loss came down after pruning is not known: its curves are missing")
    lines, fall = {}, f"fall in the last {percent(LAST_SHARE)} of steps"
    for sparsity, of in recovery.sort_index().iterrows():
        spread = f" ± {of.rise_std:.3f}" if of.pairs > 1 else ""
        lines[percent(float(str(sparsity)))] = {
            "dev loss (nats)": f"{of.loss:.3f}",
            "above dense": f"{signed(of.rise, 3)}{spread}" if of.pairs else NOTHING,
            fall: f"{of.falling:.3f}",
            "extra fall against dense": signed(of.falling_more, 3) if of.pairs else NOTHING,
            "seeds": _seeds(of.to_frame().T),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("sparsity")


def lines_table(fits: pd.DataFrame) -> pd.DataFrame:
    """`straight_lines.line_fits` as a page shows it, in points of accuracy. Raises UserError if
    there are none."""
    if fits.empty:
        raise UserError("there are no lines: accuracy under information deletion is missing")
    ends = (100 * fits[["slope", "lower", "upper"]]).map(signed)
    slope = ends.slope + " [" + ends.lower + ", " + ends.upper + "]"
    shown = pd.DataFrame(
        {
            "slope (points per nat)": slope.where(fits.slope.notna(), NOTHING),
            "r²": fits.r2.map("{:.2f}".format),
            "distance from the line (points)": (100 * fits.off).map("{:.1f}".format),
            "models": fits.points,
        }
    )
    return shown.replace("nan", NOTHING).set_index(pd.Index(fits.task, name="task"))


def _seeds(point: pd.DataFrame) -> str:
    """How many seeds a cell has, and how many of them a dense model to be compared with."""
    seeds, pairs = int(point.seeds.min()), int(point.pairs.min())
    return f"{seeds}" if pairs in (0, seeds) else f"{seeds}, {pairs} of them compared"


_WORDS_OF_METRICS = {
    "mlm_loss": "masked-word loss",
    "nsp_loss": "next-sentence loss",
    "masked_accuracy": "masked-word accuracy",
    "next_sentence_accuracy": "next-sentence accuracy",
    "matthews": "Matthews correlation",
    "f1": "F1",
}

_POINT = ["task", "learning rate"]


def task_scores(rows: Rows) -> pd.DataFrame:
    """Of a fine-tuning run: its metrics on the dev and the training set after the last epoch, by
    task and learning rate. The best learning rate of a task is the one that counts."""
    last = final(rows)
    last = last[last.split.isin([Split.DEV, Split.TRAIN]) & (last.task != PRETRAINING)]
    last = last[last.metric != Metric.RUNNING_LOSS]
    name = last.split + " " + last.metric.replace(_WORDS_OF_METRICS)
    table = last.assign(name=name).pivot_table(
        index=["task", "learning_rate"], columns="name", values="value", sort=False
    )
    best = table.groupby("task")["dev accuracy"].transform("idxmax")
    # Not every metric is every task's.
    shown = table.map(lambda value: NOTHING if pd.isna(value) else f"{value:.4f}")
    shown["best"] = ["✓" if point == chosen else "" for point, chosen in best.items()]
    return shown.rename_axis(index=_POINT, columns=None)


NOT_MEASURED = "This run did not measure it."


def by_epoch(rows: Rows, metric: str) -> pd.DataFrame | Sentence:
    """Of a fine-tuning run: a share that is of the whole model, in %, by task and learning rate,
    after each epoch. NOT_MEASURED where the run did not measure it."""
    whole = where(rows, metric=metric, part=WHOLE)
    if whole.empty:
        return Sentence(NOT_MEASURED)
    table = whole.pivot_table(
        index=["task", "learning_rate"], columns="epoch", values="value", sort=False
    )
    return (100 * table).round(2).rename_axis(index=_POINT)


def loss_curve(rows: Rows) -> pd.DataFrame:
    """Of a pre-training run: the dev metrics on the way, by step."""
    dev = where(rows, task=PRETRAINING, split=Split.DEV)
    table = dev.pivot_table(index="step", columns="metric", values="value", sort=False)
    shown = table.rename(columns=_WORDS_OF_METRICS)
    return shown.rename_axis(index=None, columns="step").round(4)


def transfer(scores: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """What pre-training is worth: by task the dev accuracy (%, mean ± std over seeds) of the dense
    model and of one that was never pre-trained, of the seeds that both have, their difference in
    points, and `baselines`; whether the dense model is `above all` of these; and the `standard
    error`, in points, that the draw of the dev set gives the accuracy of one model:
    √(accuracy · (1 − accuracy) / examples).

    `baselines` has by task `majority` and `bag of words`, as shares, and how many `dev examples`
    (see `baselines`).
    """
    lines = []
    worth = worth_pretraining(scores, baselines)
    for task, paired in pretrained_and_not(scores).groupby("task", sort=False):
        if task not in baselines.index:
            continue
        dense, scratch = paired.accuracy_dense, paired.accuracy_scratch
        mean, examples = dense.mean(), int(baselines["dev examples"][task])
        lines.append(
            (
                task,
                spread(dense),
                "✓" if task in worth else NOTHING,
                spread(scratch),
                spread(dense - scratch),
                f"{100 * float(baselines.majority[task]):.1f}",
                f"{100 * float(baselines['bag of words'][task]):.1f}",
                f"{examples:,}",
                f"{100 * (mean * (1 - mean) / examples) ** 0.5:.1f}",
                len(paired),
            )
        )
    columns = ["task", "pre-trained", "above all", "never pre-trained", "difference", "majority"]
    columns += ["bag of words", "dev examples", "standard error", "seeds"]
    return pd.DataFrame(lines, columns=columns).set_index("task")


def bits_table(bits: pd.DataFrame, content: Mapping[str, float]) -> pd.DataFrame:
    """Bits recalled (mean ± std over seeds): arms and sparsities down, sorts across; the last
    line is what there is to know."""
    known = {**content, "all": sum(content.values())}
    lines = [
        place | {sort: spread(where(point, sort=sort).bits, scale=1, digits=0) for sort in known}
        for place, point in _points(bits)
    ]
    what_is_known = {sort: f"{bits:.0f}" for sort, bits in known.items()}
    lines.append({"arm": "the language", "sparsity": ""} | what_is_known)
    return pd.DataFrame(lines).set_index(["arm", "sparsity"])


_STORED = {
    "dense float32": "dense",
    "dense float32, gzip": "dense, gzip",
    "sparse float32": "sparse",
    "sparse bf16": "sparse, bf16",
    "CSR float32": "CSR",
    "bound float32": "bound",
}
"""The ways of storing a model that a table has; with more it would be too wide for a page."""


def storage_table(found: Rows) -> pd.DataFrame:
    """Megabytes of the pruned models on disk: sparsities down, ways of storing them across.

    Means over seeds, which differ by what compression makes of them. Raises UserError if nobody
    counted.
    """
    sizes = where(found, arm=PRUNE_PRETRAIN, metric=Metric.STORAGE_BYTES)
    if sizes.empty:
        raise UserError("there is no table of storage: no run of prune_pretrain has counted bytes")
    means = final(sizes).groupby(["sparsity", "part"], sort=False).value.mean().unstack(sort=False)
    named = {part: f"{words} (MB)" for part, words in _STORED.items() if part in means}
    shown = (means[list(named)].sort_index() / 1e6).map("{:.3g}".format)
    return shown.rename(index=percent, columns=named).rename_axis(index="sparsity", columns=None)


def sparsity_by_matrix(model_folder: Path) -> pd.DataFrame:
    """What is pruned in each prunable matrix of a saved model.

    `pruned` counts the weights that the mask prunes and that are zero, so a mask that its model
    does not obey shows as too low a number.
    """
    # Here, since it brings transformers, which few tables need.
    from bertprune.model.loading import MASKS_FILE

    with (
        safe_open(model_folder / MASKS_FILE, framework="np") as masks,
        safe_open(model_folder / "model.safetensors", framework="np") as model,
    ):
        lines = []
        for name in masks.keys():  # noqa: SIM118, a safetensors file is no mapping
            mask, weight = masks.get_tensor(name), model.get_tensor(f"bert.{name}")
            pruned = int(((weight == 0) & ~mask).sum())
            shape = " × ".join(map(str, weight.shape))
            matrix = name.removesuffix(".weight")
            lines.append((matrix, shape, weight.size, pruned, pruned / weight.size))
    columns = ["matrix", "shape", "weights", "pruned", "sparsity"]
    return (
        pd.DataFrame(lines, columns=columns)
        .set_index("matrix")
        .rename_axis(index=None, columns="matrix")
    )


def spread(values: pd.Series, scale: float = 100, digits: int = 1) -> str:
    """Mean ± standard deviation, in %, or in units of 1 / `scale`."""
    if values.empty:
        return NOTHING
    mean = f"{scale * values.mean():.{digits}f}"
    return f"{mean} ± {scale * values.std():.{digits}f}" if len(values) > 1 else mean


def _accuracy_cell(point: object) -> str:
    accuracy, std, difference = (
        100 * float(getattr(point, name)) for name in ("accuracy", "std", "difference")
    )
    spread = "" if pd.isna(std) else f" ± {std:.1f}"
    change = "" if pd.isna(difference) else f" ({signed(difference)})"
    own = " †" if getattr(point, "own", False) else ""
    return f"{accuracy:.1f}{spread}{change}{own}"
