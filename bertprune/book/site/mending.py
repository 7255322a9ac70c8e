"""What the theme and pandas leave out of HTML, and those need who do not see a page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bs4 import BeautifulSoup, Tag

_HEADINGS = ("h1", "h2", "h3", "h4")
_DESCRIPTION_CHARACTERS = 160


def mend(file: Path) -> None:
    """Mend a page of the site in place: tables get captions and headers that say what they are of,
    the page gets a description, and the theme's parts what the accessibility guidelines ask."""
    page = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
    article = page.find("article")
    if isinstance(article, Tag):
        titles: Counter[str] = Counter()
        for table in article.find_all("table"):
            _mend_headers(table)
            _add_caption(page, table, titles)
        _describe(page, article)
    _mend_theme(page)
    file.write_text(str(page), encoding="utf-8")


def _mend_headers(table: Tag) -> None:
    head = table.find("thead")
    if isinstance(head, Tag):
        _join_rows(head.find_all("tr"))
        for cell in head.find_all("th"):
            cell["scope"] = "colgroup" if int(str(cell.get("colspan", "1"))) > 1 else "col"
    for row in table.select("tbody th"):
        row["scope"] = "rowgroup" if int(str(row.get("rowspan", "1"))) > 1 else "row"
    for cell in table.find_all("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"
            del cell["scope"]


def _join_rows(rows: list[Tag]) -> None:
    """One row of heads out of two: pandas writes the names of the index below those of the
    columns."""
    if len(rows) != 2:
        return
    upper, lower = (row.find_all(["th", "td"]) for row in rows)
    names = [cell.get_text(strip=True) for cell in lower]
    index = [place for place, name in enumerate(names) if name]
    if len(upper) == len(lower) and index == list(range(len(index))):
        for place in index:
            upper[place].string = names[place]
        rows[1].decompose()


def _add_caption(page: BeautifulSoup, table: Tag, titles: Counter[str]) -> None:
    """The heading above it, with a number if it is not the first below that heading."""
    if table.find("caption"):
        return
    above = table.find_previous(_HEADINGS)
    title = above.get_text(strip=True).rstrip("#") if above else "Table"
    section = above.find_previous(_of_no_study) if above else None
    if above and section and not _of_no_study(above):
        title = f"{section.get_text(strip=True).rstrip('#')}: {title}"
    titles[title] += 1
    caption = page.new_tag("caption", attrs={"class": "visually-hidden"})
    caption.string = title if titles[title] == 1 else f"{title} ({titles[title]})"
    table.insert(0, caption)


def _of_no_study(tag: Tag) -> bool:
    """Whether it is a heading of the page itself, and not the title of one of several studies."""
    return tag.name in _HEADINGS and "study" not in tag.get_attribute_list("class")


def _describe(page: BeautifulSoup, article: Tag) -> None:
    """The first words of the page, as search engines show them."""
    first = article.find("p")
    if page.head is None or first is None or page.find("meta", attrs={"name": "description"}):
        return
    words = " ".join(first.get_text(" ", strip=True).split())
    if len(words) > _DESCRIPTION_CHARACTERS:
        words = words[:_DESCRIPTION_CHARACTERS].rsplit(" ", 1)[0] + " …"
    page.head.append(page.new_tag("meta", attrs={"name": "description", "content": words}))


def _mend_theme(page: BeautifulSoup) -> None:
    """What axe-core finds in pages of sphinx-book-theme 1.1 and sphinxcontrib-bibtex 2.7."""
    # Its label leaves out some of the words that are seen; a script writes it.
    for script in page.find_all("script"):
        if script.string and "search-button-field" in script.string:
            script.string = script.string.replace(' title="Search" aria-label="Search"', "")
    # So does that of folded code.
    for summary in page.select("details.hide > summary[aria-label]"):
        del summary["aria-label"]
    for sidebar in page.select("div.bd-sidebar-primary"):
        sidebar.attrs |= {"role": "region", "aria-label": "Contents of the book"}
    for summary in page.select("li.has-children > details > summary"):
        above = summary.find_previous("a")
        summary["aria-label"] = f"Pages below {above.get_text(strip=True) if above else ''}"
    # Deprecated roles, and a list without items.
    for entry in page.select("[role=doc-biblioentry], .citation-list[role=list]"):
        del entry["role"]
    # Whoever has no mouse scrolls what has the focus.
    for table in page.select(".pst-scrollable-table-container"):
        table["tabindex"] = "0"
