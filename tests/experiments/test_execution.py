"""Whether an executed notebook is whole."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from bertprune.experiments import execution

DONE = {"papermill": {"status": "completed"}}
ERROR = new_output("error", ename="ValueError", evalue="no", traceback=[])


@pytest.mark.parametrize(
    ("cell", "papermill", "flaw"),
    [
        ({"metadata": DONE}, {"exception": None}, None),
        ({"metadata": DONE, "outputs": [ERROR]}, {}, "its notebook failed: ValueError: no"),
        ({"metadata": DONE}, {"exception": True}, "its notebook failed"),
        (
            {"metadata": {"papermill": {"status": "running"}}},
            {},
            "its notebook is partial: 1 of 2 cells not completed",
        ),
    ],
)
def test_what_is_wrong_with_an_executed_notebook(
    tmp_path: Path, cell: dict[str, Any], papermill: dict[str, Any], flaw: str | None
) -> None:
    cells = [new_code_cell("1 + 1", metadata=DONE), new_code_cell("1 + 2", **cell)]
    file = tmp_path / "notebook.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"papermill": papermill}), file)
    assert execution.flaw_of(file) == flaw
