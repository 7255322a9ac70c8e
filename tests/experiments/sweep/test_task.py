"""Tasks: what a stack of runs has."""

from collections.abc import Iterator

import pytest
import torch

from bertprune.experiments import stacking
from bertprune.experiments.sweep.task import Task
from bertprune.protocol.notebook_parameters import PrunePretrain


@pytest.fixture
def threads() -> Iterator[int]:
    """How many torch has; it has so many again after the test."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_a_stack_has_the_threads_of_its_runs(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    monkeypatch.setattr(stacking, "train", lambda *_: found.append(torch.get_num_threads()))
    wanted = [threads + 2, threads + 1]
    for one in wanted:
        Task((PrunePretrain(), PrunePretrain(seed=1)), threads=one, at_once=2)()
    assert found == wanted
