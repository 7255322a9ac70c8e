"""What pruning saves: bytes on disk, and time of inference."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from matplotlib.axes import Axes

from bertprune.base.words import percent
from bertprune.book.drawing.panel import FROM_ZERO, Panel, needed
from bertprune.book.drawing.picture import Picture, Sketch
from bertprune.book.drawing.style import (
    INK,
    curves,
    handles,
    label_ends,
    like,
    looks,
)
from bertprune.protocol.arms import PRUNE_PRETRAIN, Look
from bertprune.protocol.rows import Metric, Rows, final, where
from bertprune.speed.bench import published_benchmark
from bertprune.speed.bench.quantities import SPEED_UP, TIME, by_sparsity

DRAWN = ("dense float32", "CSR float32", "sparse float32")
"""The ways of storing a model that are drawn; a table has all."""


def storage(found: Rows) -> Sketch:
    """Bytes of the pruned models on disk against sparsity, a curve for each way of storing them.

    Raises UserError if nobody counted.
    """
    sizes = where(found, arm=PRUNE_PRETRAIN, metric=Metric.STORAGE_BYTES)
    sizes = final(needed(sizes, "storage", "runs of prune_pretrain"))
    sizes = sizes[sizes.part.isin(DRAWN)]
    points = needed(sizes.assign(value=sizes.value / 1e6), "storage", f"one of {', '.join(DRAWN)}")
    parts = looks(DRAWN)

    def draw(axes: Axes, panel: Panel) -> None:
        curves(axes, panel.points, "part", parts, has_band=False)
        last = where(panel.points, sparsity=panel.points.sparsity.max())
        ends = last.groupby("part").value.mean()
        label_ends(
            axes,
            {
                str(part): (float(last.sparsity.max()), float(at), parts[str(part)].colour)
                for part, at in ends.items()
            },
        )

    smallest = points.sort_values("value").iloc[0]
    return Sketch(
        "storage",
        [Panel("size on disk (MB)", points, draw, y=FROM_ZERO)],
        alt="Size of the pruned models on disk against sparsity, a line for each way of storing "
        f"them. Least: {smallest.part}, {smallest.value:.3g} MB at {percent(smallest.sparsity)}.",
        caption="What a pruned model takes on disk: with its zeros, as an ordinary file (dense); "
        "as masks and kept weights (sparse); and with the place of each kept weight (CSR). The "
        "table below has the others.",
        height_inches=3.2,
        own_point="prune_pretrain",
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
    sides = looks(times.side.unique())
    panels = []
    for (size, device), of_both in times.groupby(["size", "device"], sort=False):
        place = f"{size}, {device}" if has_several_devices else str(size)
        for name, points, level in (
            ("a forward pass (ms)", of_both, None),
            ("speed-up", where(ratios, size=size, device=device), 1),
        ):
            draw = partial(_medians, sides=sides, level=level)
            title = f"{name}, {place}"
            panels.append(Panel(title, points, draw, y=FROM_ZERO, source="benchmark"))
    first = times.iloc[0]
    places = zip(times.machine, times.case, strict=True)
    gpus = set(times.device) - {of["cpu"] for of in measured.facts.values()}
    finished = {measured.facts[machine]["cases"][case]["finished"] for machine, case in places}
    return Sketch(
        "inference-time",
        panels,
        alt="Time of a forward pass against sparsity, dense and sparse, and their ratio, a row of "
        f"panels for each of {len(panels) // 2} sizes and devices. The ratio is at most "
        f"{ratios.value.max():.2g}.",
        caption="A forward pass, 8 sequences of 128 tokens, float32: with dense matrix products, "
        "which multiply the zeros too, and with sparse ones (CSR). The speed-up is dense by sparse "
        "time. The smaller BERT has the layers of that of the study english. Medians of "
        f"{first.repeats}, bars from lowest to highest; dotted: both as fast. "
        "All of one size were timed in turn, one after another and from the first again."
        + ("" if gpus else " On a GPU: not measured."),
        handles=handles(sides),
        columns=2,
    ).drawn(
        f"Measured by bertprune bench on {' and '.join(times.device.unique())}, "
        f"{first.threads} threads, {', '.join(sorted(finished))}"
    )


def _medians(axes: Axes, panel: Panel, *, sides: Mapping[str, Look], level: float | None) -> None:
    for side, look in sides.items():
        at = where(panel.points, side=side)
        spread = [at.value - at.low, at.high - at.value]
        axes.errorbar(at.sparsity, at.value, spread, **like(look), lw=1.8, capsize=3)
    if level is not None:
        axes.axhline(level, color=INK, ls=":", lw=1)
