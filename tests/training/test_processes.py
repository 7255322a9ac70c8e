"""The handle of accelerate: its precision, and its device."""

from collections.abc import Iterator

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState

from bertprune.training import processes


@pytest.fixture
def no_state_of_accelerate() -> Iterator[None]:
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@pytest.mark.usefixtures("no_state_of_accelerate")
def test_runs_of_one_process_may_differ_in_precision() -> None:
    product = torch.ones(2, 2)
    for precision, dtype in [("float32", torch.float32), ("bf16", torch.bfloat16)] * 2:
        with processes.accelerator(precision).autocast():
            assert (product.to(PartialState().device) @ product).dtype == dtype


@pytest.mark.usefixtures("no_state_of_accelerate")
def test_without_cuda_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(PartialState, "default_device", torch.device("mps"))
    assert processes.is_main_process()
    assert processes.accelerator().device == torch.device("cpu")


def test_training_keeps_to_the_cores_that_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        monkeypatch.setattr(processes, "usable_cores", lambda: 3)
        processes.accelerator("float32")
        assert torch.get_num_threads() == 3
        monkeypatch.setattr(processes, "usable_cores", lambda: 8)
        processes.accelerator("float32")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
