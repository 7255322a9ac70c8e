"""Medians, spreads, ratios of repeats, sides in turn, peak memory."""

import pytest

from bertprune.speed.bench.quantities import FASTER, OURS
from bertprune.speed.bench.timing import Setting, as_table, pairwise, peak_memory_bytes

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
    assert row.case == "some"


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


def test_a_table_without_rows_has_its_columns() -> None:
    assert list(as_table([]).columns)[:5] == ["case", "side", "quantity", "unit", "value"]


def hold(size_bytes: int) -> int:
    return len(b"x" * size_bytes)


def test_peak_memory_is_of_the_work_alone() -> None:
    """Whatever this process has held."""
    held = len(b"x" * 1_200_000_000)
    assert 300e6 < peak_memory_bytes(SETTING, hold, 300_000_000) < held
