"""Locks: who waits, who does not, and who may enter anyway."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bertprune.base.errors import UserError
from bertprune.experiments import lock


@contextmanager
def held_elsewhere(file: Path) -> Iterator[None]:
    """As another process has it: a lock belongs to who opened its file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def test_who_may_not_wait_is_told(tmp_path: Path) -> None:
    file = tmp_path / "deeper" / "lock"
    assert lock.is_free(file)
    with held_elsewhere(file):
        assert not lock.is_free(file)
        with pytest.raises(lock.InWork, match="a run is being executed by another process"):
            lock.locked("a run", file, wait=False).__enter__()
    assert lock.is_free(file)
    with lock.locked("a run", file, wait=False):
        assert not lock.is_free(file)


def test_others_wait_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lock, "_SECONDS_IN_SILENCE", 0.0)
    held = held_elsewhere(tmp_path / "lock")
    held.__enter__()
    threading.Timer(0.5, held.__exit__, (None, None, None)).start()
    with lock.locked("a run", tmp_path / "lock"):
        pass
    assert capsys.readouterr().err == (
        "a run is being executed by another process: waiting for it\n"
    )


@pytest.mark.parametrize(("name", "enters"), [("a run", True), ("another run", False)])
def test_processes_below_may_enter(tmp_path: Path, name: str, enters: bool) -> None:
    code = (
        "import sys; from pathlib import Path; from bertprune.experiments import lock\n"
        f"with lock.locked({name!r}, Path({str(tmp_path / 'lock')!r}), wait=False): pass"
    )
    with lock.locked("a run", tmp_path / "lock"):
        below = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert (below.returncode == 0) == enters and ("InWork" in below.stderr) != enters
    assert not os.environ.get("BERTPRUNE_LOCKED_RUN")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-in: what the system says of a Lustre or NFS that is mounted without them."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    file = tmp_path / "lock"
    with lock.locked("run", file):
        pass
    monkeypatch.setattr(fcntl, "flock", refuse)
    wanted = f"{file} cannot be locked .No locks available.: let runs/ be a link"
    with pytest.raises(UserError, match=wanted), lock.locked("run", file):
        pass
    with pytest.raises(UserError, match=wanted):
        lock.is_free(file)
