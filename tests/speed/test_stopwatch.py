"""Clocks, and when they are read."""

import time

import pytest
from transformers import BertForPreTraining

from bertprune.data.batches import PretrainingBatch
from bertprune.speed.made_up_inputs import Pairs
from bertprune.speed.stopwatch import own_time, pretraining_steps, seconds_of, times_after
from bertprune.training.processes import accelerator


def test_a_process_that_sleeps_takes_no_time_of_its_own() -> None:
    assert seconds_of(lambda: time.sleep(0.1)) >= 0.1
    assert seconds_of(lambda: time.sleep(0.1), own_time) < 0.05


@pytest.mark.parametrize("steps", [{0, 2, 4}, {1, 2, 3, 4}])
def test_the_clock_is_read_after_the_steps_asked_for(
    model: BertForPreTraining, pairs: Pairs, steps: set[int]
) -> None:
    done: list[int] = []

    def batches(step: int, rank: int, world: int) -> PretrainingBatch:
        done.append(step)
        return pairs.examples.batch(step, rank, world)

    training = pretraining_steps(model, batches, None, 4)
    found = times_after(steps, [training], accelerator(), clock=lambda: float(len(done)))
    assert found == sorted(steps)
