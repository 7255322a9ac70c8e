"""Views: what a chapter asks is told before its parameters."""

import pytest

from bertprune import cli
from bertprune.base.errors import UserError
from bertprune.protocol import notebook_parameters
from bertprune.protocol.views import CHAPTERS, View, parameters_of, parameters_of_run


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_lists_its_question_and_what_it_takes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", name, "--list"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("# ") and first.endswith("?")
    assert [line.split(" = ")[0] for line in rest] == ["studies", "changes"]


def test_a_chapter_is_a_view_and_no_run() -> None:
    assert parameters_of("results") is View
    with pytest.raises(UserError, match="is no run"):
        parameters_of_run("results")
    with pytest.raises(UserError, match="did you mean 'studies'"):
        notebook_parameters.parse(View, {"stduies": ["ci"]})
