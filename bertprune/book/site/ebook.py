"""The book as an EPUB, and as a PDF: its chapters, without a page for each run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from bs4 import BeautifulSoup, Comment, Tag

from bertprune.base import paths, strict_yaml
from bertprune.base.errors import UserError
from bertprune.base.files import remove_folder

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SECONDS = 600
_LIST = "content.opf"


def epub(study: str) -> Path:
    """Make an EPUB of the book that was built last, by Sphinx; gives its file.

    Raises UserError where no book was built, and if Sphinx fails.
    """
    folder = paths.root() / "_build"
    built = folder / "source"
    if not (built / "_toc.yml").exists():
        raise UserError("there is no book to make an EPUB of: build it first with `make book`")
    source, work = folder / "epub-source", folder / "epub-work"
    for stale in (source, work):
        remove_folder(stale)
    shutil.copytree(built, source, symlinks=True)
    _only_chapters(source, f"bertprune-{study}")
    program = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", str(source)]
    command += ["--path-output", str(work), "--builder", "custom", "--custom-builder", "epub"]
    log = folder / "epub.log"
    with log.open("w", encoding="utf-8") as said:
        env = os.environ | {"NO_COLOR": "1"}
        root = paths.root()
        done = subprocess.run(command, cwd=root, stdout=said, stderr=said, env=env, check=False)
    made = list(work.rglob("*.epub"))
    if done.returncode or not made:
        raise UserError(f"Sphinx made no EPUB; all it said: {log}")
    file = folder / f"{study}.epub"
    _mended(made[0], file)
    for stale in (source, work):
        remove_folder(stale)
    return file


def _only_chapters(source: Path, identifier: str) -> None:
    """Leave the pages of runs out, and name the book."""
    contents = strict_yaml.read(source / "_toc.yml")
    for part in contents["parts"]:
        for chapter in part["chapters"]:
            if chapter["file"] == "records":
                chapter.pop("sections", None)
    settings = strict_yaml.read(source / "_config.yml")
    about = {"project": settings["title"], "version": "1", "epub_identifier": identifier}
    about |= {
        "epub_uid": identifier,
        "epub_show_urls": "no",
        "epub_tocdup": False,
        "suppress_warnings": ["epub"],
    }
    settings["sphinx"]["config"] |= about
    settings["html"].pop("announcement", None)
    for name, content in (("_toc.yml", contents), ("_config.yml", settings)):
        text = yaml.safe_dump(content, sort_keys=False)
        (source / name).write_text(text, encoding="utf-8")


def _mended(made: Path, file: Path) -> None:
    """Write the EPUB again with pages that are XHTML: notebooks have HTML, and links to files that
    an EPUB has not."""
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        names = set(old.namelist())
        with_formulas = set()
        # The list of its files comes last, as it says which of them have formulas.
        for name in sorted(names, key=lambda name: (name == _LIST, name != "mimetype")):
            content = old.read(name)
            if name.endswith(".xhtml") and name != "nav.xhtml":
                content = xhtml(content.decode(), name, names).encode()
                with_formulas |= {name} if b"<math" in content else set()
            if name == _LIST:
                content = _declared(content.decode(), with_formulas).encode()
            kind = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            new.writestr(name, content, kind)


def _declared(text: str, with_formulas: set[str]) -> str:
    """The list of the files of an EPUB, with those that have formulas told."""
    for name in with_formulas:
        text = text.replace(f'href="{name}"', f'href="{name}" properties="mathml"')
    return text


def xhtml(text: str, name: str, names: set[str]) -> str:
    """A page of an EPUB as XHTML, which lies at `name` among the files `names`: without scripts,
    styles of its own, and links to what is not there."""
    page = BeautifulSoup(text, "html.parser")
    for extra in page.select("script, body style, source, .played, td .of, p:has(> a[download])"):
        extra.decompose()
    # Code folds on a screen alone.
    for folded in page.select("details.hide"):
        folded.decompose()
    for caption in page.select("figure > figcaption"):
        if caption.parent:
            caption.parent.append(caption.extract())
    for cell in page.select("[valign], [role=doc-biblioentry]"):
        del cell["valign"], cell["role"]
    for comment in page.find_all(string=lambda found: isinstance(found, Comment)):
        comment.extract()
    above = Path(name).parent
    for tag, attribute in (("a", "href"), ("img", "src"), ("link", "href")):
        for element in page.find_all(tag):
            address = str(element.get(attribute, ""))
            place = os.path.normpath(above / address.partition("#")[0])
            is_elsewhere = re.match(r"[a-z]+:", address) or address.startswith("#")
            if not is_elsewhere and address and place not in names:
                element.unwrap() if tag == "a" else element.decompose()
    return str(page.decode(formatter="minimal"))


def pdf(study: str) -> Path:
    """Print the chapters of the book that was built last with Chromium, one after another, into one
    PDF; gives its file.

    Raises UserError where no book was built, no Chromium is installed, or it prints nothing.
    """
    folder = paths.root() / "_build"
    if not (folder / "html" / "index.html").exists():
        raise UserError("there is no book to print: build it first with `make book`")
    printer = browser()
    whole, file = folder / "html" / "print.html", folder / f"{study}.pdf"
    file.unlink(missing_ok=True)
    whole.write_text(joined(folder / "html", _chapters(folder / "source")), encoding="utf-8")
    profile = folder / "pdf-profile"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update"]
    options += [f"--user-data-dir={profile}", "--no-pdf-header-footer", f"--print-to-pdf={file}"]
    command = [printer, *options, whole.as_uri()]
    try:
        done = subprocess.run(command, check=False, timeout=_SECONDS, capture_output=True)
    finally:
        whole.unlink()
        shutil.rmtree(profile, ignore_errors=True)
    if not file.exists():
        raise UserError(f"{printer} printed nothing: {done.stderr.decode(errors='replace')[-300:]}")
    return file


def browser() -> str:
    """The Chromium that prints. Raises UserError where none is installed."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise UserError(
            f"Chromium prints the PDF, and is not installed here: none of {', '.join(_BROWSERS)} "
            "is on the path"
        )
    return found


def _chapters(source: Path) -> list[str]:
    contents = strict_yaml.read(source / "_toc.yml")
    parts = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return [contents["root"], *parts]


def joined(folder: Path, chapters: Sequence[str]) -> str:
    """One page of the articles of `chapters`, pages in `folder`, with their style sheets and
    without their scripts; links between them stay in it."""
    whole = BeautifulSoup(
        (folder / f"{chapters[0]}.html").read_text(encoding="utf-8"), "html.parser"
    )
    bodies = []
    for name in chapters:
        page = BeautifulSoup((folder / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        article = page.find("article")
        if not isinstance(article, Tag):
            raise UserError(f"the page {name}.html has no article")
        for link in article.select("a[href]"):
            target = re.fullmatch(r"([\w-]+)\.html(#.*)?", str(link["href"]))
            if target and target[1] in chapters:
                link["href"] = target[2] or f"#chapter-{target[1]}"
        for folded in article.select("details:not(.hide)"):
            folded["open"] = "open"
        article["id"] = f"chapter-{name}"
        bodies.append(str(article))
    for script in whole.select("script"):
        script.decompose()
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light">{whole.head}'
        f'<body class="printed"><main class="bd-content">{"".join(bodies)}</main></body></html>'
    )
