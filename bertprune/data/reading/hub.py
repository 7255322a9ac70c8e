"""Data sets and files of the Hugging Face Hub, or an error within seconds if it is out of reach."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import (
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from bertprune.base.errors import UserError, full_disk_is_user_error

if TYPE_CHECKING:
    from datasets import Dataset

Kind = Literal["model", "dataset"]
TIMEOUT_S = 5.0

TOKENIZER_FILES = ["*.json", "*.txt", "*.model"]


def check_hub(
    repository: str,
    *,
    kind: Kind,
    revision: str | None = None,
    patterns: Sequence[str] = (),
    instead: str,
) -> None:
    """Raise UserError unless the repository can be downloaded from or is on this disk already:
    a data set, or of a model the files that match `patterns`.

    `instead` completes "or give ..." for a reader without a network.
    """
    try:
        HfApi().repo_info(repository, repo_type=kind, revision=revision, timeout=TIMEOUT_S)
    except HFValidationError as error:
        raise UserError(
            f"{repository!r} is no name of the Hugging Face Hub (owner/name): correct it, or give "
            f"{instead}"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise _not_found(repository, kind, revision, instead) from error
    # The HTTP client differs between versions of huggingface_hub, and each has its own errors for
    # no route, no name server, a proxy, a time-out: to the user they are all one.
    except Exception as error:
        if not _is_downloaded(repository, kind, revision, patterns):
            raise _unreachable(repository, kind, instead, error) from error


def load_rows(
    repository: str, config: str, split: str, *, revision: str | None, instead: str
) -> Dataset:
    """One split of a data set, downloaded at the first time and memory-mapped.

    Raises UserError, also for a configuration or split that it does not have.
    """
    check_hub(repository, kind="dataset", revision=revision, instead=instead)
    import datasets

    with full_disk_is_user_error(Path(datasets.config.HF_DATASETS_CACHE)):
        try:
            return datasets.load_dataset(repository, config or None, split=split, revision=revision)
        except (ValueError, FileNotFoundError) as error:
            raise UserError(
                f"the Hub's data set {repository!r} cannot give {config or 'its rows'} "
                f"({split}): {error}"
            ) from error
        except Exception as error:  # see check_hub
            _raise_if_full(error)
            raise _unreachable(repository, "dataset", instead, error) from error


def download(repository: str, patterns: Sequence[str], *, instead: str) -> Path:
    """Folder with the files of a model's repository that match `patterns`.

    Files downloaded earlier are used again, and without a network if all of them are there.
    """
    check_hub(repository, kind="model", patterns=patterns, instead=instead)
    with full_disk_is_user_error(Path(HF_HUB_CACHE)):
        try:
            return Path(snapshot_download(repository, allow_patterns=list(patterns)))
        except Exception as error:  # see check_hub
            _raise_if_full(error)
            raise _unreachable(repository, "model", instead, error) from error


def _raise_if_full(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise error


def _is_downloaded(
    repository: str, kind: Kind, revision: str | None, patterns: Sequence[str]
) -> bool:
    """Whether an earlier download left what is asked for."""
    if kind == "dataset":
        import datasets

        return (Path(datasets.config.HF_DATASETS_CACHE) / repository.replace("/", "___")).is_dir()
    try:
        snapshot_download(
            repository, revision=revision, allow_patterns=list(patterns), local_files_only=True
        )
    except (OSError, ValueError):
        return False
    return True


def _not_found(repository: str, kind: Kind, revision: str | None, instead: str) -> UserError:
    at = f" at revision {revision!r}" if revision else ""
    return UserError(
        f"the Hugging Face Hub has no public {kind} {repository!r}{at}: correct the name, log in "
        f"with `hf auth login` if it is private, or give {instead}"
    )


def _unreachable(repository: str, kind: Kind, instead: str, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"cannot reach the Hugging Face Hub for the {kind} {repository!r} ({reason}): connect to "
        f"the network, or give {instead}"
    )
