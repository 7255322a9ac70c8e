"""A sweep that is measured and fails says why."""

from pathlib import Path

import pytest

from bertprune.base.errors import UserError
from bertprune.speed.fresh_project import sweep_in


def test_what_a_failed_sweep_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the sweep of nowhere that is measured fails: .*nowhere"):
        sweep_in(tmp_path, "nowhere")
