"""What the weights are like, and which embeddings are pruned (tables 3, figure 8)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from bertprune.base.words import percent
from bertprune.book.drawing.panel import FROM_ZERO, Axis, Panel, needed
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import (
    INK,
    PALETTE,
    QUIET,
    curve,
    curves,
    handles,
    line_handle,
    looks,
    seeds_in_words,
    shades,
)
from bertprune.protocol.arms import ARMS, PRUNE_PRETRAIN, RANDOM_PRUNING, Look
from bertprune.protocol.rows import PRETRAINING, Metric, Rows, Split, final, where
from bertprune.pruning.matrices import KINDS, kind_of

_KIND_LOOKS = looks(KINDS)

_DENSE_RUNS = "runs of prune_pretrain at sparsity 0"


def weight_histograms(found: Rows) -> Sketch:
    """How the dense model's weights are distributed, a panel for each kind of matrix, with the
    normal curve of the same mean and standard deviation. Raises UserError without histograms."""
    rows = needed(_dense(found, "histogram"), "the distribution of weights", _DENSE_RUNS)
    of_kind = {kind: where(rows, part=kind) for kind in KINDS}
    by_kind = {_in_words(kind): _densities(of) for kind, of in of_kind.items() if len(of)}
    widest, std = max(
        ((kind, _moments(points)[1]) for kind, points in by_kind.items()), key=lambda of: of[1]
    )
    return Sketch(
        "weight-histograms",
        [
            Panel(
                kind, points, _histogram, x=Axis("weight", ticks=5), y=FROM_ZERO, along="position"
            )
            for kind, points in by_kind.items()
        ],
        alt=f"Histograms of weights, a panel for each of {len(by_kind)} kinds of matrix, beside "
        f"normal curves. Widest: {widest}, standard deviation {std:.4f}.",
        caption="Distribution of the dense model's weights by kind of matrix, over ± four "
        "standard deviations; the outermost bins hold what is beyond. Dashed: the normal "
        "distribution of the same mean and standard deviation.",
        handles=[
            line_handle("weights (density, a line a seed)", PALETTE[0], width=1.5),
            line_handle("normal, same mean and std", linestyle="--"),
        ],
        height_inches=2.0,
        own_point="dense",
    )


def _histogram(axes: Axes, panel: Panel) -> None:
    points = panel.points
    for _seed, one in points.groupby("seed"):
        axes.plot(one.position, one.value, color=PALETTE[0], lw=1)
    x = np.linspace(points.position.min(), points.position.max(), 61)
    axes.plot(x, stats.norm.pdf(x, *_moments(points)), color=INK, lw=1, ls="--")


def weight_std(found: Rows, *, paper: Rows | None = None) -> Sketch:
    """Standard deviation of each prunable matrix of the dense model by layer and kind, beside
    that of `paper` (its table 3). Raises UserError if no matrix was looked at."""
    ours = needed(_dense(found, "weight_std"), "the standard deviation of weights", _DENSE_RUNS)
    shown = [("study", "this study", _by_layer(ours))]
    if paper is not None and len(theirs := _dense(paper, "weight_std")):
        shown.append(("paper", "the paper", _by_layer(theirs)))
    kinds = [kind for kind in KINDS if any(kind in of.kind.array for *_, of in shown)]
    top = Axis(low=0, high=1.08 * max(of.value.max() for *_, of in shown))
    means = " and ".join(f"{of.value.mean():.3f} ({name})" for _, name, of in shown)
    return Sketch(
        "weight-std",
        [
            Panel(
                *(f"standard deviation, {name}", of, _std_by_layer, Axis("layer"), top),
                source=source,
                along="layer",
            )
            for source, name, of in shown
        ],
        alt="Standard deviation of the weights of each prunable matrix by layer, a line for each "
        f"kind. Mean over matrices: {means}.",
        caption="Standard deviation of the weights of each prunable matrix of the dense model. "
        + seeds_in_words([shown[0][-1]], "kind", x="layer"),
        handles=handles({_in_words(kind): _KIND_LOOKS[kind] for kind in kinds}),
        columns=2,
        own_point="dense",
    )


def memory(found: Rows) -> Sketch:
    """What the parameters of the dense model take, by part. Raises UserError if nobody counted."""
    rows = needed(_dense(found, Metric.MEMORY_BYTES), "memory", _DENSE_RUNS)
    sizes = rows.groupby("part", sort=False).value.mean().sort_values()
    total = float(sizes.sum())
    shown = {
        str(part): f"{_megabytes(size)}, {100 * size / total:.1f} %" for part, size in sizes.items()
    }

    def bars(axes: Axes, _: Panel) -> None:
        names = [textwrap.fill(part, 20) for part in shown]
        drawn = axes.barh(names, sizes / total, color=PALETTE[0], height=0.65)
        axes.bar_label(drawn, list(shown.values()), padding=4)
        axes.grid(visible=False)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)

    largest, its_size = list(shown.items())[-1]
    # Room for the words beside the longest bar.
    width = Axis(low=0, high=1.9 * float(sizes.max()) / total)
    return Sketch(
        "memory",
        [Panel(f"memory, of {_megabytes(total)}", rows, bars, x=width, along="seed")],
        alt=f"Memory of the parameters, {_megabytes(total)} in all, a bar for each part. Largest: "
        f"{largest}, {its_size}.",
        caption="What the parameters of the dense model take as 32-bit numbers, tied ones counted "
        "once.",
        height_inches=2.6,
        own_point="dense",
    )


def pruned_embeddings(found: Rows) -> Sketch:
    """The right half of the paper's figure 8: what is pruned of the word embeddings, by length of
    the subword and by dimension.

    A panel that the rows have nothing of is left out; raises UserError if both are.
    """
    of_embeddings = {"split": Split.EMBEDDINGS, "metric": Metric.PRUNED_SHARE}
    pruned = final(where(found, task=PRETRAINING, **of_embeddings))
    drawn = _three_of(sorted(pruned.sparsity.unique()))
    pruned = where(pruned, sparsity=drawn)
    lengths = where(pruned, part="subword")
    lengths = lengths.assign(value=100 * (lengths.value - lengths.sparsity))
    of_dimensions = pruned[pruned.part.str.startswith("dimension ")]
    dimensions = _sorted_shares(of_dimensions)
    looks_of = shades(drawn)
    by_length, by_rank = (partial(draw, looks=looks_of) for draw in (_by_length, _by_rank))
    characters = Axis("characters in the subword", ticks=8)
    difference, share = Axis("pruned − sparsity (points)"), Axis(is_share=True, low=0, high=1)
    shown = [
        (
            Panel(
                *("pruned, by subword length", lengths, by_length, characters, difference),
                along="position",
            ),
            "How much more is pruned of subwords with so many characters than of all.",
        ),
        (
            Panel(
                *("pruned, by dimension", dimensions, by_rank, Axis("dimensions, in order"), share),
                along="position",
            ),
            "Share that is pruned of each dimension over all tokens, dimensions in ascending order "
            "of it.",
        ),
    ]
    shown = [(panel, words) for panel, words in shown if len(panel.points)]
    needed(pruned if shown else pruned[:0], "pruned word embeddings", "runs of prune_pretrain")
    captions = ["Word embeddings.", *(words for _, words in shown)]
    captions.append(seeds_in_words([lengths, of_dimensions], lead="Lines are means over {seeds}"))
    captions.append("Three of the sparsities, so that lines can be told apart.")
    entries = handles({f"{percent(sparsity)} pruned": look for sparsity, look in looks_of.items()})
    if (pruned.arm == RANDOM_PRUNING).any():
        random = ARMS[RANDOM_PRUNING].words
        entries.append(line_handle(f"dotted: {random}", QUIET, ":", 1.2))
    return Sketch(
        "pruned-embeddings",
        [panel for panel, _ in shown],
        alt="Share that is pruned of word embeddings, "
        + " and ".join(panel.title.removeprefix("pruned, ") for panel, _ in shown)
        + f", a line for each of {len(looks_of)} sparsities.",
        caption=" ".join(captions).rstrip(),
        handles=entries,
        columns=2,
        # A reader's sparsity is none of the three.
        own_point="",
    )


def _three_of(sparsities: list[float]) -> list[float]:
    """A third of the way up, two thirds, and the greatest."""
    places = {max(0, round(third * len(sparsities) / 3) - 1) for third in (1, 2, 3)}
    return [sparsities[place] for place in sorted(places)] if sparsities else []


def _dense(found: Rows, metric: str) -> Rows:
    return final(where(found, arm=PRUNE_PRETRAIN, sparsity=0, task=PRETRAINING, metric=metric))


def _densities(points: Rows) -> pd.DataFrame:
    """Shares as densities (per unit of weight), so that bins of different width compare."""
    ordered = points.sort_values(["seed", "position"])
    width = ordered.groupby("seed").position.transform(
        lambda at: (at.max() - at.min()) / (len(at) - 1)
    )
    return ordered.assign(value=ordered.value / width, share=ordered.value)


def _moments(points: pd.DataFrame) -> tuple[float, float]:
    """Mean and standard deviation of a histogram, over the seeds together."""
    share = points.share / points.share.sum()
    mean = float((share * points.position).sum())
    return mean, float((share * (points.position - mean) ** 2).sum()) ** 0.5


def _by_layer(points: Rows) -> pd.DataFrame:
    """With the `kind` of each matrix and its `layer`; the embeddings come before the first layer,
    the pooler after the last."""
    layer = points.part.str.extract(r"layer\.(\d+)\.", expand=False).astype("float64")
    kinds = points.part.map(kind_of)
    outside = kinds.map({"word_embeddings": -1.0, "pooler": layer.max() + 1})
    return points.assign(kind=kinds, layer=layer.fillna(outside))


def _in_words(kind: str) -> str:
    return kind.replace("_", " ")


def _std_by_layer(axes: Axes, panel: Panel) -> None:
    curves(axes, panel.points, "kind", _KIND_LOOKS, x="layer")
    in_layers = panel.points.part.str.contains("layer.", regex=False)
    count = int(panel.points.layer[in_layers].max()) + 1
    # Of many layers every third has its number, and the first would run into the embeddings.
    numbers = range(count) if count <= 6 else range(3, count, 3)
    axes.set_xticks([-1, *numbers, count], ["emb.", *map(str, numbers), "pool."])


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _by_length(axes: Axes, panel: Panel, *, looks: Mapping[float, Look]) -> None:
    for sparsity, look in looks.items():
        random, ours = _arms_at(panel.points, sparsity)
        mean = random.groupby("position").value.mean()
        axes.plot(mean.index, mean, color=look.colour, ls=":", lw=1.2)
        curve(axes, ours, look, x="position")


def _by_rank(axes: Axes, panel: Panel, *, looks: Mapping[float, Look]) -> None:
    for sparsity, (colour, marker) in looks.items():
        random, ours = _arms_at(panel.points, sparsity)
        axes.plot(random.position, random.value, color=colour, ls=":", lw=1.2)
        line = f"{marker}-"
        axes.plot(ours.position, ours.value, line, color=colour, markevery=0.2, ms=5, lw=1.5)
        low, high = ours.value - ours["std"], ours.value + ours["std"]
        axes.fill_between(ours.position, low, high, color=colour, alpha=0.2, lw=0)


def _arms_at(points: pd.DataFrame, sparsity: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is pruned at random, and what by magnitude."""
    at = where(points, sparsity=sparsity)
    return where(at, arm=RANDOM_PRUNING), where(at, arm=PRUNE_PRETRAIN)


def _sorted_shares(points: Rows) -> pd.DataFrame:
    """By arm and sparsity the shares of the dimensions in ascending order: mean and standard
    deviation over seeds of each place in that order."""
    ordered = points.sort_values("value")
    place = ordered.groupby(["arm", "sparsity", "seed"]).cumcount() + 1
    by_place = ordered.assign(position=place).groupby(
        ["arm", "sparsity", "position"], as_index=False
    )
    return by_place.agg(value=("value", "mean"), std=("value", "std"))
