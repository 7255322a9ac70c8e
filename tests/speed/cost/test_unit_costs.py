"""Unit costs: lines through measurements, other shapes, GPUs, and what is published."""

from pathlib import Path

import pytest

from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.model.shape import BERT_BASE, Shape
from bertprune.speed.cost import unit_costs
from bertprune.speed.cost.amounts_of_work import MASK_UPDATE, NOTEBOOK, PRETRAINING_STEP
from bertprune.speed.cost.unit_costs import Line, Machine

from .by_hand import INVENTED, TINY, machine


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ((100, 3.0), (200, 5.0), Line(1.0, 0.02)),
        # Noise: the larger batch alone counts.
        ((100, 6.0), (200, 5.0), Line(0.0, 0.025)),
        ((100, 1.0), (200, 5.0), Line(0.0, 0.025)),
        ((200, 5.0), (200, 5.0), Line(0.0, 0.025)),
    ],
)
def test_a_line_through_two_measurements(
    first: tuple[float, float], second: tuple[float, float], line: Line
) -> None:
    assert unit_costs.through(first, second) == line


def test_another_shape_is_scaled() -> None:
    assert machine().lines(TINY, 4) == INVENTED
    wider = machine().lines(Shape(2, 256, 1, 30_522), 1)
    assert wider[NOTEBOOK] == INVENTED[NOTEBOOK]
    assert wider[MASK_UPDATE].fixed_s > 3.0
    assert wider[PRETRAINING_STEP].per_token_s > 2 * 0.01


def test_a_gpu_follows_from_its_rate() -> None:
    """32 × 128 tokens of BERT-Base, nearly all of whose work is in the 85 million weights of its
    layers, at 35 % of 312 TFLOP/s; and 5 ms."""
    step = unit_costs.named("a100").lines(BERT_BASE, 1)[PRETRAINING_STEP]
    tokens = 32 * 128
    assert step.seconds() == 0.005
    assert 1 < (step.seconds(tokens) - 0.005) / (6 * 85e6 * tokens / (0.35 * 312e12)) < 1.1
    with pytest.raises(UserError, match="unknown device 'a1000': did you mean 'a100'"):
        unit_costs.named("a1000")


def test_published_costs_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "published", lambda name, end="": tmp_path / f"{name}{end}")
    with pytest.raises(UserError, match="bertprune cost STUDY --publish"):
        unit_costs.published()
    unit_costs.publish(machine(cores=4))
    other = {(Shape(1, 8, 1, 100), 2): INVENTED}
    unit_costs.publish(Machine("invented", 4, other))
    again = unit_costs.published()
    assert again.cores == 4
    assert again.table == {(TINY, 1): INVENTED} | other
    # Those of another machine would be no part of it.
    unit_costs.publish(Machine("another", 4, other))
    assert unit_costs.published().table == other
