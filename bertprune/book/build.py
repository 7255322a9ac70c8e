"""The book: the executed notebooks of a study, with prose around them, as a web site.

A page is what its run left; nothing is executed here but the notebook of results, which reads the
runs. So what must be seen to first is that every run is whole, unaltered, and of the present code.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import yaml

from bertprune.base import paths, strict_yaml
from bertprune.base.errors import UserError, full_disk_is_user_error
from bertprune.base.files import part_of_name, remove_folder, write_json
from bertprune.base.machine import usable_cores
from bertprune.base.words import percent
from bertprune.book.figures import own_point, same_point
from bertprune.book.pages import computed_prose
from bertprune.book.pages.records import PARTS, SEED_IN_TITLES, facts_of_run, records_page
from bertprune.book.pages.tables import NOT_MEASURED
from bertprune.book.side_by_side import side_by_side
from bertprune.book.site.embedded import take_out
from bertprune.book.site.fitness import refuse_unfit
from bertprune.book.site.mending import mend
from bertprune.evidence import gathering
from bertprune.experiments import execution, studies
from bertprune.experiments.runs import NOTEBOOK_FILE, Run, to_execute
from bertprune.experiments.studies import Study
from bertprune.experiments.sweep.local import local_workers
from bertprune.protocol import notebook_parameters
from bertprune.protocol.arms import FROM_SCRATCH, arm_of, seed_of
from bertprune.protocol.notebook_parameters import Finetune, PrunePretrain
from bertprune.protocol.pruning_methods import METHODS
from bertprune.protocol.views import Chapter, View


def build(study: Study, *, live: bool = False, so_far: bool = False) -> Path:
    """Build the book of `study` into `_build/html`, with a page for each run, or of its `live` part
    alone; gives its first page. What is done `so_far` leaves out what a sweep has still to do, or
    does just now.

    Raises UserError naming every run that is not fit to print, and for a build with warnings or
    with pages that would load something from the network. The book of before is replaced only by
    a book that is whole.
    """
    part = study.live_part() if live else study
    plan = part.plan()
    if so_far:
        left = set(to_execute(plan))
        plan = [run for run in plan if run not in left]
    refuse_unfit(part, plan)
    folder = paths.root() / "_build"
    source, work = folder / "source", folder / "work"
    with full_disk_is_user_error(folder):
        for stale in (source, work):
            remove_folder(stale)
        assemble(study, part, plan, source)
        _render(source, work, folder / "book.log")
        built = work / "_build" / "html"
        _mend(built)
        if found := list(remote_assets(built)):
            raise UserError(
                "pages of the book would load from the network: " + "; ".join(found[:10])
            )
        remove_folder(folder / "html")
        built.replace(folder / "html")
        shutil.rmtree(work)
    return folder / "html" / "index.html"


# The source of the site.


def assemble(study: Study, part: Study, done: Sequence[Run], source: Path) -> None:
    """Write the source of the site: prose, chapters, a page for each of the runs that are `done` of
    the `part` of the study that was executed, contents and settings."""
    shutil.copytree(paths.root() / "book", source)
    # A chapter holds the rows of all runs, so that of many runs few chapters fit in memory at once.
    at_once = max(1, min(usable_cores(), _RUNS_IN_MEMORY // max(len(done), 1)))
    _write_chapters(study, source, at_once)
    # Records of runs are held by a process that ends before the site is made, which takes more.
    with local_workers(1) as worker:
        worker.submit(_write_runs, study, part, done, source).result()


_RUNS_IN_MEMORY = 1500
"""Of that many runs all chapters that are executed at one time may hold the rows: some 1 GB."""


def _write_chapters(study: Study, source: Path, at_once: int) -> None:
    chapters, view = execution.chapters_of(study), execution.view_of(study)
    with local_workers(min(at_once, len(chapters))) as workers:
        pages = workers.map(partial(_executed, view), chapters)
        for chapter, page in zip(chapters, pages, strict=True):
            # What was found comes first.
            page.cells.sort(key=_has_parameters)
            _write_page(source, chapter.notebook, page)


def _write_runs(study: Study, part: Study, done: Sequence[Run], source: Path) -> None:
    """Write what is told of single runs, and the contents and settings, which depend on them."""
    own = study.own_runs()
    plan = sorted([*done, *own], key=_reading_order)
    gathering.rows_of(study).to_csv(source / "rows.csv.gz", index=False)
    titles = page_titles(plan)
    titles |= {run: f"{titles[run]} (added by the reader)" for run in own}
    places = {run: f"{run.notebook}/{_slug(title)}" for run, title in titles.items()}
    of_file = studies.load(study.given_as or study.name)
    for run in plan:
        page = nbformat.read(run.folder / NOTEBOOK_FILE, as_version=4)
        _retitle(page, titles[run])
        _leave_out_unmeasured(page)
        commands = (same_point(of_file, run), own_point(study, run.notebook), part.command("book"))
        facts = facts_of_run(study, run, titles, places, commands)
        # A table below has the parameters with what they mean.
        page.cells = [cell for cell in page.cells if not _has_parameters(cell)]
        page.cells.insert(1, nbformat.v4.new_markdown_cell(facts, id="facts"))
        _write_page(source, places[run], page)
    (source / "records.md").write_text(records_page(part, plan, titles, places), encoding="utf-8")
    write_json({run.id: run.record().as_values() for run in plan}, source / "records.json")
    contents = _contents(source, [places[run] for run in plan])
    _write_yaml(contents, source / "_toc.yml")
    settings = strict_yaml.read(paths.root() / "_config.yml")
    shown = side_by_side(notebook_parameters.as_values(execution.view_of(study))).studies
    settings["parse"]["myst_substitutions"] = computed_prose.parts(shown)
    _write_yaml(settings, source / "_config.yml")


def _contents(source: Path, runs: Sequence[str]) -> dict[str, Any]:
    """The contents of the site, without chapters that this book has not. The records are the door
    to the pages of `runs`: the contents beside each page leave them out."""
    contents = strict_yaml.read(source / "_toc.yml")
    for part in contents["parts"]:
        there = [
            one
            for one in part["chapters"]
            if any((source / one["file"]).with_suffix(kind).exists() for kind in (".md", ".ipynb"))
        ]
        for chapter in there:
            if runs and chapter["file"] == "records":
                chapter["sections"] = [{"file": place} for place in runs]
        part["chapters"] = there
    return contents


def _executed(view: View, chapter: Chapter) -> nbformat.NotebookNode:
    executed = execution.execute_view(chapter, view, threads=1, forked=True)
    return nbformat.read(executed, as_version=4)


def _reading_order(run: Run) -> tuple[int, str, float]:
    """Notebooks in the order of the contents, and in each of them the dense model first."""
    p = run.parameters
    pruning = (p.method, p.sparsity) if isinstance(p, PrunePretrain) else ("", 0.0)
    return list(PARTS).index(run.notebook), *pruning


def page_titles(plan: Sequence[Run]) -> dict[Run, str]:
    """A readable title for each run, none twice."""
    several_seeds = len({seed_of(run.parameters) for run in plan}) > 1
    titles = {run: _title(run, several_seeds) for run in plan}
    for told_apart_by in (_epochs, _bert, lambda run: f" ({run.id.rpartition('-')[2]})"):
        count = Counter(titles.values())
        titles = {
            run: title if count[title] == 1 else title + told_apart_by(run)
            for run, title in titles.items()
        }
    return titles


def _epochs(run: Run) -> str:
    epochs = getattr(run.parameters, "epochs", None)
    return "" if epochs is None else f", {epochs} epoch{'s' * (epochs != 1)}"


def _bert(run: Run) -> str:
    model = run.parameters.model
    return f", BERT {Path(model).name}" if model else ""


_TITLES = {
    "burn_in": "Burn-in",
    "prune_pretrain": "Prune{how} during pre-training to {sparsity}",
    "finetune": "Fine-tune after pruning{how} to {sparsity}",
    "information_deletion": "Information deletion at {sparsity}",
    "prune_after_finetune": "Prune{how} after fine-tuning to {sparsity}",
}
_TITLES_OF_DENSE = {
    "prune_pretrain": "Pre-training without pruning",
    "finetune": "Fine-tune the dense model",
}
_TITLES_OF_RANDOM_WEIGHTS = {
    "burn_in": "Burn-in of no steps: random weights",
    "prune_pretrain": "Pre-training of no steps: random weights",
    "finetune": "Fine-tune random weights",
}


def _title(run: Run, with_seed: bool) -> str:
    p = run.parameters
    if isinstance(p, PrunePretrain):
        is_random = arm_of(p) == FROM_SCRATCH
        titles = _TITLES | (_TITLES_OF_DENSE if p.sparsity == 0 else {})
        words = {"how": METHODS[p.method].in_titles, "sparsity": percent(p.sparsity)}
    else:
        is_random, titles, words = not (p.model or p.burn_in_steps), _TITLES, {}
    titles = titles | (_TITLES_OF_RANDOM_WEIGHTS if is_random else {})
    title = titles[run.notebook].format(**words)
    if isinstance(p, Finetune):
        title += f": {', '.join(p.task)}"
    return f"{title}{SEED_IN_TITLES}{seed_of(p)}" if with_seed else title


def _slug(title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower().replace("%", "percent")).strip("-")
    return part_of_name(words)


def _retitle(page: nbformat.NotebookNode, title: str) -> None:
    first = page.cells[0]
    first.source = re.sub(r"^# .*", lambda _: f"# {title}", first.source, count=1)


def _leave_out_unmeasured(page: nbformat.NotebookNode) -> None:
    """Take sections out of which the run measured nothing: the cell that says so, and the heading
    with its words above it."""
    empty = {
        place
        for place, cell in enumerate(page.cells)
        for output in cell.get("outputs", [])
        if NOT_MEASURED in "".join(output.get("data", {}).get("text/html", ""))
    }
    page.cells = [cell for place, cell in enumerate(page.cells) if not {place, place + 1} & empty]


def _write_page(source: Path, place: str, page: nbformat.NotebookNode) -> None:
    """Write a page with its code folded, and what it embeds in files of its own."""
    tagged = {tag for cell in page.cells for tag in cell.metadata.get("tags", [])}
    if "injected-parameters" in tagged:
        # The defaults are in them too.
        page.cells = [one for one in page.cells if "parameters" not in one.metadata.get("tags", [])]
    for cell in page.cells:
        if cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            code = "Show {type}" if "hide-output" in tags else "Show code"
            prompt = "Parameters" if _has_parameters(cell) else code
            cell.metadata["tags"] = [*tags, "hide-input"]
            cell.metadata["mystnb"] = {
                "code_prompt_show": prompt,
                "code_prompt_hide": prompt.replace("Show", "Hide"),
            }
    take_out(page, place, source)
    file = source / f"{place}.ipynb"
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(page, file)


def _has_parameters(cell: nbformat.NotebookNode) -> bool:
    return not {"parameters", "injected-parameters"}.isdisjoint(cell.metadata.get("tags", ()))


def _write_yaml(content: Mapping[str, Any], file: Path) -> None:
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


# The site.


def _render(source: Path, output: Path, log: Path) -> None:
    """Run Jupyter Book, with warnings as errors."""
    # Its command line has no option for pages side by side.
    command = (
        "import functools, jupyter_book.sphinx as s; "
        f"s.build_sphinx = functools.partial(s.build_sphinx, jobs={usable_cores()}); "
        "from jupyter_book.cli.main import main; main()"
    )
    options = ["build", str(source), "--path-output", str(output), "-W", "--keep-going"]
    done = subprocess.run(
        [sys.executable, "-c", command, *options],
        cwd=paths.root(),
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
        raise UserError(
            "Jupyter Book has complaints, and a book with complaints is not built "
            f"(all it said: {log}):\n  " + "\n  ".join(said[:20] or done.stderr.splitlines()[-20:])
        )


def _mend(folder: Path) -> None:
    """Mend all pages of the site but those that come with the theme."""
    pages = [page for page in folder.rglob("*.html") if "_static" not in page.parts]
    with local_workers(min(usable_cores(), len(pages))) as workers:
        list(workers.map(mend, pages))


def remote_assets(folder: Path) -> Iterator[str]:
    """What pages and style sheets below `folder` would load from elsewhere, as `file: address`."""
    for file in sorted(folder.rglob("*.html")):
        finder = _AssetFinder()
        finder.feed(file.read_text(encoding="utf-8"))
        yield from (f"{file.relative_to(folder)}: {address}" for address in finder.found)
    for file in sorted(folder.rglob("*.css")):
        for address in _REMOTE_IN_CSS.findall(file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(folder)}: {address}"


_REMOTE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
_REMOTE_IN_CSS = re.compile(
    r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""", re.IGNORECASE
)
_REMOTE_IN_SCRIPT = re.compile(r"""["'](https?://[^"'\s]+\.(?:m?js|css))\b""", re.IGNORECASE)


class _AssetFinder(HTMLParser):
    """Finds addresses outside the page that a browser loads by itself; links in prose are not."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attributes:
            if name == "style":
                self.found += _REMOTE_IN_CSS.findall(value or "")
            loads = name in ("src", "srcset", "poster", "data", "href", "xlink:href")
            if not loads or (tag in ("a", "area") and name == "href"):
                continue
            addresses = (value or "").split(", ") if name == "srcset" else [value or ""]
            self.found += [address for address in addresses if _REMOTE.match(address)]

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.found += _REMOTE_IN_CSS.findall(data)
        if self._inside == "script":
            self.found += _REMOTE_IN_SCRIPT.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
