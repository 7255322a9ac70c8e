"""Differences between arms against sparsity, with their bounds."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from bertprune.base.errors import UserError
from bertprune.base.words import percent, signed
from bertprune.book.drawing.panel import FROM_ZERO, Axis, Panel, needed
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import (
    INK,
    QUIET,
    WIDE_INCHES,
    curves,
    label_arms,
    like,
    line_handle,
    paper_handle,
)
from bertprune.evidence import regimes, scores
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.regimes.effects import AT_EACH
from bertprune.evidence.scores import AVERAGE
from bertprune.protocol.arms import ARMS, BY_SPARSITY, PRUNE_PRETRAIN
from bertprune.protocol.rows import Rows, where


def gain(measured: Measured, arm: str, *, beside: Measured | None = None) -> Sketch:
    """How much more accurate `arm` is than pruning while pre-training, beyond what its epochs gain
    where nothing is pruned, in points against sparsity: means over tasks and seeds with one-sided
    95 % bounds, those of verdicts; the means of the paper, `beside`, behind, over its tasks.

    Raises UserError where the study lacks one of the arms, or its control at 0 %.
    """
    words, other = ARMS[arm].words, ARMS[PRUNE_PRETRAIN].words
    effect = AT_EACH[arm]
    points = needed(
        regimes.bounds(effect.at_each(measured)),
        f"what {words} gains",
        f"the arms {arm} and {PRUNE_PRETRAIN}, with nothing pruned too",
    )
    theirs = None if beside is None else regimes.bounds(effect.at_each(beside))
    most = points.sort_values("value").iloc[-1]
    entries = [line_handle(f"{words}\n− {other}", ARMS[arm].look.colour, width=1.8)]
    if beside is not None:
        entries.append(paper_handle())
    return Sketch(
        f"gain-of-{arm}".replace("_", "-"),
        [
            Panel(
                "gain beyond equal training (points)",
                points,
                partial(_with_bounds, arm=arm),
                paper=theirs,
            )
        ],
        alt=f"Accuracy of {words} minus {other} against sparsity, beyond equal training, in "
        f"points: at most {signed(most.value)} at {percent(most.sparsity)}.",
        caption=f"Dev accuracy of {words} minus that of {other}, the mean over tasks, each against "
        "its own with nothing pruned. Bars: one-sided 95 % bounds, as in the ledger; of one seed "
        "they are for other dev examples alone.",
        handles=entries,
        columns=2,
        # Verdicts, and so these bounds, leave out what a reader has added.
        own_point="",
    )


def _with_bounds(axes: Axes, panel: Panel, *, arm: str) -> None:
    look, points = ARMS[arm].look, panel.points
    axes.axhline(0, color=INK, lw=1)
    if panel.paper is not None:
        axes.plot(panel.paper.sparsity, panel.paper.value, color=QUIET, marker=".", lw=0.9)
    spread = [(points.value - points.low).fillna(0), (points.high - points.value).fillna(0)]
    axes.errorbar(points.sparsity, points.value, spread, **like(look), lw=1.8, capsize=3)


RANGES = (
    (0.0, 0.4, "the paper: little is lost"),
    (0.4, 0.7, "information is lost"),
    (0.7, 1.0, "capacity too"),
)
"""The paper's three ranges (its section 4), and what it says of them."""


def regimes_at_a_glance(studies: Mapping[str, Rows], *, paper: Rows | None = None) -> Sketch:
    """Studies, by title, at a glance against sparsity, with the paper's ranges shaded: the average
    accuracy of each arm less its own at 0 %, in points, with the curve behind that `paper` has of
    pruning while pre-training; and the bits recalled where models were asked (`scores.bits`)."""
    theirs = None if paper is None else where(_changes(paper), arm=PRUNE_PRETRAIN)
    recalled = {title: _recalled(found) for title, found in studies.items()}
    panels, said = [], []
    # A language comes last: its changes stand above its bits.
    for title in sorted(studies, key=lambda title: len(recalled[title]) > 0):
        changes, bits = _changes(studies[title]), recalled[title]
        panels.append(
            Panel(
                f"{title}: change in accuracy (points)",
                changes,
                _in_ranges,
                y=Axis(ticks=6),
                paper=theirs,
            )
        )
        said.append(f"{title}: {_ends_in_words(changes, signed)} points.")
        if len(bits):
            panels.append(Panel(f"{title}: bits recalled", bits, _in_ranges, y=FROM_ZERO))
            said.append(f"Bits: {_ends_in_words(bits, '{:,.0f}'.format)}.")
    arm = ARMS[PRUNE_PRETRAIN].words
    alt = f"Change in average accuracy against sparsity, a line for each arm. Here {arm}."
    return Sketch(
        "regimes",
        panels,
        alt=textwrap.shorten(" ".join([alt, *said]), MOST_LETTERS_OF_ALT, placeholder=" …"),
        caption="Average dev accuracy of each arm minus its own, or else the dense model's, at "
        "0 %. "
        + f"Dashed: the paper's BERT-Base, {arm}. " * (paper is not None)
        + "Shaded: the paper's three ranges. "
        + _seeds_of_studies({title: _changes(found) for title, found in studies.items()}),
        columns=1,
        height_inches=2.6,
        own_point="average",
    )


def _seeds_of_studies(changes: Mapping[str, pd.DataFrame]) -> str:
    """What is drawn, and how many seeds the arms of each study have."""
    counts = {title: of.groupby("arm").seed.nunique() for title, of in changes.items()}
    said = ", ".join(
        f"{title} {' to '.join(map(str, sorted({of.min(), of.max()})))}"
        for title, of in counts.items()
    )
    if max(of.max() for of in counts.values()) == 1:
        return "All is of one seed, so there are no bands."
    return f"Lines are means over seeds (an arm has: {said}), bands ± one standard deviation."


MOST_LETTERS_OF_ALT = 300


def _recalled(found: Rows) -> pd.DataFrame:
    """Bits recalled in all, in the column value; no lines where no model was asked."""
    with suppress(UserError):
        bits = where(scores.bits(found), sort="all", arm=BY_SPARSITY)
        return bits.rename(columns={"bits": "value"})
    return pd.DataFrame()


def _ends_in_words(points: pd.DataFrame, show: Callable[[float], str]) -> str:
    """Where pruning while pre-training is at the end of each range."""
    means = where(points, arm=PRUNE_PRETRAIN).groupby("sparsity").value.mean()
    ends = dict.fromkeys(means.index[means.index <= high].max() for _, high, _ in RANGES)
    return ", ".join(f"{show(means[at])} at {percent(at)}" for at in ends)


def _changes(found: Rows) -> pd.DataFrame:
    """See `scores.changes`, of the average over tasks, in points."""
    average = where(scores.changes(scores.scores(found)), arm=BY_SPARSITY, task=AVERAGE)
    return average.assign(value=100 * average.change)


def _in_ranges(axes: Axes, panel: Panel) -> None:
    """A curve for each arm, named at its end, on the paper's ranges."""
    most = panel.points.sparsity.max() + 0.02
    for place, (low, high, _) in enumerate(RANGES):
        axes.axvspan(low, high, color=INK, alpha=0.025 * place, lw=0)
    # A narrow figure has no room for the words.
    if axes.figure.get_figure(root=True).get_figwidth() == WIDE_INCHES and panel.paper is not None:
        above = axes.secondary_xaxis("top")
        middles = [(low + min(high, most)) / 2 for low, high, _ in RANGES]
        above.set_xticks(middles, [words for *_, words in RANGES])
        above.tick_params(length=0)
        above.spines["top"].set_visible(False)
    present = [arm for arm in BY_SPARSITY if arm in panel.points.arm.array]
    curves(axes, panel.points, "arm", {arm: ARMS[arm].look for arm in present})
    if panel.paper is not None:
        mean = panel.paper.groupby("sparsity").value.mean()
        axes.plot(mean.index, mean, color=QUIET, ls="--", lw=1.2, zorder=1.5)
    # Beyond the last points there is room for names alone.
    axes.set_xlim(0, most)
    label_arms(axes, panel.points, present, paper=panel.paper)
