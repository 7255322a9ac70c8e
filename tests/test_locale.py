"""The locale decides nothing: files are UTF-8 everywhere, and no character stops an output."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
MODULES = sorted(PROJECT.glob("bertprune/**/*.py"))
NOTEBOOKS = sorted(PROJECT.glob("notebooks/*.ipynb"))

# Bytes, unless they are told otherwise.
NO_TEXT = {f"{module}.open" for module in ("os", "bz2", "gzip", "lzma", "tarfile", "Image")}


def in_the_locales_encoding(code: str) -> Iterator[str]:
    """The calls in `code` that read or write text in whatever encoding the locale has."""
    for call in ast.walk(ast.parse(code)):
        if isinstance(call, ast.Call):
            called, given = ast.unparse(call.func), {keyword.arg for keyword in call.keywords}
            binary = any(
                isinstance(one, ast.Constant) and "b" in str(one.value) for one in call.args
            )
            opens = called.rpartition(".")[2] in ("open", "fdopen") and called not in NO_TEXT
            reads = called.endswith((".read_text", ".write_text"))
            starts = any(
                keyword.arg in ("text", "universal_newlines")
                and isinstance(keyword.value, ast.Constant)
                and keyword.value.value is True
                for keyword in call.keywords
            )
            if (reads or starts or (opens and not binary)) and "encoding" not in given:
                yield ast.unparse(call)


@pytest.mark.parametrize(
    "code",
    [
        "open(file)",
        "folder.joinpath('a').open('w')",
        "os.fdopen(1, 'w')",
        "(folder / 'a').read_text()",
        "file.write_text(str(open))",
        "subprocess.run(command, text=True)",
    ],
)
def test_a_call_without_an_encoding_is_found(code: str) -> None:
    assert len(list(in_the_locales_encoding(code))) == 1


def test_every_text_is_read_and_written_with_its_encoding() -> None:
    found = []
    for file in MODULES:
        found += list(in_the_locales_encoding(file.read_text(encoding="utf-8")))
    for file in NOTEBOOKS:
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                found += list(in_the_locales_encoding("".join(cell["source"])))
    assert not found


COMMANDS = [
    ["ledger", "lab"],
    ["results", "lab"],
    ["status", "ci"],
    ["cost", "english", "--device", "book"],
    ["run", "finetune", "--list"],
    # What is refused is shown.
    ["run", "finetune", "-p", "task", "größer"],
]


def test_commands_say_the_same_whatever_the_locale(ascii_locale: dict[str, str]) -> None:
    code = f"from bertprune.cli import main;print([main(command) for command in {COMMANDS!a}])"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | settings,
            cwd=PROJECT,
            capture_output=True,
            check=True,
        )
        for settings in ({"PYTHONUTF8": "1"}, ascii_locale)
    ]
    utf8, ascii_only = (done.stdout.decode("utf-8") + done.stderr.decode("utf-8") for done in said)
    assert not utf8.isascii() and ascii_only.isascii()
    assert utf8.encode("ascii", "backslashreplace").decode("ascii") == ascii_only
