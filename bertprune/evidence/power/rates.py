"""How often each verdict is given where the truth is known, and the smallest effects that are told.

Replicates are drawn in chunks, each from a seed of its own: the counts are the same however many
processes share the work, and in whatever order. What is counted is kept in `cache`, for the same
code and the same published rows, so that an interrupted count goes on.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, as_completed
from functools import cache, lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pandas as pd
import xxhash
from scipy import stats

from bertprune.base import paths, progress
from bertprune.base.files import file_key, replacing
from bertprune.base.fingerprint import code_key
from bertprune.evidence import published
from bertprune.evidence.claims import CLAIMS
from bertprune.evidence.claims.chance import POWER
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN, UNTESTED, Finding
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.power import on_accuracy, on_weights
from bertprune.evidence.power.designs import STUDIES, Design, design
from bertprune.evidence.power.replicates import Replicates
from bertprune.evidence.power.worlds import TRUTHS, Question

QUESTIONS = (*on_accuracy.QUESTIONS, *on_weights.QUESTIONS)
"""What is asked of each study."""

VERDICTS = [HOLDS, FAILS, OPEN, UNTESTED]

CHUNK = 100
"""Replicates that are drawn from one seed."""

IN_SEARCH = 0.3
"""How many replicates there are of each effect that is tried to find the smallest that is told, as
a share of those of each truth."""

MOST_TRIED = 2
"""Effects, beside the truths."""

TOLD = f"told in {100 * POWER:g} % of such studies"
"""In place of a truth, of the smallest effect that is."""


class Cell(NamedTuple):
    """An effect, in margins, on what a question asks of a study."""

    study: str
    claim: str
    part: str
    margins: float


class Chunk(NamedTuple):
    """A chunk of the replicates of a cell."""

    cell: Cell
    number: int


def question_of(cell: Cell) -> Question:
    """What is asked in it."""
    named = ((each.claim, each.part) for each in QUESTIONS)
    return dict(zip(named, QUESTIONS, strict=True))[cell.claim, cell.part]


@lru_cache(maxsize=len(STUDIES))
def design_of(study: str) -> Design:
    """The design of one of STUDIES."""
    return design(study)


@cache
def effect(cell: Cell) -> float:
    """The effect in the question's unit; NaN where the study cannot be asked."""
    _, found = question_of(cell).world(design_of(cell.study), cell.margins)
    return found


@lru_cache(maxsize=1)
def _replicates(cell: Cell) -> Replicates:
    of = design_of(cell.study)
    world, _ = question_of(cell).world(of, cell.margins)
    return Replicates(of, world.read_by(_test_of(cell)))


def _test_of(cell: Cell) -> Callable[[Measured], Finding]:
    return next(claim.of for claim in CLAIMS if claim.key == cell.claim)


def count(chunk: Chunk) -> Counter[str]:
    """Verdicts of the claim's rule on the replicates of a chunk."""
    seed = xxhash.xxh64_intdigest(repr(tuple(chunk.cell)).encode())
    generator = np.random.default_rng([seed, chunk.number])
    replicates, test = _replicates(chunk.cell), _test_of(chunk.cell)
    return Counter(test(replicates.draw(generator)).verdict for _ in range(CHUNK))


class Tally:
    """What has been counted by this code on these published rows, kept in `cache`."""

    def __init__(self) -> None:
        files = [file for study in STUDIES for file in published.files(study).values()]
        files += [paths.studies_folder() / f"{name}.yaml" for name in STUDIES]
        keys = [code_key(__name__), *map(file_key, files)]
        key = xxhash.xxh64_hexdigest(" ".join(keys).encode())
        self._file = paths.cache_folder() / f"power-{key}.csv"
        self._counts: dict[Chunk, Counter[str]] = {}
        if self._file.exists():
            for line in pd.read_csv(self._file).itertuples(index=False):
                chunk = Chunk(Cell(*line[:4]), int(line[4]))
                self._counts[chunk] = Counter(dict(zip(VERDICTS, line[5:], strict=True)))

    def count(self, cells: Mapping[Cell, int], executor: Executor) -> None:
        """Have so many replicates of each cell counted, at least."""
        wanted = [
            Chunk(cell, number)
            for cell, replicates in cells.items()
            for number in range(math.ceil(replicates / CHUNK))
        ]
        left = [chunk for chunk in wanted if chunk not in self._counts]
        working = {executor.submit(count, chunk): chunk for chunk in left}
        done = CHUNK * (len(wanted) - len(left))
        with progress.bar("replicates", CHUNK * len(wanted), "replicate", done) as shown:
            for future in as_completed(working):
                self._counts[working[future]] = future.result()
                self._keep()
                shown.update(CHUNK)

    def _keep(self) -> None:
        lines = [(*c.cell, c.number, *map(n.get, VERDICTS)) for c, n in self._counts.items()]
        table = pd.DataFrame(lines, columns=[*Cell._fields, "chunk", *VERDICTS])
        with replacing(self._file) as unfinished:
            table.fillna(0).to_csv(unfinished, index=False)

    def by_cell(self) -> dict[Cell, Counter[str]]:
        """Replicates of each cell by verdict."""
        found: dict[Cell, Counter[str]] = defaultdict(Counter)
        for chunk, counted in self._counts.items():
            found[chunk.cell] += counted
        return dict(found)


def measure(executor: Executor, claims: Collection[str], replicates: int) -> pd.DataFrame:
    """The rates of verdicts on `claims` (their keys) in STUDIES, with so many `replicates` of each
    truth at least: see COLUMNS."""
    tally, in_search = Tally(), math.ceil(IN_SEARCH * replicates)
    every = [
        Cell(study, of.claim, of.part, margins)
        for study in STUDIES
        for of in QUESTIONS
        for margins in TRUTHS
        if of.claim in claims
    ]
    asked = [cell for cell in every if not math.isnan(effect(cell))]
    tally.count(dict.fromkeys(asked, replicates), executor)
    for _ in range(MOST_TRIED):
        powers = _powers(tally.by_cell(), in_search)
        places = dict.fromkeys(cell[:3] for cell in asked)
        tries = {place: _to_try(powers[place]) for place in places}
        tried = [Cell(*place, at) for place, at in tries.items() if at is not None]
        tally.count(dict.fromkeys(tried, in_search), executor)
    return _table(tally.by_cell(), asked, in_search)


Power = dict[float, float]
"""By the effect in margins, how often the verdict is given that is right of twice the margin."""


def _powers(
    counts: Mapping[Cell, Counter[str]], in_search: int
) -> dict[tuple[str, str, str], Power]:
    found: dict[tuple[str, str, str], Power] = defaultdict(dict)
    for cell, counted in counts.items():
        if counted.total() < in_search:
            # An interrupted count, which goes on first.
            continue
        told = question_of(cell).right.verdicts[2]
        # Half a replicate more on each side: a share of 0 or 1 is no number in a probit.
        found[cell[:3]][cell.margins] = (counted[told] + 0.5) / (counted.total() + 1)
    return found


MOST_MARGINS = 512
"""With a larger effect nobody searches on."""

NEAR_ENOUGH = 0.05
"""How near to POWER an effect is told that ends the search."""


def _to_try(known: Power) -> float | None:
    """The next effect to try, in margins; None where the search is at its end."""
    if (
        len(known) >= len(TRUTHS) + MOST_TRIED
        or min(abs(power - POWER) for power in known.values()) <= NEAR_ENOUGH
    ):
        return None
    at = smallest_told(known)
    most = max(known)
    if math.isnan(at):
        return 8 * most if most < MOST_MARGINS else None
    return float(f"{at:.3g}")


def smallest_told(known: Power) -> float:
    """The effect in margins that is told with POWER, on a straight line between the probits of the
    effects nearest to it; NaN where none of those known is told as often."""
    margins = sorted(known)
    above = next((at for at in margins if known[at] >= POWER and at > 0), None)
    if above is None:
        return math.nan
    below = max(at for at in margins if at < above)
    probits = stats.norm.ppf([known[below], known[above]])
    return float(np.interp(stats.norm.ppf(POWER), probits, [below, above]))


COLUMNS = [
    *("study", "claim", "part", "unit", "truth", "margins", "effect", "right", *VERDICTS),
    *("wrong holds", "wrong refuted", "error", "replicates"),
]
"""Of the table of rates. `effect` is in `unit`; VERDICTS are shares, those of them that are wrong
stand again beside, and `error` is the largest standard error that `replicates` leave them. Truths
are TRUTHS, and TOLD: the smallest effect that is, without shares."""


def _table(
    counts: Mapping[Cell, Counter[str]], asked: Collection[Cell], in_search: int
) -> pd.DataFrame:
    powers, lines = _powers(counts, in_search), []
    for place, cells in groupby(asked, key=lambda cell: cell[:3]):
        lines += [_line(cell, counts[cell]) for cell in cells]
        study, claim, part = place
        told = Cell(study, claim, part, smallest_told(powers[place]))
        if not math.isnan(told.margins):
            lines.append(_place(told, TOLD) | {"right": question_of(told).right.verdicts[2]})
    return pd.DataFrame(lines, columns=COLUMNS)


def _line(cell: Cell, counted: Counter[str]) -> dict[str, object]:
    right, margins, replicates = question_of(cell).right, int(cell.margins), counted.total()
    shares = {name: counted[name] / replicates for name in VERDICTS}
    return {
        **_place(cell, TRUTHS[margins]),
        "right": right.verdicts[margins],
        **shares,
        **{f"wrong {name}": shares[name] for name in right.wrong[margins]},
        "error": max(math.sqrt(share * (1 - share) / replicates) for share in shares.values()),
        "replicates": replicates,
    }


def _place(cell: Cell, truth: str) -> dict[str, object]:
    of = {"unit": question_of(cell).unit, "truth": truth, "effect": effect(cell)}
    return {**cell._asdict(), **of}
