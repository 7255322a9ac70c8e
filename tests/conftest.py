"""For all tests: one thread, so that they are fast side by side with others, and no network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock

# Before torch is imported, which reads them once.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "true"

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def ascii_locale() -> dict[str, str]:
    """Environment variables for a process in a locale that knows ASCII alone."""
    return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="session")
def ci_project(tmp_path_factory: pytest.TempPathFactory, ascii_locale: dict[str, str]) -> Path:
    """A project of its own whose study `ci` is executed, where the locale knows ASCII alone. Tests
    in other processes have copies of the same one."""
    own = tmp_path_factory.getbasetemp()
    executed = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "executed"
    with FileLock(f"{executed}.lock"):
        if not executed.exists():
            _execute(executed.with_name("unfinished"), ascii_locale).rename(executed)
    return Path(shutil.copytree(executed, tmp_path_factory.mktemp("project") / "ci"))


def _execute(root: Path, environment: Mapping[str, str]) -> Path:
    for folder in ("book", "notebooks"):
        shutil.copytree(PROJECT / folder, root / folder)
    shutil.copy(PROJECT / "_config.yml", root)
    subprocess.run(
        [sys.executable, "-m", "bertprune", "sweep", "ci", "--workers", "2"],
        env={**os.environ, **environment, "BERTPRUNE_ROOT": str(root)},
        cwd=root,
        check=True,
    )
    return root
