"""What pages of prose have in double braces: the findings of the front page, how far to trust them,
and numbers of `book/care.md`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from bertprune.base.errors import UserError
from bertprune.base.words import counted, listed, signed
from bertprune.book.pages.findings import (
    Source,
    begun,
    bounded,
    counts,
    detectable,
    keys_with,
    over,
    sources_of,
)
from bertprune.book.side_by_side import Shown
from bertprune.evidence.claims import BY_KEY, ON_ACCURACY
from bertprune.evidence.claims.claim import OPEN
from bertprune.evidence.claims.ledger import of_paper
from bertprune.evidence.claims.ranges import DENSE
from bertprune.evidence.regimes.effects import EFFECTS, Size
from bertprune.model.shape import BERT_BASE, Shape, shape_of

_CLAIMED = {
    "C1": ("low", "results", "Pruning up to {at} does no harm"),
    "C2": ("middle, masks off", "information", "At {at}, taking the masks off changes nothing"),
    "C3": (
        "high, masks off",
        "information",
        "At {at}, it helps, most on tasks with much training data",
    ),
    "C7": ("late", "timing", "Pruning after fine-tuning is no better"),
    "C11": ("random", "weights", "Random pruning is worse at every sparsity"),
}
"""The paper's main claims: the effect of EFFECTS that each is about, and the chapter on it."""

_LEFT_OUT = ("above scratch", "longer")
"""Of the table."""


def parts(studies: Iterable[Shown]) -> dict[str, str]:
    """Markdown by the names that pages have in double braces.

    Of the front page: `studies`, what they are; `verdict`, a paragraph and a line for each main
    claim; `effects`, a table of the main effects in the paper and the studies; `trust`, how far to
    trust them. Of the limits: `worth`, what pre-training is worth; `epochs`, what longer training
    alone changes; `paper`, the verdicts on the paper's own tables.
    """
    of_studies, of = sources_of(studies), Source("the paper", of_paper())
    sources = [of, *of_studies]
    levels = {name: of.levels(*(s.measured for s in sources)) for name, of in EFFECTS.items()}
    return {
        "studies": _list(map(_described, of_studies)),
        "verdict": "\n".join([_overall(of_studies), "", *_by_claim(sources, levels)]),
        "effects": "\n".join(_effects(sources, levels)),
        "trust": _list(_trust(sources, levels["low"])),
        "worth": _list(map(_worth, of_studies)),
        "epochs": _list(map(_epochs, of_studies)),
        "paper": f"By these rules and on the paper’s own tables, {counts(of, BY_KEY)}.",
    }


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _described(of: Source) -> str:
    """A study in the first sentence of its file."""
    assert of.study
    first, *_ = re.split(r"(?<=\.) ", of.study.description)
    return f"**{begun(of.name)}**: {first}"


def _overall(studies: Iterable[Source]) -> str:
    """How far studies bear out what the paper claims about accuracy."""
    about = [claim.key for claim in ON_ACCURACY]
    said = (f"In {of.name}, {counts(of, about)}." for of in studies)
    return f"The paper makes {len(about)} claims about accuracy. {' '.join(said)}"


def _by_claim(sources: Sequence[Source], levels: Mapping[str, Sequence[float]]) -> Iterable[str]:
    """A line for each main claim: its verdict in each, with the size of its effect in points."""
    for key, (effect, chapter, says) in _CLAIMED.items():
        by_verdict: dict[str, list[str]] = {}
        for of in sources:
            size = EFFECTS[effect].size(of.measured, levels[effect])
            number = f" ({_marked(signed(size.estimate.mean, 2), size)})" if size else ""
            finding = of.finding(key)
            verdict = finding.verdict if finding.n else "not tested"
            by_verdict.setdefault(verdict, []).append(of.name + number)
        said = "; ".join(f"{verdict}: {listed(names)}" for verdict, names in by_verdict.items())
        claim = says.format(at=over(levels[effect]))
        yield f"- [{claim}]({chapter}.ipynb) ({key}). {begun(said)}."


def _marked(shown: str, size: Size) -> str:
    """In bold where it is detected."""
    return f"**{shown}**" if size.is_detected else shown


def _effects(sources: Sequence[Source], levels: Mapping[str, Sequence[float]]) -> Iterable[str]:
    """The lines of the table of main effects."""
    yield f"| effect | {' | '.join(begun(of.name) for of in sources)} |"
    yield f"| --- |{' ---: |' * len(sources)}"
    for name, effect in EFFECTS.items():
        if name in _LEFT_OUT:
            continue
        cells = [_cell(of, effect.size(of.measured, levels[name])) for of in sources]
        says = begun(effect.says.format(at=over(levels[name])))
        yield f"| {says} ({effect.unit}) | {' | '.join(cells)} |"


def _cell(of: Source, size: Size | None) -> str:
    if size is None:
        return "not measured"
    shown = _marked(bounded(size), size)
    return f"{shown}, one seed" if of.study and size.seeds == 1 else shown


def _trust(sources: Sequence[Source], low: Sequence[float]) -> Iterable[str]:
    """What limits the numbers, a line each."""
    studies = [of for of in sources if of.study]
    missed = "; ".join(
        f"{of.name} {detectable(EFFECTS['low'].size(of.measured, low))}" for of in sources
    )
    yield f"**Scale.** BERT-Base has {_millions(BERT_BASE)} parameters. {_each(studies, _scale)}"
    yield (
        f"**Seeds.** {_each(studies, _seeds)} The paper prints one number for each point. The "
        "interval of one seed covers other dev examples, and no other seeds."
    )
    yield f"**BERTs.** {_each(studies, _berts)} The paper: one."
    yield " ".join(
        [
            "**What cannot be told.**",
            _each(studies, lambda of: listed(keys_with(of, BY_KEY, OPEN))),
            *filter(None, map(_no_transfer, studies)),
        ]
    )
    yield (
        "**What could be missed.** Four in five such studies would detect a change in accuracy at "
        f"{over(low)} of: {missed}."
    )


def _no_transfer(of: Source) -> str:
    """That none is detected, or nothing where some is."""
    size = of.size("transfer")
    if size is None or size.estimate.lower > 0:
        return ""
    return f"In {of.name} no transfer is detected ({bounded(size)}), so its loss cannot be told."


def _each(studies: Iterable[Source], say: Callable[[Source], str]) -> str:
    return " ".join(f"{begun(of.name)}: {say(of)}." for of in studies)


def _millions(shape: Shape) -> str:
    return f"{float(f'{shape.parameters / 1e6:.2g}'):g} million"


def _scale(of: Source) -> str:
    assert of.study
    try:
        shape = shape_of(of.study.typical().parameters)
    except UserError:
        return "unknown"
    size = f"{_millions(shape)}, in {shape.layers} layers × {shape.hidden_size}"
    return f"{size}. {of.study.caution}".rstrip(". ")


def _seeds(of: Source) -> str:
    """How many the effects are over."""
    numbers = {size.seeds for name in EFFECTS if (size := of.size(name))}
    return " to ".join(map(str, sorted({min(numbers), max(numbers)}))) if numbers else "none"


def _berts(of: Source) -> str:
    number = len(set(of.measured.berts.values()))
    if number > 1:
        return f"{number}, and intervals are for others of their kind"
    return "one, so that other BERTs may differ more than any interval says"


# Limits.


def _worth(of: Source) -> str:
    """What pre-training is worth to a study, on average and by task."""
    size = of.size("above scratch")
    if size is None:
        return f"**{begun(of.name)}**: without a model that was never pre-trained, nobody can tell."
    dense = np.nanmean(of.measured.accuracies[DENSE], axis=1)
    best = of.measured.baseline.reindex(of.measured.tasks)
    above = list(best.index[dense > best])
    return (
        f"**{begun(of.name)}**: dense minus never pre-trained is {of.shown('above scratch')}. By "
        f"task: {_by_task(size)}. The dense model's transfer is {of.shown('transfer')}. "
        f"It is above all that needs no pre-training on {listed(above) if above else 'no task'}."
    )


def _epochs(of: Source) -> str:
    """What the epochs of information deletion change where nothing is pruned."""
    size = of.size("longer")
    if size is None:
        return f"**{begun(of.name)}**: information deletion was not run at 0 %."
    return (
        f"**{begun(of.name)}**: with nothing pruned, the epochs of information deletion change "
        f"accuracy by {of.shown('longer')}. By task: {_by_task(size)}. "
        f"{counted(size.seeds, 'seed')}."
    )


def _by_task(size: Size) -> str:
    return listed(f"{task} {signed(change)}" for task, change in size.by_task.items())
