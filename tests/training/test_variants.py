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


def test_calls_that_end_where_they_were_told_to() -> None:
    """As BERT's optimization.py: 2e-5 · (1 − step / 5,000), then 2e-5 · (1 − step / 10,000)."""
    settings = Optimization(2e-5, steps=10_000, warmup_steps=10, decay_ends=(5_000, 10_000))
    wanted = {
        0: 0.0,
        5: 1e-5,
        10: 1.996e-5,
        2_500: 1e-5,
        4_999: 4e-9,
        5_000: 1e-5,
        7_500: 5e-6,
        9_999: 2e-9,
    }
    assert {step: settings.learning_rate_at(step) for step in wanted} == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("begins", "ends", "epochs", "area"),
    [
        # Half of 1 + 1/2 + 1/3, and of the harmonic number of 13.
        (0, (1, 2, 3), 3, 0.9167),
        (0, tuple(range(1, 16)), 13, 1.5901),
        # (0.1² / 3.1 + 0.9² / 4 + 1 / 5 + 1 / 6 + 1 / 7 + 1 / 8) / 2
        (3, (3.1, 4, 5, 6, 7, 8, 9, 10), 5, 0.4202),
        (0, (), 3, 1.5),
    ],
)
def test_how_much_is_trained_in_epochs_at_the_peak_rate(
    begins: float, ends: tuple[float, ...], epochs: int, area: float
) -> None:
    an_epoch = 10_000
    settings = Optimization(
        learning_rate=1.0,
        steps=epochs * an_epoch,
        warmup_steps=0,
        decay_ends=tuple(round(end * an_epoch) for end in ends),
        begins=round(begins * an_epoch),
    )
    rates = [settings.learning_rate_at(step) for step in range(settings.steps)]
    assert sum(rates) / an_epoch == pytest.approx(area, abs=1e-3)
    assert min(rates) >= 0


def test_the_last_decay_ends_with_the_training() -> None:
    longer, exact = (
        Optimization(1.0, steps=30, warmup_steps=0, decay_ends=ends)
        for ends in ((20, 40), (20, 30))
    )
    for step in range(30):
        assert longer.learning_rate_at(step) == exact.learning_rate_at(step)


def test_recovery_that_counts_on_does_not_warm_up_again() -> None:
    settings = Optimization(1.0, steps=10, warmup_steps=3, decay_ends=(20,), begins=10)
    assert settings.learning_rate_at(0) == pytest.approx(0.5)
