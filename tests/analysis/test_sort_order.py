"""Movement in the sort order: against numpy's ranks, known cases, and one start used again."""

import math

import numpy as np
import pytest
import torch
from transformers import BertForPreTraining

from bertprune.analysis.sort_order import POSITIONS, Movement, ranks
from bertprune.pruning.matrices import prunable_matrices

from .conftest import matrices_of, values_of


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
    order = weight.abs().numpy().ravel().argsort(kind="stable")
    assert np.array_equal(found.numpy(), order.argsort())


def test_what_does_not_move_has_no_movement() -> None:
    matrices = matrices_of(1)
    for after in (matrices, {name: -3 * weight for name, weight in matrices.items()}):
        for found in Movement(matrices).entries(after, by_position=True):
            assert found["value"] == 0


def test_movement_is_a_share_of_the_matrix() -> None:
    before = torch.tensor([1.0, -2.0, 3.0, -4.0, 5.0])
    found = Movement({"it": before}).entries({"it": before.flip(0)})
    moved = [0.8, 0.4, 0, 0.4, 0.8]
    assert values_of(found, "movement_mean")["it"] == pytest.approx(np.mean(moved))
    assert values_of(found, "movement_std")["it"] == pytest.approx(np.std(moved))


def test_entries_are_those_of_numpy() -> None:
    before = matrices_of(1)
    after = {n: w + matrices_of(2)[n] / 10 for n, w in before.items()}
    moved, started = {}, {}
    for name, weight in before.items():
        start, end = ranks(weight).numpy(), ranks(after[name]).numpy()
        moved[name.removesuffix(".weight")] = np.abs(end - start) / len(start)
        started[name.removesuffix(".weight")] = start / len(start)
    moved[""] = np.concatenate(list(moved.values()))
    found = Movement(before).entries(after, by_position=True)
    assert {e["split"] for e in found} == {"weights"}
    plain = [e for e in found if e["part"] != "starting position"]
    assert all(math.isnan(e["position"]) for e in plain)
    for metric, statistic in (("movement_mean", np.mean), ("movement_std", np.std)):
        assert values_of(plain, metric) == pytest.approx(
            {name: float(statistic(values)) for name, values in moved.items()}
        )
    place = np.floor(np.concatenate(list(started.values())) * POSITIONS)
    for metric, statistic in (("movement_mean", np.mean), ("movement_std", np.std)):
        own = [e for e in found if e["part"] == "starting position" and e["metric"] == metric]
        assert [e["position"] for e in own] == pytest.approx(np.arange(0.025, 1, 0.05))
        assert [e["value"] for e in own] == pytest.approx(
            [float(statistic(moved[""][place == bin])) for bin in range(POSITIONS)]
        )


def test_a_small_matrix_leaves_positions_out() -> None:
    before = {"a.weight": torch.tensor([1.0, 2.0, 3.0])}
    found = Movement(before).entries(before, by_position=True)
    own = [e["position"] for e in found if e["part"] == "starting position"]
    assert own == pytest.approx([0.025, 0.025, 0.325, 0.325, 0.675, 0.675])


def test_one_start_is_used_again(model: BertForPreTraining) -> None:
    weights = prunable_matrices(model)
    begun = Movement(weights)
    assert values_of(begun.entries(weights), "movement_mean")[""] == 0
    with torch.no_grad():
        for weight in weights.values():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    later = values_of(begun.entries(weights), "movement_mean")
    assert 0 < later[""] < 1
    with torch.inference_mode():
        assert values_of(begun.entries(weights), "movement_mean") == later


def test_what_cannot_be_compared() -> None:
    begun = Movement({"a.weight": torch.ones(2, 2)})
    with pytest.raises(ValueError, match="shape"):
        begun.entries({"a.weight": torch.ones(4)})
    with pytest.raises(ValueError, match="not finite"):
        begun.entries({"a.weight": torch.full((2, 2), float("nan"))})
