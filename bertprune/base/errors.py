"""The one exception that a user is meant to read."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """A mistake that the user can mend.

    The message names the value that is wrong and what would be right. The command line prints it
    without a traceback and exits with 2.
    """


def did_you_mean(name: object, valid: Iterable[object]) -> str:
    """End of an error message for an unknown name: the closest valid one, or all of them."""
    names = sorted({str(one) for one in valid})
    close = get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(names) or 'none'}"


def check_known(what: str, names: Iterable[object], valid: Iterable[object]) -> None:
    """Raise UserError for the first of `names` that is none of `valid`; `what` begins it."""
    known = list(valid)
    for name in names:
        if name not in known:
            raise UserError(f"{what} {name!r}: {did_you_mean(name, known)}")


@contextmanager
def full_disk_is_user_error(writing: Path) -> Iterator[None]:
    """Turn "no space left" while writing `writing` into a UserError that says what to do."""
    try:
        yield
    except Exception as error:
        if not _is_full_disk(error):
            raise
        raise UserError(
            f"no space left on the disk while writing {writing}: free some space and give the "
            "same command again; finished runs and checkpoints are kept"
        ) from error


def _is_full_disk(error: BaseException | None) -> bool:
    # Libraries written in C++ and Rust have errors of their own for it, that only quote the system
    # or were raised while its error was handled.
    while error is not None and not isinstance(error, UserError):
        code = error.errno if isinstance(error, OSError) else None
        if code in (errno.ENOSPC, errno.EDQUOT) or f"os error {errno.ENOSPC}" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
