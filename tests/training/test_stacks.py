"""Stacks: how many models a GPU has room for."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from bertprune.data.batches import PretrainingBatch
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.training import stacks
from bertprune.training.variants import Variant

from .small import SETTINGS, STEPS, Shapes, make_batch


def _variant_of_shapes(shapes: list[tuple[int, int]]) -> Variant:
    """A model whose batches have these shapes until it is first evaluated, and are larger then."""

    def batch(step: int, rank: int, world: int) -> PretrainingBatch:
        examples, length = [*shapes, (4, 99)][step]
        whole = make_batch(step, length=length)
        return dataclasses.replace(
            whole,
            input_ids=whole.input_ids[:examples],
            read_positions=whole.read_positions[:examples],
        )

    loss = Shapes(fresh_model(Shape(1, 16, 2, 60), seed=0))
    return Variant(loss, batch, SETTINGS, 0, evaluate_after={len(shapes), STEPS})


@pytest.mark.parametrize(
    ("shapes", "measured", "bytes_of_step"),
    [
        ([(4, 16), (4, 24), (4, 20)], (4, 24), 600),
        # The longest examples of a small task are in a last batch of a few, and in a stack with
        # batches of more.
        ([(4, 16), (2, 24)], (4, 16), 600 * 24 / 16),
    ],
)
def test_room_is_for_the_largest_batch(
    monkeypatch: pytest.MonkeyPatch,
    shapes: list[tuple[int, int]],
    measured: tuple[int, int],
    bytes_of_step: float,
) -> None:
    variant = _variant_of_shapes(shapes)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    # The peak that the record of a run has.
    monkeypatch.delattr(torch.cuda, "reset_peak_memory_stats")
    assert stacks._bytes_of_step(variant, Accelerator(cpu=True)) == bytes_of_step
    loss = variant.loss
    assert isinstance(loss, Shapes) and loss.asked == [measured]
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_memory_that_earlier_trainings_left_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    variant = _variant_of_shapes([(4, 16)])
    state = 16 * sum(p.numel() for p in variant.loss.parameters())
    kept = [7 * state]
    monkeypatch.setattr(stacks, "_bytes_of_step", lambda *given: state)
    monkeypatch.setattr(torch.cuda, "empty_cache", kept.clear)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * state - sum(kept), 10 * state))
    fake: Any = SimpleNamespace(device=torch.device("cuda"))
    # 80 % of ten of which each model takes two.
    assert stacks._room_for(variant, fake) == 4
