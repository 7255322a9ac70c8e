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
from bertprune.book.figures.picture import FROM_ZERO, Axis, Panel, Sketch, needed
from bertprune.book.figures.style import (
    INK,
    PALETTE,
    QUIET,
    curve,
    curves,
    first_number,
    handles,
    in_words,
    line_handle,
    looks,
    seeds_in_words,
    shades,
    shown_percent,
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
    said = "; ".join(
        "{}: {:.4f} ± {:.4f}".format(kind, *_moments(points)) for kind, points in by_kind.items()
    )
    return Sketch(
        "weight-histograms",
        [
            Panel(kind, points, _histogram, x=Axis("weight", ticks=5), y=FROM_ZERO)
            for kind, points in by_kind.items()
        ],
        alt=f"Histograms of weights by kind of matrix, mean ± standard deviation. {said}.",
        caption="Distribution of the dense model's weights by kind of matrix, over ± four "
        "standard deviations; the outermost bins hold what is beyond. Dashed: the normal "
        "distribution of the same mean and standard deviation.",
        handles=[
            line_handle("weights (density, a line a seed)", PALETTE[0], width=1.5),
            line_handle("normal, same mean and std", linestyle="--"),
        ],
        panel_inches=(3.5, 2.3),
    )


def _histogram(axes: Axes, panel: Panel) -> None:
    points = panel.points
    for _seed, one in points.groupby("seed"):
        axes.plot(one.position, one.value, color=PALETTE[0], lw=1.2, alpha=0.8)
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
    said = "; ".join(
        f"{name}: from {of.value.min():.3f} to {of.value.max():.3f}, mean over matrices "
        f"{of.value.mean():.3f}"
        for _, name, of in shown
    )
    return Sketch(
        "weight-std",
        [
            Panel(
                f"standard deviation, {name}", of, _std_by_layer, Axis("layer"), top, source=source
            )
            for source, name, of in shown
        ],
        alt=f"Standard deviation of the weights of each prunable matrix. {said}.",
        caption="Standard deviation of the weights of each prunable matrix of the dense model. "
        + seeds_in_words([shown[0][-1]], "kind", x="layer"),
        handles=handles({_in_words(kind): _KIND_LOOKS[kind] for kind in kinds}),
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
        axes.bar_label(drawn, list(shown.values()), padding=4, fontsize=10)
        axes.grid(visible=False)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)

    said = ", ".join(f"{part} {size}" for part, size in reversed(shown.items()))
    # Room for the words beside the longest bar.
    width = Axis(low=0, high=1.9 * float(sizes.max()) / total)
    return Sketch(
        "memory",
        [Panel(f"memory, of {_megabytes(total)}", rows, bars, x=width)],
        alt=f"Memory of the parameters, {_megabytes(total)} in all: {said}.",
        caption="What the parameters of the dense model take as 32-bit numbers, tied ones counted "
        "once.",
        panel_inches=(5.4, 3.0),
    )


def embedding_magnitudes(found: Rows) -> Sketch:
    """The paper's figure 8: mean magnitudes of the dense model's word embeddings as a heat map,
    and what is pruned of them by length of the subword and by dimension.

    A panel that the rows have nothing of is left out; raises UserError if all are.
    """
    magnitudes = _dense(found, Metric.MAGNITUDE)
    magnitudes = where(magnitudes, seed=magnitudes.seed.min())
    of_embeddings = {"split": Split.EMBEDDINGS, "metric": Metric.PRUNED_SHARE}
    pruned = final(where(found, task=PRETRAINING, **of_embeddings))
    lengths = where(pruned, part="subword")
    of_dimensions = pruned[pruned.part.str.startswith("dimension ")]
    dimensions = _sorted_shares(of_dimensions)
    looks_of = shades(sorted(pruned.sparsity.unique()), lightest=0.15)
    by_length, by_rank = (partial(draw, looks=looks_of) for draw in (_by_length, _by_rank))
    tokens, characters = Axis("token id"), Axis("characters in the subword", ticks=8)
    share = Axis(is_share=True, low=0, high=1)
    shown = [
        (
            Panel("embedding magnitudes", magnitudes, _heat_map, Axis("dimension"), tokens),
            "Magnitudes of the dense model of the first seed, means over blocks of dimensions and "
            "tokens.",
        ),
        (
            Panel("pruned, by subword length", lengths, by_length, characters, share),
            "Share that is pruned of the embeddings of subwords with so many characters.",
        ),
        (
            Panel("pruned, by dimension", dimensions, by_rank, Axis("dimensions, in order"), share),
            "Share that is pruned of each dimension over all tokens, dimensions in ascending order "
            "of it.",
        ),
    ]
    needed(
        pd.concat([panel.points for panel, _ in shown]),
        "word embeddings",
        f"{_DENSE_RUNS} and above",
    )
    shown = [(panel, words) for panel, words in shown if len(panel.points)]
    captions = ["Word embeddings.", *(words for _, words in shown)]
    captions.append(seeds_in_words([lengths, of_dimensions], lead="Lines are means over {seeds}"))
    entries = handles({f"{percent(sparsity)} pruned": look for sparsity, look in looks_of.items()})
    if (pruned.arm == RANDOM_PRUNING).any():
        random = ARMS[RANDOM_PRUNING].words
        entries.append(line_handle(f"dotted: {random}", QUIET, ":", 1.2))
    return Sketch(
        "embedding-magnitudes",
        [panel for panel, _ in shown],
        alt=_embeddings_in_words(magnitudes, lengths, dimensions),
        caption=" ".join(captions).rstrip(),
        handles=entries,
    )


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


def _heat_map(axes: Axes, panel: Panel) -> None:
    """Tokens down, dimensions across; the darkest and brightest hundredth share their colour."""
    grid = panel.points.assign(dimension=panel.points.part.map(first_number)).pivot(
        index="position", columns="dimension", values="value"
    )
    low, high = np.nanquantile(grid, [0.01, 0.99])
    image = axes.imshow(grid, aspect="auto", cmap="viridis", vmin=low, vmax=high)
    axes.grid(visible=False)
    for axis, names in ((axes.xaxis, grid.columns), (axes.yaxis, grid.index)):
        places = np.unique(np.linspace(0, len(names) - 1, min(6, len(names))).round().astype(int))
        axis.set_ticks(places, [f"{float(names[place]):,.0f}" for place in places])
    axes.figure.colorbar(image, ax=axes, pad=0.02)


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


def _embeddings_in_words(magnitudes: Rows, lengths: Rows, dimensions: pd.DataFrame) -> str:
    said = []
    if len(magnitudes):
        by_block = magnitudes.groupby("part").value.mean()
        said.append(
            f"Heat map of mean magnitudes of word embeddings, from {by_block.min():.3g} to "
            f"{by_block.max():.3g} by block of dimensions."
        )
    for sparsity, at in lengths[lengths.arm == PRUNE_PRETRAIN].groupby("sparsity"):
        by_length = in_words(at, shown_percent, x="position")
        said.append(f"At {percent(float(str(sparsity)))}, pruned by characters: {by_length}.")
    for sparsity, at in dimensions[dimensions.arm == PRUNE_PRETRAIN].groupby("sparsity"):
        said.append(
            f"At {percent(float(str(sparsity)))}, the least pruned dimension has "
            f"{shown_percent(at.value.min())} pruned, the most {shown_percent(at.value.max())}."
        )
    return " ".join(said)
