"""What is said of runs from their records, in Markdown: a line on each page of a book, the page of
all records; and how any such text is made of a template that lies beside.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bertprune.base.errors import UserError
from bertprune.base.words import NOTHING, SPACE
from bertprune.evidence import published
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import Study
from bertprune.model.shape import shape_of

PARTS = {
    "burn_in": "Before pruning",
    "prune_pretrain": "Prune during pre-training",
    "finetune": "Fine-tune",
    "information_deletion": "Information deletion",
    "prune_after_finetune": "Prune after fine-tuning",
}
"""Parts of the book with a page for each run, by notebook, in the order of the contents."""

SEED_IN_TITLES = ", seed "
"""What stands before the seed in the title of a run's page, where there are several seeds."""

_TEMPLATES = Environment(
    loader=PackageLoader(__package__), undefined=StrictUndefined, keep_trailing_newline=True
)


def filled(template: str, **values: Any) -> str:
    """A template with its `values`. Raises jinja2.UndefinedError for a value too few."""
    return _TEMPLATES.get_template(f"{template}.md").render(values)


def facts_of_run(
    study: Study,
    run: Run,
    titles: Mapping[Run, str],
    places: Mapping[Run, str],
    commands: tuple[str, str, str],
) -> str:
    """What stands below the title of a run's page; `commands` do it again, add a point of the
    reader's own, and build the book."""
    try:
        shape = shape_of(run.parameters)
    except UserError:
        # A model of the Hub that is not known without a network.
        shape = None
    return filled(
        "facts",
        study=study,
        run=run,
        record=run.record(),
        titles=titles,
        places=places,
        commands=commands,
        shape=shape,
    )


def records_page(
    study: Study, plan: Sequence[Run], titles: Mapping[Run, str], places: Mapping[Run, str]
) -> str:
    """The page that lists every run with its record. Runs that differ in the seed share a line, so
    that the page of a thousand runs is light."""
    records = {run: run.record() for run in plan}
    lines: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for run, record in records.items():
        title, _, seed = titles[run].partition(SEED_IN_TITLES)
        facts = {"title": titles[run], "seed": seed, "place": places[run], "record": record}
        lines[title].append(facts)
    work: defaultdict[str, float] = defaultdict(float)
    for run, record in records.items():
        work[PARTS[run.notebook]] += record.wall_time_s
    return filled(
        "records",
        study=study,
        lines=lines,
        work=work,
        whole=len(replace(study, only={}).plan()) if study.only else 0,
        published=published_of(study),
        versions=Counter(tuple(record.versions.items()) for record in records.values()),
    )


def published_of(study: Study) -> list[dict[Hashable, Any]]:
    """Where the published rows of it and of the studies beside it come from, a line for each."""
    names = [*filter(published.is_published, [study.name]), *published.rows_beside(study)]
    if not names:
        return []
    facts = published.overview(names).reset_index().astype(str)
    # In code, names of tasks are no words of the glossary, and two hyphens no dash.
    changed = facts.pop("changed by --set")
    facts["changed by `--set`"] = [one if one == NOTHING else f"`{one}`" for one in changed]
    downloads = [
        ", ".join(
            f"{{download}}`{what} <published/{file.name}>`"
            for what, file in published.files(name).items()
        )
        for name in names
    ]
    facts.insert(1, "to download", downloads)
    return facts.to_dict("records")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f}{SPACE}s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes}{SPACE}min"
    return f"{minutes // 60}{SPACE}h {minutes % 60}{SPACE}min"


def _memory(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.2f}{SPACE}GB"


_TEMPLATES.globals |= {"duration": _duration, "memory": _memory}
