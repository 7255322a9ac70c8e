"""Numbers and lists as sentences have them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from itertools import groupby

SPACE = "\N{NO-BREAK SPACE}"
"""Between a number and its unit."""

NOTHING = "\N{EN DASH}"
"""In place of what is unknown, or not there."""


def percent(share: float) -> str:
    """A share as prose has it: `50 %`, with a space that does not break."""
    return f"{100 * share:.4g}{SPACE}%"


def counted(number: int, what: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def listed(words: Iterable[str]) -> str:
    """`a, b, c`; a dash for nothing."""
    return ", ".join(words) or NOTHING


def ranges(numbers: Iterable[int]) -> str:
    """`0, 2 to 15`: three and more that follow each other are a range."""
    parts: list[str] = []
    for _, those in groupby(enumerate(sorted(numbers)), key=lambda one: one[1] - one[0]):
        run = [number for _, number in those]
        parts += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(parts)


def signed(value: float, digits: int = 1) -> str:
    """`+0.5`, with a true minus sign for what is below zero."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def output_takes_every_character() -> None:
    """Have what this process prints escaped where the terminal's encoding lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
