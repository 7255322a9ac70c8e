"""Our pre-training loss against `transformers.BertForPreTraining`, and sharing a batch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from bertprune.data.batches import PretrainingBatch
from bertprune.data.pretraining_examples import reads
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.protocol.notebook_parameters import BurnIn
from bertprune.training import pretraining
from bertprune.training.dispatch import Job
from bertprune.training.pretraining import PretrainingLoss, evaluate

VOCABULARY = 90
SMALL = BurnIn(text=("lab:0:300",), max_length_tokens=32, pretrain_batch_size=4)


def _batch(seed: int = 0) -> tuple[PretrainingBatch, torch.Tensor]:
    """A padded batch with masked positions, and the same labels as transformers wants them."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCABULARY, (6, 24), generator=generator)
    lengths = torch.tensor([24, 24, 11, 17, 5, 24])
    attention = (torch.arange(24) < lengths[:, None]).long()
    chosen = (torch.rand(6, 24, generator=generator) < 0.15) & attention.bool()
    labels = torch.where(chosen, ids, -100)
    positions = chosen.flatten().nonzero().flatten()
    read_positions, masked_reads = map(torch.from_numpy, reads(positions.numpy(), (6, 24)))
    types = ((torch.arange(24) >= 4) & attention.bool()).long()
    batch = PretrainingBatch(
        input_ids=ids * attention,
        token_type_ids=types,
        attention_mask=attention,
        read_positions=read_positions,
        masked_reads=masked_reads,
        masked_labels=ids.flatten()[positions],
        next_sentence_labels=torch.randint(0, 2, (6,), generator=generator),
        masked_total=len(positions),
        examples_total=6,
    )
    return batch, labels


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_and_gradients_are_those_of_transformers(seed: int) -> None:
    batch, labels = _batch(seed)
    model = fresh_model(Shape(2, 32, 4, VOCABULARY), seed=seed).eval()
    ours = PretrainingLoss(model)(batch)
    gradients = torch.autograd.grad(ours, list(model.parameters()))
    theirs = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        token_type_ids=batch.token_type_ids,
        labels=labels,
        next_sentence_label=batch.next_sentence_labels,
    ).loss
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    expected = torch.autograd.grad(theirs, list(model.parameters()))
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-6)


def test_evaluation_is_a_mean_over_tokens_not_over_batches() -> None:
    batch, _ = _batch()
    model = fresh_model(Shape(1, 16, 2, VOCABULARY), seed=0)
    accelerator = Accelerator(cpu=True)
    once = evaluate(model, [batch], accelerator)
    assert once["loss"] == pytest.approx(once["mlm_loss"] + once["nsp_loss"])
    assert once["loss"] == pytest.approx(PretrainingLoss(model.eval())(batch).item(), rel=1e-5)
    other, _ = _batch(5)
    both = evaluate(model, [batch, other], accelerator)
    second = evaluate(model, [other], accelerator)
    masked = batch.masked_total, other.masked_total
    expected = (once["mlm_loss"] * masked[0] + second["mlm_loss"] * masked[1]) / sum(masked)
    assert both["mlm_loss"] == pytest.approx(expected, rel=1e-6)
    assert 0 <= both["masked_accuracy"] <= 1


@pytest.fixture
def plan_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[BurnIn], Any]:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    return lambda parameters: pretraining._plan(Job(parameters, tmp_path), Accelerator())


def test_processes_that_share_a_batch_have_the_gradient_of_one(
    plan_of: Callable[[BurnIn], Any],
) -> None:
    plan = plan_of(SMALL)
    model, batches = plan.model.eval(), pretraining._short_pairs_first(plan)

    def gradients(rank: int, processes: int) -> Sequence[torch.Tensor]:
        loss = PretrainingLoss(model, processes)(batches(0, rank, processes))
        return torch.autograd.grad(loss, list(model.parameters()))

    for one, *shares in zip(gradients(0, 1), gradients(0, 2), gradients(1, 2), strict=True):
        torch.testing.assert_close(one, sum(shares) / 2, rtol=1e-4, atol=1e-6)


def test_burn_in_begins_with_short_pairs_of_as_many_tokens(
    plan_of: Callable[[BurnIn], Any],
) -> None:
    given = SMALL.replace(burn_in_steps=6, burn_in_short_steps=3, burn_in_short_tokens=16)
    batches = [pretraining._short_pairs_first(plan_of(one)) for one in (given, SMALL)]
    short, long = [[batch(step, 0, 1) for step in range(3)] for batch in batches]
    for step, batch in enumerate(short):
        assert batch.lengths["B"] == 8 and batch.lengths["L"] <= 16
        ids = batches[0](3 + step, 0, 1).input_ids
        assert torch.equal(ids, long[step].input_ids) and len(ids) == 4
    assert max(batch.lengths["L"] for batch in long) > 16
    # Two processes have it between them.
    assert sum(len(batches[0](0, rank, 2).input_ids) for rank in (0, 1)) == 8
