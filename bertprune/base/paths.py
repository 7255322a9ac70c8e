"""Where things are: the project's root, and the folders that executing makes under it."""

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from bertprune.base.errors import UserError


def root() -> Path:
    """The project's root, the folder that has `notebooks/` and `book/`.

    `BERTPRUNE_ROOT` where it is set, else the nearest folder above the current one, else the
    checkout that this package is installed from.
    """
    return _root(os.environ.get("BERTPRUNE_ROOT"), os.getcwd())


# Each of thousands of runs asks for it several times.
@lru_cache(maxsize=16)
def _root(named: str | None, current: str) -> Path:
    """It, where the variable and the current folder are these."""
    here = Path(current).resolve()
    if named:
        return (here / named).resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "studies").is_dir():
            return folder
    return Path(__file__).resolve().parents[2]


def expanded(path: str | Path) -> Path:
    """`path` with the home that its ~ stands for. Raises UserError for a user who has none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: there is no such user: write the folder out") from error


def resolve(path: str | Path, folder: Path | None = None) -> Path:
    """`path` as an absolute path; a relative one is relative to `folder`, or the project's root.

    One rule for the command line, papermill and JupyterLab, whose working directories differ.
    Raises UserError for a path that cannot be looked up, which is more than not to be there.
    """
    place = expanded(path)
    try:
        place = place if place.is_absolute() else ((folder or root()) / place).resolve()
        with suppress(FileNotFoundError, NotADirectoryError):
            place.stat()
    # What is no name of a path, or a loop of links, is no OSError.
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{str(path)!r} cannot be looked up as a path: {error}") from error
    return place


def places(path: str | Path) -> list[Path]:
    """Where a file that a user names may be, best first: in the current folder, or as `resolve`
    has it."""
    return list(dict.fromkeys([resolve(path, Path.cwd()), resolve(path)]))


def template(notebook: str) -> Path:
    """The notebook that runs execute. Raises UserError if it is not there."""
    return _of_project(f"{notebook}.ipynb")


def studies_folder() -> Path:
    """The folder of the project's studies. Raises UserError if it is not there."""
    return _of_project("studies")


def runs_folder() -> Path:
    """Results. Raises UserError where it is a link that leads nowhere."""
    return _made_here("runs")


def cache_folder() -> Path:
    """Tokenised text and trained vocabularies: made again when missing, safe to delete.

    Raises UserError where it is a link that leads nowhere.
    """
    return _made_here("cache")


def published(name: str, suffix: str = ".parquet") -> Path:
    """What comes with the book: the rows of the study of this name, or another of its files."""
    return root() / "book" / "published" / f"{name}{suffix}"


def _made_here(name: str) -> Path:
    place = root() / name
    # On a cluster they are often links to a larger disk, of which old files are deleted.
    if place.is_symlink() and not place.exists():
        raise UserError(
            f"{place} is a link to {place.readlink()}, which is not there: make that folder, or "
            "remove the link"
        )
    return place


def _of_project(name: str) -> Path:
    """What comes with the project as `notebooks/<name>`."""
    place = root() / "notebooks" / name
    if not place.exists():
        raise UserError(
            f"there is no {place}: work in the project's folder, or name it in BERTPRUNE_ROOT"
        )
    return place
