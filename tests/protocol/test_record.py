"""Records: what is written is read, and what is wrong is named."""

from pathlib import Path
from typing import Any

import pytest

from bertprune.protocol.record import RECORD_FILE, DamagedRecord, Record, digest_of

CONTENT: dict[str, Any] = {
    "id": "burn_in/lab-seed0-0123456789",
    "notebook": "burn_in",
    "parameters": {"burn_in_seed": 0},
    "identity": {"notebook": "burn_in", "parameters": {}, "data": {}, "code": "", "upstream": None},
    "page": "0" * 16,
    "notebook_sha256": "1" * 64,
    "finished": "2026-11-30T12:00:00Z",
    "versions": {"python": "3.11.7"},
    "device": "a processor",
    "threads": 2,
    "wall_time_s": 3,
    "peak_memory_bytes": 1 << 30,
    "tries": 1,
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    record = Record.of(CONTENT).replace(precision="bf16", imported={"from": "elsewhere"})
    record.write(tmp_path)
    assert Record.read(tmp_path) == record
    assert record.machine == "a processor × 2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(({name: None}, f"its {name} is None") for name in CONTENT),
        ({"threads": "2"}, "its threads is '2', not one of kind int"),
        ({"wall_time_s": "3 s"}, "its wall_time_s is '3 s', not one of kind float"),
        ({"imported": "yes"}, "its imported is 'yes', not one of kind dict"),
        ({"identity": {"notebook": "burn_in"}}, "its identity has no parameters, data, code"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Record.of(CONTENT | change)


def test_what_later_editions_note_is_left_aside() -> None:
    assert Record.of(CONTENT | {"mood": "good"}) == Record.of(CONTENT)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}', "null"])
def test_a_damaged_record_says_which_folder_to_delete(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(DamagedRecord, match=f"delete the folder {tmp_path}"):
        Record.read(tmp_path)


def test_the_digest_does_not_depend_on_order() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1, "b": 3})
