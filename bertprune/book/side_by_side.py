"""Studies side by side: what a chapter shows of each, in one figure or one below the other."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from bertprune.base.errors import UserError
from bertprune.book.drawing.picture import Picture, Sketch, made_by
from bertprune.book.figures import Missing, own_point
from bertprune.evidence import baselines, gathering, scores
from bertprune.evidence.answers import Answers, answers_of
from bertprune.evidence.claims.ledger import Ledger, ledger, measured
from bertprune.evidence.claims.measured import Measured
from bertprune.experiments.studies import Study
from bertprune.protocol.rows import Rows


@dataclass(frozen=True, eq=False)
class Shown:
    """A study as chapters show it."""

    study: Study

    @cached_property
    def rows(self) -> Rows:
        """See `gathering.rows_of`."""
        return gathering.rows_of(self.study)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """See `scores.scores`."""
        return scores.scores(self.rows)

    @cached_property
    def losses(self) -> pd.DataFrame:
        """See `scores.pretraining_losses`."""
        return scores.pretraining_losses(self.rows)

    @cached_property
    def baselines(self) -> pd.DataFrame:
        """See `baselines.of_study`."""
        return baselines.of_study(self.study)

    @cached_property
    def answers(self) -> dict[str, Answers | None]:
        """See `answers.answers_of`."""
        return answers_of(self.study)

    @cached_property
    def measured(self) -> Measured:
        """See `ledger.measured`."""
        return measured(self.study, self.rows)

    def claims(self, *keys: str) -> Ledger:
        """The claims with these keys, or all, tested on this study."""
        return ledger(self.measured, *keys)

    @property
    def maker(self) -> str:
        """The line under a figure that says that this study made it."""
        parameters = gathering.as_shown(self.study).typical().parameters
        return made_by(f"study {self.study.name}, “{self.study.title}”", parameters)

    def _repr_html_(self) -> str:
        """Title and caution, with where its rows come from folded below them."""
        title, name, caution, description, source = map(
            html.escape,
            (
                *(self.study.title, self.study.name, self.study.caution),
                *(self.study.description, gathering.provenance(self.study, self.rows)),
            ),
        )
        return (
            f"<details><summary><b>{title}</b> (study {name}). {caution}</summary>"
            f"<p>{description}</p><p>{source}</p></details>"
        )


@dataclass(frozen=True)
class SideBySide:
    """The studies of a chapter."""

    studies: tuple[Shown, ...]
    book_of: Study

    @property
    def of_lab(self) -> SideBySide:
        """Those about a lab language."""
        of_lab = tuple(one for one in self.studies if one.study.has_language())
        return replace(self, studies=of_lab)

    @property
    def with_answers(self) -> SideBySide:
        """Those of which single answers are stored."""
        known = tuple(one for one in self.studies if any(one.answers.values()))
        return replace(self, studies=known)

    @property
    def maker(self) -> str:
        """The lines under a figure of all of them."""
        return "\n".join(one.maker for one in self.studies)

    def each(self, show: Callable[[Shown], Any]) -> Any:
        """What `show` makes of each study, a figure or a table, below its title; or one figure with
        panels for each, where each has one or two. What a study has no rows for is said to be
        missing."""
        found = {one: _made(show, one) for one in self.studies}
        sketches = {one: made for one, made in found.items() if isinstance(made, Sketch)}
        panels = {len(sketch.panels) for sketch in sketches.values()}
        if len(sketches) == len(found) > 1 and len(panels) == 1 and max(panels) <= 2:
            return self.drawn(_joined({one.study.title: of for one, of in sketches.items()}))
        shown = {
            one.study.title: replace(self, studies=(one,)).drawn(made)
            if isinstance(made, Sketch)
            else made
            for one, made in found.items()
        }
        if not shown:
            return Missing("none of these studies is about a lab language, or has what this shows")
        return Below(shown) if len(shown) > 1 else next(iter(shown.values()))

    def drawn(self, sketch: Sketch) -> Picture:
        """A figure of these studies, with who made it, and how to add a point to the study that the
        book is of, where it is one of these."""

        def commands(notebook: str) -> str:
            if self.book_of not in [one.study for one in self.studies]:
                return ""
            book = self.book_of.live_part().command("book")
            return f"{own_point(self.book_of, notebook)}\n{book}"

        return sketch.drawn(self.maker, commands)

    def _repr_html_(self) -> str:
        return "".join(one._repr_html_() for one in self.studies)


def side_by_side(namespace: Mapping[str, Any]) -> SideBySide:
    """The studies that the parameters cell of a chapter names, called with its `globals()`. Raises
    UserError for bad parameters."""
    studies = gathering.studies_of(namespace)
    # Those of real text first, as in answers and on the front page.
    ordered = sorted(studies, key=Study.has_language)
    return SideBySide(tuple(map(Shown, ordered)), book_of=studies[0])


@dataclass(frozen=True)
class Below:
    """What was made of each of several studies, by title."""

    made: Mapping[str, Any] = field(repr=False)

    def _repr_html_(self) -> str:
        return "".join(
            f'<h3 class="study">{html.escape(title)}</h3>{made._repr_html_()}'
            for title, made in self.made.items()
        )


def _made(show: Callable[[Shown], Any], one: Shown) -> Any:
    try:
        return show(one)
    except UserError as error:
        return Missing(str(error))


def _joined(sketches: Mapping[str, Sketch]) -> Sketch:
    """One figure of those of several studies, by title: a line of panels for each, or a panel.
    What is the paper's is in all of them, and stands once, at the end."""
    first, titles = next(iter(sketches.values())), list(sketches)
    panels = [
        replace(panel, title=f"{title}: {panel.title}")
        for title, sketch in sketches.items()
        for panel in sketch.panels
        if panel.source != "paper"
    ]
    panels += [panel for panel in first.panels if panel.source == "paper"]
    handles = {str(handle.get_label()): handle for of in sketches.values() for handle in of.handles}
    return replace(
        first,
        panels=panels,
        alt=f"{titles[0]}: {first.alt} Beside it the same of {', '.join(titles[1:])}.",
        caption=_told_once({title: of.caption for title, of in sketches.items()}),
        handles=list(handles.values()),
        columns=2,
    )


def _told_once(captions: Mapping[str, str]) -> str:
    """Captions as one: what all say once, and of the rest who says it."""
    sentences = {title: re.split(r"(?<=\.) ", said) for title, said in captions.items()}
    shared = _in_all(sentences.values())
    own = [
        f"{title}: {sentence}"
        for title, of in sentences.items()
        for sentence in of
        if sentence not in shared
    ]
    return " ".join([*shared, *own])


def _in_all(lists: Iterable[Sequence[str]]) -> list[str]:
    first, *others = lists
    return [one for one in first if all(one in other for other in others)]
