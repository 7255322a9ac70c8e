"""Medians, spreads, ratios of repeats, sides in turn, peak memory."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import pytest
import torch

from bertprune.base.machine import processor_in_full
from bertprune.model.precision import BF16, FLOAT32
from bertprune.speed.bench import timing
from bertprune.speed.bench.quantities import (
    AGAINST_BF16,
    FASTER,
    ONEDNN,
    OURS,
    TORCH_LINEAR,
)
from bertprune.speed.bench.timing import (
    Setting,
    against_bf16,
    as_table,
    fastest_product,
    in_turn,
    matrix_rates,
    pairwise,
    peak_memory_bytes,
)

SETTING = Setting(threads=3, case="some")


def test_a_ratio_is_that_of_one_repeat() -> None:
    """A machine that is three times as slow in one repeat leaves the ratio as it is."""
    assert pairwise([2.0, 6.0, 4.0], [1.0, 3.0, 1.0]) == [2.0, 2.0, 4.0]
    rows = SETTING.ratios({OURS: [1.0, 3.0, 1.0], "other": [2.0, 6.0, 4.0]})
    assert [(row.side, row.quantity, row.value, row.low, row.high) for row in rows] == [
        ("other", FASTER, 2.0, 2.0, 4.0)
    ]
    with pytest.raises(ValueError, match="shorter"):
        pairwise([1.0, 2.0], [1.0])


def test_a_row_is_a_median_with_its_spread() -> None:
    row = SETTING.row(OURS, "time", "s", [5.0, 1.0, 2.0])
    assert (row.value, row.low, row.high, row.repeats, row.threads) == (2.0, 1.0, 5.0, 3, 3)
    assert (row.case, row.precision) == ("some", FLOAT32)
    assert row.processor == processor_in_full()


def test_sides_are_measured_in_turn(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def side(name: str) -> float:
        print("a word that nobody should read")
        order.append(name)
        return float(len(order))

    found = Setting(repeats=3).in_turn({"a": lambda: side("a"), "b": lambda: side("b")})
    assert order == ["a", "b"] * 3
    assert found == {"a": [1.0, 3.0, 5.0], "b": [2.0, 4.0, 6.0]}
    assert "nobody" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("instructions", "precisions"), [([], [FLOAT32]), (["amx_bf16"], [FLOAT32, BF16])]
)
def test_bf16_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, instructions: list[str], precisions: list[str]
) -> None:
    monkeypatch.setattr(timing, "bf16_instructions", lambda: instructions)
    assert [one.precision for one in SETTING.in_each_precision()] == precisions
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    on_gpu = replace(SETTING, precision=BF16)
    assert on_gpu.in_each_precision() == [on_gpu]


def test_both_precisions_are_measured_in_turn() -> None:
    order: list[str] = []

    def sides(one: Setting) -> dict[str, Callable[[], float]]:
        def work(side: str) -> float:
            order.append(f"{side} {one.precision}")
            return 1.0 + len(order)

        return {side: partial(work, side) for side in (OURS, "other")}

    both = [Setting(repeats=2, precision=precision) for precision in (FLOAT32, BF16)]
    found = in_turn(both, sides)
    once = [f"{side} {one.precision}" for one in both for side in (OURS, "other")]
    assert order == once * 2
    assert found[both[1]] == {OURS: [4.0, 8.0], "other": [5.0, 9.0]}
    rows = list(against_bf16(found))
    assert [(row.side, row.quantity, row.precision) for row in rows] == [
        (side, AGAINST_BF16, FLOAT32) for side in (OURS, "other")
    ]
    assert [row.high for row in rows] == [6 / 8, 7 / 8]
    assert list(against_bf16({both[0]: found[both[0]]})) == []


@pytest.mark.parametrize(
    ("precision", "libraries"), [(FLOAT32, [TORCH_LINEAR, ONEDNN]), (BF16, [TORCH_LINEAR])]
)
def test_shares_are_of_the_best_product(
    monkeypatch: pytest.MonkeyPatch, precision: str, libraries: list[str]
) -> None:
    monkeypatch.setitem(timing._MATRIX_WORK_FLOP, "cpu", 1e5)
    sizes = ((8, 8, 8), (32, 64, 16))
    setting = Setting(matrix_sizes=sizes, precision=precision)
    rates = matrix_rates(setting)
    assert list(rates) == [(library, size) for library in libraries for size in sizes]
    assert all(rate > 0 for found in rates.values() for rate in found)
    best = median(rates[fastest_product(setting)])
    assert best == max(map(median, rates.values()))


def test_products_within_reach_are_the_same_product() -> None:
    given = [torch.randn(size) for size in ((5, 7), (3, 7), (3,))]
    products = [multiply(*given) for multiply in timing._products(SETTING).values()]
    assert len(products) == 2
    torch.testing.assert_close(*products)


def test_a_table_without_rows_has_its_columns() -> None:
    assert list(as_table([]).columns)[:5] == ["case", "side", "quantity", "unit", "value"]


def hold(size_bytes: int) -> int:
    return len(b"x" * size_bytes)


def test_peak_memory_is_of_the_work_alone() -> None:
    """Whatever this process has held."""
    held = len(b"x" * 1_200_000_000)
    assert 300e6 < peak_memory_bytes(SETTING, hold, 300_000_000) < held
