"""Notebooks: each is its contract, without outputs, and short."""

import ast
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from bertprune.protocol import notebook_parameters
from bertprune.protocol.views import CHAPTERS, parameters_of

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted([*notebook_parameters.CONTRACTS, *CHAPTERS])


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def notebook(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_has_a_contract() -> None:
    assert sorted(file.stem for file in FOLDER.glob("*.ipynb")) == NAMES


def test_the_parameters_cell_is_the_contract(name: str, notebook: nbformat.NotebookNode) -> None:
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert [cell.source for cell in tagged] == [
        notebook_parameters.parameters_cell(parameters_of(name))
    ]
    assert tagged[0] == code_cells(notebook)[0]


def test_papermill_reads_every_parameter(name: str) -> None:
    """Its parser is line by line: what it cannot read, it would complain of at every execution."""
    papermill = pytest.importorskip("papermill")
    found = papermill.inspect_notebook(str(FOLDER / f"{name}.ipynb"))
    assert found.keys() == notebook_parameters.help_of(parameters_of(name)).keys()


def test_it_is_valid_and_stripped(name: str, notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    for cell in code_cells(notebook):
        assert not cell.outputs
        assert cell.execution_count is None
    identifiers = [cell.id for cell in notebook.cells]
    assert len(set(identifiers)) == len(identifiers)
    # Named for what they are, so that they stay when others come or go.
    stem = name.replace("_", "-")
    assert all(re.fullmatch(rf"{stem}-[a-z-]+", identifier) for identifier in identifiers)


def test_prose_first_and_no_labels(notebook: nbformat.NotebookNode) -> None:
    """A label in a template would stand in every copy of it, and links go to the wrong one."""
    assert notebook.cells[0].source.startswith("# ")
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert not re.search(r"^\([^)]+\)=|^:(name|label):|\{#", prose, re.MULTILINE)


def test_cells_are_short(notebook: nbformat.NotebookNode) -> None:
    for cell in code_cells(notebook)[1:]:
        assert len(cell.source.splitlines()) <= 6
        compile(cell.source, cell.id, "exec")


def test_it_begins_its_own_run(name: str, notebook: nbformat.NotebookNode) -> None:
    begins = re.findall(r'begin\("(\w+)", globals\(\)\)', code_cells(notebook)[1].source)
    assert begins == ([name] if name in notebook_parameters.CONTRACTS else [])


def test_what_cells_name_is_there(notebook: nbformat.NotebookNode) -> None:
    """What a cell takes from a module of the package exists, so no page fails for a renaming."""
    modules: dict[str, ModuleType] = {}
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("bertprune"):
                module = import_module(str(node.module))
                for alias in node.names:
                    found = getattr(module, alias.name, None)
                    found = found or import_module(f"{node.module}.{alias.name}")
                    if isinstance(found, ModuleType):
                        modules[alias.asname or alias.name] = found
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module_or_none = modules.get(node.value.id)
                assert module_or_none is None or hasattr(module_or_none, node.attr)
