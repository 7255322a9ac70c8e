"""The ledger: each claim of the paper with its number, ours, and the verdict of a fixed rule.

The paper's statistic and ours come from the same code: a rule (see `rules`) is a function of tidy
rows, and the paper's numbers are such rows too (see `paper`).
"""

from __future__ import annotations

import dataclasses
import functools
import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bertprune.book.tables import Prose, Sentence
from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper, results
from bertprune.evidence.claims.rules import (
    CLAIMS,
    FAILS,
    HOLDS,
    OPEN,
    Claim,
    Finding,
    of_usual_length,
)
from bertprune.evidence.results import AVERAGE
from bertprune.protocol import rows
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING, Rows


@dataclass(frozen=True)
class Entry:
    """A line of the ledger. Bounds are NaN where there are none, and in `unit`."""

    key: str
    claim: str
    paper: str
    rule: str
    ours: str
    n: str
    lower: float
    upper: float
    unit: str
    verdict: str
    reason: str
    """Why it cannot be told, or which part decided; else empty."""


_SIGNS = {HOLDS: "✓", FAILS: "✗", OPEN: "?"}


class Ledger(tuple[Entry, ...]):
    """Claims with their verdicts; a notebook's last line shows them."""

    __slots__ = ()

    def of(self, *keys: str) -> Ledger:
        """Only the claims with these keys."""
        return Ledger(entry for entry in self if entry.key in keys)

    def count(self, verdict: object) -> int:
        """How many claims have this verdict."""
        return sum(entry.verdict == verdict for entry in self)

    def _repr_html_(self) -> str:
        return "".join(_shown(entry) for entry in self)


def _here(entry: Entry) -> str:
    """Our number, its sample, and its bounds."""
    said = entry.ours + (f" ({entry.n})" if entry.n else "")
    if math.isnan(entry.lower):
        return said
    return f"{said}; bounds {entry.lower:+.2f} and {entry.upper:+.2f} {entry.unit}"


def _shown(entry: Entry) -> str:
    """An entry for a page: the verdict, both numbers, and the rule folded below them."""
    reason = f" ({entry.reason})" if entry.reason else ""
    claim, verdict, reason, theirs, here, rule = map(
        html.escape, (entry.claim, entry.verdict, reason, entry.paper, _here(entry), entry.rule)
    )
    return (
        f"<p><strong>{entry.key}. {claim}</strong><br>"
        f"<strong>{_SIGNS[entry.verdict]} {verdict} here</strong>{reason}</p>"
        f"<ul><li>Paper: {theirs}</li><li>Here: {here}</li></ul>"
        f'<details style="margin-bottom: 2em"><summary>The rule</summary><p>{rule}</p></details>'
    )


def verdicts(ledgers: Mapping[str, Ledger]) -> pd.DataFrame:
    """The verdicts of several studies side by side, a line for each claim."""
    lines = {
        entries[0].key: {
            name: f"{_SIGNS[entry.verdict]} {entry.verdict}"
            for name, entry in zip(ledgers, entries, strict=True)
        }
        | {"claim": entries[0].claim}
        for entries in zip(*ledgers.values(), strict=True)
    }
    return pd.DataFrame.from_dict(lines, orient="index")


def counts(ledgers: Mapping[str, Ledger]) -> pd.DataFrame:
    """How many claims have which verdict, a line for each study."""
    lines = {
        name: {verdict: entries.count(verdict) for verdict in _SIGNS}
        for name, entries in ledgers.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("study")


def ledger(found: Rows) -> Ledger:
    """The paper's claims C1 to C14, tested on the rows of a study. Rows may lack anything.

    Runs that a reader added to the grid do not count: a rule that is fixed beforehand is no use if
    runs are added until it is met.
    """
    grid = _of_grid(found)
    return Ledger(_entry(claim, _of_paper(claim.key), claim.test(grid)) for claim in CLAIMS)


ON_ACCURACY = ("C1", "C2", "C3", "C4", "C5", "C7", "C10", "C11")
"""The claims whose test reads accuracies."""


def on_tasks(found: Rows, tasks: Sequence[str]) -> Prose | Sentence:
    """The claims about accuracy by the same rules on `tasks` alone, beside the verdicts on all
    tasks: verdicts and our number. A sentence where there is nothing to compare."""
    if not tasks:
        return Sentence("On no task of this study is the dense model above all of these.")
    if set(found.task) <= {*tasks, PRETRAINING}:
        return Sentence(
            "On all tasks of this study the dense model is above all of these, so the verdicts are "
            "the ones above."
        )
    of_tasks = found[found.task.isin([*tasks, PRETRAINING])]
    on_all, alone = (ledger(of).of(*ON_ACCURACY) for of in (found, of_tasks))
    name = f"{', '.join(tasks)} alone"
    table = verdicts({"all tasks": on_all, name: alone}).drop(columns="claim")
    return Prose(table.assign(**{f"numbers of {name}": list(map(_here, alone))}))


@functools.cache
def _of_paper(key: str) -> Finding:
    """What the claim's test makes of the paper's own rows."""
    return next(claim for claim in CLAIMS if claim.key == key).test(paper.rows())


def _of_grid(found: Rows) -> Rows:
    """Without the runs that `results.rows_of` marks as the reader's own."""
    return found[~found["own"].astype(bool)] if "own" in found else found


def _entry(claim: Claim, theirs: Finding, ours: Finding) -> Entry:
    # One value alone has none.
    is_bounded = math.isfinite(ours.lower)
    return Entry(
        key=claim.key,
        claim=claim.says,
        paper=claim.stated or f"{theirs.statistic} ({theirs.n})",
        rule=claim.rule,
        ours=ours.statistic,
        n=ours.n,
        lower=ours.lower if is_bounded else math.nan,
        upper=ours.upper if is_bounded else math.nan,
        unit=ours.unit,
        verdict=ours.verdict,
        reason=ours.reason,
    )


def table(entries: Iterable[Entry]) -> pd.DataFrame:
    """The ledger as a table, a line each, for a CSV or a page."""
    names = [field.name for field in dataclasses.fields(Entry)]
    return pd.DataFrame([dataclasses.asdict(entry) for entry in entries], columns=names)


def text(entries: Iterable[Entry], width: int = 100) -> str:
    """The ledger for a terminal."""
    parts = []
    for entry in entries:
        reason = f": {entry.reason}" if entry.reason else ""
        lines = [
            f"{entry.key}  {entry.verdict.upper()}{reason}",
            entry.claim,
            f"Paper: {entry.paper}",
            f"Here: {_here(entry)}",
            f"Rule: {entry.rule}",
        ]
        parts.append(
            "\n".join(
                textwrap.fill(
                    line, width, initial_indent="  " * bool(at), subsequent_indent="      "
                )
                for at, line in enumerate(lines)
            )
        )
    return "\n\n".join(parts)


# The paper's tables beside ours.


def numbers(found: Rows) -> dict[str, pd.DataFrame]:
    """Every number of the paper's tables 1 to 3 beside ours: `table1`, `table2`, `table3`.

    Columns: what it is of; `paper`; `ours`, a mean over `seeds`; `difference`, ours − paper. Ours
    is NaN where the rows have nothing at exactly that place, and seeds 0. Accuracies and movements
    are shares, losses nats. Table 1 has besides, of accuracies, `paper_drop` and `our_drop`, the
    dense model's accuracy minus this one, and a task "average" over the paper's five, ours where a
    study has all five.
    """
    theirs, found = paper.rows(), _of_grid(found)
    return {
        "table1": _beside(_of_table1(theirs), _of_table1(found), ["drop"]),
        "table2": _beside(_of_table2(theirs), _of_table2(found)),
        "table3": _beside(_of_table3(theirs), _of_table3(found)),
    }


def _beside(theirs: pd.DataFrame, ours: pd.DataFrame, more: Sequence[str] = ()) -> pd.DataFrame:
    """Both side by side, line by line of `theirs`; columns are what it is of, seed and value."""
    on = [name for name in theirs.columns if name not in ("seed", "value", *more)]
    means = {name: (name, "mean") for name in more}
    left = theirs.groupby(on, as_index=False, sort=False).agg(paper=("value", "mean"), **means)
    right = ours.groupby(on, as_index=False).agg(
        ours=("value", "mean"), seeds=("seed", "nunique"), **means
    )
    both = left.merge(right, on=on, how="left", suffixes=("_of_paper", "_of_ours"))
    both["seeds"] = both.seeds.fillna(0).astype(int)
    both["difference"] = both.ours - both.paper
    names = {f"{name}_of_paper": f"paper_{name}" for name in more}
    names |= {f"{name}_of_ours": f"our_{name}" for name in more}
    columns = [*on, "paper", "ours", "seeds", "difference", *names.values()]
    return both.rename(columns=names)[columns]


def _of_table1(found: Rows) -> pd.DataFrame:
    """Accuracy with its drop from the dense model, training loss and pre-training loss by arm,
    sparsity, task and seed."""
    best = results.best_accuracies(found)
    best = best[best.position.isna() & best.task.isin(PAPER_TASKS)]
    point = ["arm", "sparsity", "seed"]
    over_tasks = best.groupby(point, as_index=False).agg(
        accuracy=("accuracy", "mean"), tasks=("task", "nunique")
    )
    whole = over_tasks[over_tasks.tasks == len(PAPER_TASKS)].drop(columns="tasks")
    scores = pd.concat([best[[*point, "task", "accuracy"]], whole.assign(task=AVERAGE)])
    dense = scores[(scores.arm == PRUNE_PRETRAIN) & (scores.sparsity == 0)]
    scores = scores.merge(dense[["task", "seed", "accuracy"]], on=["task", "seed"], how="left")
    scores["drop"] = scores.accuracy_y - scores.accuracy_x
    training = results.training_losses(found)
    training = training[training.task.isin(PAPER_TASKS)]
    pretraining = results.pretraining_losses(found[found.metric == "loss"]).assign(task=PRETRAINING)
    parts = {
        "accuracy": scores.rename(columns={"accuracy_x": "value"}),
        "training loss": training.rename(columns={"loss": "value"}),
        "pre-training loss": pretraining.rename(columns={"loss": "value"}),
    }
    columns = ["arm", "sparsity", "task", "quantity", "seed", "value", "drop"]
    return pd.concat(
        [part.assign(quantity=name).reindex(columns=columns) for name, part in parts.items()]
    )


def _of_table2(found: Rows) -> pd.DataFrame:
    """Movement of the whole model after the last epoch, by task and learning rate."""
    dense = found[
        (found.arm == PRUNE_PRETRAIN) & (found.sparsity == 0) & (found.task != PRETRAINING)
    ]
    moved = dense[dense.metric.isin(["movement_mean", "movement_std"]) & (dense.part == "")]
    last = of_usual_length(rows.final(moved))
    return last[["task", "learning_rate", "metric", "seed", "value"]]


def _of_table3(found: Rows) -> pd.DataFrame:
    """Mean and standard deviation of the dense model's weights, by matrix."""
    dense = found[
        (found.arm == PRUNE_PRETRAIN) & (found.sparsity == 0) & (found.task == PRETRAINING)
    ]
    weights = rows.final(dense[dense.metric.isin(["weight_mean", "weight_std"])])
    return weights.rename(columns={"part": "matrix"})[["matrix", "metric", "seed", "value"]]
