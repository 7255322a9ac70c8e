"""Our forward pass against that of transformers, and the dropout of stacks."""

import pytest
import torch
from torch.nn import functional
from transformers import BertForSequenceClassification

from bertprune.data.batches import NO_LABEL
from bertprune.model import forward
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape

VOCABULARY = 90


def _inputs(wanted: torch.Tensor, seed: int = 0) -> forward.Inputs:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([14, 9, 3, 14, 6])
    inside = torch.arange(14) < lengths[:, None]
    ids = torch.randint(0, VOCABULARY, (5, 14), generator=generator)
    return forward.Inputs(ids, (torch.arange(14) >= 4).long() * inside, inside, wanted)


@pytest.mark.parametrize("layers", [1, 3])
def test_hidden_states_are_those_of_transformers_at_the_wanted_positions(layers: int) -> None:
    model = fresh_model(Shape(layers, 32, 4, VOCABULARY), seed=0).eval()
    wanted = torch.tensor([[0, 3, 13], [8, 0, 0], [2, 1, 0], [5, 6, 7], [0, 5, 4]])
    inputs = _inputs(wanted)
    form = forward.Architecture.of(model.config)
    found = forward.encode(forward.weights_of(model), form, inputs, forward.no_dropout)
    theirs = model.bert(
        inputs.ids, attention_mask=inputs.inside.long(), token_type_ids=inputs.types
    ).last_hidden_state
    for row in range(5):
        torch.testing.assert_close(found[row], theirs[row, wanted[row]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_class_logits_are_those_of_transformers(activation: str) -> None:
    config = fresh_model(Shape(2, 32, 4, VOCABULARY), seed=0).config
    config.hidden_act, config.num_labels = activation, 3
    model = BertForSequenceClassification(config).eval()
    inputs = _inputs(torch.zeros(5, 1, dtype=torch.long))
    ours = forward.classify(
        forward.weights_of(model), forward.Architecture.of(config), inputs, forward.no_dropout
    )
    theirs = model(
        inputs.ids, attention_mask=inputs.inside.long(), token_type_ids=inputs.types
    ).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.9])
def test_dropout_keeps_its_share_and_the_mean(share: float) -> None:
    size = 400_000
    kept = forward.Draws((3,), torch.device("cpu")).kept((size,), share)
    assert len(kept.unique()) == 2
    # Four standard deviations of a binomial.
    slack = 4 * (share * (1 - share) / size) ** 0.5
    assert (kept == 0).float().mean().item() == pytest.approx(share, abs=slack)
    assert kept.mean().item() == pytest.approx(1.0, abs=slack / (1 - share))
    # Neighbours are independent.
    gone = (kept == 0).float()
    assert (gone[1:] * gone[:-1]).mean().item() == pytest.approx(share**2, abs=2 * slack)


def test_from_models_of_a_stack_the_same_is_dropped_as_alone() -> None:
    device = torch.device("cpu")
    shared = forward.Draws((1,), device)
    drop = forward.Dropout(
        [shared, forward.Draws((2,), device), shared], [{"L": 6}, {"L": 4}, {"L": 6}]
    )
    found = drop(torch.ones(3, 2, 6, 8), 0.3, "BLH")
    for number, (seed, length) in enumerate([(1, 6), (2, 4), (1, 6)]):
        alone = forward.Dropout([forward.Draws((seed,), device)])(
            torch.ones(2, length, 8), 0.3, "BLH"
        )
        assert torch.equal(found[number, :, :length], alone)
    assert not torch.equal(found[0, :, :4], found[1, :, :4])


def test_cross_entropy_and_its_gradient_are_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    # More classes than fit into one pass, hopeless answers, and a label that does not count.
    logits = torch.randn(3, 7, 90_000, generator=generator).mul_(30)
    labels = torch.randint(0, 90_000, (3, 7), generator=generator)
    labels[1, 2:4] = NO_LABEL
    given = [logits.clone().requires_grad_() for _ in range(2)]
    ours = forward.summed_cross_entropy(given[0].clone(), labels)
    theirs = torch.stack(
        [
            functional.cross_entropy(one, its_labels, reduction="sum")
            for one, its_labels in zip(given[1], labels, strict=True)
        ]
    )
    torch.testing.assert_close(ours, theirs)
    weights = torch.tensor([1.0, 0.5, -2.0])
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(given[0].grad, given[1].grad, rtol=1e-4, atol=1e-7)
    with torch.no_grad():
        kept = logits.clone()
        torch.testing.assert_close(forward.summed_cross_entropy(kept, labels), theirs.detach())
        assert torch.equal(kept, logits)
