"""Fingerprints of code: what counts, and what does not."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from bertprune.base import fingerprint
from bertprune.base.errors import UserError

MAIN = '''"""Doc."""

from bertprune import helper
from bertprune.other import double

x = 1  # one


def work() -> int:
    """More."""
    return double(helper.half(x))
'''
HELPER = "def half(value: int) -> int:\n    return value // 2\n"
OTHER = "def double(value: int) -> int:\n    return 2 * value\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of its own, in which `main` reaches `helper` and `other`."""
    monkeypatch.setattr(fingerprint, "__file__", str(tmp_path / "base" / "fingerprint.py"))
    for name, text in {"main": MAIN, "helper": HELPER, "other": OTHER, "unseen": "y = 1"}.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def main(*changes: tuple[str, str]) -> dict[str, str]:
    """Modules of which `main` is another, with this for that."""
    text = MAIN
    for old, new in changes:
        text = text.replace(old, new)
    return {"main": text}


def key(package: Path, **changed: str) -> str:
    """The key of `main`, with these modules `changed`."""
    for name, text in changed.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    fingerprint._read_module.cache_clear()
    fingerprint.code_key.cache_clear()
    return fingerprint.code_key("bertprune.main")


@pytest.mark.parametrize(
    "changed",
    [
        main(("# one", "# it"), ('"""More."""', '"""Less."""')),
        main(("x = 1  # one\n\n\n", "x = 1\n")),
        {"unseen": "y = 2"},
        # A module is reached by type checkers alone.
        main(("x = 1", "if TYPE_CHECKING:\n    from bertprune import unseen\nx = 1")),
        # A definition moves to a module that is reached too.
        {**main(("bertprune.other", "bertprune.helper")), "helper": HELPER + OTHER, "other": ""},
        # A module gets another name, or its function is imported by itself.
        main(("import helper", "import helper as aid"), ("helper.half", "aid.half")),
        main(("bertprune import helper", "bertprune.helper import half"), ("helper.half", "half")),
    ],
)
def test_words_and_places_do_not_count(package: Path, changed: dict[str, str]) -> None:
    assert key(package, **changed) == key(package, main=MAIN, helper=HELPER, other=OTHER)


@pytest.mark.parametrize(
    "changed",
    [
        main(("x = 1", "x = 2")),
        {"helper": HELPER.replace("2", "3")},
        {"helper": HELPER + "unused = 1\n"},
        {"other": OTHER.replace("2 * value", "value * 2")},
        main(("double(helper.half(x))", "helper.half(x)")),
    ],
)
def test_code_that_is_reached_counts(package: Path, changed: dict[str, str]) -> None:
    assert key(package, **changed) != key(package, main=MAIN, helper=HELPER, other=OTHER)


def test_code_of_fine_tuning_is_not_that_of_pre_training() -> None:
    reached = [
        fingerprint.code_key(f"bertprune.training.{name}") for name in ("finetuning", "pretraining")
    ]
    assert reached[0] != reached[1]


TAGGED = new_code_cell("steps = 1", metadata={"tags": ["parameters"]})
PROSE = new_markdown_cell("# What of it?", metadata={"tags": ["parameters"]})


def _template(folder: Path, monkeypatch: pytest.MonkeyPatch, *cells: Any) -> Path:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(folder))
    (folder / "notebooks").mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=[*cells]), folder / "notebooks" / "asked.ipynb")
    return folder / "notebooks" / "asked.ipynb"


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [PROSE],
        [PROSE, new_code_cell("steps = 1")],
        [new_code_cell("steps = 1", metadata={"tags": ["parameter", "hide-input"]})],
        [new_code_cell("begin(globals())"), TAGGED],
    ],
)
def test_a_notebook_that_lost_its_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: list[Any]
) -> None:
    file = _template(tmp_path, monkeypatch, *cells)
    for asks in (fingerprint.page_key, fingerprint.template_cells):
        with pytest.raises(UserError, match=f'first code cell of {file} has no tag "parameters"'):
            asks("asked")


@pytest.mark.parametrize("content", ["", "<<<<<<< ours\n{}", "[]", json.dumps({"cells": 1}), "{}"])
def test_a_notebook_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    file = _template(tmp_path, monkeypatch)
    file.write_text(content)
    with pytest.raises(UserError) as refused:
        fingerprint.page_key("asked")
    assert f"{file} cannot be read as a notebook (" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("line", ["%matplotlib inline", "!ls", "%%time\nx", "x?", "y = !ls"])
def test_a_page_may_have_magic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    _template(tmp_path, monkeypatch, TAGGED, new_code_cell("x"))
    without = fingerprint.page_key("asked")
    _template(tmp_path, monkeypatch, TAGGED, new_code_cell(line))
    assert fingerprint.page_key("asked") != without


def test_a_cell_that_is_no_python_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _template(tmp_path, monkeypatch, TAGGED, new_code_cell("x = 1\nprint 'this'"))
    with pytest.raises(UserError, match=f"a cell of {file} is no Python: .*: print 'this'"):
        fingerprint.page_key("asked")
