"""Paths: where a user's names lead, and which lead nowhere."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bertprune.base import paths
from bertprune.base.errors import UserError


def test_relative_to_the_project_or_to_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    assert paths.resolve("a/../b") == tmp_path / "root" / "b"
    assert paths.places("b") == [tmp_path / "b", tmp_path / "root" / "b"]
    assert paths.places(tmp_path / "b") == [tmp_path / "b"]
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert paths.places("~/b") == [tmp_path / "home" / "b"]


@pytest.mark.parametrize("work", [paths.expanded, paths.resolve, paths.places])
def test_the_home_of_nobody(work: Callable[[str], object]) -> None:
    with pytest.raises(UserError, match="~nobody-of-that-name/x: there is no such user"):
        work("~nobody-of-that-name/x")


def test_what_can_be_no_path(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (tmp_path / "file").touch()
    for path in ("a" * 1000, "a\0b", str(loop)):
        with pytest.raises(UserError, match="cannot be looked up as a path"):
            paths.resolve(path)
    # What only is not there is for others to say.
    assert paths.resolve(tmp_path / "file" / "below") == tmp_path / "file" / "below"


@pytest.mark.parametrize("of_project", [paths.studies_folder, lambda: paths.template("finetune")])
def test_a_root_that_is_no_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_project: Callable[[], Path]
) -> None:
    assert of_project().exists()
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=f"there is no {tmp_path}/notebooks/.* BERTPRUNE_ROOT"):
        of_project()


@pytest.mark.parametrize("made_here", [paths.runs_folder, paths.cache_folder])
def test_a_link_that_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_here: Callable[[], Path]
) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    place, disk = made_here(), tmp_path / "disk"
    place.symlink_to(disk)
    with pytest.raises(UserError, match=f"{place} is a link to {disk}, which is not there"):
        made_here()
    disk.mkdir()
    assert made_here() == place
