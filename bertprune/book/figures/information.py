"""What deleted information costs, and what it does to features (the paper's figure 2)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bertprune.book.figures.style import (
    INK,
    Drawn,
    Picture,
    arm_handle,
    curve,
    dashed,
    first_number,
    handle,
    in_percent,
    in_words,
    line_handle,
    needed,
    paper_handle,
    picture,
    seeds_in_words,
    signed,
    task_looks,
    thin_curve,
    tidy,
    title,
)
from bertprune.protocol.arms import ARMS, COMPARED, PRUNE_PRETRAIN, Look
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
    found: Rows,
    fits: pd.DataFrame,
    maker: str,
    *,
    paper: Rows | None = None,
    again: str = "",
) -> Picture:
    """The paper's figure 2. Left: accuracy under information deletion against pre-training loss,
    a point for each task, sparsity and seed, with the straight lines of `fits`: task, slope,
    lower, upper (shares a nat) and intercept (a share). Right: cosine similarity of features with
    those of the dense model, the mean over layers thick and each layer thin, against sparsity.

    A half that the rows have nothing of is left out; raises UserError if both are.
    """
    # Here, since it brings scipy, which the page of a run does not need.
    from bertprune.evidence.claims.straight_lines import points

    deleted = points(found).rename(columns={"accuracy": "value"})
    theirs = None
    if paper is not None and len(deleted):
        theirs = points(paper).rename(columns={"accuracy": "value"})
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
    handles: list[Artist] = []
    for task, look in tasks.items():
        label = f"{task} {_slope(slopes[task])}" if task in slopes else task
        handles.append(handle(look, label))
    if not deleted.fitted.astype(bool).all():
        words = "hollow: left out of its line"
        handles.append(Line2D([], [], color=INK, marker="o", mfc="white", ls="", label=words))
    if theirs is not None:
        handles.append(paper_handle())

    def paint(_: Figure, axes: list[Axes]) -> None:
        for panel, name in zip(axes, halves, strict=True):
            title(panel, name)
            if halves[name] is features:
                _similarities(panel, features, means)
                continue
            for task, look in tasks.items():
                if theirs is not None:
                    of_paper = theirs[theirs.task == task]
                    thin_curve(panel, of_paper, look, x="loss")
                _points_and_line(panel, deleted[deleted.task == task], slopes.get(task), look)
            panel.set_xlabel("pre-training dev loss (nats)")
            in_percent(panel.yaxis)

    said = "; ".join(f"{task} {_slope(one)}" for task, one in slopes.items())
    slopes_said = f", slopes in points a nat with 95 % intervals: {said}" if said else ""
    cosines = "; ".join(
        f"{ARMS[str(arm)].words}: {in_words(of, '{:.3f}'.format)}"
        for arm, of in means.groupby("arm", sort=False)
    )
    both_said = (
        f"Accuracy of information deletion against pre-training loss{slopes_said}.",
        f"Mean cosine similarity with dense features, {cosines}.",
    )
    alt = dict(zip(_CAPTIONS, both_said, strict=True))
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
        handles=handles,
        again=again,
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
