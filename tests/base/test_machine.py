"""What a machine is called in records and tables."""

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bertprune.base import machine


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    for asked in (machine.device_name, machine.gpu_name):
        asked.cache_clear()
    yield
    for asked in (machine.device_name, machine.gpu_name):
        asked.cache_clear()


def test_a_machine_without_a_gpu_is_called_by_its_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.gpu_name() == ""
    assert machine.device_name() == machine.processor() != ""


def test_one_with_a_gpu_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Abacus 9000")
    assert machine.device_name() == machine.gpu_name() == "Abacus 9000"


def test_where_the_system_does_not_say_the_architecture_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "exists", lambda file: False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert machine.processor() == platform.machine()
