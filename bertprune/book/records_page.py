"""What a book says of how its runs were made: a line on each page, and the page of all records."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from bertprune.base.words import SPACE
from bertprune.evidence import published
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import Study

PARTS = {
    "burn_in": "Before pruning",
    "prune_pretrain": "Prune during pre-training",
    "finetune": "Fine-tune",
    "information_deletion": "Information deletion",
    "prune_after_finetune": "Prune after fine-tuning",
}
"""Parts of the book with a page for each run, by notebook, in the order of the contents."""


def facts_of_run(run: Run, titles: Mapping[Run, str], places: Mapping[Run, str]) -> str:
    record = run.record()
    start = run.upstream
    other = run.compared_with
    starts = f"Starts from [{titles[start]}](../{places[start]}.ipynb). " if start else ""
    starts += f"Compared with [{titles[other]}](../{places[other]}.ipynb). " if other else ""
    return (
        f"{starts}{_duration(record.wall_time_s)} of work on {record.device}, "
        f"{_memory(record.peak_memory_bytes)} at its peak, finished {record.finished[:10]}; "
        "see [all records](../records.md)."
    )


def records_page(
    study: Study, plan: Sequence[Run], titles: Mapping[Run, str], places: Mapping[Run, str]
) -> str:
    """The page that lists every run with its record."""
    records = {run: run.record() for run in plan}
    work: defaultdict[str, float] = defaultdict(float)
    for run, record in records.items():
        work[PARTS[run.notebook]] += record.wall_time_s
    lines = [
        "# Records",
        "",
        f"Study `{study.name}`: {study.title}. {study.description}",
        "",
        f"{len(plan)} notebooks, {_duration(sum(work.values()))} of work: "
        + ", ".join(f"{part.lower()} {_duration(time)}" for part, time in work.items())
        + ". All rows that tables and figures are made of: {download}`rows.csv <rows.csv>`.",
        "",
        *_published_lines(study),
        "Execute what is missing or out of date again with",
        "",
        f"```\n{study.command('sweep')}\n{study.command('book')}\n```",
        "",
        "| run | work | memory | tries | device | code |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    lines += [
        f"| [{titles[run]}]({places[run]}.ipynb) | {_duration(record.wall_time_s)} "
        f"| {_memory(record.peak_memory_bytes)} | {record.tries} "
        f"| {record.machine} | `{record.identity['code'][:8]}` |"
        for run, record in records.items()
    ]
    lines += [
        "",
        "*Work* is the wall time of training and evaluation, in all tries where there were "
        "several; *device* has the number of threads; *code* is the hash of the code that the "
        "result depends on.",
        "",
        "## Versions",
        "",
    ]
    versions = Counter(json.dumps(record.versions) for record in records.values())
    for which, count in versions.items():
        named = ", ".join(f"{name} {version}" for name, version in json.loads(which).items())
        lines += [f"{count} runs: {named}.", ""]
    lines += ["## Whole records", ""]
    for run, record in records.items():
        shown = json.dumps(record.as_values(), indent=1)
        lines += [f":::{{dropdown}} {titles[run]}", f"```json\n{shown}\n```", ":::", ""]
    return "\n".join(lines)


def _published_lines(study: Study) -> list[str]:
    """Where the chapters about other studies come from, in Markdown."""
    others = list(published.rows_beside(study))
    if not others:
        return []
    facts = published.overview(others).reset_index().astype(str)
    # Two hyphens would become a dash.
    facts = facts.rename(columns={"changed by --set": "changed by `--set`"})
    downloads = [
        f"{{download}}`rows <published/{name}.csv>`, {{download}}`records <published/{name}.json>`"
        for name in others
    ]
    facts.insert(1, "to download", downloads)
    return [
        "The chapters about other studies are made of rows that come with the book:",
        "",
        f"| {' | '.join(facts.columns)} |",
        "| --- " * len(facts.columns) + "|",
        *(f"| {' | '.join(line)} |" for line in facts.itertuples(index=False)),
        "",
    ]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f}{SPACE}s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes}{SPACE}min"
    return f"{minutes // 60}{SPACE}h {minutes % 60}{SPACE}min"


def _memory(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.2f}{SPACE}GB"
