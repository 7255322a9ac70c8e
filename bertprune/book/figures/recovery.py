"""How the pre-training loss recovers from being pruned."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertprune.base.words import percent
from bertprune.book.figures.style import (
    Picture,
    curve,
    handle,
    needed,
    picture,
    seeds_in_words,
    shaded_ramp,
    tidy,
    title,
    words_of,
)
from bertprune.evidence.scores import recovery_curves
from bertprune.protocol.arms import Look
from bertprune.protocol.rows import Rows

_SHADES = colormaps["viridis_r"]
_MARKERS = "osD^v"


def recovery(found: Rows, maker: str, *, ramp_steps: int = 0, again: str = "") -> Picture:
    """Dev loss of pre-training against its steps while models are pruned and after, a line for each
    sparsity. The `ramp_steps` in which weights are taken away are shaded.

    Raises UserError without such curves.
    """
    name = "pre-training: dev loss (nats)"
    curves = needed(
        recovery_curves(found), "the loss while models are pruned", "runs of prune_pretrain"
    )
    sparsities = sorted(float(one) for one in curves.sparsity.unique())
    shades = _SHADES(np.linspace(0.1, 1, len(sparsities)))
    looks = {
        sparsity: Look(shade, _MARKERS[place % len(_MARKERS)])
        for place, (sparsity, shade) in enumerate(zip(sparsities, shades, strict=True))
    }

    def paint(_: Figure, axes: list[Axes]) -> None:
        (panel,) = axes
        shaded_ramp(panel, ramp_steps)
        for sparsity, look in looks.items():
            curve(panel, curves[curves.sparsity == sparsity], look, x="step")
        panel.set_xlabel("steps of pre-training since burn-in")
        title(panel, name)

    handles: list[Artist] = [handle(look, percent(at)) for at, look in looks.items()]
    # All points would take minutes to hear.
    means = curves.groupby(["sparsity", "step"]).value.mean()
    said = {
        percent(at): f"{means[at].max():.2f} at most, {means[at].iloc[-1]:.2f} in the end"
        for at in sparsities
    }
    ramp = " In the shaded steps weights are taken away." if ramp_steps else ""
    return picture(
        paint,
        name="recovery",
        panels=1,
        columns=1,
        panel_inches=(6.4, 3.6),
        maker=maker,
        alt=f"Dev loss of pre-training against steps, a line for each sparsity. {words_of(said)}.",
        caption="Dev loss of pre-training (masked words and next sentence) from the first pruning "
        f"on, by the sparsity that it ends with.{ramp} "
        + seeds_in_words(
            [curves.assign(sparsity=curves.sparsity.map(percent))], "sparsity", x="step"
        ),
        data=tidy([(name, "study", curves)]),
        handles=handles,
        again=again,
    )
