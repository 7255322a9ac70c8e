"""What pages of prose have in double braces: the findings of the front page, how far to trust them,
and numbers of `book/care.md`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bertprune.base.errors import UserError
from bertprune.base.words import counted, listed, percent, signed
from bertprune.book.pages.findings import (
    Source,
    begun,
    bits_kept,
    bounded,
    counts,
    detectable,
    no_transfer,
    over,
    sources_of,
)
from bertprune.book.side_by_side import Shown
from bertprune.evidence.claims import BY_KEY, ON_ACCURACY
from bertprune.evidence.claims.chance import POWER
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN, UNTESTED
from bertprune.evidence.claims.ledger import of_paper
from bertprune.evidence.claims.ranges import DENSE
from bertprune.evidence.power import published_rates
from bertprune.evidence.regimes.effects import EFFECTS, Size
from bertprune.experiments.studies import Study
from bertprune.model.shape import BERT_BASE, Shape, shape_of
from bertprune.protocol.arms import PRUNE_PRETRAIN, bert_of
from bertprune.protocol.notebook_parameters import Finetune
from bertprune.protocol.rows import where

_CLAIMED = {
    "C1": (
        "results",
        "low",
        "Up to 30–40 % of the weights can be pruned with no effect",
        "pruning",
    ),
    "C2": (
        "information",
        "middle, masks off",
        "From 40 to 60 % pruning deletes information. Fine-tuning with the masks off, so that "
        "pruned weights may grow back, changes nothing",
        "taking the masks off",
    ),
    "C3": (
        "information",
        "high, masks off",
        "From 70 % the model lacks capacity too. With the masks off, part of the accuracy comes "
        "back, most on tasks with much training data",
        "taking the masks off",
    ),
    "C7": (
        "timing",
        "late",
        "So one may prune once, before any task is known: pruning after fine-tuning is no better",
        "pruning after fine-tuning instead",
    ),
    "C11": (
        "weights",
        "random",
        "It matters which weights are pruned: random pruning is worse",
        "random pruning instead of magnitude pruning",
    ),
}
"""The paper's main claims: the chapter on each, the effect of EFFECTS that it is about, what it
says, and what changes accuracy."""

_LEFT_OUT = ("above scratch", "longer")
"""Of the table."""


def parts(studies: Iterable[Shown]) -> dict[str, str]:
    """Markdown by the names that pages have in double braces.

    Of the front page: `studies`, what they are; `claims`, the paper's main ones, with what was
    found; `verdict`, how many hold; `effects`, a table of the main ones; `trust`, how far to trust
    them. Of the
    limits: `worth`, what pre-training is worth; `epochs`, what longer training alone changes;
    `paper`, the verdicts on the paper's own tables.
    """
    of_studies, of = sources_of(studies), Source("the paper", of_paper())
    sources = [of, *of_studies]
    levels = {name: of.levels(*(s.measured for s in sources)) for name, of in EFFECTS.items()}
    return {
        "studies": _list(map(_described, of_studies)),
        "claims": "\n".join(_claims(sources, levels)),
        "verdict": _list(map(_verdict, sources)),
        "effects": "\n".join(_effects(sources, levels)),
        "trust": _list(_trust(sources)),
        "worth": _list(map(_worth, of_studies)),
        "epochs": _list(map(_epochs, of_studies)),
        "paper": f"By these rules and on the paper’s own tables, {counts(of, BY_KEY)}.",
    }


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _described(of: Source) -> str:
    """A study in the first sentence of its file, and how much of it there is."""
    assert of.study
    first, *_ = re.split(r"(?<=\.) ", of.study.description)
    return f"**{begun(of.name)}**: {first} {_extent(of, of.study)}"


def _extent(of: Source, study: Study) -> str:
    """What rows are of: `Here: 3 of 10 sparsity levels, 2 of 16 seeds, 2 of 8 BERTs.`"""
    runs = (run.parameters for run in study.runs_of(PRUNE_PRETRAIN))
    planned = [one for one in runs if isinstance(one, Finetune)]
    here = where(of.measured.rows, arm=PRUNE_PRETRAIN)
    berts = {of.measured.berts[int(seed)] for seed in here.seed.unique()}
    extents: list[tuple[str, int, set[Any]]] = [
        ("sparsity level", here.sparsity.nunique(), {one.sparsity for one in planned}),
        ("seed", here.seed.nunique(), {one.seed for one in planned}),
        ("BERT", len(berts), {bert_of(one.model, one.burn_in_seed) for one in planned}),
    ]
    said = (
        f"{number} of {counted(len(whole), what)}" if number < len(whole) else counted(number, what)
        for what, number, whole in extents
    )
    return f"Here: {listed(said)}."


def _verdict(of: Source) -> str:
    """How many of the claims about accuracy hold, and what else there is to say of them all."""
    about = counts(of, [claim.key for claim in ON_ACCURACY])
    name = begun(of.name) if of.study else f"{begun(of.name)}’s own tables"
    said = [f"**{name}**: of the paper’s {len(ON_ACCURACY)} claims about accuracy, {about}."]
    if of.study:
        said += [no_transfer(of), _deleted(of)]
    else:
        said.append("These have one seed, and with one some rules err often (see below).")
    return " ".join(filter(None, said))


def _deleted(of: Source) -> str:
    """What pruning takes of what the dense model knows; nothing where no model was asked."""
    said = [f"{percent(round(1 - kept, 3))} at {percent(at)}" for at, kept in bits_kept(of).items()]
    return f"Of the bits that dense models recall, pruning deletes {listed(said)}." if said else ""


def _claims(sources: Sequence[Source], levels: Mapping[str, Sequence[float]]) -> Iterable[str]:
    """A numbered line for each of the main claims: what it says, how large its effect is in each
    source, and what the rule makes of that."""
    for number, (key, (chapter, name, says, what)) in enumerate(_CLAIMED.items(), 1):
        sizes = ((of, EFFECTS[name].size(of.measured, levels[name])) for of in sources)
        found = [f"{_change(size)} in {of.name}" for of, size in sizes if size]
        yield f"{number}. **{says}** ([{key}]({chapter}.ipynb)). " + (
            f"At {over(levels[name])}, {what} changes accuracy by {_and(found)}. " * bool(found)
            + " ".join(_verdicts(sources, key))
        )


def _change(size: Size) -> str:
    """In points: `−1.04`, in bold where it is detected."""
    return _marked(signed(size.estimate.mean, 2), size)


def _verdicts(sources: Iterable[Source], key: str) -> Iterable[str]:
    """In which sources a claim holds, in which not, and why it is refuted."""
    found = defaultdict(list)
    for of in sources:
        finding = of.finding(key)
        why = ""
        if finding.verdict == FAILS:
            margin = f"; the margin is {finding.margin:.1f} {finding.unit}"
            why = f" ({finding.reason}{margin * (finding.margin > 0)})"
        place = of.name if of.study else f"{of.name}’s own tables"
        found[finding.verdict].append(f"in {place}{why}")
    for verdict in (FAILS, HOLDS, OPEN, UNTESTED):
        if found[verdict]:
            yield f"It {_IN_A_SENTENCE[verdict]} {_and(found[verdict])}."


_IN_A_SENTENCE = {
    FAILS: "is refuted",
    HOLDS: "holds",
    OPEN: "is undecided",
    UNTESTED: "was not tested",
}


def _and(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B, and C`."""
    *before, last = names
    return f"{listed(before)}{',' * (len(before) > 1)} and {last}" if before else last


def _line(first: str, cells: Iterable[tuple[Source, str]]) -> str:
    """Of a table with a column for each source. On a phone each cell stands in a line of its own,
    with the name of its column."""
    shown = (f'<span class="of">{begun(of.name)}:</span> {cell}' for of, cell in cells)
    return f"| {first} | {' | '.join(shown)} |"


def _marked(shown: str, size: Size) -> str:
    """In bold where it is detected."""
    return f"**{shown}**" if size.is_detected else shown


def _effects(sources: Sequence[Source], levels: Mapping[str, Sequence[float]]) -> Iterable[str]:
    """The lines of the table of main effects."""
    names = [begun(of.name) for of in sources]
    yield f"| effect | {' | '.join(names)} |"
    yield f"| --- |{' ---: |' * len(names)}"
    for name, effect in EFFECTS.items():
        if name in _LEFT_OUT:
            continue
        says = begun(effect.says.format(at=over(levels[name])))
        cells = ((of, _cell(of, effect.size(of.measured, levels[name]))) for of in sources)
        yield _line(f"{says} ({effect.unit})", cells)


def _cell(of: Source, size: Size | None) -> str:
    if size is None:
        return "not measured"
    shown = _marked(bounded(size), size)
    return f"{shown}, one seed" if of.study and size.seeds == 1 else shown


def _trust(sources: Sequence[Source]) -> Iterable[str]:
    """What limits the numbers, a line each."""
    studies = [of for of in sources if of.study]
    yield (
        f"**Scale.** BERT-Base has {_millions(BERT_BASE)} parameters, and {_embeddings(BERT_BASE)} "
        f"of what can be pruned are word embeddings. {_each(studies, _scale)}"
    )
    yield (
        f"**Seeds.** {_each(studies, _seeds)} The paper prints one number for each point. The "
        "interval of one seed covers other dev examples, and no other seeds."
    )
    yield f"**BERTs.** {_each(studies, _berts)} The paper: one."
    yield (
        "**What could be missed.** The smallest change in accuracy that is detectable with "
        f"{percent(POWER)} power: {_each(sources, _detectable)}"
    )
    yield (
        "**Rules.** They were fixed before the lab was run, and after the paper and English were "
        "known ([history](history.md), with what is weak in them). Studies were simulated with all "
        "the seeds that these are planned to have. The share with a wrong verdict, by the worst "
        "rule: "
        f"{_each(sources, _most_wrong)}"
    )


def _most_wrong(of: Source) -> str:
    """How often a rule was wrong in simulated studies of this one's planned size, at most."""
    found = published_rates.read()
    rates = found[found.study == (of.study.name if of.study else "paper")]
    wrong = rates[["wrong holds", "wrong refuted"]].max(axis=1)
    if wrong.isna().all():
        return "not simulated"
    worst = rates.iloc[int(wrong.argmax())]
    return f"{percent(round(wrong.max(), 2))} ({worst.claim}, {worst['part']})"


def _detectable(of: Source) -> str:
    size, at = of.size("low"), of.at("low")
    return f"{detectable(size)} at {at}" if size else "not measured"


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
    return (
        f"{_millions(shape)}, in {shape.layers} layers × {shape.hidden_size}. Of its weights that "
        f"can be pruned, {_embeddings(shape)} are word embeddings. {of.study.caution}"
    ).rstrip(". ")


def _embeddings(shape: Shape) -> str:
    return percent(round(shape.parts["word embeddings"] / shape.prunable, 2))


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
        f"Tasks on which it is better than every baseline without pre-training: {listed(above)}."
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
