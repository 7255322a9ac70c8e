"""`make wheels`: download what `make test-gpu` needs beside what a machine without a registry has.

Versions are those that are installed here. `requirements.txt` beside the wheels says what to
install from them there.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]

# Of the project's dependencies: what only the book and the Hub need.
NOT_NEEDED = {
    "datasets",
    "docutils",
    "jupyter-book",
    "latex2mathml",
    "markdown-it-py",
    "pydata-sphinx-theme",
    "sphinx",
    "sphinx-book-theme",
}


def needed() -> list[Requirement]:
    """What the steps of `make test-gpu` need, as the project asks for it."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    development = project["optional-dependencies"]["dev"]
    asked = [
        *map(Requirement, project["dependencies"]),
        *(one for one in map(Requirement, development) if one.name == "pytest"),
    ]
    return [one for one in asked if one.name not in NOT_NEEDED]


def with_needs(names: Iterable[str], python: str) -> set[str]:
    """The packages `names` and all that they need on Linux with this version of Python, as far as
    they are installed here."""
    there = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "extra": "",
    }
    found: set[str] = set()
    left = list(map(canonicalize_name, names))
    while left:
        if (name := left.pop()) in found:
            continue
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        for one in map(Requirement, requires):
            if one.marker is None or one.marker.evaluate(there):
                left.append(canonicalize_name(one.name))
    return found


def download(folder: Path, python: str, has: Iterable[str]) -> None:
    """Fill `folder` for a machine of this kind of processor with Linux, Python `python`, and the
    packages `has` with all that they need."""
    has = set(map(canonicalize_name, has))
    direct = {canonicalize_name(one.name) for one in needed()}
    # What others there bring may be too old, or left out by their versions there.
    missing = (with_needs(direct, python) - with_needs(has, python)) | (direct - has)
    machine = platform.machine()
    # pip takes none but those that are named.
    kinds = [f"manylinux2014_{machine}", *(f"manylinux_2_{n}_{machine}" for n in range(17, 40))]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--python-version", python, "--implementation", "cp"),
            *(option for kind in kinds for option in ("--platform", kind)),
            *("--dest", str(folder)),
            *(f"{name}=={metadata.version(name)}" for name in sorted(missing)),
        ],
        check=True,
    )
    (folder / "requirements.txt").write_text("".join(f"{one}\n" for one in needed()))
    wheels = list(folder.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    print(f"{len(wheels)} wheels for Python {python}, {size:.0f} MB, in {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="its version there")
    parser.add_argument("--has", default="", help="packages that are there")
    asked = parser.parse_args()
    download(asked.folder, asked.python, asked.has.split())
