"""Progress of long work: a text bar on stderr, and a small file that `bertprune status` reads."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

_report_file: Path | None = None


def report_to(file: Path | None) -> None:
    """Also write the state of the current bar to `file`, every two seconds at most."""
    global _report_file
    _report_file = file


class Bar(tqdm):
    """A text bar with rate and time left; its state goes to the report file too."""

    _reported_at = 0.0

    def update(self, n: float | None = 1) -> bool | None:
        shown = super().update(n)
        now = time.monotonic()
        if _report_file is not None and now - self._reported_at >= 2.0:
            self._reported_at = now
            state = {
                "what": self.desc.rstrip(": "),
                "done": self.n,
                "total": self.total,
                "unit": self.unit,
                "rate_per_s": self.format_dict["rate"],
                "time": time.time(),
            }
            # Nobody's work should end because nobody can be told of it.
            with suppress(OSError):
                _report_file.write_text(json.dumps(state), encoding="utf-8")
        return shown


@contextmanager
def bar(what: str, total: int | None, unit: str, done: int = 0) -> Iterator[Bar]:
    """A bar for `what`, counting from `done` to `total` in `unit`s."""
    with Bar(
        desc=what,
        total=total,
        initial=done,
        unit=unit,
        file=sys.stderr,
        mininterval=1.0,
        dynamic_ncols=True,
    ) as shown:
        yield shown
