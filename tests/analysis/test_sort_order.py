"""Movement in the sort order: against numpy's ranks, known cases, and one start used again."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BertForPreTraining

from bertprune.analysis.sort_order import POSITIONS, Movement, movement, ranks
from bertprune.protocol.rows import Entry
from bertprune.pruning.masks import keep_largest
from bertprune.pruning.matrices import prunable_matrices

from .conftest import MakeMatrices


def _ranks(weight: Tensor) -> NDArray[np.int64]:
    """Ranks by a sort of (magnitude, position), position by position."""
    magnitudes = weight.abs().numpy().ravel().tolist()
    order = sorted(range(len(magnitudes)), key=lambda place: (magnitudes[place], place))
    found = np.empty(len(order), np.int64)
    for rank, place in enumerate(order):
        found[place] = rank
    return found


def _values(entries: list[Entry], metric: str) -> dict[str, float]:
    return {e["part"]: e["value"] for e in entries if e["metric"] == metric}


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros", "tiny"])
def test_ranks_are_those_of_a_sort(kind: str) -> None:
    weight = torch.randn(13, 11, generator=torch.Generator().manual_seed(0))
    if kind == "ties":
        weight = weight.round()
    if kind == "zeros":
        weight = torch.zeros(13, 11) * torch.tensor(-1.0)
    if kind == "tiny":
        weight = weight * 1e-38
    found = ranks(weight)
    assert found.dtype == torch.int32
    assert np.array_equal(found.numpy(), _ranks(weight))
    assert np.array_equal(
        found.numpy(), weight.abs().numpy().ravel().argsort(kind="stable").argsort()
    )


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_the_lowest_ranks_are_what_pruning_takes(sparsity: float) -> None:
    weight = torch.randn(20, 10, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    pruned = ranks(weight) < round(sparsity * weight.numel())
    assert torch.equal(pruned.view(weight.shape), ~keep_largest(weight.abs(), sparsity))


def test_what_does_not_move_has_no_movement(make_matrices: MakeMatrices) -> None:
    matrices = make_matrices(1)
    for after in (matrices, {name: -3 * weight for name, weight in matrices.items()}):
        for found in Movement(matrices).entries(after, by_position=True):
            assert found["value"] == 0


@pytest.mark.parametrize("size", [2, 10, 1000])
def test_a_reversed_order_moves_by_half_of_the_matrix(size: int) -> None:
    before = torch.arange(1.0, size + 1)
    found = movement(before, before.flip(0))
    assert found.mean() == pytest.approx(0.5)
    # Ranks 0, 1, ... go to n - 1, n - 2, ...
    assert found.tolist() == pytest.approx([abs(size - 1 - 2 * r) / size for r in range(size)])


def test_unrelated_orders_are_a_third_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randn(100_000, generator=generator) for _ in range(2))
    # Two independent uniform numbers differ by 1/3, with a standard deviation of sqrt(1/18).
    found = movement(before, after)
    assert found.mean() == pytest.approx(1 / 3, abs=0.005)
    assert found.std() == pytest.approx(math.sqrt(1 / 18), abs=0.005)


def test_entries_are_those_of_numpy(make_matrices: MakeMatrices) -> None:
    before = make_matrices(1)
    after = {n: w + make_matrices(2)[n] / 10 for n, w in before.items()}
    moved, started = {}, {}
    for name, weight in before.items():
        start, end = _ranks(weight), _ranks(after[name])
        moved[name.removesuffix(".weight")] = np.abs(end - start) / len(start)
        started[name.removesuffix(".weight")] = start / len(start)
    moved[""] = np.concatenate(list(moved.values()))
    found = Movement(before).entries(after, by_position=True)
    assert {e["split"] for e in found} == {"weights"}
    plain = [e for e in found if e["part"] != "starting position"]
    assert all(math.isnan(e["position"]) for e in plain)
    for metric, statistic in (("movement_mean", np.mean), ("movement_std", np.std)):
        assert _values(plain, metric) == pytest.approx(
            {name: float(statistic(values)) for name, values in moved.items()}
        )
    place = np.floor(np.concatenate(list(started.values())) * POSITIONS)
    for metric, statistic in (("movement_mean", np.mean), ("movement_std", np.std)):
        own = [e for e in found if e["part"] == "starting position" and e["metric"] == metric]
        assert [e["position"] for e in own] == pytest.approx(np.arange(0.025, 1, 0.05))
        assert [e["value"] for e in own] == pytest.approx(
            [float(statistic(moved[""][place == bin])) for bin in range(POSITIONS)]
        )


def test_the_last_position_has_the_largest_magnitudes() -> None:
    before = torch.arange(1.0, 101)
    after = before.clone()
    # The five largest go to the bottom, so all others go up by five.
    after[95:] = torch.linspace(0.1, 0.5, 5)
    found = Movement({"a.weight": before}).entries({"a.weight": after}, by_position=True)
    own = [e for e in found if e["position"] > 0 and e["metric"] == "movement_mean"]
    assert own[-1]["position"] == pytest.approx(0.975)
    assert own[-1]["value"] == pytest.approx(0.95)
    assert [e["value"] for e in own[:-1]] == pytest.approx([0.05] * 19)


def test_a_small_matrix_leaves_positions_out() -> None:
    before = {"a.weight": torch.tensor([1.0, 2.0, 3.0])}
    found = Movement(before).entries(before, by_position=True)
    own = [e["position"] for e in found if e["part"] == "starting position"]
    assert own == pytest.approx([0.025, 0.025, 0.325, 0.325, 0.675, 0.675])


def test_one_start_is_used_again(model: BertForPreTraining) -> None:
    weights = prunable_matrices(model)
    begun = Movement(weights)
    at_first = begun.entries(weights)
    with torch.no_grad():
        for weight in weights.values():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    with torch.inference_mode():
        inside = begun.entries(weights)
    later = begun.entries(weights)
    assert _values(at_first, "movement_mean")[""] == 0
    assert 0 < _values(later, "movement_mean")[""] < 1
    assert _values(later, "movement_mean") == _values(inside, "movement_mean")


def test_what_cannot_be_compared() -> None:
    begun = Movement({"a.weight": torch.ones(2, 2)})
    with pytest.raises(ValueError, match="shape"):
        begun.entries({"a.weight": torch.ones(4)})
    with pytest.raises(ValueError, match="not finite"):
        begun.entries({"a.weight": torch.full((2, 2), float("nan"))})
