"""Unit costs of this machine: all that runs need, measured once."""

from pathlib import Path

import pytest

from bertprune.protocol.notebook_parameters import CONTRACTS
from bertprune.speed.cost import measuring_costs, timed_steps
from bertprune.speed.cost.amounts_of_work import NOTEBOOK, fixed
from bertprune.speed.cost.unit_costs import Line
from bertprune.speed.cost.what_to_measure import Request

from .by_hand import INVENTED, by_hand


def test_measured_unit_costs_are_positive_and_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    def steps(request: Request) -> dict[str, Line]:
        asked.append(request)
        return timed_steps.steps(request)

    of_runs = {unit: INVENTED[unit] for unit in [NOTEBOOK, *map(fixed, CONTRACTS)]}
    monkeypatch.setattr(measuring_costs, "_side_by_side", steps)
    monkeypatch.setattr(measuring_costs, "runs_without_steps", lambda request: of_runs)
    changes = ["model=", "tokenizer=lab", "text=[lab:0:200]", "task_data=lab", "hidden_size=8"]
    plan = by_hand(*changes).plan()
    here = measuring_costs.for_plan(plan, 1)
    (lines,) = here.table.values()
    assert lines.keys() == INVENTED.keys()
    assert all(line.seconds(1000) > 0 for line in lines.values())
    assert [(one.size.hidden_size, one.max_length_tokens) for one in asked] == [(8, 20)]

    # Kept for the next time, until asked for anew.
    assert measuring_costs.for_plan(plan, 1) == here
    assert len(asked) == 1
    measuring_costs.for_plan(plan, 1, again=True)
    assert len(asked) == 2
