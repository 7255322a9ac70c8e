"""The facts of a lab language one by one: which of them BERTs still give that were pruned in one
step, and what they answer instead."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from bertprune.analysis.fact_answers import FactAnswers, ask
from bertprune.base.errors import UserError
from bertprune.base.words import counted, percent, signed
from bertprune.book.drawing.panel import SHARE_FROM_ZERO, Panel
from bertprune.book.drawing.picture import Sketch
from bertprune.book.drawing.style import PALETTE, QUIET, curve, looks
from bertprune.book.interactive.piece import Piece, Slider
from bertprune.book.side_by_side import Shown
from bertprune.lab.language import ATTRIBUTES
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import Rows, final, where

QUARTERS = 4
"""Into so many groups people are divided, by how often the text names them."""
_MIDDLE = 0.5
_RIGHT, _WRONG = PALETTE[0], PALETTE[6]
_DARKEST = 0.6
"""How opaque the colour of cells is at most, so that words in them can be read in both themes."""
_SHADES = LinearSegmentedColormap.from_list("given", [(_RIGHT, 0), (_RIGHT, _DARKEST)])
_ONE_STEP, _RECOVERED = "one step", "with recovery"
_DIGITS = "0123456789abcdef"


def explored(of: Shown) -> Piece:
    """What the BERTs that a study begins with answer to each fact (see `fact_explorer`), beside its
    models that have recovered. Raises UserError where the study begins with none, or its text is in
    no lab language."""
    spoken, name = of.study.language(), of.study.name
    models = dict.fromkeys(run.parameters.model for run in of.study.runs_of(PRUNE_PRETRAIN))
    if not models or not all(models):
        raise UserError(f"the study {name} begins with no BERT that could be asked for facts")
    recovered = final(where(of.rows, metric="facts_recall", arm=PRUNE_PRETRAIN))
    maker = (
        f"Made by {counted(len(models), 'BERT')} with which the study {name} begins, pruned in one "
        f"step and not trained after it.\n{_RECOVERED.capitalize()}: {of.maker}"
    )
    return fact_explorer(ask([*models], spoken), recovered, maker)


def fact_explorer(asked: FactAnswers, recovered: Rows, maker: str) -> Piece:
    """Which facts BERTs give that are pruned in one step, with a fact and a sparsity that a reader
    chooses. `recovered` are rows of the share of facts that recovered models give."""
    facts, most = len(asked.facts), max(_percents(asked))
    return Piece(
        facts_kept(asked, recovered).drawn(maker),
        [
            Slider("sparsity", "Sparsity", 0, most, 10, 50, " %"),
            Slider("fact", "Fact, in the order of the rows", 1, facts, 1, facts // 2),
        ],
        [_overview(asked), _bert_by_bert(asked), _answers(asked)],
        lead=facts_in_words(asked, recovered),
    )


def facts_in_words(asked: FactAnswers, recovered: Rows) -> str:
    """How many facts are given at which sparsity, and whether they are the same in all BERTs."""
    berts = len(asked.given)
    said = [
        f"Of {len(asked.facts):,} facts, {counted(berts, 'BERT')} pruned in one step, with no "
        f"training after it, still give{'s' * (berts == 1)} {_at(asked.shares.mean())}.",
        f"A guess gives {_whole(_guessed(asked))}.",
    ]
    if after := _at(recovered.groupby("sparsity").value.mean()):
        said.append(f"Models of the study that have recovered give {after}.")
    if berts > 1:
        each = pd.DataFrame(asked.kept.T).corr("spearman").to_numpy()[np.triu_indices(berts, 1)]
        mean, least, most = (signed(of, 2) for of in (each.mean(), each.min(), each.max()))
        said.append(
            f"How long two BERTs keep a fact has a rank correlation of {mean} ({least} to {most}). "
            "It would be 1 if they lost the same facts first, and 0 if that were chance."
        )
    by_quarter = where(_cells(asked), sparsity=_MIDDLE).groupby("quarter").value.mean() / 100
    few, many = _whole(by_quarter.iloc[0]), _whole(by_quarter.iloc[-1])
    said.append(
        f"At {percent(_MIDDLE)}, {few} are given about the quarter of people whom the fewest "
        f"documents name, and {many} about the quarter whom the most name."
    )
    return " ".join(said)


def _at(shares: pd.Series) -> str:
    at = [level for level in (0.3, _MIDDLE, 0.7) if level in shares]
    return ", ".join(f"{_whole(shares[level])} at {percent(level)}" for level in at)


def _whole(share: float) -> str:
    return percent(round(share, 2))


def _guessed(asked: FactAnswers) -> float:
    return 1 / len(asked.facts[0].answers)


def _ordered(asked: FactAnswers) -> pd.DataFrame:
    """The facts by kind and by how many documents name their person: kind, mentions, quarter of the
    people (from 0, whom few documents name), and place, from 1; indexed by their number."""
    kinds = pd.Categorical(np.resize(ATTRIBUTES, len(asked.facts)), ATTRIBUTES)
    facts = pd.DataFrame({"kind": kinds, "mentions": asked.mentions})
    rank = facts.groupby("kind", observed=True).mentions.rank("first", pct=True)
    facts["quarter"] = np.ceil(QUARTERS * rank).astype(int) - 1
    facts = facts.sort_values(["kind", "mentions"], kind="stable")
    return facts.assign(fact=np.arange(len(facts)) + 1)


def _cells(asked: FactAnswers) -> pd.DataFrame:
    """Right answers in per cent by group of facts and sparsity, with the first and the last place
    of the group's facts."""
    facts = _ordered(asked)
    given = pd.DataFrame(100 * asked.is_right.mean(axis=0).T, columns=[*asked.sparsities])
    long = facts.join(given).melt([*facts], var_name="sparsity")
    cells = long.groupby(["kind", "quarter", "sparsity"], observed=True, as_index=False).agg(
        value=("value", "mean"),
        first=("fact", "min"),
        last=("fact", "max"),
        few=("mentions", "min"),
        many=("mentions", "max"),
    )
    groups = zip(cells.kind, cells.pop("few"), cells.pop("many"), strict=True)
    part = [f"{kind}, person in {few} to {many} documents" for kind, few, many in groups]
    return cells.assign(kind=cells.kind.astype(str), part=part)


def facts_kept(asked: FactAnswers, recovered: Rows) -> Sketch:
    """The share of facts that BERTs give against sparsity, beside that of a study's models that
    have recovered; and the same by kind of fact and by how often the text names its person."""
    pruned = asked.shares.rename_axis("seed").reset_index().melt("seed", var_name="sparsity")
    of_study = recovered[["sparsity", "seed", "value"]]
    points = pd.concat([pruned.assign(side=_ONE_STEP), of_study.assign(side=_RECOVERED)])
    guessed = _guessed(asked)

    def given(axes: Axes, panel: Panel) -> None:
        for side, look in looks(panel.points.side.unique()).items():
            curve(axes, where(panel.points, side=side), look, label=side)
        axes.axhline(guessed, color=QUIET, ls=":", lw=1)

    return Sketch(
        "facts-kept",
        [
            Panel("facts given (dotted: by a guess)", points, given, y=SHARE_FROM_ZERO),
            Panel(
                "in one step, by kind (%)",
                _cells(asked)[["part", "kind", "sparsity", "value"]],
                _heat_map,
            ),
        ],
        alt="The share of facts that BERTs give, against sparsity, pruned in one step: "
        f"{_at(asked.shares.mean())}. Beside it a heat map of the same by kind of fact and by how "
        "many documents name the person.",
        caption=f"The share of facts given by {counted(len(asked.given), 'BERT')} pruned in one "
        "step, of all facts and by kind. Each kind has four rows, a quarter of the people each: "
        "above those whom the fewest documents of the text name. Each fact is asked for in one "
        "way here, and in three where models have recovered.",
        columns=2,
        height_inches=3.8,
    )


def _heat_map(axes: Axes, panel: Panel) -> None:
    cells = panel.points.pivot_table("value", ["kind", "part"], "sparsity", sort=False)
    rows = np.arange(len(cells))
    axes.pcolormesh(cells.columns, rows, cells, cmap=_SHADES, vmin=0, vmax=100)
    for row, given in enumerate(cells.to_numpy()):
        for sparsity, value in zip(map(float, cells.columns), given, strict=True):
            axes.text(sparsity, row, f"{value:.0f}", ha="center", va="center")
    kinds = cells.index.get_level_values("kind")
    middles = {kind: rows[kinds == kind].mean() for kind in kinds}
    axes.set_yticks([*middles.values()], [*middles], rotation=90, va="center")
    axes.tick_params(axis="y", length=0)
    for kind in middles:
        # In the colour of the page.
        axes.axhline(rows[kinds == kind][0] - 0.5, color="white", lw=2)
    axes.invert_yaxis()
    axes.grid(visible=False)


def _overview(asked: FactAnswers) -> Any:
    """The heat map, with the cell marked of the fact and the sparsity that are chosen."""
    # Here, as below, since it takes half a second, and only pages with such pieces need it.
    import altair as alt

    cells = _cells(asked)
    cells["fact"] = (cells["first"] + cells["last"]) // 2
    cells["value"] = cells.value.round().astype(int)
    cells["sparsity"] = (100 * cells.sparsity).round().astype(int)
    rows = alt.Y("kind:N", sort=None, title=None, scale=alt.Scale(paddingInner=0.12))
    base = alt.Chart(cells.drop(columns="part")).encode(x=_sparsity(), y=rows, yOffset="quarter:O")
    shade = alt.Scale(domain=[0, 100], range=[0, _DARKEST])
    here = "datum.sparsity == sparsity && datum.first <= fact && fact <= datum.last"
    chart = alt.layer(
        base.mark_rect(color=_RIGHT, cursor="pointer").encode(
            opacity=alt.Opacity("value:Q", scale=shade, legend=None)
        ),
        base.mark_text(cursor="pointer").encode(text="value:Q"),
        base.mark_rect(fillOpacity=0, stroke="currentColor", strokeWidth=3).transform_filter(here),
    )
    title = alt.Title(
        "right answers (%), by kind of fact",
        subtitle=["in each kind, people whom few documents name above;", "a click chooses a cell"],
    )
    height = 17 * len(ATTRIBUTES) * QUARTERS
    return _chosen(chart).properties(width="container", height=height, title=title)


def _bert_by_bert(asked: FactAnswers) -> Any:
    """The chosen fact's sentence, and which BERTs give it at each sparsity."""
    import altair as alt

    berts = len(asked.given)
    base = (
        alt.Chart(_facts(asked))
        .transform_filter("datum.fact == fact")
        .transform_calculate(
            place=f"sequence({berts * len(asked.sparsities)})",
            sentence="datum.asked + ' Right: ' + datum.right",
        )
        .transform_flatten(["place"])
        .transform_calculate(
            sparsity=f"{_percents(asked)}[floor(datum.place / {berts})]",
            bert=f"datum.place % {berts} + 1",
            word=_word_at(asked, "datum.place"),
        )
    )
    cells = base.encode(x=_sparsity(), y=alt.Y("bert:O", title="BERT"))
    shade = alt.condition("datum.word == datum.right", alt.value(_DARKEST), alt.value(0))
    sentence = base.transform_filter("datum.place == 0").mark_text(
        align="left", fontWeight="bold", fontSize=13
    )
    chart = alt.layer(
        cells.mark_rect(color=_RIGHT, cursor="pointer").encode(opacity=shade),
        cells.mark_rect(fillOpacity=0, stroke="currentColor").transform_filter(
            "datum.sparsity == sparsity"
        ),
        sentence.encode(x=alt.value(0), y=alt.value(-26), text="sentence:N"),
        sentence.mark_text(align="left", text="coloured: the BERT is right").encode(
            x=alt.value(0), y=alt.value(-9)
        ),
    )
    return _chosen(chart).properties(
        width="container", height=14 * berts, description="The chosen fact"
    )


def _answers(asked: FactAnswers) -> Any:
    """How many BERTs give which answer to the chosen fact at the chosen sparsity."""
    import altair as alt

    berts = len(asked.given)
    place = f"indexof({_percents(asked)}, sparsity) * {berts} + datum.bert"
    base = (
        alt.Chart(_facts(asked))
        .transform_filter("datum.fact == fact")
        .transform_calculate(bert=f"sequence({berts})")
        .transform_flatten(["bert"])
        .transform_calculate(word=_word_at(asked, place))
        .transform_aggregate(berts="count()", groupby=["right", "word"])
        .transform_window(
            rank="row_number()",
            sort=[alt.SortField("berts", "descending"), alt.SortField("word")],
        )
        .transform_calculate(
            said="datum.word + (datum.word == datum.right ? ', right' : '') + ': ' + datum.berts"
        )
        .encode(
            # The other half is for the words.
            x=alt.X("berts:Q", axis=None, scale=alt.Scale(domain=[0, 2 * berts])),
            y=alt.Y("rank:O", axis=None, scale=alt.Scale(domain=list(range(1, berts + 1)))),
        )
    )
    colour = alt.condition("datum.word == datum.right", alt.value(_RIGHT), alt.value(_WRONG))
    chart = alt.layer(
        base.mark_bar(height=12).encode(color=colour),
        base.mark_text(align="left", dx=5).encode(text="said:N"),
    )
    title = "how many BERTs give which answer"
    return _chosen(chart).properties(
        width="container", height=18 * berts, title=title, description=f"H{title[1:]}"
    )


def _chosen(chart: Any) -> Any:
    """With the parameters that the sliders move."""
    import altair as alt

    return chart.add_params(alt.param(name="sparsity", value=50), alt.param(name="fact", value=1))


def _sparsity() -> Any:
    import altair as alt

    return alt.X("sparsity:O", title="sparsity (%)", axis=alt.Axis(labelAngle=0))


def _percents(asked: FactAnswers) -> list[int]:
    return [round(100 * sparsity) for sparsity in asked.sparsities]


def _kinds(asked: FactAnswers) -> list[tuple[str, ...]]:
    """The lists of answers of which each fact has one."""
    return list(dict.fromkeys(fact.answers for fact in asked.facts))


def _word_at(asked: FactAnswers, place: str) -> str:
    """The expression of the answer at this `place` in what is given to a fact."""
    number = f"indexof('{_DIGITS}', substring(datum.given, {place}, {place} + 1))"
    return f"{json.dumps(_kinds(asked), ensure_ascii=False)}[datum.kind][{number}]"


def _facts(asked: FactAnswers) -> Any:
    """A line for each fact, in order: its sentence, and `given`, a digit for each answer, BERT
    after BERT at each sparsity. As CSV it takes a fifth of the room."""
    import altair as alt

    kinds = _kinds(asked)
    lines = []
    for place, number in enumerate(_ordered(asked).index, start=1):
        fact = asked.facts[number]
        sentence = fact.questions[0].replace("[MASK]", "___").replace(" .", ".")
        given = "".join(_DIGITS[one] for one in asked.given[:, :, number].T.flat)
        lines.append((place, sentence, fact.answers[fact.true], kinds.index(fact.answers), given))
    columns = ["fact", "asked", "right", "kind", "given"]
    # A row of digits is no number.
    parse = dict(zip(columns, ("number", "string", "string", "number", "string"), strict=True))
    return alt.InlineData(
        pd.DataFrame(lines, columns=columns).to_csv(index=False, lineterminator="\n"),
        format=alt.CsvDataFormat(type="csv", parse=parse),
    )
