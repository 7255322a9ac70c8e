"""Weights in one tensor: those of the models, clipped as torch does."""

import torch
from torch import nn

from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.training.flat_weights import FlatWeights
from bertprune.training.variants import Optimization

from ..models import assert_same

SETTINGS = Optimization(learning_rate=1e-3, steps=12)


def test_flat_weights_are_the_models_and_only_matrices_decay() -> None:
    model = fresh_model(Shape(1, 16, 2, 60), seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flat = FlatWeights([model], [SETTINGS])
    assert_same(model.state_dict(), before)
    with torch.no_grad():
        flat.weights.fill_(0.5)
    flat.gradients.fill_(0.25)
    for parameter in model.parameters():
        assert bool((parameter == 0.5).all()) and parameter.grad is not None
        assert bool((parameter.grad == 0.25).all())
    decayed, kept = flat.optimizer.param_groups
    assert decayed["weight_decay"] == 0.01 and kept["weight_decay"] == 0.0
    sizes = [0, 0]
    for parameter in model.parameters():
        sizes[parameter.dim() == 1] += parameter.numel()
    assert [len(decayed["params"][0]), len(kept["params"][0])] == sizes


def test_gradients_are_clipped_as_torch_does() -> None:
    models = [fresh_model(Shape(1, 16, 2, 60), seed=seed) for seed in (0, 1)]
    flat = FlatWeights(models, [SETTINGS, SETTINGS])
    # The first one's are too long, the second one's are not.
    flat.gradients.normal_(generator=torch.Generator().manual_seed(0))
    flat.gradients[1] *= 1e-3
    wanted = flat.gradients.clone()
    for row in wanted:
        parameter = nn.Parameter(torch.zeros_like(row))
        parameter.grad = row
        nn.utils.clip_grad_norm_(parameter, 1.0)
    flat.clip_gradients()
    torch.testing.assert_close(flat.gradients, wanted)


def test_adam_without_bias_correction_is_that_of_bert() -> None:
    """By the formulas of AdamWeightDecayOptimizer in BERT's optimization.py."""
    model = fresh_model(Shape(1, 16, 2, 60), seed=0)
    flat = FlatWeights([model], [Optimization(1e-2, 5, warmup_steps=0, bias_correction=False)])
    decayed = len(flat.optimizer.param_groups[0]["params"][0])
    decay = torch.zeros_like(flat.weights, dtype=torch.float64)
    decay[:, :decayed] = 0.01
    weights, m, v = flat.weights.double(), torch.zeros_like(decay), torch.zeros_like(decay)
    generator = torch.Generator().manual_seed(0)
    for step in range(5):
        flat.gradients.normal_(generator=generator).div_(flat.gradients.norm())
        gradient = flat.gradients.double()
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient.square()
        weights -= 1e-2 * (1 - step / 5) * (m / (v.sqrt() + 1e-6) + decay * weights)
        flat.update(step)
        torch.testing.assert_close(flat.weights.double(), weights, rtol=1e-5, atol=1e-6)
