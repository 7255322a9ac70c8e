"""Views: what a chapter asks is told before its parameters."""

import pytest

from bertprune import cli
from bertprune.protocol.views import CHAPTERS


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_lists_its_question_and_what_it_takes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", name, "--list"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("# ") and first.endswith("?")
    assert [line.split(" = ")[0] for line in rest] == ["study", "changes"]
