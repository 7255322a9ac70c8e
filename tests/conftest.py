"""For all tests: one thread, so that they are fast side by side with others, and no network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Before torch is imported, which reads them once.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "true"

PROJECT = Path(__file__).parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the executed project share a process, which makes it once."""
    for item in items:
        if "ci_project" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("ci_project"))


@pytest.fixture(scope="session")
def ascii_locale() -> dict[str, str]:
    """Environment variables for a process in a locale that knows ASCII alone."""
    return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="session")
def ci_project(tmp_path_factory: pytest.TempPathFactory, ascii_locale: dict[str, str]) -> Path:
    """A project of its own whose study `ci` is executed, where the locale knows ASCII alone."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("book", "notebooks"):
        shutil.copytree(PROJECT / folder, root / folder)
    shutil.copy(PROJECT / "_config.yml", root)
    subprocess.run(
        [sys.executable, "-m", "bertprune", "sweep", "ci", "--workers", "2"],
        env=os.environ | ascii_locale | {"BERTPRUNE_ROOT": str(root)},
        cwd=root,
        check=True,
    )
    return root
