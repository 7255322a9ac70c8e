"""What a page's HTML has after mending: headers that say what they are of, captions, words for
those who search."""

from pathlib import Path

import pandas as pd
from bs4 import BeautifulSoup

from bertprune.book.site.mending import mend


def mended(tmp_path: Path, article: str) -> BeautifulSoup:
    file = tmp_path / "page.html"
    file.write_text(f"<html><head></head><body><article>{article}</article></body></html>")
    mend(file)
    return BeautifulSoup(file.read_text(), "html.parser")


def test_headers_have_a_scope_and_none_is_empty(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    page = mended(tmp_path, f"<h2>Head#</h2>{table.to_html()}{table.to_html()}")
    for header in page.find_all("th"):
        assert header.get_text(strip=True) and header["scope"] in ("col", "row")
    assert [one.get_text() for one in page.find_all("caption")] == ["Head", "Head (2)"]


def test_the_two_rows_of_heads_that_pandas_writes_are_one(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1], "b": [2]}, index=pd.Index(["x"], name="sparsity"))
    page = mended(tmp_path, table.rename_axis(columns="metric").to_html())
    rows = page.select("thead tr")
    assert [cell.get_text() for cell in rows[0].find_all("th")] == ["sparsity", "a", "b"]
    assert len(rows) == 1


def test_a_table_of_a_study_is_named_by_the_heading_above_it_too(tmp_path: Path) -> None:
    study = '<h3 class="study">Lab</h3><table><tr><td>1</td></tr></table>'
    page = mended(tmp_path, f"<h2>A</h2>{study}<h3>B</h3>{study}<h3>C</h3><table></table>")
    assert [one.get_text() for one in page.find_all("caption")] == ["A: Lab", "B: Lab", "C"]


def test_a_caption_that_is_there_stays(tmp_path: Path) -> None:
    page = mended(tmp_path, "<h2>H</h2><table><caption>Own</caption><tr><td>1</td></tr></table>")
    assert [one.get_text() for one in page.find_all("caption")] == ["Own"]


def test_the_parts_of_the_theme_have_names_and_roles_that_there_are(tmp_path: Path) -> None:
    page = mended(
        tmp_path,
        '<div class="citation-list" role="list"><div role="doc-biblioentry">A</div></div>'
        '<li class="has-children"><a href="#">Runs</a><details><summary><i></i></summary></details>'
        '</li><script>`<button class="search-button-field" '
        'title="Search" aria-label="Search">`</script>'
        '<div class="pst-scrollable-table-container"></div>',
    )
    assert not page.select("[role=list], [role=doc-biblioentry]")
    assert page.script is not None and "aria-label" not in str(page.script)
    assert page.summary is not None and page.summary["aria-label"] == "Pages below Runs"
    assert page.select(".pst-scrollable-table-container[tabindex='0']")


def test_the_first_words_describe_the_page(tmp_path: Path) -> None:
    page = mended(tmp_path, f"<h1>T</h1><p>{'word ' * 60}</p>")
    meta = page.find("meta", attrs={"name": "description"})
    assert meta is not None and 100 < len(str(meta["content"])) <= 162
    assert not mended(tmp_path, "<h1>T</h1>").find("meta")
