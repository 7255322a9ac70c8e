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


@pytest.mark.parametrize("has_bf16", [True, False])
def test_bf16_is_chosen_only_where_it_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or has_bf16
    )
    assert processes._mixed_precision("auto") == ("bf16" if has_bf16 else "no")
    assert processes._mixed_precision("bf16") == "bf16"
    assert processes._mixed_precision("float32") == "no"


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
