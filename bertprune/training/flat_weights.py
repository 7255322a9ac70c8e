"""The weights of the models that train, their gradients and their optimizer, each as one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bertprune.model import forward
from bertprune.training.variants import Optimization

_NO_DECAY = ("bias", "LayerNorm.weight")

# 0.999 to the power of it is 0 in float64, and a float32 no longer counts on from it.
_STEPS_WITHOUT_CORRECTION = 1e9


class FlatWeights:
    """The weights of K models of one shape in one tensor, and their gradients in another.

    The models' own parameters become windows on it, so a model is evaluated, pruned and saved as
    ever, while the optimizer, which takes a large share of a small model's step, has one tensor to
    go through instead of dozens.

    Where a caller names `words`, there is one model, and these are the rows (n) of its word
    embeddings that have any gradient.
    """

    def __init__(self, models: Sequence[nn.Module], optimizations: Sequence[Optimization]) -> None:
        named = dict(models[0].named_parameters())
        # The word embeddings are the first of those that decay: all but biases and LayerNorm, as in
        # BERT.
        names = sorted(named, key=lambda name: (name.endswith(_NO_DECAY), name != forward.WORDS))
        self._shapes = {name: named[name].shape for name in names}
        self._parameters = forward.weights_of(models[0])
        size, device = sum(p.numel() for p in named.values()), named[names[0]].device
        self.weights = torch.empty(len(models), size, device=device)  # (K, parameters)
        self.gradients = torch.zeros_like(self.weights)
        self._leaf = nn.Parameter(self.weights)
        self._leaf.grad = self.gradients
        for number, model in enumerate(models):
            own = dict(model.named_parameters())
            gradients = self._windows(self.gradients[number])
            for name, window in self._windows(self.weights[number]).items():
                window.copy_(own[name].detach())
                own[name].data = window
                own[name].grad = gradients[name]
        self._words = self._shapes[names[0]].numel()
        self._optimizations = optimizations
        self._highest_norms = torch.tensor(
            [how.max_gradient_norm for how in optimizations], device=device
        )
        self.optimizer = self._adamw()

    def _adamw(self) -> torch.optim.AdamW:
        """AdamW with two groups of parameters a model: those that decay, and those that do not."""
        decaying = sum(
            shape.numel() for name, shape in self._shapes.items() if not name.endswith(_NO_DECAY)
        )
        groups = []
        for number, how in enumerate(self._optimizations):
            for part, decay in (
                (slice(decaying), how.weight_decay),
                (slice(decaying, None), 0.0),
            ):
                parameter = nn.Parameter(self.weights[number, part])
                parameter.grad = self.gradients[number, part]
                groups.append({"params": [parameter], "weight_decay": decay, "eps": how.epsilon})
        optimizer = torch.optim.AdamW(groups, lr=self._optimizations[0].learning_rate, fused=True)
        for number, group in enumerate(optimizer.param_groups):
            if not self._optimizations[number // 2].bias_correction:
                _leave_moments_uncorrected(optimizer, group["params"])
        return optimizer

    def alone(self) -> forward.Weights:
        """The weights of the only model, by all their names, and where the gradient of looked-up
        words is added to."""
        return {**self._parameters, forward.WORDS_GRADIENT: self._words_gradient()}

    def stacked(self) -> forward.Weights:
        """The weights of all models with a first axis of K, by all their names; what is computed
        from them has its gradients in `gradients`."""
        parts = self._leaf.split([shape.numel() for shape in self._shapes.values()], dim=1)
        found = {
            self._parameters[name]: part.view(-1, *shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }
        return {name: found[parameter] for name, parameter in self._parameters.items()}

    def momentum(self, number: int) -> dict[str, Tensor]:
        """The first moments of the decaying weights of model `number`, by name; none as yet before
        the first step."""
        (parameter,) = self.optimizer.param_groups[2 * number]["params"]
        state = self.optimizer.state.get(parameter)
        return self._windows(state["exp_avg"]) if state else {}

    def update(self, step: int, words: Tensor | None = None) -> None:
        """Do training step `step` with the gradients, clipped, which are zero afterwards."""
        self.clip_gradients(words)
        for number, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self._optimizations[number // 2].learning_rate_at(step)
        self.optimizer.step()
        if words is None:
            self.gradients.zero_()
        else:
            self._words_gradient()[words] = 0.0
            self.gradients[:, self._words :].zero_()

    def clip_gradients(self, words: Tensor | None = None) -> None:
        """Scale each model's gradients to a norm of at most that of its optimization."""
        if words is None:
            norms = torch.linalg.vector_norm(self.gradients, dim=1)
            self.gradients.mul_((self._highest_norms / (norms + 1e-6)).clamp(max=1.0)[:, None])
            return
        table, others = self._words_gradient(), self.gradients[:, self._words :]
        rows = table[words]
        norm = torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(part) for part in (rows, others)])
        )
        scale = (self._highest_norms / (norm + 1e-6)).clamp(max=1.0)
        table[words] = rows * scale
        others.mul_(scale)

    def _words_gradient(self) -> Tensor:
        return self.gradients[0, : self._words].view(self._shapes[forward.WORDS])

    def _windows(self, flat: Tensor) -> dict[str, Tensor]:
        """Windows on `flat` (parameters,) of the shapes of the parameters that it reaches."""
        found, start = {}, 0
        for name, shape in self._shapes.items():
            end = start + shape.numel()
            if end <= len(flat):
                found[name] = flat[start:end].view(shape)
            start = end
        return found


def _leave_moments_uncorrected(
    optimizer: torch.optim.AdamW, parameters: Sequence[nn.Parameter]
) -> None:
    """Have Adam take its moments as they are: after so many steps nothing is left to correct."""
    for parameter in parameters:
        optimizer.state[parameter] = {
            "step": torch.tensor(_STEPS_WITHOUT_CORRECTION, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
