"""Weights in one tensor: those of the models, clipped as torch does."""

import torch
from torch import nn

from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.training.flat_weights import FlatWeights
from bertprune.training.variants import Optimization

SETTINGS = Optimization(learning_rate=1e-3, steps=12)


def test_flat_weights_are_the_models_and_only_matrices_decay() -> None:
    model = fresh_model(Shape(1, 16, 2, 60), seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flat = FlatWeights([model], [SETTINGS])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
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
    generator = torch.Generator().manual_seed(0)
    # The first one's are too long, the second one's are not.
    flat.gradients.normal_(generator=generator)
    flat.gradients[1] *= 1e-3
    wanted = []
    for model in models:
        copies = [nn.Parameter(p.detach().clone()) for p in model.parameters()]
        for copy, parameter in zip(copies, model.parameters(), strict=True):
            assert parameter.grad is not None
            copy.grad = parameter.grad.clone()
        nn.utils.clip_grad_norm_(copies, 1.0)
        wanted.append([copy.grad for copy in copies])
    flat.clip_gradients()
    for model, theirs in zip(models, wanted, strict=True):
        for parameter, other in zip(model.parameters(), theirs, strict=True):
            torch.testing.assert_close(parameter.grad, other)
