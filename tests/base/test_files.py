"""Files and folders: there completely or not at all, and honest about damage."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bertprune.base.errors import UserError
from bertprune.base.files import (
    check_readable,
    new_folder,
    open_sealed,
    part_of_name,
    read_json,
    remove_folder,
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


@pytest.fixture(params=[0o002, 0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_appears_has_the_modes_that_the_user_gives(tmp_path: Path, umask: int) -> None:
    write_text("text", tmp_path / "file")
    with new_folder(tmp_path / "folder") as folder:
        (folder / "file").write_text("text")
    modes = {place: place.stat().st_mode & 0o777 for place in tmp_path.rglob("*")}
    assert modes == {
        tmp_path / "file": 0o666 & ~umask,
        tmp_path / "folder": 0o777 & ~umask,
        tmp_path / "folder" / "file": 0o666 & ~umask,
    }


@pytest.mark.parametrize("name", ["file.txt", "x" * 255, "\N{SNOWMAN}" * 85])
def test_of_several_writers_the_last_one_counts(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with replacing(file) as one, replacing(file) as another:
        one.write_text("one")
        another.write_text("another")
        assert one != another
    assert file.read_text() == "one"
    assert list(tmp_path.iterdir()) == [file]


def _sealed(folder: Path) -> None:
    (folder / "file").write_text("content")
    seal(folder, {})


@pytest.mark.parametrize("hidden", ["file", "meta.json"])
@pytest.mark.parametrize("look", [check_readable, lambda file: open_sealed(file.parent)])
def test_what_may_not_be_read_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: str, look: Callable[[Path], object]
) -> None:
    _sealed(tmp_path)
    monkeypatch.setattr("os.access", lambda file, mode: Path(file).name != hidden)
    with pytest.raises(UserError, match=f"{hidden} may not be read by you"):
        look(tmp_path / hidden)


def test_a_folder_that_may_not_be_removed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder" / "deeper").mkdir(parents=True)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "deeper")

    with monkeypatch.context() as patched:
        patched.setattr("os.rmdir", refuse)
        with pytest.raises(PermissionError):
            remove_folder(tmp_path / "folder")
    remove_folder(tmp_path / "folder")
    remove_folder(tmp_path / "folder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "cola-sst2", "x" * 150, "\N{SNOWMAN}" * 50])
def test_a_short_part_of_a_name_stays(text: str) -> None:
    assert part_of_name(text) == text


@pytest.mark.parametrize("character", ["x", "ü", "\N{SNOWMAN}", "\N{GRINNING FACE}"])
@pytest.mark.parametrize("length", [151, 152, 153, 5000])
def test_a_long_part_of_a_name_is_cut_and_stays_its_own(character: str, length: int) -> None:
    parts = [part_of_name(character * length + end) for end in ("", "1", "2")]
    assert len({*parts}) == 3
    assert all(130 < len(part.encode()) <= 150 and part[0] == character for part in parts)
