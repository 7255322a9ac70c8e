"""Weights: moments against scipy, histograms against numpy, memory against the parameters."""

from collections import defaultdict

import numpy as np
import pytest
import scipy.stats
import torch
from transformers import BertForPreTraining

from bertprune.analysis import weight_statistics
from bertprune.pruning.matrices import kind_of, matrix_of, prunable_matrices

from .conftest import matrices_of, values_of


def test_statistics_are_those_of_scipy() -> None:
    matrices = matrices_of(1)
    found = weight_statistics.statistics(matrices)
    assert len(found) == 3 * len(matrices)
    assert {e["split"] for e in found} == {"weights"}
    for name, weight in matrices.items():
        values = weight.double().numpy().ravel()
        part = matrix_of(name)
        assert values_of(found, "weight_mean")[part] == pytest.approx(np.mean(values))
        assert values_of(found, "weight_std")[part] == pytest.approx(np.std(values, ddof=0))
        expected = scipy.stats.kurtosis(values, fisher=True, bias=True)
        assert values_of(found, "weight_kurtosis")[part] == pytest.approx(expected)


def test_a_constant_matrix_has_no_kurtosis_and_no_histogram() -> None:
    matrices = {"pooler.dense.weight": torch.full((3, 4), 0.5)}
    found = weight_statistics.statistics(matrices)
    assert {e["metric"]: e["value"] for e in found} == {"weight_mean": 0.5, "weight_std": 0.0}
    assert weight_statistics.histograms(matrices) == []


def test_histograms_are_those_of_numpy() -> None:
    matrices = matrices_of(2)
    # Far outliers, which the outer bins take.
    matrices["pooler.dense.weight"][0, :2] = torch.tensor([-9.0, 9.0])
    kinds = defaultdict(list)
    for name, weight in matrices.items():
        kinds[kind_of(matrix_of(name))].append(weight.double().numpy().ravel())
    found = weight_statistics.histograms(matrices)
    assert {e["part"] for e in found} == set(kinds)
    for kind, parts in kinds.items():
        values = np.concatenate(parts)
        low, high = values.mean() - 4 * values.std(), values.mean() + 4 * values.std()
        counts, edges = np.histogram(np.clip(values, low, high), bins=61, range=(low, high))
        own = [e for e in found if e["part"] == kind]
        assert [e["value"] for e in own] == pytest.approx(counts / len(values))
        assert [e["position"] for e in own] == pytest.approx((edges[1:] + edges[:-1]) / 2)
        assert sum(e["value"] for e in own) == pytest.approx(1)
    outer = [e["value"] for e in found if e["part"] == "pooler"]
    assert outer[0] > 0 and outer[-1] > 0


def test_memory_is_that_of_all_parameters_once(model: BertForPreTraining) -> None:
    found = values_of(weight_statistics.memory(model), "memory_bytes")
    assert sum(found.values()) == sum(p.numel() * p.element_size() for p in model.parameters())
    assert found["word embeddings"] == 4 * 60 * 16
    assert found["position and segment embeddings"] == 4 * (24 + 2) * 16
    assert found["attention"] == 4 * 2 * 4 * (16 * 16 + 16)
    assert found["feed-forward"] == 4 * 2 * (2 * 16 * 64 + 64 + 16)
    assert found["pooler"] == 4 * (16 * 16 + 16)
    # One behind the embeddings, and two in each layer.
    assert found["LayerNorm"] == 4 * (1 + 2 * 2) * 2 * 16
    # A transform with its LayerNorm, a bias for each token, and a next-sentence classifier.
    assert found["heads"] == 4 * (16 * 16 + 16 + 2 * 16 + 60 + 2 * 16 + 2)


def test_parameters_as_they_train_are_taken(model: BertForPreTraining) -> None:
    matrices = prunable_matrices(model)
    copies = {name: weight.detach().clone() for name, weight in matrices.items()}
    for work in (weight_statistics.statistics, weight_statistics.histograms):
        measured = [e["value"] for e in work(copies)]
        assert [e["value"] for e in work(matrices)] == measured
        with torch.inference_mode():
            assert [e["value"] for e in work(matrices)] == measured


@pytest.mark.parametrize(
    ("shape", "block_tokens", "block_dimensions"),
    [((30, 8), 1, 1), ((64, 64), 1, 1), ((65, 130), 2, 3), ((829, 64), 13, 1), ((200, 768), 4, 12)],
)
def test_magnitudes_are_means_of_blocks(
    shape: tuple[int, int], block_tokens: int, block_dimensions: int
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = {(e["part"], e["position"]): e["value"] for e in weight_statistics.magnitudes(weight)}
    expected = {}
    for row in range(0, shape[0], block_tokens):
        for column in range(0, shape[1], block_dimensions):
            block = weight.numpy()[row : row + block_tokens, column : column + block_dimensions]
            last = column + block.shape[1] - 1
            part = f"dimensions {column}–{last}" if last > column else f"dimensions {column}"
            expected[part, float(row)] = float(np.abs(block).mean())
    assert found == pytest.approx(expected)
    assert len({row for _, row in found}) <= 64 and len({part for part, _ in found}) <= 64
