"""Files and folders: there completely or not at all, and honest about damage."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bertprune.base.errors import UserError
from bertprune.base.files import (
    new_folder,
    open_sealed,
    read_json,
    replacing,
    seal,
    write_json,
    write_text,
)


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "deeper" / "file.txt"
    write_text("older", file)
    with replacing(file) as unfinished:
        unfinished.write_text("newer", encoding="utf-8")
        assert file.read_text(encoding="utf-8") == "older"
    assert file.read_text(encoding="utf-8") == "newer"
    assert list(file.parent.iterdir()) == [file]


def test_a_file_stays_where_replacing_it_fails(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    write_text("older", file)
    with pytest.raises(UnicodeEncodeError), replacing(file) as unfinished:
        unfinished.write_text("new ü", encoding="ascii")
    assert file.read_text(encoding="utf-8") == "older"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("writing", [replacing, new_folder])
def test_a_full_disk(
    tmp_path: Path, writing: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    with (
        pytest.raises(UserError, match="no space left on the disk while writing .*/place"),
        writing(tmp_path / "place"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"more")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [{}, {"a": [1, 0.1, None], "ü": {"b": "ß"}}])
def test_json_is_read_as_it_was_written(tmp_path: Path, content: Mapping[str, Any]) -> None:
    write_json(content, tmp_path / "file.json")
    assert read_json(tmp_path / "file.json") == content


@pytest.mark.parametrize(
    ("content", "message"), [("[]", "no mapping"), ("1", "no mapping"), ("{", "Expecting")]
)
def test_what_is_no_mapping(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "file.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "file.json")


def test_the_first_of_two_equal_folders_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with new_folder(folder) as later:
        with new_folder(folder) as first:
            (first / "file").write_text("first")
        (later / "file").write_text("later")
    assert (folder / "file").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_seal_says_what_it_was_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    seal(tmp_path, {"key": "1"})
    assert open_sealed(tmp_path) == {"key": "1"}


@pytest.mark.parametrize("meta", ["", "[]", "{}", json.dumps({"files": {"file": {}}})])
def test_a_seal_that_is_none(tmp_path: Path, meta: str) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(UserError, match="is damaged .*delete this folder"):
        open_sealed(tmp_path)
