"""A project without runs, in which the study that is worked out by hand can be planned."""

from pathlib import Path

import pytest

from .by_hand import STUDY


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    for folder in ("notebooks", "book"):
        (tmp_path / folder).symlink_to(Path(__file__).parents[3] / folder)
    (tmp_path / "by-hand.yaml").write_text(STUDY)
    return tmp_path
