"""How much work runs do: steps and updates as in training, examples and lengths as in the data."""

from pathlib import Path

import pytest

from bertprune.base.errors import UserError
from bertprune.data import pretraining_examples
from bertprune.experiments.runs import Run
from bertprune.protocol.notebook_parameters import Finetune, PrunePretrain
from bertprune.pruning.schedule import Schedule
from bertprune.speed.cost.amounts_of_work import MASK_UPDATE, MASKED_SHARE, run_work, task_size
from bertprune.speed.cost.estimate import estimate

from .by_hand import by_hand, machine


@pytest.mark.parametrize(("ramp", "frequency"), [(0, 1), (40, 10), (45, 10), (3, 7)])
def test_mask_updates_are_those_of_the_schedule(ramp: int, frequency: int) -> None:
    p = PrunePretrain(
        sparsity=0.5, pretrain_steps=60, ramp_steps=ramp, pruning_frequency_steps=frequency
    )
    schedule = Schedule(final=0.5, end_step=ramp, frequency_steps=frequency)
    counted = [one.times for one in run_work(Run.of(p)) if one.unit == MASK_UPDATE]
    assert counted == [sum(map(schedule.is_update, range(60)))]


def test_the_masked_share_is_that_of_the_examples() -> None:
    assert pretraining_examples.MASKED_SHARE == MASKED_SHARE


def test_sizes_of_tasks_at_hand() -> None:
    size = task_size("cola", Finetune(text=("lab",), task_data="lab"))
    assert (size.train, size.dev) == (600, 500)
    assert not size.examples_assumed and not size.tokens_assumed
    assert 4 < size.mean_length_tokens < 20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model=somebody/bert", "the shape of model 'somebody/bert' is not known"),
        ("task=[somebodys]", "the size of task 'somebodys' is not known"),
    ],
)
def test_what_only_the_hub_knows(root: Path, change: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        estimate(by_hand(change).plan(), machine())
