"""The book in one file: pages that readers of EPUB take, and a page to print."""

import shutil
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from bertprune.base.errors import UserError
from bertprune.book.site import ebook

PROJECT = Path(__file__).parents[3]

PAGE = """# What we found

<figure class="drawn"><picture><source srcset="a.svg"/><img src="_static/a.svg" alt="A"/></picture>
<figcaption>Lines<br>of it</figcaption><p><a download="a.csv" href="a.csv">a.csv</a></p></figure>

<table><tr><td valign="top">1</td></tr></table>

[a run](finetune/some.md) and [limits](care.md).
<script>alert(1)</script>

$$x < 1$$
"""


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose book has been built, in so far as a file is made of it."""
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    source = tmp_path / "_build" / "source"
    (source / "finetune").mkdir(parents=True)
    (source / "_static").mkdir()
    (source / "_static" / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    for name in ("care", "records", "finetune/some"):
        (source / f"{name}.md").write_text(f"# Page {name}\n\nWords.\n")
    (source / "intro.md").write_text(PAGE)
    (source / "references.bib").touch()
    shutil.copy(PROJECT / "_config.yml", source)
    records = {"file": "records", "sections": [{"file": "finetune/some"}]}
    part = {"caption": "All", "chapters": [{"file": "care"}, records]}
    contents = {"format": "jb-book", "root": "intro", "parts": [part]}
    (source / "_toc.yml").write_text(yaml.safe_dump(contents, sort_keys=False))
    return tmp_path


def test_an_epub_has_the_chapters_as_xhtml(built: Path) -> None:
    file = ebook.epub("small")
    assert file == built / "_build" / "small.epub"
    with zipfile.ZipFile(file) as book:
        names = book.namelist()
        pages = {name: book.read(name).decode() for name in names if name.endswith(".xhtml")}
        assert names[0] == "mimetype" and book.infolist()[0].compress_type == zipfile.ZIP_STORED
        listed = book.read("content.opf").decode()
    assert {"intro.xhtml", "care.xhtml"} <= set(pages) and "finetune/some.xhtml" not in names
    for page in pages.values():
        ElementTree.fromstring(page.replace("&nbsp;", " "))
    intro = pages["intro.xhtml"]
    assert "<script" not in intro and "valign" not in intro and "download" not in intro
    assert 'href="care.xhtml"' in intro and "a run" in intro and "finetune/" not in intro
    # What a figure has besides its caption comes before it.
    assert intro.index("<img") < intro.index("<figcaption")
    assert "<math" in intro and 'href="intro.xhtml" properties="mathml"' in listed
    assert "Project name not set" not in listed


def test_names_of_columns_stand_in_heads_alone() -> None:
    page = '<table><tr><td><span class="of">English:</span> holds</td></tr></table>'
    assert "English" not in ebook.xhtml(page, "ledger.xhtml", set())


def test_without_a_book_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    for make in (ebook.epub, ebook.pdf):
        with pytest.raises(UserError, match="make book"):
            make("small")


def test_where_no_chromium_is_the_pdf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="Chromium prints the PDF"):
        ebook.browser()


def _site(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, link in (("intro", "care.html"), ("care", "intro.html#top")):
        article = f'<article><h1>{name}</h1><a href="{link}">x</a></article>'
        head = "<head><title>T</title><script>1</script></head>"
        page = f"<html>{head}<body><nav>menu</nav>{article}</body></html>"
        (folder / f"{name}.html").write_text(page)
    (folder / "index.html").touch()
    return folder


def test_chapters_stand_one_after_another_and_links_stay_among_them(tmp_path: Path) -> None:
    page = ebook.joined(_site(tmp_path / "html"), ["intro", "care"])
    assert page.index("<h1>intro") < page.index("<h1>care")
    assert "<script" not in page and "menu" not in page
    assert 'href="#chapter-care"' in page and 'href="#top"' in page


@pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed")
def test_chromium_prints_them(built: Path) -> None:
    site = _site(built / "_build" / "html")
    (site / "records.html").write_text("<html><head/><body><article>r</article></body></html>")
    file = ebook.pdf("small")
    assert file.read_bytes().startswith(b"%PDF-")
    assert not (site / "print.html").exists()
