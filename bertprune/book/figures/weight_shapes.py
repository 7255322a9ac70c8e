"""What the weights are like, and which embeddings are pruned (tables 3, figure 8)."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bertprune.base.words import percent
from bertprune.book.figures.picture import Picture, needed, picture, tidy
from bertprune.book.figures.style import (
    INK,
    PALETTE,
    QUIET,
    curve,
    first_number,
    handle,
    in_percent,
    in_words,
    line_handle,
    looks,
    seeds_in_words,
    shown_percent,
    title,
)
from bertprune.protocol.arms import ARMS, PRUNE_PRETRAIN, RANDOM_PRUNING, Look
from bertprune.protocol.rows import PRETRAINING, Metric, Rows, Split, final, where

_KINDS = (
    "word_embeddings",
    "query",
    "key",
    "value",
    "attention_output",
    "intermediate",
    "output",
    "pooler",
)
"""Kinds of matrices, in the order of a BERT."""

_KIND_LOOKS = looks(_KINDS)

_DENSE_RUNS = "runs of prune_pretrain at sparsity 0"


def weight_histograms(found: Rows, maker: str, *, again: str = "") -> Picture:
    """How the dense model's weights are distributed, a panel for each kind of matrix, with the
    normal curve of the same mean and standard deviation. Raises UserError without histograms."""
    rows = needed(_dense(found, "histogram"), "the distribution of weights", _DENSE_RUNS)
    kinds = [*(kind for kind in _KINDS if kind in rows.part.array)]
    kinds += sorted(set(rows.part) - set(kinds))
    by_kind = {kind: _densities(rows[rows.part == kind]) for kind in kinds}

    def paint(_: Figure, axes: list[Axes]) -> None:
        for panel, (kind, points) in zip(axes, by_kind.items(), strict=True):
            for _seed, one in points.groupby("seed"):
                panel.plot(one.position, one.value, color=PALETTE[0], lw=1.2, alpha=0.8)
            mean, std = _moments(points)
            x = np.linspace(points.position.min(), points.position.max(), 61)
            normal = np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
            panel.plot(x, normal, color=INK, lw=1, ls="--")
            panel.xaxis.set_major_locator(MaxNLocator(5))
            panel.set_ylim(bottom=0)
            title(panel, _in_words(kind))
            panel.set_xlabel("weight")

    said = "; ".join(
        "{}: {:.4f} ± {:.4f}".format(_in_words(kind), *_moments(points))
        for kind, points in by_kind.items()
    )
    histogram = line_handle("weights (density, a line a seed)", PALETTE[0], width=1.5)
    normal = line_handle("normal, same mean and std", linestyle="--")
    return picture(
        paint,
        name="weight-histograms",
        panels=len(kinds),
        columns=min(3, len(kinds)),
        maker=maker,
        alt=f"Histograms of weights by kind of matrix, mean ± standard deviation. {said}.",
        caption="Distribution of the dense model's weights by kind of matrix, over ± four "
        "standard deviations; the outermost bins hold what is beyond. Dashed: the normal "
        "distribution of the same mean and standard deviation.",
        data=tidy((_in_words(kind), "study", points) for kind, points in by_kind.items()),
        handles=[histogram, normal],
        again=again,
        panel_inches=(3.5, 2.3),
    )


def weight_std(found: Rows, maker: str, *, paper: Rows | None = None, again: str = "") -> Picture:
    """Standard deviation of each prunable matrix of the dense model by layer and kind, beside
    that of `paper` (its table 3). Raises UserError if no matrix was looked at."""
    ours = needed(_dense(found, "weight_std"), "the standard deviation of weights", _DENSE_RUNS)
    panels = {"this study": _by_layer(ours)}
    if paper is not None:
        theirs = _by_layer(_dense(paper, "weight_std"))
        panels |= {"the paper": theirs} if len(theirs) else {}
    kinds = [kind for kind in _KINDS if any(kind in of.kind.array for of in panels.values())]

    def paint(_: Figure, axes: list[Axes]) -> None:
        top = max(points.value.max() for points in panels.values())
        for panel, (name, points) in zip(axes, panels.items(), strict=True):
            for kind in kinds:
                curve(panel, points[points.kind == kind], _KIND_LOOKS[kind], x="layer")
            _layer_ticks(panel, points)
            panel.set_ylim(0, 1.08 * top)
            title(panel, f"standard deviation, {name}")

    said = "; ".join(
        f"{name}: from {points.value.min():.3f} to {points.value.max():.3f}, mean over matrices "
        f"{points.value.mean():.3f}"
        for name, points in panels.items()
    )
    sources = {"this study": "study", "the paper": "paper"}
    return picture(
        paint,
        name="weight-std",
        panels=len(panels),
        columns=len(panels),
        maker=maker,
        alt=f"Standard deviation of the weights of each prunable matrix. {said}.",
        caption="Standard deviation of the weights of each prunable matrix of the dense model. "
        + seeds_in_words([panels["this study"]], "kind", x="layer"),
        data=tidy((name, sources[name], points) for name, points in panels.items()),
        handles=[handle(_KIND_LOOKS[kind], _in_words(kind)) for kind in kinds],
        again=again,
    )


def memory(found: Rows, maker: str, *, again: str = "") -> Picture:
    """What the parameters of the dense model take, by part. Raises UserError if nobody counted."""
    rows = needed(_dense(found, "memory_bytes"), "memory", _DENSE_RUNS)
    sizes = rows.groupby("part", sort=False).value.mean().sort_values()
    total = float(sizes.sum())
    shown = {
        str(part): f"{_megabytes(size)}, {100 * size / total:.1f} %" for part, size in sizes.items()
    }

    def paint(_: Figure, axes: list[Axes]) -> None:
        (panel,) = axes
        names = [textwrap.fill(part, 20) for part in shown]
        bars = panel.barh(names, sizes / total, color=PALETTE[0], height=0.65)
        panel.bar_label(bars, list(shown.values()), padding=4, fontsize=10)
        # Room for the words beside the longest bar.
        panel.set_xlim(0, 1.9 * float(sizes.max()) / total)
        panel.grid(visible=False)
        panel.xaxis.set_visible(False)
        panel.spines["bottom"].set_visible(False)
        title(panel, f"memory, of {_megabytes(total)}")

    said = ", ".join(f"{part} {size}" for part, size in reversed(shown.items()))
    return picture(
        paint,
        name="memory",
        panels=1,
        columns=1,
        maker=maker,
        alt=f"Memory of the parameters, {_megabytes(total)} in all: {said}.",
        caption="What the parameters of the dense model take as 32-bit numbers, tied ones counted "
        "once.",
        data=tidy([("memory", "study", rows)]),
        again=again,
        panel_inches=(5.4, 3.0),
    )


def embedding_magnitudes(found: Rows, maker: str, *, again: str = "") -> Picture:
    """The paper's figure 8: mean magnitudes of the dense model's word embeddings as a heat map,
    and what is pruned of them by length of the subword and by dimension.

    A panel that the rows have nothing of is left out; raises UserError if all are.
    """
    magnitudes = _dense(found, "magnitude")
    magnitudes = magnitudes[magnitudes.seed == magnitudes.seed.min()]
    of_embeddings = {"split": Split.EMBEDDINGS, "metric": Metric.PRUNED_SHARE}
    pruned = final(where(found, task=PRETRAINING, **of_embeddings))
    lengths = pruned[pruned.part == "subword"]
    of_dimensions = pruned[pruned.part.str.startswith("dimension ")]
    dimensions = _sorted_shares(of_dimensions)
    looks_of = _sparsity_looks(sorted(pruned.sparsity.unique()))
    all_panels: dict[str, tuple[pd.DataFrame, Callable[[Figure, Axes], None]]] = {
        "embedding magnitudes": (
            magnitudes,
            lambda figure, panel: _heat_map(figure, panel, magnitudes),
        ),
        "pruned, by subword length": (
            lengths,
            lambda _, panel: _by_length(panel, lengths, looks_of),
        ),
        "pruned, by dimension": (
            dimensions,
            lambda _, panel: _by_rank(panel, dimensions, looks_of),
        ),
    }
    panels = {name: one for name, one in all_panels.items() if len(one[0])}
    needed(
        pd.concat([points for points, _ in all_panels.values()]),
        "word embeddings",
        f"{_DENSE_RUNS} and above",
    )

    def paint(figure: Figure, axes: list[Axes]) -> None:
        for panel, (name, (_, draw)) in zip(axes, panels.items(), strict=True):
            draw(figure, panel)
            title(panel, name)

    captions = ["Word embeddings.", *(_EMBEDDING_CAPTIONS[name] for name in panels)]
    captions.append(seeds_in_words([lengths, of_dimensions], lead="Lines are means over {seeds}"))
    handles: list[Artist] = [
        handle(look, f"{percent(sparsity)} pruned") for sparsity, look in looks_of.items()
    ]
    if (pruned.arm == RANDOM_PRUNING).any():
        random = ARMS[RANDOM_PRUNING].words
        handles.append(line_handle(f"dotted: {random}", QUIET, ":", 1.2))
    return picture(
        paint,
        name="embedding-magnitudes",
        panels=len(panels),
        columns=len(panels),
        maker=maker,
        alt=_embeddings_in_words(magnitudes, lengths, dimensions),
        caption=" ".join(captions).rstrip(),
        data=tidy((name, "study", points) for name, (points, _) in panels.items()),
        handles=handles,
        again=again,
    )


_EMBEDDING_CAPTIONS = {
    "embedding magnitudes": "Magnitudes of the dense model of the first seed, means over blocks "
    "of dimensions and tokens.",
    "pruned, by subword length": "Share that is pruned of the embeddings of subwords with so many "
    "characters.",
    "pruned, by dimension": "Share that is pruned of each dimension over all tokens, dimensions "
    "in ascending order of it.",
}


def _dense(found: Rows, metric: str) -> Rows:
    is_dense = (found.arm == PRUNE_PRETRAIN) & (found.sparsity == 0) & (found.task == PRETRAINING)
    return final(found[is_dense & (found.metric == metric)])


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
    # Here, since it brings torch, which no other figure needs.
    from bertprune.pruning.matrices import kind_of

    layer = points.part.str.extract(r"layer\.(\d+)\.", expand=False).astype("float64")
    kinds = points.part.map(kind_of)
    outside = kinds.map({"word_embeddings": -1.0, "pooler": layer.max() + 1})
    return points.assign(kind=kinds, layer=layer.fillna(outside))


def _in_words(kind: str) -> str:
    return kind.replace("_", " ")


def _layer_ticks(panel: Axes, points: pd.DataFrame) -> None:
    layers = points[points.part.str.contains("layer.", regex=False)].layer
    count = int(layers.max()) + 1
    # Of many layers every third has its number, and the first would run into the embeddings.
    numbers = range(count) if count <= 6 else range(3, count, 3)
    panel.set_xticks([-1, *numbers, count], ["emb.", *map(str, numbers), "pool."])
    panel.set_xlabel("layer")


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _sparsity_looks(sparsities: list[float]) -> dict[float, Look]:
    """Darker for more, with a marker each."""
    shades = colormaps["viridis_r"](np.linspace(0.15, 1, len(sparsities)))
    markers = [look.marker for look in looks(map(str, sparsities)).values()]
    return {
        sparsity: Look(to_hex(shade), marker)
        for sparsity, shade, marker in zip(sparsities, shades, markers, strict=True)
    }


def _heat_map(figure: Figure, panel: Axes, points: Rows) -> None:
    """Tokens down, dimensions across; the darkest and brightest hundredth share their colour."""
    grid = points.assign(dimension=points.part.map(first_number)).pivot(
        index="position", columns="dimension", values="value"
    )
    low, high = np.nanquantile(grid, [0.01, 0.99])
    image = panel.imshow(grid, aspect="auto", cmap="viridis", vmin=low, vmax=high)
    panel.grid(visible=False)
    for axis, names in ((panel.xaxis, grid.columns), (panel.yaxis, grid.index)):
        places = np.unique(np.linspace(0, len(names) - 1, min(6, len(names))).round().astype(int))
        axis.set_ticks(places, [f"{float(names[place]):,.0f}" for place in places])
    panel.set_xlabel("dimension")
    panel.set_ylabel("token id")
    figure.colorbar(image, ax=panel, pad=0.02)


def _by_length(panel: Axes, lengths: Rows, looks_of: dict[float, Look]) -> None:
    for sparsity, look in looks_of.items():
        at = lengths[lengths.sparsity == sparsity]
        random = at[at.arm == RANDOM_PRUNING].groupby("position").value.mean()
        panel.plot(random.index, random, color=look.colour, ls=":", lw=1.2)
        curve(panel, at[at.arm == PRUNE_PRETRAIN], look, x="position")
    panel.set_xlabel("characters in the subword")
    panel.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _share_axis(panel)


def _by_rank(panel: Axes, dimensions: pd.DataFrame, looks_of: dict[float, Look]) -> None:
    for sparsity, look in looks_of.items():
        at = dimensions[dimensions.sparsity == sparsity]
        random, ours = (at[at.arm == arm] for arm in (RANDOM_PRUNING, PRUNE_PRETRAIN))
        panel.plot(random.position, random.value, color=look.colour, ls=":", lw=1.2)
        panel.plot(
            ours.position,
            ours.value,
            color=look.colour,
            marker=look.marker,
            markevery=0.2,
            ms=5,
            lw=1.5,
        )
        low, high = ours.value - ours["std"], ours.value + ours["std"]
        panel.fill_between(ours.position, low, high, color=look.colour, alpha=0.2, lw=0)
    panel.set_xlabel("dimensions, in order")
    _share_axis(panel)


def _share_axis(panel: Axes) -> None:
    panel.set_ylim(0, 1)
    in_percent(panel.yaxis)


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
