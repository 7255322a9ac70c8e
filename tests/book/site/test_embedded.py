"""What pages embed becomes files, once each, that pages link to."""

from base64 import b64encode
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from bertprune.book.site.embedded import FOLDER, take_out


def page_with(html: str, kind: str = "text/html") -> nbformat.NotebookNode:
    output = new_output("display_data", data={kind: html})
    return new_notebook(cells=[new_code_cell("1", outputs=[output])])


def test_what_is_embedded_twice_is_one_file(tmp_path: Path) -> None:
    data = b64encode(b"<svg/>").decode()
    uri = f"data:image/svg+xml;base64,{data}"
    page = page_with(f'<img src="{uri}"/><a href="{uri}" download="a.svg">a.svg</a>')
    take_out(page, "finetune/one", tmp_path)
    (file,) = (tmp_path / FOLDER).iterdir()
    assert file.suffix == ".svg" and file.read_bytes() == b"<svg/>"
    shown = page.cells[0].outputs[0].data["text/html"]
    assert shown.count(f'"../{FOLDER.as_posix()}/{file.name}"') == 2 and "base64" not in shown


def test_what_is_glued_into_another_page_is_taken_out_too(tmp_path: Path) -> None:
    uri = f"data:text/csv;base64,{b64encode(b'a').decode()}"
    page = page_with(f'<a href="{uri}">a</a>', "application/papermill.record/text/html")
    take_out(page, "results", tmp_path)
    assert [file.suffix for file in (tmp_path / FOLDER).iterdir()] == [".csv"]
