"""What deleted information costs, and what it does to features (the paper's figure 2), and how much
of a lab language models recall, in bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bertprune.book.figures.picture import Drawn, Picture, needed, picture, tidy
from bertprune.book.figures.style import (
    INK,
    QUIET,
    arm_handle,
    curve,
    dashed,
    first_number,
    handle,
    in_percent,
    in_words,
    line_handle,
    looks,
    paper_handle,
    seeds_in_words,
    signed,
    task_looks,
    thin_curve,
    title,
    words_of,
)
from bertprune.evidence.claims import straight_lines
from bertprune.protocol.arms import (
    ARMS,
    BY_SPARSITY,
    COMPARED,
    FROM_SCRATCH,
    PRUNE_PRETRAIN,
    RANDOM_PRUNING,
    Look,
)
from bertprune.protocol.rows import Rows, final

_LAYERS = colormaps["viridis_r"]

_INTERVAL = ("slope", "lower", "upper")

_CAPTIONS = {
    "accuracy of information deletion": "Dev accuracy with the masks taken off against the dev "
    "loss of pre-training, a point for each sparsity and seed, with straight lines fitted and "
    "their slopes in points a nat (95 % interval).",
    "similarity to dense features": "Cosine similarity of features with those of the dense model "
    "of the same seed, the mean over layers thick and each layer thin; dashed: dense.",
}
"""What the halves of the paper's figure 2 show, by title."""


def information_deletion(
    found: Rows, fits: pd.DataFrame, maker: str, *, paper: Rows | None = None, again: str = ""
) -> Picture:
    """The paper's figure 2. Left: accuracy under information deletion against pre-training loss,
    a point for each task, sparsity and seed, with the straight lines of `fits`: task, slope,
    lower, upper (shares a nat) and intercept (a share). Right: cosine similarity of features with
    those of the dense model, the mean over layers thick and each layer thin, against sparsity.

    A half that the rows have nothing of is left out; raises UserError if both are.
    """
    deleted = straight_lines.points(found).rename(columns={"accuracy": "value"})
    theirs = None
    if paper is not None and len(deleted):
        theirs = straight_lines.points(paper).rename(columns={"accuracy": "value"})
    features = final(found[found.metric == "cosine_similarity"])
    by_model = features.groupby(["arm", "sparsity", "seed"], as_index=False)
    means = by_model.agg(value=("value", "mean"))
    both = dict(zip(_CAPTIONS, (deleted, features), strict=True))
    halves = {name: half for name, half in both.items() if len(half)}
    needed(
        pd.concat(list(halves.values())) if halves else deleted,
        "information deletion",
        "runs of information_deletion, and of prune_pretrain at sparsities above 0",
    )
    tasks = task_looks(deleted.task)
    # A task of too few points has no line.
    lines = fits.dropna(subset=["slope"]).itertuples()
    slopes = {str(one.task): one for one in lines if str(one.task) in tasks}

    def paint(_: Figure, axes: list[Axes]) -> None:
        for panel, name in zip(axes, halves, strict=True):
            title(panel, name)
            if halves[name] is features:
                _similarities(panel, features, means)
                continue
            if theirs is not None:
                for task, look in tasks.items():
                    thin_curve(panel, theirs[theirs.task == task], look, x="loss")
            _against_loss(panel, deleted, tasks, slopes)

    alt = dict(zip(_CAPTIONS, _halves_in_words(slopes, means), strict=True))
    captions = [_CAPTIONS[name] for name in halves]
    if len(features):
        captions.append(seeds_in_words([means]))
    drawn: list[Drawn] = [(name, "study", half) for name, half in halves.items()]
    if theirs is not None:
        drawn.append((next(iter(halves)), "paper", theirs))
    return picture(
        paint,
        name="information-deletion",
        panels=len(halves),
        columns=len(halves),
        maker=maker,
        alt=" ".join(alt[name] for name in halves),
        caption=" ".join(captions),
        data=tidy(drawn),
        handles=_task_handles(tasks, slopes, deleted, theirs),
        again=again,
    )


def _against_loss(
    panel: Axes, deleted: pd.DataFrame, tasks: Mapping[str, Look], slopes: Mapping[str, Any]
) -> None:
    for task, look in tasks.items():
        _points_and_line(panel, deleted[deleted.task == task], slopes.get(task), look)
    panel.set_xlabel("pre-training dev loss (nats)")
    in_percent(panel.yaxis)


def _task_handles(
    tasks: Mapping[str, Look],
    slopes: Mapping[str, Any],
    deleted: pd.DataFrame,
    theirs: pd.DataFrame | None,
) -> list[Artist]:
    """What the legend has: each task with its slope, what is hollow, and the paper."""
    handles: list[Artist] = []
    for task, look in tasks.items():
        label = f"{task} {_slope(slopes[task])}" if task in slopes else task
        handles.append(handle(look, label))
    if not deleted.fitted.astype(bool).all():
        words = "hollow: left out of its line"
        handles.append(Line2D([], [], color=INK, marker="o", mfc="white", ls="", label=words))
    if theirs is not None:
        handles.append(paper_handle())
    return handles


def _halves_in_words(slopes: Mapping[str, Any], means: pd.DataFrame) -> tuple[str, str]:
    said = "; ".join(f"{task} {_slope(one)}" for task, one in slopes.items())
    slopes_said = f", slopes in points a nat with 95 % intervals: {said}" if said else ""
    cosines = "; ".join(
        f"{ARMS[str(arm)].words}: {in_words(of, '{:.3f}'.format)}"
        for arm, of in means.groupby("arm", sort=False)
    )
    return (
        f"Accuracy of information deletion against pre-training loss{slopes_said}.",
        f"Mean cosine similarity with dense features, {cosines}.",
    )


def _slope(fit: object) -> str:
    slope, lower, upper = (signed(100 * float(getattr(fit, name))) for name in _INTERVAL)
    return f"{slope} ({lower} to {upper})"


def _points_and_line(panel: Axes, deleted: pd.DataFrame, fit: object, look: Look) -> None:
    fitted = deleted.fitted.astype(bool)
    for of_line, one in ((True, deleted[fitted]), (False, deleted[~fitted])):
        panel.scatter(
            one.loss,
            one.value,
            s=24,
            marker=look.marker,
            facecolors=look.colour if of_line else "white",
            edgecolors=look.colour,
            alpha=0.8,
            lw=0.9,
        )
    if fit is not None:
        ends = np.array([deleted.loss[fitted].min(), deleted.loss[fitted].max()])
        slope, intercept = (float(getattr(fit, name)) for name in ("slope", "intercept"))
        panel.plot(ends, intercept + slope * ends, color=look.colour, lw=1.5, zorder=1.8)


def _similarities(panel: Axes, features: Rows, means: pd.DataFrame) -> None:
    magnitude = features[features.arm == PRUNE_PRETRAIN]
    layers = sorted(magnitude.part.unique(), key=first_number)
    for place, layer in enumerate(layers):
        mean = magnitude[magnitude.part == layer].groupby("sparsity").value.mean()
        colour = _LAYERS(0.15 + 0.85 * place / max(1, len(layers) - 1))
        panel.plot(mean.index, mean, color=colour, lw=0.9, alpha=0.8)
    handles: list[Artist] = [arm_handle(arm) for arm in COMPARED if arm in set(means.arm)]
    for arm in COMPARED:
        curve(panel, means[means.arm == arm], ARMS[arm].look)
    handles.append(line_handle("layers, later ones darker", to_hex(_LAYERS(0.6)), width=0.9))
    # Where similarity falls, this corner is empty.
    panel.legend(handles=handles, loc="lower left", fontsize=9)
    dashed(panel, 1.0)
    panel.set_xlabel("sparsity")
    in_percent(panel.xaxis)


def bits_recalled(
    bits: pd.DataFrame, content: Mapping[str, float], maker: str, *, again: str = ""
) -> Picture:
    """What models of a lab language recall, against sparsity: in bits by arm, and as a share of
    what there is to know by sort. `bits` as `scores.bits` has them, `content` those of the
    language by sort."""
    together = bits[bits["sort"] == "all"].rename(columns={"bits": "value"})
    arms = [arm for arm in (PRUNE_PRETRAIN, RANDOM_PRUNING) if arm in together.arm.array]
    by_arm = {arm: together[together.arm == arm] for arm in arms}
    total = sum(content.values())
    ours = bits[(bits.arm == PRUNE_PRETRAIN) & bits["sort"].isin(list(content))]
    shares = ours.assign(value=ours.bits / ours["sort"].map(content), part=ours["sort"])
    titles = ("bits recalled (dotted: all there is)", "share recalled, magnitude pruning")

    def paint(_: Figure, axes: list[Axes]) -> None:
        left, right = axes
        for arm, of_arm in by_arm.items():
            curve(left, of_arm, ARMS[arm].look, label=ARMS[arm].words)
        dense = together[(together.arm == PRUNE_PRETRAIN) & (together.sparsity == 0)].value
        if len(dense):
            dashed(left, dense.mean(), label="dense")
        left.axhline(total, color=QUIET, linestyle=":", lw=1)
        left.set_ylim(0, 1.05 * total)
        for sort, look in looks(content).items():
            mean = shares[shares["sort"] == sort].groupby("sparsity").value.mean()
            right.plot(mean.index, mean, color=look.colour, marker=look.marker, ms=5, label=sort)
        right.set_ylim(0, 1.05)
        in_percent(right.yaxis)
        for panel, words in zip(axes, titles, strict=True):
            title(panel, words)
            panel.set_xlabel("sparsity")
            in_percent(panel.xaxis)
            panel.legend(fontsize=9)

    words = words_of({ARMS[arm].words: in_words(of, "{:.0f}".format) for arm, of in by_arm.items()})
    return picture(
        paint,
        name="bits-recalled",
        panels=2,
        columns=2,
        maker=maker,
        alt=f"Bits recalled against sparsity, of {total:.0f}. {words}.",
        caption="How much of the language models still recall after pruning and recovery. "
        + seeds_in_words(by_arm.values()),
        data=tidy(
            [(titles[0], "study", together), (titles[1], "study", shares.drop(columns="bits"))]
        ),
        again=again,
    )


def bits_against(
    points: pd.DataFrame,
    maker: str,
    *,
    what: str,
    caption: str,
    is_share: bool = True,
    again: str = "",
) -> Picture:
    """A panel for each `panel` of `points`: the `value` of each model against the `bits` that it
    recalls (see `scores.with_bits`). `what` says in words what the values are, `is_share` whether
    they are shares, to be shown in per cent."""
    by_panel = {name: points[points.panel == name] for name in points.panel.unique()}
    arms = [arm for arm in (*BY_SPARSITY, FROM_SCRATCH) if arm in points.arm.array]

    def paint(_: Figure, axes: list[Axes]) -> None:
        for panel, (name, drawn) in zip(axes, by_panel.items(), strict=True):
            for arm in arms:
                of_arm = drawn[drawn.arm == arm]
                colour, marker = ARMS[arm].look
                panel.scatter(
                    of_arm.bits,
                    of_arm.value,
                    s=28,
                    color=colour,
                    marker=marker,
                    alpha=0.7,
                    lw=0,
                    label=ARMS[arm].words,
                )
            title(panel, name)
            panel.set_xlabel("bits recalled")
            if is_share:
                in_percent(panel.yaxis)
        axes[0].legend(fontsize=9)

    correlations = ", ".join(f"{name} {_rank_correlation(of)}" for name, of in by_panel.items())
    return picture(
        paint,
        name=f"{what.split(' of ')[0]} against bits".lower().replace(" ", "-"),
        panels=len(by_panel),
        columns=min(3, len(by_panel)),
        maker=maker,
        alt=f"{what} against bits recalled; rank correlations: {correlations}.",
        caption=f"{caption} Each point is a model; rank correlations: {correlations}.",
        data=tidy((name, "study", drawn) for name, drawn in by_panel.items()),
        again=again,
    )


def _rank_correlation(points: pd.DataFrame) -> str:
    """Spearman's, of value and bits; a dash where one of them is the same everywhere."""
    if min(points.value.nunique(), points.bits.nunique()) < 2:
        return "–"
    return f"{points.value.rank().corr(points.bits.rank()):.2f}"
