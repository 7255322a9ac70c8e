"""Published rows: what is known of those of former editions, and of those of other studies."""

import dataclasses
from pathlib import Path

import pytest

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.evidence import published
from bertprune.evidence.published import Published
from bertprune.experiments import studies


def test_what_former_editions_did_not_note_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "published", lambda name, end="": tmp_path / f"{name}{end}")
    file = tmp_path / "ci.json"
    file.write_text("{}")
    assert Published.read("ci") == Published(changes=[], records=[])
    line = published.overview(["ci"]).loc["ci"]
    assert {line["torch"], line["device × threads"], line["changed by --set"]} == {"–"}
    assert line.code == "an earlier edition's"
    file.write_text('{"colour": "red"}')
    with pytest.raises(UserError, match=r"ci\.json is damaged .*colour"):
        Published.read("ci")


def test_a_study_is_not_shown_beside_itself() -> None:
    study = dataclasses.replace(studies.load("lab"), beside=("lab", "glue-tiny"))
    assert list(published.rows_beside(study)) == ["glue-tiny"]


def test_rows_say_which_bert_they_begin_with() -> None:
    found = published.rows_of("english")
    assert set(found[found.arm == "prune_pretrain"].bert) == {"english-seed0"}
    # Each seed that is never pre-trained has random weights of its own.
    fresh = found[found.arm == "from_scratch"]
    assert (fresh.bert == "fresh-seed" + fresh.seed.astype(str)).all()
    # Of former editions it is not known.
    assert set(published.rows_of("glue-tiny").bert) == {""}
