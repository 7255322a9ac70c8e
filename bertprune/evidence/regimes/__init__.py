"""Where the regimes of pruning begin and end: the main contrasts at each sparsity by itself.

The paper (section 4) reads three of them off its curves: a low range in which pruning costs
nothing, a middle in which deleting information explains the loss, so that taking the masks off
does not help, and a high range in which it does. Bounds are those of verdicts (see
`evidence.claims.chance`); several sparsities side by side are not corrected for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bertprune.base.shown import Prose
from bertprune.base.words import NOTHING, listed, percent
from bertprune.evidence import scores
from bertprune.evidence.claims.claim import bounds_of, points
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.claims.ranges import DENSE
from bertprune.evidence.regimes.effects import AT_EACH, Size
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import where


def ranges(m: Measured) -> Prose:
    """At which of the sparsities that were run each effect is detected, and at which it is not."""
    lines = {f"{of.says} ({of.unit})": detected(of.at_each(m)) for of in AT_EACH.values()}
    return Prose(pd.DataFrame({"detected": lines}))


def detected(sizes: Mapping[float, Size]) -> str:
    """`lower at 70 %; not detected at 50 %`: where an effect is told from zero."""
    groups: dict[str, list[str]] = {"lower": [], "higher": [], "not detected": []}
    for at, size in sizes.items():
        sign = "lower" if size.estimate.mean < 0 else "higher"
        groups[sign if size.is_detected else "not detected"].append(percent(at))
    said = (f"{what} at {listed(levels)}" for what, levels in groups.items() if levels)
    return "; ".join(said) or "not tested"


def table(m: Measured) -> pd.DataFrame:
    """All effects by sparsity, with bounds, and the number of seeds in round brackets."""
    cells = {
        f"{of.says} ({of.unit})": {at: _cell(size) for at, size in of.at_each(m).items()}
        for of in AT_EACH.values()
    }
    found = pd.DataFrame(cells, dtype=object).sort_index().fillna(NOTHING)
    return found.rename(index=percent).rename_axis("sparsity")


def _cell(size: Size) -> str:
    return f"{points(size.estimate, 1, '')} ({size.seeds})"


def bounds(sizes: Mapping[float, Size]) -> pd.DataFrame:
    """A line for each sparsity: value, low and high; NaN for bounds that there are not."""
    lines = [
        (at, one.mean, *bounds_of(one, 1)) for at, size in sizes.items() for one in [size.estimate]
    ]
    found = pd.DataFrame(lines, columns=["sparsity", "value", "low", "high"], dtype=float)
    has_none = found.low == found.high
    return found.assign(low=found.low.mask(has_none), high=found.high.mask(has_none))


def compared(studies: Mapping[str, Measured]) -> Prose:
    """The dense model and the boundaries of several studies, a column each."""
    columns = {}
    for name, m in studies.items():
        known = where(scores.bits(m.rows), arm=PRUNE_PRETRAIN, sparsity=0, sort="all")
        columns[name] = {
            "bits recalled, dense": f"{known.bits.mean():,.0f}",
            "accuracy, dense (%)": f"{100 * np.nanmean(m.accuracies[DENSE]):.1f}",
            **{of.says: detected(of.at_each(m)) for of in AT_EACH.values()},
            "seeds": str(len(m.seeds)),
        }
    return Prose(pd.DataFrame(columns))
