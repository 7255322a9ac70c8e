"""Our pre-training loss against `transformers.BertForPreTraining`, and sharing a batch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from bertprune.protocol.notebook_parameters import BurnIn
from bertprune.training import pretraining
from bertprune.training.dispatch import Job
from bertprune.training.pretraining import PretrainingLoss, evaluate

from .small import labels_of

PlanOf = Callable[[BurnIn], Any]
_batches = pretraining._short_pairs_first

SMALL = BurnIn(text=("lab:0:300",), max_length_tokens=32, pretrain_batch_size=4)


@pytest.fixture
def plan_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanOf:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    return lambda parameters: pretraining._plan(Job(parameters, tmp_path), Accelerator())


def test_loss_and_gradients_are_those_of_transformers(plan_of: PlanOf) -> None:
    plan = plan_of(SMALL)
    model, batches = plan.model.eval(), _batches(plan)
    for step in range(3):
        batch = batches(step, 0, 1)
        assert not batch.attention_mask.all()
        ours = PretrainingLoss(model)(batch)
        theirs = model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            token_type_ids=batch.token_type_ids,
            **labels_of(batch),
        ).loss
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
        found, expected = (
            torch.autograd.grad(loss, list(model.parameters())) for loss in (ours, theirs)
        )
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_processes_that_share_a_batch_have_the_gradient_of_one(plan_of: PlanOf) -> None:
    plan = plan_of(SMALL)
    model, batches = plan.model.eval(), _batches(plan)

    def gradients(rank: int, processes: int) -> Sequence[torch.Tensor]:
        loss = PretrainingLoss(model, processes)(batches(0, rank, processes))
        return torch.autograd.grad(loss, list(model.parameters()))

    for one, *shares in zip(gradients(0, 1), gradients(0, 2), gradients(1, 2), strict=True):
        torch.testing.assert_close(one, sum(shares) / 2, rtol=1e-4, atol=1e-6)


def test_evaluation_is_a_mean_over_tokens_not_over_batches(plan_of: PlanOf) -> None:
    plan = plan_of(SMALL)
    model, accelerator, batches = plan.model, Accelerator(cpu=True), _batches(plan)
    of_size = sorted((batches(step, 0, 1) for step in range(5)), key=lambda one: one.masked_total)
    short, long = of_size[0], of_size[-1]
    assert short.masked_total < long.masked_total
    first, second, both = (
        evaluate(model, some, accelerator) for some in ([short], [long], [short, long])
    )
    assert first["loss"] == pytest.approx(first["mlm_loss"] + first["nsp_loss"])
    assert first["loss"] == pytest.approx(PretrainingLoss(model.eval())(short).item(), rel=1e-5)
    masked = short.masked_total, long.masked_total
    expected = (first["mlm_loss"] * masked[0] + second["mlm_loss"] * masked[1]) / sum(masked)
    assert both["mlm_loss"] == pytest.approx(expected, rel=1e-6)
    assert 0 <= both["masked_accuracy"] <= 1


def test_burn_in_begins_with_short_pairs_of_as_many_tokens(plan_of: PlanOf) -> None:
    given = SMALL.replace(burn_in_steps=6, burn_in_short_steps=3, burn_in_short_tokens=16)
    batches = [_batches(plan_of(one)) for one in (given, SMALL)]
    short, long = [[batch(step, 0, 1) for step in range(3)] for batch in batches]
    for step, batch in enumerate(short):
        assert batch.lengths["B"] == 8 and batch.lengths["L"] <= 16
        ids = batches[0](3 + step, 0, 1).input_ids
        assert torch.equal(ids, long[step].input_ids) and len(ids) == 4
    assert max(batch.lengths["L"] for batch in long) > 16
    # Two processes have it between them.
    assert sum(len(batches[0](0, rank, 2).input_ids) for rank in (0, 1)) == 8
