"""What a study begins with: its dense BERT, how that was pre-trained, and others of its kind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd
from IPython.display import Markdown
from markdown_it import MarkdownIt

from bertprune.base.errors import UserError
from bertprune.base.words import counted, listed
from bertprune.book.drawing.picture import Sketch
from bertprune.book.figures.training_curves import learning_curves
from bertprune.book.pages.tables import spread
from bertprune.book.side_by_side import Shown
from bertprune.evidence import baselines
from bertprune.evidence.scores import best_accuracies, pretrained_and_not, worth_pretraining
from bertprune.experiments.studies import Study
from bertprune.lab.language import language_of
from bertprune.model import loading, model_folder
from bertprune.protocol import rows
from bertprune.protocol.arms import BURN_IN, PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING, Rows

MINIATURES = (
    # Name, layers, hidden size, SST-2 (accuracy, %), CoLA (Matthews correlation × 100).
    ("BERT-Tiny", 2, 128, 83.2, 0.0),
    ("BERT-Mini", 4, 256, 85.9, 0.0),
    ("BERT-Small", 4, 512, 89.7, 27.8),
    ("BERT-Medium", 8, 512, 89.6, 38.0),
)
"""The small BERTs that Turc et al. (2019) published, with their model card's scores on GLUE's test
sets: the best of several batch sizes and learning rates, after four epochs."""


@dataclass(frozen=True)
class Card:
    """A model card as a page shows it, its headings below those of the page."""

    markdown: str

    def _repr_html_(self) -> str:
        text = re.sub(r"\A---\n.*?\n---\n", "", self.markdown, flags=re.DOTALL)
        text = re.sub(r"\A\s*# .*\n", "", text)
        page = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
        return re.sub(r"<(/?)h2>", r"<\1h4>", page)


def card(study: Study) -> Card:
    """The card of the model that `study` begins with. Raises UserError if it has none."""
    name = study.typical().parameters.model
    if not name:
        raise UserError("the study pre-trains a BERT of its own, which has a page but no card")
    folder = model_folder.local_folder(name)
    if folder is None or not (folder / loading.CARD_FILE).is_file():
        raise UserError(f"the card of {name} is not in this project")
    return Card((folder / loading.CARD_FILE).read_text(encoding="utf-8"))


def worth(studies: Iterable[Shown]) -> Markdown:
    """On which tasks the dense model of each study is better than all that does without
    pre-training, a line each; nothing of a study without such scores."""
    said = []
    for of in studies:
        try:
            paired = pretrained_and_not(of.scores)
        except UserError:
            continue
        tasks = of.baselines.index.intersection(list(paired.task.unique()))
        above = worth_pretraining(of.scores, of.baselines)
        where = f"{len(above)} of {counted(len(tasks), 'task')}"
        named = f": {listed(above)}" if 0 < len(above) < len(tasks) else ""
        if len(tasks):
            said += [
                f"**{of.study.title}.** The dense model beats every baseline on {where}{named}."
            ]
    return Markdown("\n\n".join(said))


def learning(study: Study, found: Rows) -> Sketch:
    """`pretraining_curve` drawn with room for several studies. Raises UserError as it does."""
    return replace(learning_curves(pretraining_curve(study, found)), is_quick=False)


def pretraining_curve(study: Study, found: Rows) -> Rows:
    """Rows of how the dense model was pre-trained, step by step: those that lie beside the first of
    the study's models that has any, or else means over the seeds of its own burn-ins, with what
    word frequencies alone would give. Raises UserError if there are none."""
    name = study.typical().parameters.model
    for one in filter(None, study.grid.get("model", [name])):
        folder = model_folder.local_folder(one)
        if folder is not None and (folder / loading.CURVE_FILE).is_file():
            return rows.read(folder / loading.CURVE_FILE)
    curve = rows.where(found, arm=BURN_IN, task=PRETRAINING)
    # A model that is never pre-trained is passed on after 0 steps.
    curve = pd.concat([curve[curve.step > 0], baselines.of_burn_ins(study)], ignore_index=True)
    if curve.step.nunique() < 2:
        raise UserError(f"no curve of pre-training came with {name or 'the published rows'}")
    point = [name for name in rows.COLUMNS if name not in ("seed", "value")]
    by_point = curve.groupby(point, dropna=False, sort=False, as_index=False)
    return by_point.agg(value=("value", "mean"))


def beside_miniatures(study: Study, found: Rows) -> pd.DataFrame:
    """The dense model's SST-2 (accuracy) and CoLA (Matthews correlation), in %, on the dev sets,
    beside those of published BERTs on the test sets.

    Means over seeds at the learning rate of the best dev accuracy. Raises UserError for a study
    that has neither task of GLUE.
    """
    parameters = study.typical().parameters
    if language_of(parameters.text) is not None:
        raise UserError("the tasks of a lab language have GLUE's names and nothing else of GLUE's")
    best = best_accuracies(found)
    best = rows.where(best, arm=PRUNE_PRETRAIN, sparsity=0)
    last = rows.final(rows.where(found, split=rows.Split.DEV, metric=rows.Metric.MATTHEWS))
    keys = ["arm", "sparsity", "task", "seed", "learning_rate"]
    correlations = best.merge(last[[*keys, "value"]], on=keys)
    sst2 = best[best.task == "sst2"].accuracy
    cola = correlations[correlations.task == "cola"].value
    if sst2.empty and cola.empty:
        raise UserError("the study has no dense model on SST-2 or CoLA")
    lines = [
        (name, f"{layers} × {hidden_size}", "test", f"{of_sst2:.1f}", f"{of_cola:.1f}")
        for name, layers, hidden_size, of_sst2, of_cola in MINIATURES
    ]
    lines.append((f"here ({study.name})", _shape(study), "dev", spread(sst2), spread(cola)))
    scores = ["SST-2, accuracy", "CoLA, Matthews"]
    columns = ["model", "layers × hidden size", "scored on", *scores]
    return pd.DataFrame(lines, columns=columns).set_index("model")


def _shape(study: Study) -> str:
    parameters = study.typical().parameters
    if not parameters.model:
        return f"{parameters.layers} × {parameters.hidden_size}"
    config = model_folder.config_of(parameters.model)
    return f"{config['num_hidden_layers']} × {config['hidden_size']}"
