"""The optimization of a training."""

import pytest

from bertprune.training.variants import Optimization


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    settings = Optimization(learning_rate=1.0, steps=110, warmup_steps=10)
    rates = [settings.learning_rate_at(step) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert 0 < rates[-1] == pytest.approx(0.01)
