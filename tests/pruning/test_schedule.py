"""The cubic schedule of Zhu & Gupta (2017), eq. 1."""

import pytest

from bertprune.pruning.schedule import Schedule, cubic_sparsity


def test_ramp_from_initial_to_final() -> None:
    values = [
        cubic_sparsity(step, initial=0.1, final=0.9, begin_step=10, end_step=110)
        for step in range(121)
    ]
    assert values[:11] == [0.1] * 11
    assert values[110:] == [0.9] * 11
    assert values == sorted(values)
    # Half way, an eighth of the distance is left.
    assert values[60] == pytest.approx(0.9 - 0.8 / 8)


def test_one_shot() -> None:
    schedule = Schedule(0.7)
    assert [schedule.is_update(step) for step in range(3)] == [True, False, False]
    assert schedule.sparsity(0) == 0.7


@pytest.mark.parametrize("frequency", [1, 3, 7, 100])
def test_the_final_sparsity_is_always_reached(frequency: int) -> None:
    schedule = Schedule(0.6, begin_step=2, end_step=20, frequency_steps=frequency)
    updates = [step for step in range(40) if schedule.is_update(step)]
    assert updates[0] == 2 and updates[-1] == 20
    assert schedule.sparsity(updates[-1]) == 0.6


def test_updates_may_go_on_after_the_ramp() -> None:
    schedule = Schedule(0.6, end_step=10, frequency_steps=4, goes_on=True)
    updates = [step for step in range(21) if schedule.is_update(step)]
    assert updates == [0, 4, 8, 10, 12, 16, 20]
    assert not any(schedule.is_last_update(step) for step in updates)
    assert [schedule.sparsity(step) for step in (10, 20)] == [0.6, 0.6]


def test_end_before_begin() -> None:
    with pytest.raises(ValueError, match="end_step 1 is before begin_step 2"):
        cubic_sparsity(0, initial=0, final=0.5, begin_step=2, end_step=1)
