"""What deleted information costs, and what it does to features (the paper's figure 2), and how much
of a lab language models recall, in bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bertprune.base.words import NOTHING, SPACE, percent, signed
from bertprune.book.drawing.panel import SHARE, Axis, Panel, needed
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import (
    INK,
    OWN_SCALES,
    QUIET,
    arm_handle,
    curves,
    dots,
    first_number,
    handle,
    label_arms,
    line_handle,
    seeds_in_words,
    shades,
    task_looks,
    task_title,
)
from bertprune.evidence.claims import straight_lines
from bertprune.protocol.arms import (
    ARMS,
    COMPARED,
    INFORMATION_DELETION,
    PRUNE_PRETRAIN,
    RANDOM_PRUNING,
    Look,
    words_of_arm,
)
from bertprune.protocol.rows import Metric, Rows, final, where


def accuracy_against_loss(found: Rows, fits: pd.DataFrame, *, paper: Rows | None = None) -> Sketch:
    """The left half of the paper's figure 2, a panel for each task: accuracy under information
    deletion against pre-training loss, a point for each sparsity and seed, with the straight line
    of `fits`: task, slope, lower, upper (shares a nat) and intercept (a share). The slope that
    `paper` has stands beside it, as a thin line through the middle of our points.

    Raises UserError without such points.
    """
    points = straight_lines.points(found).rename(columns={"accuracy": "value"})
    needed(points, "accuracy against loss", "runs of information_deletion")
    # A task of too few points has no line.
    lines = fits.dropna(subset=["slope"]).set_index("task")
    theirs = straight_lines.line_fits(paper) if paper is not None else fits[:0]
    slopes = theirs.set_index("task").slope
    panels = [
        Panel(
            task_title(task)
            + (f": {_slope(lines.loc[[task]].iloc[0])}" if task in lines.index else ""),
            where(points, task=task),
            partial(_against_loss, look=look, lines=lines, slopes=slopes),
            x=Axis("pre-training dev loss (nats)"),
            y=SHARE,
        )
        for task, look in task_looks(points.task).items()
    ]
    handles: list[Artist] = [line_handle("fitted", width=1.5)]
    if len(slopes):
        handles.append(line_handle("the paper's slope", QUIET, ":", 1.5))
    if not points.fitted.astype(bool).all():
        words = "hollow: left out of its line"
        handles.append(Line2D([], [], color=INK, marker="o", mfc="none", ls="", label=words))
    said = ", ".join(
        f"{task_title(str(task))} {signed(100 * one.slope)}" for task, one in lines.iterrows()
    )
    return Sketch(
        "accuracy-against-loss",
        panels,
        alt="Accuracy of information deletion against pre-training loss, a panel for each task"
        + f", with straight lines; slopes in points a nat: {said}" * bool(said)
        + ".",
        caption="Dev accuracy with the masks taken off against the dev loss of pre-training, a "
        "point for each sparsity and seed, and a straight line. Above each panel its slope in "
        "points of accuracy a nat of loss, with the 95 % interval."
        + OWN_SCALES
        * (len(panels) > 1),
        handles=handles,
        own_point="information_deletion",
    )


def _slope(fit: pd.Series) -> str:
    slope, lower, upper = (signed(100 * float(fit[name])) for name in ("slope", "lower", "upper"))
    return f"{slope} [{lower},{SPACE}{upper}]"


def _against_loss(
    axes: Axes, panel: Panel, *, look: Look, lines: pd.DataFrame, slopes: pd.Series
) -> None:
    task, (colour, marker) = panel.points.task.iloc[0], look
    fitted = panel.points.fitted.astype(bool)
    for of_line, face in ((panel.points[fitted], colour), (panel.points[~fitted], "none")):
        axes.scatter(
            *(of_line.loss, of_line.value), s=22, marker=marker, facecolors=face, edgecolors=colour
        )
    on_line = panel.points[fitted]
    ends = np.array([on_line.loss.min(), on_line.loss.max()])
    if task in lines.index:
        axes.plot(ends, lines.intercept[task] + lines.slope[task] * ends, color=colour, lw=1.5)
    if task in slopes.index:
        height = on_line.value.mean() + slopes[task] * (ends - on_line.loss.mean())
        axes.plot(ends, height, color=QUIET, ls=":", lw=1.5, scaley=False)


def feature_similarity(found: Rows) -> Sketch:
    """The right half of the paper's figure 2: cosine similarity of features with those of the dense
    model, the mean over layers thick and each layer thin, against sparsity.

    Raises UserError if no features were compared.
    """
    features = final(where(found, metric=Metric.COSINE_SIMILARITY))
    needed(features, "similar features", "runs of prune_pretrain at sparsities above 0")
    means = _over_layers(features)
    worst = means.sort_values("value").iloc[0]
    return Sketch(
        "feature-similarity",
        [Panel("cosine similarity to dense features", features, _similarities)],
        alt="Cosine similarity of features with those of the dense model against sparsity, a line "
        f"for each arm. Least: {worst.value:.3f} at {percent(worst.sparsity)}, "
        f"{words_of_arm(worst.arm)}.",
        caption="Cosine similarity of features with those of the dense model of the same seed, the "
        "mean over layers thick; thin, for magnitude pruning, each layer, later ones darker. "
        f"{seeds_in_words([means])}",
        height_inches=3.2,
        own_point="prune_pretrain",
    )


def _over_layers(features: Rows) -> pd.DataFrame:
    by_model = features.groupby(["arm", "sparsity", "seed"], as_index=False)
    return by_model.agg(value=("value", "mean"))


def _similarities(axes: Axes, panel: Panel) -> None:
    magnitude = where(panel.points, arm=PRUNE_PRETRAIN)
    layers = sorted(magnitude.part.unique(), key=first_number)
    for place, look in shades(range(len(layers))).items():
        mean = where(magnitude, part=layers[int(place)]).groupby("sparsity").value.mean()
        axes.plot(mean.index, mean, color=look.colour, lw=0.9)
    means = _over_layers(panel.points)
    arms = [arm for arm in COMPARED if arm in means.arm.array]
    curves(axes, means, "arm", {arm: ARMS[arm].look for arm in arms})
    label_arms(axes, means, arms)


def bits_recalled(bits: pd.DataFrame, content: Mapping[str, float]) -> Sketch:
    """What models of a lab language recall, against sparsity, in bits, and by sort as a share of
    what there is to know. `bits` as `scores.bits` has them, `content` those of the language by
    sort."""
    together = where(bits, sort="all").rename(columns={"bits": "value"})
    arms = [arm for arm in (PRUNE_PRETRAIN, RANDOM_PRUNING) if arm in together.arm.array]
    total = sum(content.values())
    ours = where(bits, arm=arms, sort=list(content))
    shares = ours.assign(value=ours.bits / ours["sort"].map(content)).drop(columns="bits")

    def by_arm(axes: Axes, panel: Panel, *, most: float) -> None:
        curves(axes, panel.points, "arm", {arm: ARMS[arm].look for arm in arms})
        axes.axhline(most, color=QUIET, linestyle=":", lw=1)

    of_all, of_one = Axis(low=0, high=1.05 * total), Axis(is_share=True, low=0, high=1.05)
    by_sort = [
        Panel(f"{sort} ({size:,.0f} bits)", of_sort, partial(by_arm, most=1), y=of_one)
        for sort, size in content.items()
        if len(of_sort := where(shares, sort=sort))
    ]
    means = where(together, arm=PRUNE_PRETRAIN).groupby("sparsity").value.mean()
    said = ", ".join(f"{of:.0f} at {percent(float(str(at)))}" for at, of in means.items())
    return Sketch(
        "bits-recalled",
        [
            Panel("all, in bits", where(together, arm=arms), partial(by_arm, most=total), y=of_all),
            *by_sort,
        ],
        handles=[
            *(arm_handle(arm) for arm in arms),
            line_handle("all there is to know", QUIET, ":"),
        ],
        alt=f"Bits recalled against sparsity, of {total:.0f}. Magnitude pruning: {said}.",
        own_point="prune_pretrain",
        height_inches=2.2,
        caption="How much of the language models still recall after pruning and recovery: in bits, "
        "and of each sort of knowledge as a share of its bits. "
        + seeds_in_words([where(together, arm=arms)]),
    )


def bits_against(points: pd.DataFrame, *, what: str, caption: str, is_share: bool = True) -> Sketch:
    """A panel for each `panel` of `points`: the `value` of each model against the `bits` that it
    recalls (see `scores.with_bits`). `what` says in words what the values are, `is_share` whether
    they are shares, to be shown in per cent."""
    arms = [arm for arm in COMPARED if arm in points.arm.array]
    panels = [
        Panel(
            task_title(str(name)),
            of_panel,
            partial(_dots_of_arms, arms=arms),
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
        caption=f"{caption} Each point is a model; rank correlations: {correlations}."
        + OWN_SCALES * (len(panels) > 1),
        handles=[
            handle(ARMS[arm].look, ARMS[arm].words if _is_pruned(points, arm) else "dense", "")
            for arm in arms
        ],
        own_point=INFORMATION_DELETION if INFORMATION_DELETION in arms else PRUNE_PRETRAIN,
    )


def _is_pruned(points: pd.DataFrame, arm: str) -> bool:
    return bool((where(points, arm=arm).sparsity > 0).any())


def _dots_of_arms(axes: Axes, panel: Panel, *, arms: Sequence[str]) -> None:
    # The first, pruning while pre-training, is fewest where it is dense alone: above the others.
    for arm in reversed(arms):
        dots(axes, where(panel.points, arm=arm), ARMS[arm].look, x="bits", size=28)


def _rank_correlation(points: pd.DataFrame) -> str:
    """Spearman's, of value and bits; a dash where one of them is the same everywhere."""
    correlation = points.value.corr(points.bits, method="spearman")
    return NOTHING if pd.isna(correlation) else f"{correlation:.2f}"
