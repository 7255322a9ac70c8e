"""The front page: what was found in the paper and in the studies, and how far to trust it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from bertprune.base.errors import UserError
from bertprune.base.words import listed, signed
from bertprune.book.pages.findings import (
    Source,
    begun,
    bounded,
    detectable,
    keys_with,
    over,
    sources_of,
)
from bertprune.evidence.claims import BY_KEY, ON_ACCURACY
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN
from bertprune.evidence.claims.ledger import of_paper
from bertprune.evidence.regimes.effects import EFFECTS, Size
from bertprune.experiments.studies import Study
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

_LEFT_OUT = ("above scratch",)
"""Of the table."""


def parts(studies: Iterable[Study]) -> dict[str, str]:
    """The parts of the front page in Markdown, by the names that `book/intro.md` has in double
    braces: `verdict`, a paragraph and a line for each main claim; `effects`, a table of the main
    effects in the paper and the studies; `trust`, how far to trust them."""
    of_studies = sources_of(studies)
    sources = [Source("the paper", of_paper()), *of_studies]
    levels = {name: of.levels(*(s.measured for s in sources)) for name, of in EFFECTS.items()}
    return {
        "verdict": "\n".join([*map(_counts, of_studies), "", *_by_claim(sources, levels)]),
        "effects": "\n".join(_effects(sources, levels)),
        "trust": "\n".join(f"- {line}" for line in _trust(sources, levels["low"])),
    }


def _counts(of: Source) -> str:
    """How far a study bears out what the paper claims about accuracy."""
    about = [claim.key for claim in ON_ACCURACY]
    held, failed, left_open = (keys_with(of, about, verdict) for verdict in (HOLDS, FAILS, OPEN))
    return (
        f"Of the paper’s {len(about)} claims about accuracy, {of.name} bears out {_named(held)}, "
        f"refutes {_named(failed)}, and leaves {len(left_open)} open."
    )


def _named(keys: Sequence[str]) -> str:
    return f"{len(keys)} ({listed(keys)})" if keys else "none"


def _by_claim(sources: Sequence[Source], levels: Mapping[str, Sequence[float]]) -> Iterable[str]:
    """A line for each main claim: its verdict in each, with the size of its effect in points."""
    for key, (effect, chapter, says) in _CLAIMED.items():
        by_verdict: dict[str, list[str]] = {}
        for of in sources:
            size = EFFECTS[effect].size(of.measured, levels[effect])
            number = f" ({_marked(signed(size.estimate.mean, 2), size)})" if size else ""
            by_verdict.setdefault(of.finding(key).verdict, []).append(of.name + number)
        said = "; ".join(f"{verdict}: {listed(names)}" for verdict, names in by_verdict.items())
        claim = says.format(at=over(levels[effect]))
        yield f"- [{claim}]({chapter}.ipynb) ({key}). {begun(said)}."


def _marked(shown: str, size: Size) -> str:
    """In bold where it is detected."""
    return f"**{shown}**" if size.is_detected else shown


def _effects(sources: Sequence[Source], levels: Mapping[str, Sequence[float]]) -> Iterable[str]:
    """The lines of the table of main effects."""
    yield f"| effect | unit | {' | '.join(begun(of.name) for of in sources)} |"
    yield f"| --- | --- |{' ---: |' * len(sources)}"
    for name, effect in EFFECTS.items():
        if name in _LEFT_OUT:
            continue
        cells = [_cell(of, effect.size(of.measured, levels[name])) for of in sources]
        says = begun(effect.says.format(at=over(levels[name])))
        yield f"| {says} | {effect.unit} | {' | '.join(cells)} |"


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
    yield "**What cannot be told.** " + _each(
        studies, lambda of: listed(keys_with(of, BY_KEY, OPEN))
    )
    yield (
        "**What could be missed.** Four in five such studies would detect a change in accuracy at "
        f"{over(low)} of: {missed}."
    )


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
