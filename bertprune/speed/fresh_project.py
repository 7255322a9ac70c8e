"""A real sweep in a project of its own, to be measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.protocol.record import RECORD_FILE, Record


def sweep_in(root: Path, study: str, *options: str) -> list[Record]:
    """Execute `study` in the project `root`, which gets our notebooks: the records of its runs, in
    the order in which they were finished.

    Raises UserError with the end of what the sweep said if it fails.
    """
    copytree(paths.root() / "notebooks", root / "notebooks")
    done = subprocess.run(
        [sys.executable, "-m", "bertprune", "sweep", study, *options],
        env=os.environ | {"BERTPRUNE_ROOT": str(root)},
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )
    if done.returncode:
        raise UserError(f"the sweep of {study} that is measured fails: {done.stderr[-2000:]}")
    records = (Record.read(file.parent) for file in root.glob(f"runs/*/*/{RECORD_FILE}"))
    return sorted(records, key=lambda record: record.finished)
