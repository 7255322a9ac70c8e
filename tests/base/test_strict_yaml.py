"""Settings: what is YAML, what is not, and what stays a text."""

from pathlib import Path

import pytest

from bertprune.base import strict_yaml
from bertprune.base.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("[2e-5, -1.5E3]", [2e-5, -1500.0]),
        ("1e-3,2e-3", "1e-3,2e-3"),
        ("1e-4a", "1e-4a"),
        ("[0, 10, -7, +3]", [0, 10, -7, 3]),
        ("[0.5, .5, 1., -0.25, 1e3, 1.e-3]", [0.5, 0.5, 1.0, -0.25, 1000.0, 0.001]),
        ("[.inf, -.INF]", [float("inf"), -float("inf")]),
        ("[true, False, ~, null, ]", [True, False, None, None]),
        ("{a: }", {"a": None}),
        # Which are numbers in YAML 1.1, or something else that nobody meant.
        ("[010, -017, 08, 0o17, 0x10, 0b11]", ["010", "-017", "08", "0o17", "0x10", "0b11"]),
        ("[1:30, 190:20:30, '1:30.5']", ["1:30", "190:20:30", "1:30.5"]),
        ("[1_000, 1_0.5, 1,000]", ["1_000", "1_0.5", 1, "000"]),
        ("[yes, No, on, OFF, y, n]", ["yes", "No", "on", "OFF", "y", "n"]),
        (
            "[00.5, 01e3, inf, nan, 1e, e3, ., =]",
            ["00.5", "01e3", "inf", "nan", "1e", "e3", ".", "="],
        ),
        ("{no: 1, on: 2, 010: 3}", {"no": 1, "on": 2, "010": 3}),
        ("{a: {<<: {b: 1}, c: 2}}", {"a": {"b": 1, "c": 2}}),
        ("2020-13-45", "2020-13-45"),
        ("2020-12-24", "2020-12-24"),
        ("{a: {b: 1}, c: {b: 2}}", {"a": {"b": 1}, "c": {"b": 2}}),
    ],
)
def test_values(text: str, value: object) -> None:
    assert strict_yaml.parse(text) == value


NO_YAML = [
    *("[", "{a: 1, b: 2, a: 3}", "{a: [{b: 1, b: 1}]}", "!!python/name:os.system", "\0"),
    *("[" * 1000, "9" * 5000, "!!int ''", "!!bool x", "!!timestamp x", "!!timestamp 2020-13-45"),
]


@pytest.mark.parametrize("text", NO_YAML, ids=lambda text: text[:20])
def test_what_is_no_yaml(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="cannot read the value"):
        strict_yaml.parse(text)
    file = tmp_path / "mine.yaml"
    file.write_text(f"a: 1\nb: {text}\n")
    with pytest.raises(UserError, match="mine.yaml is not valid YAML in UTF-8: ") as error:
        strict_yaml.read(file)
    assert "\n" not in str(error.value)


def test_a_key_that_is_there_twice_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("grid: {seed: [0]}\ntitle: Mine\ngrid: {seed: [1]}\n")
    with pytest.raises(UserError, match="line 3: the key 'grid' is there twice"):
        strict_yaml.read(file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        strict_yaml.read(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"title: caf\xe9\n")
    with pytest.raises(UserError, match="is not valid YAML in UTF-8: 'utf-8' codec"):
        strict_yaml.read(file)
    file.write_text("- title")
    with pytest.raises(UserError, match="must map keys to values"):
        strict_yaml.read(file)
