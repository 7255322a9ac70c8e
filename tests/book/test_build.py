"""The book: what it refuses, what it loads, and one that is built."""

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import remove_folder, write_json
from bertprune.book import build
from bertprune.book.pages import records
from bertprune.book.pages.tables import NOT_MEASURED
from bertprune.book.site import fitness
from bertprune.book.site.mathml import mathml
from bertprune.experiments import runs, studies
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import Study
from bertprune.protocol import notebook_parameters
from bertprune.protocol.record import RECORD_FILE

from ..finished import FACTS
from ..test_plain_english import MOST_WORDS, prose_of_built, sentences_of, words_of

PROJECT = Path(__file__).parents[2]
STUDY = Study(
    name="small",
    title="Small",
    description="",
    grid={"sparsity": [0.5], "task": ["sst2"]},
    arms={"prune_pretrain": {}},
)


def finish(run: Run) -> None:
    """Leave what an executed run leaves, as far as the book looks at it."""
    cell = new_code_cell("1 + 1", metadata={"papermill": {"status": "completed"}})
    notebook = new_notebook(cells=[cell], metadata={"papermill": {"exception": None}})
    run.partial_folder.mkdir(parents=True)
    file = run.partial_folder / runs.NOTEBOOK_FILE
    nbformat.write(notebook, file)
    write_json(FACTS, run.partial_folder / runs.FACTS_FILE)
    run.finish(file, 1.0)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs of STUDY, all fit to print."""
    (tmp_path / "notebooks").symlink_to(PROJECT / "notebooks")
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    made = STUDY.plan()
    for run in made:
        finish(run)
    fitness.refuse_unfit(STUDY, STUDY.plan())
    return made


def change_cell(run: Run, **values: object) -> None:
    """Change the cell of the executed notebook, and the record's hash of it."""
    file = run.folder / runs.NOTEBOOK_FILE
    notebook = nbformat.read(file, as_version=4)
    notebook.cells[0].update(values)
    nbformat.write(notebook, file)
    change_record(run, notebook_sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def change_record(run: Run, **values: object) -> None:
    file = run.folder / RECORD_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def _failed(run: Run) -> None:
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    change_cell(run, outputs=[error])


def _partial(run: Run) -> None:
    change_cell(run, metadata={"papermill": {"status": "running"}})


def _altered(run: Run) -> None:
    file = run.folder / runs.NOTEBOOK_FILE
    file.write_text(file.read_text().replace("1 + 1", "1 + 2"))


def _missing(run: Run) -> None:
    run.folder.rename(run.folder.parents[2] / "elsewhere")


def _begun(run: Run) -> None:
    _missing(run)
    run.partial_folder.mkdir(parents=True)


def _of_other(run: Run, **identity: object) -> None:
    change_record(run, identity=run.identity | identity)
    run.folder.rename(run.folder.with_name("0.50-older"))


def _of_other_code(run: Run) -> None:
    _of_other(run, code="older")


def _of_other_data(run: Run) -> None:
    _of_other(run, data={"text": "older"})


def _of_another_page(run: Run) -> None:
    change_record(run, page="older")


def _of_another_default(run: Run) -> None:
    parameters = notebook_parameters.as_values(run.parameters) | {"layers": 99}
    change_record(run, parameters=parameters)


def _without_notebook(run: Run) -> None:
    (run.folder / runs.NOTEBOOK_FILE).unlink()


def _with_a_broken_record(run: Run) -> None:
    (run.folder / RECORD_FILE).write_text("{")


@pytest.mark.parametrize(
    ("spoil", "reason", "is_removed"),
    [
        (_failed, "failed: ValueError: no", True),
        (_partial, "partial: 1 of 1 cells not completed", True),
        (_altered, "altered", False),
        (_without_notebook, "altered", False),
        (_with_a_broken_record, "cannot be read", True),
        (_missing, "never executed", False),
        (_begun, "begun, but not finished", False),
        (_of_other_code, "the code has changed", False),
        (_of_other_data, "the data have changed", False),
        (_of_another_page, "its notebook, or how it draws, has changed", False),
        (_of_another_default, "a default was a different one", False),
    ],
)
def test_an_unfit_run_is_refused_by_name(
    plan: list[Run], spoil: Callable[[Run], None], reason: str, is_removed: bool
) -> None:
    spoil(plan[1])
    with pytest.raises(UserError) as refusal:
        build.build(STUDY)
    said = str(refusal.value)
    assert "1 of its 4 runs" in said
    assert f"{plan[1].id}: " in said
    assert reason in said
    # What was trained is kept where it can be.
    assert (f"rm -r runs/{plan[1].id} && bertprune sweep small" in said) == is_removed
    assert said.endswith("bertprune sweep small")
    # What is fit is not spoken of.
    assert plan[0].id not in said
    assert plan[2].id not in said


def test_all_refusals_come_at_once(plan: list[Run]) -> None:
    _altered(plan[0])
    _missing(plan[1])
    _partial(plan[2])
    with pytest.raises(UserError) as refusal:
        build.build(STUDY)
    assert all(run.id in str(refusal.value) for run in plan[:3])


def test_a_notebook_that_failed_is_named_with_its_error(plan: list[Run]) -> None:
    """Papermill leaves it in the folder of runs in work."""
    _failed(plan[1])
    plan[1].folder.rename(plan[1].partial_folder)
    (plan[1].partial_folder / RECORD_FILE).unlink()
    with pytest.raises(UserError, match="failed: ValueError: no"):
        build.build(STUDY)


def test_the_command_that_mends_has_the_changes_of_the_study(plan: list[Run]) -> None:
    _missing(plan[0])
    study = dataclasses.replace(STUDY, changes=("seed=[0, 1]",))
    with pytest.raises(UserError, match=re.escape("bertprune sweep small --set 'seed=[0, 1]'")):
        build.build(study)


def test_titles_are_readable_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(PROJECT))
    plan = studies.load("ci", ["seed=[0, 1]"]).plan()
    titles = build.page_titles(plan)
    assert len(set(titles.values())) == len(set(map(build._slug, titles.values()))) == len(plan)
    shown = {title.replace("\N{NO-BREAK SPACE}", " ") for title in titles.values()}
    assert "Burn-in" in {title.partition(",")[0] for title in shown}
    assert "Prune during pre-training to 50 %, seed 1" in shown
    assert not any("seed" in title for title in build.page_titles(STUDY.plan()).values())


@pytest.mark.parametrize(
    "asset",
    [
        '<script src="https://x.org/a.js"></script>',
        '<script src="//x.org/a.js"></script>',
        '<script>import("https://x.org/a.js")</script>',
        '<link rel="stylesheet" href="http://x.org/a.css">',
        '<img src="https://x.org/a.png">',
        '<img srcset="a.png 1x, https://x.org/a.png 2x">',
        '<div style="background: url(https://x.org/a.png)"></div>',
        "<style>@import 'https://x.org/a.css';</style>",
        '<iframe src="https://x.org"></iframe>',
        '<svg><use xlink:href="https://x.org/a.svg#a"></use></svg>',
    ],
)
def test_what_a_page_would_load_is_found(tmp_path: Path, asset: str) -> None:
    page = tmp_path / "sub" / "page.html"
    page.parent.mkdir()
    page.write_text(f"<html><p>before</p>{asset}<p>after</p></html>")
    assert len(list(build.remote_assets(tmp_path))) == 1


def test_fonts_of_a_style_sheet_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face {src: url('https://fonts.example.org/a.woff2')}")
    assert list(build.remote_assets(tmp_path)) == ["a.css: https://fonts.example.org/a.woff2"]


def test_links_and_what_is_in_the_page_are_fine(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://aclanthology.org">paper</a> <img src="data:image/png;base64,//8A">'
        '<img srcset="data:image/svg+xml;base64,//8A"> <script src="_static/a.js"></script>'
        "<code>&lt;script src=&quot;https://x.org/a.js&quot;&gt;</code>"
    )
    assert not list(build.remote_assets(tmp_path))


def test_formulas_are_drawn_without_a_script() -> None:
    drawn = mathml(r"s + (s_0 - s)\left(1 - \frac{t}{n}\right)^3 < 1", block=True)
    assert drawn.startswith("<math alttext=")
    assert "<mfrac>" in drawn
    assert 'display="block"' in drawn
    with pytest.raises(ValueError, match="left"):
        mathml(r"\left( 1", block=False)


def test_a_section_of_what_was_not_measured_is_left_out() -> None:
    said = {"text/html": f"<p>{NOT_MEASURED}</p>"}
    empty = new_code_cell("1", outputs=[new_output("display_data", data=said)])
    kept = [new_markdown_cell("# A"), new_markdown_cell("## B"), new_code_cell("2")]
    page = new_notebook(cells=[*kept, new_markdown_cell("## C"), empty])
    build._leave_out_unmeasured(page)
    assert page.cells == kept


def test_the_page_of_records_has_every_run(plan: list[Run]) -> None:
    titles = build.page_titles(plan)
    places = {run: f"pages/{number}" for number, run in enumerate(plan)}
    page = records.records_page(STUDY, plan, titles, places)
    for run in plan:
        assert f"| [{titles[run]}]({places[run]}.ipynb) | 90.0" in page
    assert f"{len(plan)} runs: torch 2." in page
    first = next(run for run in plan if run.upstream in plan)
    facts = records.facts_of_run(STUDY, first, titles, places, ("again", "own", "book"))
    assert "Starts from [" in facts and "`small`: Small." in facts


def test_runs_that_differ_in_the_seed_share_a_line(plan: list[Run]) -> None:
    several = dataclasses.replace(STUDY, grid={**STUDY.grid, "seed": [0, 1]}).plan()
    for run in set(several) - set(plan):
        finish(run)
    titles = build.page_titles(several)
    places = {run: f"pages/{number}" for number, run in enumerate(several)}
    page = records.records_page(STUDY, several, titles, places)
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + len(plan)
    # The BERT of both.
    assert "| [Burn-in, seed 0](pages/0.ipynb) | 90.0" in page
    for run in several[1:]:
        title, seed = titles[run].split(", seed ")
        (line,) = (line for line in lines if f"| {title}, seeds [" in line)
        assert f"{title}, seed</span> {seed}]({places[run]}.ipynb)" in line
        # The work of both.
        assert "| 3\N{NO-BREAK SPACE}min |" in line


def test_rows_and_records_of_other_studies_can_be_taken_along() -> None:
    table = str(records.published_of(studies.load("lab")))
    named = set(re.findall(r"<(published/[^>]+)>", table))
    assert {"published/english.parquet", "published/english.json"} <= named
    assert all((paths.root() / "book" / name).exists() for name in named)


def test_the_book_of_ci(ci_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a part of a study, while a sweep executes the other."""
    monkeypatch.setenv("BERTPRUNE_ROOT", str(ci_project))
    whole, study = studies.load("ci", ["seed=[0, 1]"]), studies.load("ci")
    in_work = next(run for run in whole.plan() if run not in study.plan())
    with in_work.only_here():
        in_work.start_or_go_on()
        first_page = build.build(whole, so_far=True)
    remove_folder(in_work.partial_folder)
    assert first_page == ci_project / "_build" / "html" / "index.html"
    assert first_page.exists()
    folder = first_page.parent
    pages = {
        str(file.relative_to(folder)): file.read_text(encoding="utf-8")
        for file in folder.rglob("*.html")
    }
    pages = {name: page for name, page in pages.items() if not name.startswith("_static")}
    titles = build.page_titles(study.plan())
    for run, title in titles.items():
        place = f"{run.notebook}/{build._slug(title)}.html"
        assert f'href="{place}"' in pages["records.html"]
        page = pages[place]
        assert title in page
        assert run.id in page
        assert "Traceback" not in page
    # Where numbers of a study stand, and only there: that they say nothing about BERT.
    cautioned = {name for name, page in pages.items() if whole.caution in page}
    of_runs = {name for name in pages if "/" in name}
    assert cautioned >= {*of_runs, "results.html", "information.html", "records.html"}
    assert not cautioned & {"method.html", "glossary.html", "own_code.html", "bench.html"}
    assert 'alt="Change in average accuracy' in pages["intro.html"]
    assert "<strong>Continuous integration</strong>" in pages["intro.html"]
    assert not re.search(r"{{|}}", pages["intro.html"])
    assert 'alt="Lines of average dev accuracy' in pages["results.html"]
    assert "Bits recalled against sparsity" in pages["information.html"]
    assert "5,469.1" in pages["lab_language.html"]
    assert "Two checks of the lab" in pages["lab_checks.html"]
    assert "<math " in pages["method.html"]
    assert "MathJax" not in pages["method.html"]
    assert not list(build.remote_assets(folder))
    # Nothing of this machine is on the pages.
    assert not any(str(ci_project) in page for page in pages.values())
    assert (folder / "_downloads").exists()
    records = json.loads(next(folder.rglob("records.json")).read_text(encoding="utf-8"))
    assert records.keys() == {run.id for run in study.plan()}
    for name, page in pages.items():
        # Light: what pages share or embed is in files of its own.
        assert len(page) < 1_000_000 and ";base64," not in page, name
        contents = re.search(r"<nav[^>]*bd-links.*?</nav>", page, re.DOTALL)
        assert contents is None or "finetune" not in contents[0], name
        if "<article" in page:
            sentences = sentences_of(prose_of_built(page))
            assert words_of(sentences) <= MOST_WORDS, (name, sorted(sentences, key=len)[-3:])
    assert pages["records.html"].count("<") / 2 < 5000
    assert (folder / ".nojekyll").exists()
    assert 'docname.includes("/")' in (folder / "_static/language_data.js").read_text()
    for name, page in pages.items():
        for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
            assert "<caption" in table and "<th>" not in table, name


def test_a_book_without_runs_has_contents(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "book" / "_toc.yml", tmp_path)
    (tmp_path / "records.md").touch()
    (found,) = [
        part["chapters"] for part in build._contents(tmp_path, [])["parts"] if part["chapters"]
    ]
    assert found == [{"file": "records"}]
    (records,) = [
        one for part in build._contents(tmp_path, ["a/b"])["parts"] for one in part["chapters"]
    ]
    assert records["sections"] == [{"file": "a/b"}]
