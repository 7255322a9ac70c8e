"""What was found, in words: the sentences that chapters begin with.

Each function takes the studies that a chapter shows, in any order, and gives Markdown that the last
line of a notebook's cell shows, with a sentence or two for each study:

    from bertprune.book.pages import findings

    findings.results(shown.studies)  # How much can be pruned?
    findings.information(studies)    # Is information lost, or capacity?
    findings.timing(studies)         # When to prune?
    findings.weights(studies)        # Which weights are pruned?
    findings.saving(studies)         # What does pruning save?
    findings.by_verdict(studies)     # The claims one by one
    findings.of_claims(studies, "C5")  # Some claims
    findings.embeddings(studies)     # Which word embeddings are pruned?
    findings.agreement(studies)      # Do a study's drops agree with the paper's?

Numbers and verdicts are those of rows and rules. Words say what these say and no more: that no
effect is detected never becomes that there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from IPython.display import Markdown

from bertprune.base.errors import UserError
from bertprune.base.words import SPACE, counted, listed, percent, signed
from bertprune.book.side_by_side import Shown
from bertprune.evidence.claims import BY_KEY, ON_ACCURACY, ON_WEIGHTS
from bertprune.evidence.claims.chance import POWER
from bertprune.evidence.claims.claim import (
    FAILS,
    HOLDS,
    OPEN,
    UNTESTED,
    Finding,
    of_all,
    points,
)
from bertprune.evidence.claims.measured import Measured
from bertprune.evidence.paper.agreement import overall
from bertprune.evidence.paper.beside_ours import numbers
from bertprune.evidence.regimes.effects import AT_EACH, EFFECTS, Size
from bertprune.evidence.scores import bits, pretraining_losses, with_bits
from bertprune.experiments.studies import Study
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING, Metric, Split, final, where
from bertprune.speed.bench import published_benchmark
from bertprune.speed.bench.quantities import SPEED_UP, by_sparsity

_VERDICTS = {
    "C1": {
        HOLDS: "Pruning to {at} does no harm that matters",
        FAILS: "Pruning to {at} or less does harm",
        OPEN: "Whether pruning to {at} does harm is undecided",
    },
    "C2": {
        HOLDS: "At {at}, what is lost is information",
        FAILS: "At {at}, lost information does not explain the whole loss",
        OPEN: "Whether lost information explains the whole loss at {at} is undecided",
    },
    "C3": {
        HOLDS: "At {at}, capacity is missing too, most for tasks with much training data",
        FAILS: "At {at}, capacity is not missing as the paper claims",
        OPEN: "Whether capacity is missing too at {at} is undecided",
    },
    "C7": {
        HOLDS: "Pruning after fine-tuning is no better than while pre-training",
        FAILS: "Pruning after fine-tuning is better than while pre-training",
        OPEN: "Whether pruning after fine-tuning is better than while pre-training is undecided",
    },
    "C11": {
        HOLDS: "Magnitude tells which to prune: pruning at random is worse at every sparsity",
        FAILS: "At some sparsity, small weights are no better to prune than random ones",
        OPEN: "Whether pruning at random is worse at every sparsity is undecided",
    },
}
"""What is said of a claim, by its verdict; `{at}` stands for the sparsities."""


@dataclass(frozen=True, eq=False)
class Source:
    """Where numbers are from: a study, or the paper."""

    name: str
    """In the middle of a sentence."""
    measured: Measured
    study: Study | None = None
    """None for the paper."""

    def finding(self, key: str) -> Finding:
        """What the rule of a claim finds in it."""
        return BY_KEY[key].of(self.measured)

    def size(self, effect: str) -> Size | None:
        """How large an effect of EFFECTS is, over all sparsities that the source has."""
        of = EFFECTS[effect]
        return of.size(self.measured, of.levels(self.measured))

    def shown(self, effect: str) -> str:
        """The same in words: `+2.00 points [−0.28, +4.28]`."""
        size = self.size(effect)
        if size is None:
            return "not measured"
        number, bracket, bounds = bounded(size).partition(" [")
        return f"{number} {EFFECTS[effect].unit}{bracket}{bounds}"

    def at(self, effect: str) -> str:
        """The sparsities that this is over."""
        return over(EFFECTS[effect].levels(self.measured))


def sources_of(studies: Iterable[Shown]) -> list[Source]:
    """What studies measured, those of real text first."""
    ordered = sorted(studies, key=lambda one: one.study.has_language())
    return [Source(_in_a_sentence(one.study.title), one.measured, one.study) for one in ordered]


def _in_a_sentence(title: str) -> str:
    return title[0].lower() + title[1:] if title.startswith(("The ", "A ", "An ")) else title


def begun(text: str) -> str:
    """`text` as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def keys_with(of: Source, keys: Iterable[str], verdict: str) -> list[str]:
    """Those of the claims `keys` that have this verdict."""
    return [key for key in keys if of.finding(key).verdict == verdict]


def counts(of: Source, keys: Iterable[str]) -> str:
    """How many of the claims `keys` have each verdict: `1 holds (C4), none is refuted, and 7 are
    undecided`."""
    found = {one: keys_with(of, keys, one) for one in (HOLDS, FAILS, OPEN, UNTESTED)}
    held, refuted, left_open, untested = map(len, found.values())
    said = [
        f"{held or 'none'} {'holds' if held < 2 else 'hold'}{_named(found[HOLDS])}",
        f"{refuted or 'none'} {'is' if refuted < 2 else 'are'} refuted{_named(found[FAILS])}",
        f"{left_open or 'none'} {'is' if left_open < 2 else 'are'} undecided",
        f"{untested} {'was' if untested < 2 else 'were'} not tested" if untested else "",
    ]
    *before, last = filter(None, said)
    return f"{listed(before)}, and {last}"


def _named(keys: Sequence[str]) -> str:
    return f" ({listed(keys)})" if keys else ""


def bounded(size: Size) -> str:
    """`+2.00 [−0.28, +4.28]`; without bounds where nothing but the seed is left to chance."""
    return points(size.estimate, 1, "")


def over(levels: Sequence[float]) -> str:
    """Sparsities in words: `50 %`, `70 to 90 %`."""
    if len(levels) < 2:
        return listed(map(percent, levels))
    return f"{100 * levels[0]:g} to {percent(levels[-1])}"


def detectable(size: Size | None) -> str:
    """The smallest effect that is detectable (see `Estimate.detectable`), in points."""
    if size is None or not 0 < size.estimate.detectable < math.inf:
        return "unknown"
    return f"{size.estimate.detectable:.1f} points"


# Chapters.


def results(studies: Iterable[Shown]) -> Markdown:
    """How much can be pruned?"""
    return _answers(
        studies,
        lambda of: (
            _first_losses(of),
            _verdict(
                of,
                *("C1", "low"),
                f"Accuracy changes by {of.shown('low')}, and pre-training loss by "
                f"{of.shown('loss')}.",
            ),
            no_transfer(of) or f"The transfer that there is to lose is {of.shown('transfer')}.",
        ),
    )


def information(studies: Iterable[Shown]) -> Markdown:
    """Is information lost, or capacity?"""
    return _answers(
        studies,
        lambda of: (
            *(
                _verdict(of, key, f"{where}, masks off", f"{found.says} ({found.n}.)")
                for key, where in (("C2", "middle"), ("C3", "high"))
                for found in [of.finding(key)]
            ),
            *_bits_kept(of),
        ),
    )


def timing(studies: Iterable[Shown]) -> Markdown:
    """When to prune?"""
    return _answers(
        studies,
        lambda of: (
            _verdict(
                of,
                *("C7", "late"),
                f"It changes accuracy by {of.shown('late')} beyond equal training.",
            ),
            *_also(of, "C8", "C10"),
        ),
    )


def weights(studies: Iterable[Shown]) -> Markdown:
    """Which weights are pruned?"""
    return _answers(
        studies,
        lambda of: (
            _verdict(
                of,
                *("C11", "random"),
                f"At {of.at('random')}, random pruning changes accuracy by {of.shown('random')} "
                "against magnitude pruning.",
            ),
            *_also(of, "C9", "C12"),
        ),
    )


def saving(studies: Iterable[Shown]) -> Markdown:
    """What does pruning save?"""
    on_disk = _answers(studies, lambda of: (_saved_on_disk(of),))
    return Markdown(f"{on_disk.data}\n\n**In time.** {_saved_in_time()}")


def by_verdict(studies: Iterable[Shown]) -> Markdown:
    """The claims one by one."""
    groups = {"about accuracy": ON_ACCURACY, "about weights": ON_WEIGHTS}
    return _answers(
        studies,
        lambda of: filter(
            None,
            [
                f"Of the {len(claims)} claims {about}, {counts(of, [one.key for one in claims])}."
                for about, claims in groups.items()
            ]
            + [no_transfer(of)],
        ),
    )


def of_claims(studies: Iterable[Shown], *keys: str) -> Markdown:
    """What was found on some claims."""
    return _answers(studies, lambda of: _also(of, *keys))


def embeddings(studies: Iterable[Shown]) -> Markdown:
    """Which word embeddings are pruned?"""
    return _answers(studies, lambda of: (_pruned_embeddings(of),))


def agreement(studies: Iterable[Shown]) -> Markdown:
    """Do a study's drops agree with the paper's?"""
    return _answers(studies, lambda of: (overall(numbers(of.measured.rows)["table1"]),))


def _answers(studies: Iterable[Shown], answer: Callable[[Source], Iterable[str]]) -> Markdown:
    """A paragraph for each study, or a list where there are several answers."""
    paragraphs = []
    for of in sources_of(studies):
        said, name = list(answer(of)), f"**{begun(of.name)}.**"
        listed_below = "\n".join([name, "", *(f"- {one}" for one in said)])
        paragraphs.append(listed_below if len(said) > 1 else f"{name} {said[0]}")
    return Markdown("\n\n".join(paragraphs))


def _verdict(of: Source, key: str, effect: str, numbers: str) -> str:
    """What a claim comes to, the `numbers` that it is about, and where it is undecided the smallest
    effect that would be detected; or why it was not tested."""
    finding = of.finding(key)
    if finding.verdict == UNTESTED:
        return f"Claim {key} was not tested: {finding.reason}."
    lead = _VERDICTS[key][finding.verdict].format(at=of.at(effect))
    more = ""
    if finding.verdict == OPEN:
        could = f"The smallest change that is detectable with {percent(POWER)} power is"
        more = f" {could} {detectable(of.size(effect))}."
    elif finding.reason:
        more = f" {begun('refuted: ' * (finding.verdict == FAILS) + finding.reason)}."
    return f"{lead} ({key}). {numbers}{more}"


def _also(of: Source, *keys: str) -> Iterable[str]:
    """What was found on claims that are not about one of the EFFECTS, in the claims' own words."""
    joints = {FAILS: ", since ", OPEN: ". Open is ", UNTESTED: ", since "}
    for key in keys:
        finding = of.finding(key)
        claim, joint = BY_KEY[key].says.rstrip("."), joints.get(finding.verdict)
        why = f"{joint}{finding.reason}" if joint else ""
        yield f"“{claim}” ({key}): {finding.verdict}{why}. {begun(finding.says)}".rstrip()


def no_transfer(of: Source) -> str:
    """That no transfer is detected, and what follows; nothing where some is."""
    size, above = of.size("transfer"), of.size("above scratch")
    if size is None or size.estimate.lower > 0:
        return ""
    but = (
        f" It is {of.shown('above scratch')} above one that was never pre-trained." if above else ""
    )
    return (
        "On average the dense model is not detectably better than the best baseline without "
        "pre-training: majority class, bag of words, or a BERT never pre-trained "
        f"({of.shown('transfer')}).{but} So it cannot be shown here that an effect is "
        "small beside what pre-training brings."
    )


def _first_losses(of: Source) -> str:
    """From where pruning costs something, as far as it is detected at each sparsity by itself."""
    losses, rises, gains = (
        [percent(at) for at in _detected(of, effect, sign)]
        for effect, sign in ((PRUNE_PRETRAIN, -1), ("loss", 1), (PRUNE_PRETRAIN, 1))
    )
    gained = f" At {listed(gains)} a gain of accuracy is detected." if gains else ""
    return (
        f"A loss of accuracy is first detected at {next(iter(losses), 'no sparsity')}, a rise of "
        f"the pre-training loss at {next(iter(rises), 'no sparsity')}.{gained}"
    )


def _detected(of: Source, effect: str, sign: int) -> list[float]:
    """The sparsities at which an effect of AT_EACH is detected that has this sign."""
    sizes = AT_EACH[effect].at_each(of.measured)
    return [at for at, one in sizes.items() if one.is_detected and sign * one.estimate.mean > 0]


def bits_kept(of: Source) -> dict[float, float]:
    """Of the bits that dense models recall, the share that pruned ones still recall, by sparsity,
    one of each of the paper's ranges; empty where no model was asked."""
    try:
        recalled = where(bits(of.measured.rows), sort="all", arm=PRUNE_PRETRAIN)
    except UserError:
        return {}
    means = recalled.groupby("sparsity").bits.mean()
    return {at: means[at] / means[0.0] for at in (0.3, 0.5, 0.7) if {0.0, at} <= set(means.index)}


def _bits_kept(of: Source) -> Iterable[str]:
    """How much of what the dense model knows pruned ones know; nothing where no model was asked."""
    kept = bits_kept(of)
    if not kept:
        return
    losses = with_bits(pretraining_losses(of.measured.rows), bits(of.measured.rows))
    shares = listed(f"{of_all(share)} at {percent(at)}" for at, share in kept.items())
    yield (
        f"Of the bits that dense models recall, pruned ones still recall {shares}. The rank "
        "correlation of bits and pre-training loss, over all models, is "
        f"{signed(losses.loss.corr(losses.bits, method='spearman'), 2)}."
    )


def _pruned_embeddings(of: Source) -> str:
    """How much is pruned of short subwords and of long ones, and of single dimensions, at the
    sparsity that is nearest to a half."""
    shares = where(of.measured.rows, split=Split.EMBEDDINGS, metric=Metric.PRUNED_SHARE)
    shares = where(final(shares), task=PRETRAINING, arm=PRUNE_PRETRAIN)
    if shares.empty:
        return "It was not measured."
    at = min(shares.sparsity.unique(), key=lambda one: abs(one - 0.5))
    shares = where(shares, sparsity=at)
    by_length = where(shares, part="subword").groupby("position").value.mean()
    by_dimension = shares[shares.part.str.startswith("dimension ")].groupby("part").value.mean()
    said = f"A model pruned to {percent(at)} loses"
    if len(by_length):
        first, last = by_length.index.min(), by_length.index.max()
        said += (
            f" {of_all(by_length[first])} of the embeddings of subwords with "
            f"{counted(int(first), 'character')}, and {of_all(by_length[last])} with {last:g}"
        )
    if len(by_dimension):
        ends = f"{of_all(by_dimension.min())} to {of_all(by_dimension.max())}"
        said += f"{'; ' if len(by_length) else ' '}of single dimensions {ends}"
    return f"{said}."


def _saved_on_disk(of: Source) -> str:
    """By sparsity."""
    sizes = where(of.measured.rows, arm=PRUNE_PRETRAIN, metric=Metric.STORAGE_BYTES)
    means = final(sizes).pivot_table(index="sparsity", columns="part", values="value") / 1e6
    if not {"dense float32", "sparse float32"} <= set(means):
        return "Bytes on disk were not counted."
    shares = (means["sparse float32"] / means["dense float32"]).round(2)
    said = (
        f"{percent(shares[at])} at {percent(at)}" for at in (0.5, 0.7, 0.9) if at in shares.index
    )
    dense = means["dense float32"].iloc[0]
    return (
        f"A dense model takes {dense:.2g}{SPACE}MB on disk. Stored sparse, a pruned one takes "
        f"{listed(said)} of that."
    )


def _saved_in_time() -> str:
    """Whether sparse products were faster anywhere, in the published benchmark."""
    try:
        ratios = by_sparsity(published_benchmark.read().rows, SPEED_UP)
    except UserError:
        ratios = pd.DataFrame()
    if ratios.empty:
        return "It was not measured."
    best, faster = ratios.sort_values("value").iloc[-1], ratios[ratios.value > 1]
    lead = f"faster than dense ones from {percent(faster.sparsity.min())} on" if len(faster) else ""
    return (
        f"Sparse matrix products were {lead or 'nowhere faster than dense ones'}, up to "
        f"{percent(ratios.sparsity.max())} of sparsity. The best was {best.value:.2f} times as "
        f"fast, at {percent(best.sparsity)} in {best['size']}."
    )
