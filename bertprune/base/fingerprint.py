"""Fingerprints of code: what a result, and the page that shows it, depend on."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from bertprune.base import paths

# Modules that a result passes through without being changed by them.
_NEUTRAL_MODULES = {
    f"bertprune.{name}"
    for name in ("protocol.notebook_parameters", "base.errors", "base.paths", "base.progress")
}
_PAGE_NEUTRAL_MODULES = _NEUTRAL_MODULES | {"bertprune.experiments.execution"}


@lru_cache(maxsize=64)
def code_key(module: str) -> str:
    """Hash of the code of `module` and of all modules of the package that it imports.

    Comments, docstrings and layout do not count.
    """
    return _modules_key([module], _NEUTRAL_MODULES)


def page_key(notebook: str) -> str:
    """Hash of what a page shows beside the result: the notebook's cells and the code they reach
    for tables and figures."""
    # Training alone, on a GPU machine perhaps, needs no notebooks.
    import nbformat

    cells = nbformat.read(paths.template(notebook), as_version=4).cells
    sources = [c.source for c in cells if "parameters" not in c.metadata.get("tags", ())]
    code = "\n".join(c.source for c in cells if c.cell_type == "code")
    reached = _modules_key(sorted(_imported(ast.parse(code))), _PAGE_NEUTRAL_MODULES)
    return hashlib.sha256("\0".join([*sources, reached]).encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _module_source(file: Path, mtime_ns: int) -> tuple[set[str], str]:
    tree = ast.parse(file.read_text())
    return _imported(tree), _canonical(tree)


def _modules_key(start: Iterable[str], neutral: set[str]) -> str:
    waiting, sources = list(start), {}
    while waiting:
        module = waiting.pop()
        if module in sources or module in neutral:
            continue
        file = _module_file(module)
        if file is not None:
            imported, sources[module] = _module_source(file, file.stat().st_mtime_ns)
            waiting += imported
    text = "\n".join(f"{module}\n{source}" for module, source in sorted(sources.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _module_file(module: str) -> Path | None:
    """The file of a module of this package; None for a name that is no module.

    Found by its place: to ask the import system would import the packages above it.
    """
    place = Path(__file__).parents[1].joinpath(*module.split(".")[1:])
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _imported(tree: ast.AST) -> set[str]:
    """Names in `bertprune` that are imported anywhere in `tree`; some are modules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "bertprune"} - {"bertprune"}


def _canonical(node: Any) -> str:
    """`node` of a syntax tree as text, the same in every version of Python; no docstrings."""
    if isinstance(node, list):
        return "[" + ",".join([_canonical(one) for one in node]) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        node.body = [one for one in node.body if not _is_docstring(one)]
    values = node.__dict__
    parts = [
        f"{name}={_canonical(values[name])}"
        for name in node._fields
        # Whether a name is read or set shows in its place.
        if name != "ctx" and values.get(name) not in (None, [])
    ]
    return f"{type(node).__name__}({','.join(parts)})"


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
