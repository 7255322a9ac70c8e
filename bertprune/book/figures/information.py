"""What deleted information costs, and what it does to features (the paper's figure 2), and how much
of a lab language models recall, in bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from bertprune.base.words import NOTHING, signed
from bertprune.book.figures.picture import SHARE, Axis, Panel, Sketch, needed
from bertprune.book.figures.style import (
    INK,
    QUIET,
    arm_handle,
    curve,
    curves,
    curves_in_words,
    dashed,
    dots,
    first_number,
    handle,
    like,
    line_handle,
    looks,
    paper_handle,
    seeds_in_words,
    task_looks,
    thin_curve,
)
from bertprune.evidence.claims import straight_lines
from bertprune.protocol.arms import (
    ARMS,
    COMPARED,
    PRUNE_PRETRAIN,
    RANDOM_PRUNING,
    Look,
)
from bertprune.protocol.rows import Metric, Rows, final, where

_LAYERS = colormaps["viridis_r"]

_INTERVAL = ("slope", "lower", "upper")


def information_deletion(found: Rows, fits: pd.DataFrame, *, paper: Rows | None = None) -> Sketch:
    """The paper's figure 2. Left: accuracy under information deletion against pre-training loss,
    a point for each task, sparsity and seed, with the straight lines of `fits`: task, slope,
    lower, upper (shares a nat) and intercept (a share). Right: cosine similarity of features with
    those of the dense model, the mean over layers thick and each layer thin, against sparsity.

    A half that the rows have nothing of is left out; raises UserError if both are.
    """
    deleted = straight_lines.points(found).rename(columns={"accuracy": "value"})
    features = final(where(found, metric=Metric.COSINE_SIMILARITY))
    needed(
        pd.concat([half for half in (deleted, features) if len(half)] or [deleted]),
        "information deletion",
        "runs of information_deletion, and of prune_pretrain at sparsities above 0",
    )
    panels, said, captions = [], [], []
    handles: list[Artist] = []
    if len(deleted):
        tasks = task_looks(deleted.task)
        # A task of too few points has no line.
        lines = where(fits.dropna(subset=["slope"]), task=list(tasks)).set_index("task")
        slopes = {str(task): _slope(fit) for task, fit in lines.iterrows()}
        theirs = None
        if paper is not None:
            theirs = straight_lines.points(paper).rename(columns={"accuracy": "value"})
            theirs = where(theirs, task=list(tasks))
        draw = partial(_against_loss, looks=tasks, lines=lines)
        loss, name = Axis("pre-training dev loss (nats)"), "accuracy of information deletion"
        panels.append(Panel(name, deleted, draw, x=loss, y=SHARE, paper=theirs))
        in_words = "; ".join(f"{task} {slope}" for task, slope in slopes.items())
        in_words = f", slopes in points a nat with 95 % intervals: {in_words}" * bool(slopes)
        said.append(f"Accuracy of information deletion against pre-training loss{in_words}.")
        captions.append(
            "Dev accuracy with the masks taken off against the dev loss of pre-training, a point "
            "for each sparsity and seed, with straight lines fitted and their slopes in points a "
            "nat (95 % interval)."
        )
        for task, look in tasks.items():
            handles.append(handle(look, f"{task} {slopes.get(task, '')}".rstrip()))
        if not deleted.fitted.astype(bool).all():
            words = "hollow: left out of its line"
            handles.append(Line2D([], [], color=INK, marker="o", mfc="white", ls="", label=words))
        if theirs is not None:
            handles.append(paper_handle())
    if len(features):
        means = _over_layers(features)
        panels.append(Panel("similarity to dense features", features, _similarities))
        cosines = curves_in_words(means, "arm", means.arm.unique(), "{:.3f}".format)
        said.append(f"Mean cosine similarity with dense features, {cosines}.")
        captions.append(
            "Cosine similarity of features with those of the dense model of the same seed, the "
            f"mean over layers thick and each layer thin; dashed: dense. {seeds_in_words([means])}"
        )
    return Sketch(
        "information-deletion",
        panels,
        alt=" ".join(said),
        caption=" ".join(captions),
        handles=handles,
    )


def _slope(fit: pd.Series) -> str:
    slope, lower, upper = (signed(100 * float(fit[name])) for name in _INTERVAL)
    return f"{slope} ({lower} to {upper})"


def _against_loss(
    axes: Axes, panel: Panel, *, looks: Mapping[str, Look], lines: pd.DataFrame
) -> None:
    for task, (colour, marker) in looks.items():
        if panel.paper is not None:
            thin_curve(axes, where(panel.paper, task=task), Look(colour, marker), x="loss")
        points = where(panel.points, task=task)
        fitted = points.fitted.astype(bool)
        for of_line, face in ((points[fitted], colour), (points[~fitted], "white")):
            points_drawn = axes.scatter(of_line.loss, of_line.value, s=24, marker=marker)
            points_drawn.set(facecolors=face, edgecolors=colour, alpha=0.8, lw=0.9)
        if task in lines.index:
            ends = np.array([points.loss[fitted].min(), points.loss[fitted].max()])
            height = lines.intercept[task] + lines.slope[task] * ends
            axes.plot(ends, height, color=colour, lw=1.5, zorder=1.8)


def _over_layers(features: Rows) -> pd.DataFrame:
    by_model = features.groupby(["arm", "sparsity", "seed"], as_index=False)
    return by_model.agg(value=("value", "mean"))


def _similarities(axes: Axes, panel: Panel) -> None:
    magnitude = where(panel.points, arm=PRUNE_PRETRAIN)
    layers = sorted(magnitude.part.unique(), key=first_number)
    for place, layer in enumerate(layers):
        mean = where(magnitude, part=layer).groupby("sparsity").value.mean()
        colour = _LAYERS(0.15 + 0.85 * place / max(1, len(layers) - 1))
        axes.plot(mean.index, mean, color=colour, lw=0.9, alpha=0.8)
    means = _over_layers(panel.points)
    arms = [arm for arm in COMPARED if arm in means.arm.array]
    curves(axes, means, "arm", {arm: ARMS[arm].look for arm in arms})
    handles = [arm_handle(arm) for arm in arms]
    handles.append(line_handle("layers, later ones darker", to_hex(_LAYERS(0.6)), width=0.9))
    # Where similarity falls, this corner is empty.
    axes.legend(handles=handles, loc="lower left", fontsize=9)
    dashed(axes, 1.0)


def bits_recalled(bits: pd.DataFrame, content: Mapping[str, float]) -> Sketch:
    """What models of a lab language recall, against sparsity: in bits by arm, and as a share of
    what there is to know by sort. `bits` as `scores.bits` has them, `content` those of the
    language by sort."""
    together = where(bits, sort="all").rename(columns={"bits": "value"})
    arms = [arm for arm in (PRUNE_PRETRAIN, RANDOM_PRUNING) if arm in together.arm.array]
    total = sum(content.values())
    ours = where(bits, arm=PRUNE_PRETRAIN, sort=list(content))
    shares = ours.assign(value=ours.bits / ours["sort"].map(content), part=ours["sort"]).drop(
        columns="bits"
    )

    def by_arm(axes: Axes, panel: Panel) -> None:
        for arm in arms:
            points = where(panel.points, arm=arm)
            curve(axes, points, ARMS[arm].look, label=ARMS[arm].words)
        dense = where(panel.points, arm=PRUNE_PRETRAIN, sparsity=0).value
        if len(dense):
            dashed(axes, dense.mean(), label="dense")
        axes.axhline(total, color=QUIET, linestyle=":", lw=1)

    def by_sort(axes: Axes, panel: Panel) -> None:
        for sort, look in looks(content).items():
            mean = where(panel.points, part=sort).groupby("sparsity").value.mean()
            axes.plot(mean.index, mean, **like(look), ms=5, label=sort)

    of_all, of_one = Axis(low=0, high=1.05 * total), Axis(is_share=True, low=0, high=1.05)
    words = curves_in_words(together, "arm", arms, "{:.0f}".format)
    return Sketch(
        "bits-recalled",
        [
            Panel("bits recalled (dotted: all there is)", together, by_arm, y=of_all),
            Panel("share recalled, magnitude pruning", shares, by_sort, y=of_one),
        ],
        alt=f"Bits recalled against sparsity, of {total:.0f}. {words}.",
        caption="How much of the language models still recall after pruning and recovery. "
        + seeds_in_words([where(together, arm=arms)]),
    )


def bits_against(points: pd.DataFrame, *, what: str, caption: str, is_share: bool = True) -> Sketch:
    """A panel for each `panel` of `points`: the `value` of each model against the `bits` that it
    recalls (see `scores.with_bits`). `what` says in words what the values are, `is_share` whether
    they are shares, to be shown in per cent."""
    arms = [arm for arm in COMPARED if arm in points.arm.array]
    panels = [
        Panel(
            str(name),
            of_panel,
            # What is the same in all has a legend in the first.
            partial(_dots_of_arms, arms=arms, has_legend=name == points.panel.iloc[0]),
            x=Axis("bits recalled"),
            y=Axis(is_share=is_share),
        )
        for name, of_panel in points.groupby("panel", sort=False)
    ]
    correlations = ", ".join(f"{one.title} {_rank_correlation(one.points)}" for one in panels)
    return Sketch(
        f"{what.split(' of ')[0]} against bits".lower().replace(" ", "-"),
        panels,
        alt=f"{what} against bits recalled; rank correlations: {correlations}.",
        caption=f"{caption} Each point is a model; rank correlations: {correlations}.",
    )


def _dots_of_arms(axes: Axes, panel: Panel, *, arms: Sequence[str], has_legend: bool) -> None:
    for arm in arms:
        label = ARMS[arm].words if has_legend else None
        dots(axes, where(panel.points, arm=arm), ARMS[arm].look, x="bits", size=28, label=label)


def _rank_correlation(points: pd.DataFrame) -> str:
    """Spearman's, of value and bits; a dash where one of them is the same everywhere."""
    correlation = points.value.corr(points.bits, method="spearman")
    return NOTHING if pd.isna(correlation) else f"{correlation:.2f}"
