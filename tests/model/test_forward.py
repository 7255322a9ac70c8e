"""Dropout, of stacks too, and the cross-entropy; `test_config` has the forward pass itself."""

import pytest
import torch
from torch.nn import functional

from bertprune.data.batches import NO_LABEL
from bertprune.model import forward


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


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_cross_entropy_and_its_gradient_are_torchs(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    # More classes than fit into one pass, hopeless answers, and a label that does not count.
    logits = torch.randn(3, 7, 90_000, generator=generator).mul_(30).to(kind)
    labels = torch.randint(0, 90_000, (3, 7), generator=generator)
    labels[1, 2:4] = NO_LABEL
    given = [logits.clone().requires_grad_() for _ in range(2)]
    ours = forward.summed_cross_entropy(given[0].clone(), labels)
    theirs = functional.cross_entropy(given[1].float().mT, labels, reduction="none").sum(1)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs)
    weights = torch.tensor([1.0, 0.5, -2.0])
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    rounding = 1e-4 if kind == torch.float32 else 2**-7
    torch.testing.assert_close(given[0].grad, given[1].grad, rtol=rounding, atol=1e-7)
    with torch.no_grad():
        kept = logits.clone()
        torch.testing.assert_close(forward.summed_cross_entropy(kept, labels), theirs.detach())
        assert torch.equal(kept, logits)
