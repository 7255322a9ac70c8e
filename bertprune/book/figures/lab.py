"""What models of a lab language recall, in bits, and what that has to do with the rest."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertprune.book.figures.style import (
    QUIET,
    Picture,
    curve,
    dashed,
    in_percent,
    in_words,
    looks,
    picture,
    seeds_in_words,
    tidy,
    title,
    words_of,
)
from bertprune.protocol.arms import (
    ARMS,
    BY_SPARSITY,
    FROM_SCRATCH,
    PRUNE_PRETRAIN,
    RANDOM_PRUNING,
)


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
        for arm, points in by_arm.items():
            curve(left, points, ARMS[arm].look, label=ARMS[arm].words)
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
