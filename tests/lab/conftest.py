"""Another process, whose sets are in another order."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

Elsewhere = Callable[[str, str], str]


@pytest.fixture
def elsewhere() -> Elsewhere:
    """What an expression in terms of a module of bertprune.lab is in a process of its own."""

    def printed(module: str, expression: str) -> str:
        code = (
            f"import dataclasses, json\nfrom bertprune.lab import {module}\n"
            f"print(json.dumps({expression}))"
        )
        seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.rstrip("\n")

    return printed
