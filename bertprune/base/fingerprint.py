"""Fingerprints of code: what a result, and the page that shows it, depend on.

A key is a hash over definitions: the functions, classes and constants of all modules that are
reached, in the order of their text. So code may move between modules, and modules may be renamed,
without a change of key. Imports, comments, docstrings and layout do not count, and what is imported
for type checkers alone is not reached.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from bertprune.base import paths
from bertprune.base.errors import UserError

_PACKAGE = "bertprune"

# Modules that a result passes through without being changed by them. What they say of a run is in
# its identity: its parameters, arm, seed, and the runs that it needs.
_NEUTRAL = {
    f"{_PACKAGE}.{name}"
    for name in (
        "base.errors",
        "base.fingerprint",
        "base.paths",
        "base.progress",
        "protocol.arms",
        "protocol.notebook_parameters",
        "protocol.views",
    )
}
# A page shows what arms are called; the work that its first cell begins is the result's affair.
_PAGE_NEUTRAL = _NEUTRAL - {f"{_PACKAGE}.protocol.arms"} | {f"{_PACKAGE}.experiments.execution"}


@lru_cache(maxsize=64)
def code_key(module: str) -> str:
    """Hash of the definitions in `module` and in all modules of the package that it imports."""
    return _hash_of(_reached([module], _NEUTRAL))


def page_key(notebook: str) -> str:
    """Hash of what a page shows beside the result: the notebook's cells, and the definitions that
    they reach for tables and figures. Raises UserError as `template_cells` does.

    It is found out once for all runs of a study, and again if the notebook is written anew.
    """
    state = paths.template(notebook).stat()
    return _page_key(notebook, paths.root(), state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _page_key(notebook: str, root: Path, *state: int) -> str:
    """That of `notebook` in the project `root`, as it is in this `state`."""
    shown = [cell for cell in template_cells(notebook) if not _has_parameters(cell)]
    trees = [_tree(cell.source, notebook) for cell in shown if cell.cell_type == "code"]
    imported = {name for tree in trees for name in _imported(tree)}
    # A module that one cell imports is used in others too.
    aliases = {name for tree in trees for name in _module_names(tree)}
    code = [_canonical(tree, aliases) for tree in trees]
    prose = [cell.source for cell in shown if cell.cell_type != "code"]
    return _hash_of([*prose, *code, *_reached(sorted(imported), _PAGE_NEUTRAL)])


def template_cells(notebook: str) -> list[Any]:
    """The cells of the notebook that runs execute. Raises UserError where it cannot be read, or
    runs could not be given their parameters."""
    # Training alone, on a GPU machine perhaps, needs no notebooks.
    import nbformat

    file = paths.template(notebook)
    mend = "mend it in JupyterLab, or take back the file that came with the project"
    try:
        cells: list[Any] = nbformat.read(file, as_version=4).cells
    except (OSError, ValueError, TypeError, AttributeError, nbformat.ValidationError) as error:
        said = str(error).partition("\n")[0]
        raise UserError(f"{file} cannot be read as a notebook ({said}): {mend}") from error
    code = [cell for cell in cells if cell.cell_type == "code"]
    if not code or not _has_parameters(code[0]):
        raise UserError(f'the first code cell of {file} has no tag "parameters": {mend}')
    return cells


def _has_parameters(cell: Any) -> bool:
    return "parameters" in cell.metadata.get("tags", ())


def _tree(source: str, notebook: str) -> ast.Module:
    """A cell as Python. Raises UserError where it is none."""
    try:
        return ast.parse(source)
    except SyntaxError:
        # Takes a moment, and few have a line with % or !, which it makes a call of.
        from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise UserError(
            f"a cell of {paths.template(notebook)} is no Python: {error.msg}: {line}"
        ) from error


def _hash_of(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _reached(start: Iterable[str], neutral: set[str]) -> list[str]:
    """The definitions in the modules `start` and all that they import, sorted, none twice."""
    waiting, seen = list(start), set(neutral)
    definitions: set[str] = set()
    while waiting:
        module = waiting.pop()
        file = _module_file(module)
        if module in seen or file is None:
            continue
        seen.add(module)
        imported, defined = _read_module(file, file.stat().st_mtime_ns)
        definitions |= defined
        waiting += imported
    return sorted(definitions)


@lru_cache(maxsize=256)
def _read_module(file: Path, mtime_ns: int) -> tuple[frozenset[str], frozenset[str]]:
    """What the module in `file` imports of this package, and its definitions in canonical form."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    aliases = _module_names(tree)
    defined = {_canonical(one, aliases) for one in tree.body if not _says_nothing(one)}
    return frozenset(_imported(tree)), frozenset(defined)


def _module_file(module: str) -> Path | None:
    """The file of a module of this package; None for a name that is no module.

    Found by its place: to ask the import system would import the packages above it.
    """
    place = Path(__file__).parents[1].joinpath(*module.split(".")[1:])
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _imported(tree: ast.AST) -> set[str]:
    """Names in this package that are imported anywhere in `tree`; some are modules."""
    return {full for full, _ in _imports(tree)} - {_PACKAGE}


def _module_names(tree: ast.AST) -> set[str]:
    """What modules of this package are called in `tree`."""
    return {name for full, name in _imports(tree) if name and _module_file(full)}


def _imports(tree: ast.AST) -> set[tuple[str, str]]:
    """Each import of this package in `tree`: the full name, and what it is called there."""
    found = set()
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name, alias.asname or "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add((node.module, ""))
            for alias in node.names:
                found.add((f"{node.module}.{alias.name}", alias.asname or alias.name))
    return {(full, name) for full, name in found if full.split(".")[0] == _PACKAGE}


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of `tree`, but for what only type checkers read."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not _is_for_type_checkers(node):
            yield node
            waiting += ast.iter_child_nodes(node)


def _is_for_type_checkers(node: Any) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _canonical(node: Any, modules: set[str]) -> str:
    """`node` of a syntax tree as text, the same in every version of Python, and whether a name is
    taken from one of the `modules` or imported by itself; without imports and docstrings."""
    if isinstance(node, list):
        kept = [one for one in node if not _says_nothing(one)]
        return "[" + ",".join(_canonical(one, modules) for one in kept) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
    ):
        return f"Name(id={node.attr!r})"
    values = node.__dict__
    parts = [
        f"{name}={_canonical(values[name], modules)}"
        for name in node._fields
        # Whether a name is read or set shows in its place.
        if name != "ctx" and values.get(name) not in (None, [])
    ]
    return f"{type(node).__name__}({','.join(parts)})"


def _says_nothing(node: Any) -> bool:
    """Whether a statement is an import, some for type checkers alone, or a text that nobody reads:
    a docstring."""
    if isinstance(node, ast.Import | ast.ImportFrom) or _is_for_type_checkers(node):
        return True
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
