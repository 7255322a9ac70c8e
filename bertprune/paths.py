"""Where things are: the project's root, and the folders that executing makes under it."""

import os
from pathlib import Path


def root() -> Path:
    """The project's root, the folder that has `notebooks/` and `book/`.

    `BERTPRUNE_ROOT` where it is set, else the nearest folder above the current one, else the
    checkout that this package is installed from.
    """
    if named := os.environ.get("BERTPRUNE_ROOT"):
        return Path(named).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "studies").is_dir():
            return folder
    return Path(__file__).resolve().parent.parent


def resolve(path: str | Path) -> Path:
    """`path` as an absolute path; a relative one is relative to the project's root.

    One rule for the command line, papermill and JupyterLab, whose working directories differ.
    """
    expanded = Path(path).expanduser()
    return expanded if expanded.is_absolute() else (root() / expanded).resolve()


def template(notebook: str) -> Path:
    """The notebook that runs execute."""
    return root() / "notebooks" / f"{notebook}.ipynb"


def runs_folder() -> Path:
    return root() / "runs"


def cache_folder() -> Path:
    """Tokenised text and trained vocabularies: made again when missing, safe to delete."""
    return root() / "cache"


def published(study: str) -> Path:
    """The rows of a study that come with the book."""
    return root() / "book" / "published" / f"{study}.csv"
