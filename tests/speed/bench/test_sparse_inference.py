"""Sparse inference computes what dense inference does, and its rows can be read back."""

import pytest
import torch

from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.speed.bench.quantities import BY_UNPRUNED, DENSE, SPARSE, SPEED_UP, TIME, by_sparsity
from bertprune.speed.bench.sparse_inference import CsrLinear, inference, with_csr
from bertprune.speed.bench.timing import Row, Setting, as_table

TINY = Shape(layers=2, hidden_size=16, heads=2, vocabulary_size=50)


@pytest.mark.parametrize("sparsity", [0.0, 0.6, 1.0])
def test_sparse_products_are_the_dense_ones(sparsity: float) -> None:
    model = fresh_model(TINY, seed=0)
    Pruner.following(model, Schedule(sparsity), Criterion()).before_step(0)
    dense = model.bert.eval()
    sparse = with_csr(dense)
    layers = [module for module in sparse.modules() if isinstance(module, CsrLinear)]
    # Six matrices a layer and the pooler; each keeps its share of the weights.
    assert len(layers) == 2 * 6 + 1
    for layer in layers:
        size = layer.weight.shape.numel()
        assert layer.weight.values().numel() == size - round(sparsity * size)
    assert not any(isinstance(module, CsrLinear) for module in dense.modules())
    ids = torch.arange(2 * 7).view(2, 7)
    with torch.inference_mode():
        for first, second in zip(dense(ids).to_tuple(), sparse(ids).to_tuple(), strict=True):
            assert torch.allclose(first, second, atol=1e-5)


def test_rows_of_inference() -> None:
    setting = Setting(repeats=3, case="inference-L2")
    rows = list(inference(setting, TINY, sparsities=(0.0, 0.9), batch=(2, 8)))
    assert all(0 < row.low <= row.value <= row.high for row in rows)
    table = as_table(rows).assign(machine="here")
    times = by_sparsity(table, TIME).set_index(["side", "sparsity"])
    assert set(times["size"]) == {"2 layers × 128"}
    assert sorted(times.index) == [(side, at) for side in (DENSE, SPARSE) for at in (0.0, 0.9)]
    # Ratios of repeats lie between those of the extremes.
    for quantity, other in ((SPEED_UP, (SPARSE, 0.9)), (BY_UNPRUNED, (DENSE, 0.0))):
        ratio = by_sparsity(table, quantity).set_index("sparsity").loc[0.9]
        above, below = times.xs((DENSE, 0.9)), times.xs(other)
        assert above.low / below.high <= ratio.value <= above.high / below.low
    assert by_sparsity(table, BY_UNPRUNED).value.iloc[0] == 1.0


def test_all_sparsities_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """What slows the machine for a while slows all of them."""
    timed: list[int] = []

    def seconds(model: torch.nn.Module, ids: torch.Tensor) -> float:
        timed.append(id(model))
        return 1.0

    monkeypatch.setattr("bertprune.speed.bench.sparse_inference._seconds", seconds)
    list(inference(Setting(repeats=2), TINY, sparsities=(0.0, 0.5, 0.9), batch=(1, 4)))
    assert timed[:6] == timed[6:] and len(set(timed)) == 6


def test_a_machine_with_a_gpu_is_measured_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def on_one_device(setting: Setting, *given: object) -> list[Row]:
        measured.append(setting.device.type)
        return []

    monkeypatch.setattr("bertprune.speed.bench.sparse_inference._on_one_device", on_one_device)
    list(inference(Setting(), TINY))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    list(inference(Setting(), TINY))
    assert measured == ["cpu", "cpu", "cuda"]
