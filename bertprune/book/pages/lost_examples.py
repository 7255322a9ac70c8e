"""Which examples are lost: how answers flip between a dense model and a pruned one.

Some answers flip whatever is done: two dense models of different seeds do not get the same
examples right. So what pruning flips stands beside what another seed flips. A pruned model has the
BERT of its dense one, so that another BERT flips more than chance alone does in such a pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from bertprune.base.errors import UserError
from bertprune.base.shown import Prose, Sentence
from bertprune.base.words import NOTHING, SPACE, percent
from bertprune.data.tasks import find_task, load_task
from bertprune.evidence.answers import Answers
from bertprune.evidence.scores import without_own
from bertprune.experiments.studies import Study
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.notebook_parameters import Finetune
from bertprune.protocol.rows import where

OUTCOMES = ("kept", "lost", "gained", "both wrong")
"""Right before and after; before alone; after alone; never."""

PRUNED, ANOTHER_SEED, ANOTHER_BERT = "pruned", "another seed", "another BERT"
"""What the second of two models differs in from the first, which is dense: it is pruned, of the
same seed; or it is dense too, of another seed of the same BERT, or of another BERT."""

_LENGTHS = 4
"""Groups of examples by length, about as large."""


def flips(of: Answers, groups: Sequence[str] | None = None) -> pd.DataFrame:
    """How the answers to a task flip, a line for each two models and each of the `groups` (E,) of
    examples, in order of appearance; without groups all are one, "all".

    Columns: what (PRUNED, ANOTHER_SEED or ANOTHER_BERT), sparsity and seed of the second model,
    group, its number of examples, and `OUTCOMES`, shares of these. Each two dense models stand in
    both orders, so that on average they lose as many as they gain.
    """
    named = np.array(["all"] * len(of.labels) if groups is None else groups)
    names = list(dict.fromkeys(named))
    member = (named[:, None] == names).astype(float)
    right, sizes = of.right, member.sum(axis=0)
    models = without_own(where(of.models, arm=PRUNE_PRETRAIN))[["sparsity", "seed", "bert"]]
    dense = where(models, sparsity=0).reset_index()
    lines: list[tuple[object, ...]] = []
    for line, sparsity, seed, bert in models.itertuples(name=None):
        for first, _, first_seed, first_bert in dense.itertuples(index=False, name=None):
            if line == first or (sparsity and seed != first_seed):
                continue
            what = ANOTHER_SEED if bert == first_bert else ANOTHER_BERT
            before, after = right[first], right[line]
            outcomes = np.stack([before & after, before & ~after, ~before & after])
            shares = outcomes @ member / sizes
            for name, size, of_group in zip(names, sizes, shares.T, strict=True):
                place = (PRUNED if sparsity else what, sparsity, seed, name, size)
                lines.append((*place, *of_group, 1 - of_group.sum()))
    columns = ["what", "sparsity", "seed", "group", "examples", *OUTCOMES]
    return pd.DataFrame(lines, columns=columns)


def stored(answers: Mapping[str, Answers | None]) -> dict[str, Answers]:
    """The tasks with stored predictions, of dense models and pruned ones. Raises UserError if there
    are none."""
    found = {task: of for task, of in answers.items() if of and PRUNED in set(flips(of).what)}
    if not found:
        raise UserError(
            "which examples flip is not known: the runs of this study have no predictions stored, "
            "of a dense model and a pruned one of the same seed"
        )
    return found


def in_short(answers: Mapping[str, Answers | None]) -> Sentence:
    """What pruning flips, at about a half and at the most, beside what another dense model does,
    on average over tasks. Raises UserError without predictions."""
    found = pd.concat([flips(of).assign(task=task) for task, of in stored(answers).items()])
    means = found.groupby(["what", "sparsity", "task"])[["lost", "gained"]].mean()
    of = 100 * means.groupby(["what", "sparsity"]).mean()
    flipped, pruned = of.sum(axis=1), of.loc[PRUNED]
    said = [
        f"Pruning to {percent(one)} flips {flipped[PRUNED, one]:.1f}{SPACE}% of the answers: "
        f"{pruned.lost[one]:.1f}{SPACE}% are lost and {pruned.gained[one]:.1f}{SPACE}% gained."
        for one in _half_and_most(pruned.index)
    ]
    for what, (words, meaning) in _DENSE.items():
        if (what, 0.0) in of.index:
            share = f"{flipped[what, 0.0]:.1f}{SPACE}%"
            said.append(f"Two dense models {words} differ in {share} of theirs: {meaning}.")
    if (ANOTHER_SEED, 0.0) not in of.index:
        said.append("What another seed of the same BERT flips was not measured.")
    return Sentence(" ".join([*said, "All are means over tasks."]))


_DENSE = {
    ANOTHER_SEED: ("on one BERT, of different seeds,", "the noise of seeds"),
    ANOTHER_BERT: ("on different BERTs", "seeds and BERTs together"),
}


def _half_and_most(sparsities: pd.Index) -> list[float]:
    """The sparsity that is nearest to a half, and the highest."""
    return [*dict.fromkeys([min(sparsities, key=lambda one: abs(one - 0.5)), max(sparsities)])]


def flips_table(answers: Mapping[str, Answers | None]) -> pd.DataFrame:
    """How many of the dev examples are kept, lost and gained, in %, and how many of the answers
    flip: means over seeds. Raises UserError without predictions."""
    lines = []
    for task, of in stored(answers).items():
        for what, pairs in _side_by_side(flips(of)):
            pairs = pairs.assign(flipped=pairs.lost + pairs.gained)
            shares = {name: f"{100 * pairs[name].mean():.1f}" for name in (*OUTCOMES, "flipped")}
            lines.append({"task": task, "second model": what, **shares, "pairs": len(pairs)})
    return pd.DataFrame(lines).set_index(["task", "second model"])


def by_class(study: Study, answers: Mapping[str, Answers | None]) -> pd.DataFrame:
    """What is lost | gained of each class of each task, in % of its dev examples, against sparsity,
    and between two dense models. Raises UserError without predictions."""
    return _by_group(answers, _classes(study, answers), "class")


def classes_in_short(study: Study, answers: Mapping[str, Answers | None]) -> Sentence:
    """What models lose of the class of a task that loses most, and of the one that loses least.
    Raises UserError without predictions."""
    by_class = _lost(answers, _classes(study, answers)).groupby(["sparsity", "task"])
    ends = pd.DataFrame({"of the class that loses most": by_class.max()})
    return _in_two(ends.assign(**{"of the one that loses least": by_class.min()}))


def lengths_in_short(answers: Mapping[str, Answers | None]) -> Sentence:
    """What models lose of the shortest examples of a task, and of the longest. Raises UserError
    without predictions."""
    by_length = _lost(answers, _lengths(answers)).groupby(["sparsity", "task"])
    ends = pd.DataFrame({"of the shortest examples": by_length.first()})
    ends = ends.assign(**{"of the longest": by_length.last()})
    return _in_two(ends[by_length.size() > 1])


def _lost(
    answers: Mapping[str, Answers | None], groups: Mapping[str, Sequence[str]]
) -> pd.Series[float]:
    """The share that pruned models lose, by sparsity, task and group, the mean over seeds."""
    found = {
        task: where(flips(of, groups[task]), what=PRUNED) for task, of in stored(answers).items()
    }
    lines = pd.concat([of.assign(task=task) for task, of in found.items()])
    lines = lines.sort_values("group", key=lambda names: names.map(_by_number), kind="stable")
    return lines.groupby(["sparsity", "task", "group"], sort=False).lost.mean()


def _in_two(ends: pd.DataFrame) -> Sentence:
    """Two shares by sparsity and task, in words."""
    if ends.empty:
        return Sentence("")
    means, (one, two) = 100 * ends.groupby("sparsity").mean(), ends.columns
    said = (
        f"Pruned to {percent(at)}, models lose {means[one][at]:.1f}{SPACE}% {one}, and "
        f"{means[two][at]:.1f}{SPACE}% {two}."
        for at in _half_and_most(means.index)
    )
    return Sentence(" ".join([*said, "All are means over tasks."]))


def _classes(study: Study, answers: Mapping[str, Answers | None]) -> dict[str, list[str]]:
    """The class of each example of each task."""
    source = _source(study)
    return {
        task: [find_task(task, source).labels[label] for label in of.labels]
        for task, of in stored(answers).items()
    }


def _source(study: Study) -> str:
    """Where its tasks are from."""
    return next(p.task_data for run in study.plan() if isinstance(p := run.parameters, Finetune))


def by_length(answers: Mapping[str, Answers | None]) -> pd.DataFrame:
    """The same by length in tokens, of a quarter of the dev examples each, the shortest first.
    Raises UserError without predictions."""
    return _by_group(answers, _lengths(answers), "tokens")


def _lengths(answers: Mapping[str, Answers | None]) -> dict[str, list[str]]:
    """The range of lengths that each example of each task is in."""
    groups = {}
    for task, of in stored(answers).items():
        cut = pd.qcut(of.lengths.astype(int), _LENGTHS, duplicates="drop", labels=False)
        cut = np.nan_to_num(cut).astype(int)  # NaN where all are of one length.
        ends = pd.Series(of.lengths.astype(int)).groupby(cut).agg(["min", "max"])
        named = [" to ".join(map(str, dict.fromkeys(of_group))) for of_group in ends.to_numpy()]
        groups[task] = [named[at] for at in cut]
    return groups


def _by_group(
    answers: Mapping[str, Answers | None], groups: Mapping[str, Sequence[str]], name: str
) -> pd.DataFrame:
    lines = []
    for task, of in stored(answers).items():
        found = flips(of, groups[task])
        for group in sorted(set(groups[task]), key=_by_number):
            of_group = where(found, group=group)
            line = {"task": task, name: group, "examples": f"{of_group.examples.iloc[0]:,.0f}"}
            for what, pairs in _side_by_side(of_group):
                line[what] = f"{100 * pairs.lost.mean():.1f} | {100 * pairs.gained.mean():.1f}"
            lines.append(line)
    return pd.DataFrame(lines).fillna(NOTHING).set_index(["task", name])


def _side_by_side(found: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The lines of `flips` by what the second model is, in words: dense ones first."""
    for what in (ANOTHER_SEED, ANOTHER_BERT):
        if len(pairs := where(found, what=what)):
            yield what, pairs
    for sparsity, pairs in where(found, what=PRUNED).groupby("sparsity"):
        yield percent(float(str(sparsity))), pairs


def _by_number(group: str) -> tuple[int, str]:
    first = group.split()[0]
    return (int(first) if first.isdecimal() else 0), group


def lost_texts(
    study: Study, answers: Mapping[str, Answers | None], sparsity: float, count: int = 3
) -> Prose:
    """The `count` dev examples of each task that most seeds lose at a sparsity, of equals the
    first: their words, and how many of the seeds get them right, dense and pruned.

    Of a lab language alone, whose texts are free to show. Raises UserError for any other study, and
    where no predictions are stored.
    """
    study.language()
    source = _source(study)
    pruned_right = f"pruned to {percent(sparsity)}: seeds right"
    lines = []
    for task, of in stored(answers).items():
        data = load_task(task, source)
        models = without_own(where(of.models, arm=PRUNE_PRETRAIN))
        dense, pruned = where(models, sparsity=0), where(models, sparsity=sparsity)
        seeds = sorted(set(dense.seed) & set(pruned.seed))
        if not seeds:
            continue
        if len(data.dev) != len(of.labels) or (data.dev.label != of.labels).any():
            raise UserError(f"the dev set of {task} is another one than the stored predictions are")
        right = [of.right[where(at, seed=seeds).index] for at in (dense, pruned)]
        lost = (right[0] & ~right[1]).sum(axis=0)
        for place in np.argsort(-lost, kind="stable")[: min(count, (lost > 0).sum())]:
            example = data.dev.iloc[place]
            line = {
                "task": task,
                "example": " / ".join(str(example[column]) for column in data.task.columns),
                "label": data.task.labels[example.label],
                "dense: seeds right": f"{right[0][:, place].sum()} of {len(seeds)}",
                pruned_right: f"{right[1][:, place].sum()} of {len(seeds)}",
            }
            lines.append(line)
    if not lines:
        raise UserError(f"no predictions are stored at {percent(sparsity)}")
    return Prose(pd.DataFrame(lines).set_index("task").rename_axis(None))
