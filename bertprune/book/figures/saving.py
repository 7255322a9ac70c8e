"""What pruning saves: bytes on disk, and time of inference."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertprune.book.figures.picture import Picture, needed, picture, tidy
from bertprune.book.figures.style import (
    INK,
    curve,
    handle,
    in_percent,
    in_words,
    looks,
    title,
    words_of,
)
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import Rows, final
from bertprune.speed.bench import published_benchmark
from bertprune.speed.bench.quantities import SPEED_UP, TIME, by_sparsity

_RATIO = "dense by sparse"
"""What `SPEED_UP` is called where there is little room."""


def storage(found: Rows, maker: str, *, again: str = "") -> Picture:
    """Bytes of the pruned models on disk against sparsity, a curve for each way of storing them.

    Raises UserError if nobody counted.
    """
    sizes = found[(found.arm == PRUNE_PRETRAIN) & (found.metric == "storage_bytes")]
    sizes = final(needed(sizes, "storage", "runs of prune_pretrain"))
    points = sizes.assign(value=sizes.value / 1e6)
    part_looks = looks(points.part.unique())
    curves = {part: points[points.part == part] for part in part_looks}

    def paint(_: Figure, axes: list[Axes]) -> None:
        (panel,) = axes
        for part, look in part_looks.items():
            curve(panel, curves[part], look, has_band=False)
        panel.set_ylim(bottom=0)
        panel.set(xlabel="sparsity", ylabel="MB")
        in_percent(panel.xaxis)
        title(panel, "size on disk (MB)")

    said = {part: in_words(at, lambda size: f"{size:.3g} MB") for part, at in curves.items()}
    return picture(
        paint,
        name="storage",
        panels=1,
        columns=1,
        maker=maker,
        alt=f"Size of the pruned models on disk. {words_of(said)}.",
        caption="What a pruned model takes on disk: with its zeros, as they are and compressed; as "
        "masks and kept weights (sparse); and with the place of each kept weight (CSR). Bound: the "
        "kept weights as they are, not compressed, and the entropy of the masks.",
        data=tidy([("size on disk (MB)", "study", points)]),
        handles=[handle(look, part) for part, look in part_looks.items()],
        again=again,
        panel_inches=(6.4, 4.0),
    )


def inference_time() -> Picture:
    """A forward pass against sparsity, as the published benchmark has it, a row of panels for each
    size and device: milliseconds, dense and sparse, and their ratio. Raises UserError if it has
    none."""
    measured = published_benchmark.read()
    times = by_sparsity(measured.rows, TIME)
    times = needed(times, "inference", "`bertprune bench inference-L2 inference-L4 --publish`")
    ratios = by_sparsity(measured.rows, SPEED_UP)
    has_several_devices = times.device.nunique() > 1
    panels = {}
    for (size, device), of_both in times.groupby(["size", "device"], sort=False):
        where = f"{size}, {device}" if has_several_devices else str(size)
        panels[f"a forward pass (ms), {where}"] = of_both
        is_here = (ratios["size"] == size) & (ratios.device == device)
        panels[f"{_RATIO}, {where}"] = ratios[is_here]
    side_looks = looks(times.side.unique())

    def paint(_: Figure, axes: list[Axes]) -> None:
        for panel, (name, points) in zip(axes, panels.items(), strict=True):
            for side, (colour, marker) in side_looks.items():
                at = points[points.side == side]
                spread = [at.value - at.low, at.high - at.value]
                panel.errorbar(
                    at.sparsity, at.value, spread, color=colour, marker=marker, lw=1.8, capsize=3
                )
            if name.startswith(_RATIO):
                panel.axhline(1, color=INK, ls=":", lw=1)
            panel.set_ylim(bottom=0)
            panel.set_xlabel("sparsity")
            in_percent(panel.xaxis)
            title(panel, name)

    said = {
        f"{name}, {side}": in_words(pd.DataFrame(at), "{:.3g}".format)
        for name, points in panels.items()
        for side, at in points.groupby("side", sort=False)
    }
    first = times.iloc[0]
    places = zip(times.machine, times.case, strict=True)
    finished = {measured.facts[machine]["cases"][case]["finished"] for machine, case in places}
    return picture(
        paint,
        name="inference-time",
        panels=len(panels),
        columns=2,
        maker=f"Measured by `bertprune bench` on {' and '.join(times.device.unique())}, "
        f"{first.threads} threads, {', '.join(sorted(finished))}",
        alt=f"Time of a forward pass. {words_of(said)}.",
        caption="A forward pass, 8 sequences of 128 tokens, float32: with dense matrix products, "
        "which multiply the zeros too, and with sparse ones (CSR). The smaller BERT has the layers "
        "of that of the study english. Medians of "
        f"{first.repeats}, bars from lowest to highest; dotted: both as fast. "
        "All of one size were timed in turn, one after another and from the first again.",
        data=pd.concat([points.assign(panel=name) for name, points in panels.items()]),
        handles=[handle(look, side) for side, look in side_looks.items()],
    )
