"""The house: its packages stay few and small, and its map is true."""

import ast
import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

PACKAGE = Path(__file__).parents[1] / "bertprune"
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({file.parent for file in MODULES})

MOST_AT_THE_TOP, MOST_IN_A_PACKAGE = 13, 9
MOST_LINES_OF_A_MODULE, MOST_LINES_OF_A_FUNCTION = 450, 60


def names_in(folder: Path) -> set[str]:
    """Modules and packages in `folder`, without those that Python itself asks for."""
    packages = {file.parent.name for file in folder.glob("*/__init__.py")}
    return {file.stem for file in folder.glob("*.py")} - {"__init__", "__main__"} | packages


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_package_has_many_modules(folder: Path) -> None:
    most = MOST_AT_THE_TOP if folder == PACKAGE else MOST_IN_A_PACKAGE
    assert len(names_in(folder)) <= most, sorted(names_in(folder))


def test_no_module_and_no_function_is_long() -> None:
    long = []
    for file in MODULES:
        text = file.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > MOST_LINES_OF_A_MODULE:
            long.append(f"{file.relative_to(PACKAGE)} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{file.relative_to(PACKAGE)}: {node.name} has {lines} lines")
    assert not long


def test_no_module_has_the_name_of_another() -> None:
    names = [file.stem for file in MODULES if not file.stem.startswith("__")]
    assert sorted(names) == sorted(set(names))


def test_what_the_map_names_is_there() -> None:
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+\.)+[A-Za-z_]+)(?:\(\))?`", text))
    packages = names_in(PACKAGE)
    places = sorted(name for name in named if name.split(".")[0] in packages)
    assert len(places) > 30
    for place in places:
        # Raises an error that names it unless there is a module or something in one.
        resolve_name(f"bertprune.{place}")


def test_the_map_names_every_package() -> None:
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    missing = [name for name in names_in(PACKAGE) if f"`{name}`" not in text]
    assert not missing
