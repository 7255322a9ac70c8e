"""The bars beside what was measured: computed, never typed."""

from typing import Any

import pandas as pd
import pytest

from bertprune.model.precision import BF16, FLOAT32
from bertprune.speed.bench.benchmark import CASES
from bertprune.speed.bench.quantities import (
    AGAINST_BF16,
    BARS,
    FASTER,
    SHARE,
    TRAINER,
    bars_beside,
    with_unit,
)
from bertprune.speed.bench.timing import Setting, as_table


def lines(
    rows: list[tuple[str, str, str, list[float]]], precision: str = FLOAT32, gpu: bool = False
) -> pd.DataFrame:
    """The table of bars for rows of case, side, quantity and values."""
    made = [
        Setting(case=case, precision=precision).row(side, quantity, "", values)
        for case, side, quantity, values in rows
    ]
    return bars_beside(as_table(made), gpu)


def test_met_by_all_repeats_by_none_or_within_the_noise() -> None:
    found = lines(
        [
            ("pretrain-L2", TRAINER, FASTER, [4.6, 4.5, 4.7]),
            ("pretrain-L4", TRAINER, FASTER, [2.4, 2.49, 2.3]),
            ("pretrain-base", TRAINER, FASTER, [1.4, 1.29, 1.5]),
            ("pretrain-L4", "bertprune", SHARE, [0.6]),
            ("pretrain-L4", "bertprune", "our peak memory by the rival's", [1.001]),
            ("pretrain-L4", "bertprune", "cost of pruning", [0.01, 0.03, 0.02]),
            ("pruning", "bertprune", "cost of pruning", [-0.01, 0.035, 0.05]),
        ]
    )
    measured = found[~found.measured.str.startswith("not measured")]
    shown = [
        tuple(text.replace("\N{NO-BREAK SPACE}", " ") for text in line)
        for line in measured[["asked", "measured", "met"]].itertuples(index=False)
    ]
    assert shown == [
        ("≥ 4.50", "4.60 (4.50 to 4.70)", "yes"),
        ("≥ 2.50", "2.40 (2.30 to 2.49)", "no"),
        ("≥ 1.30", "1.40 (1.29 to 1.50)", "within the noise"),
        ("≤ 3.0 %", "3.5 % (-1.0 % to 5.0 %)", "within the noise"),
        ("≤ 3.0 %", "2.0 % (1.0 % to 3.0 %)", "yes"),
        ("≥ 60.0 %", "60.0 %", "yes"),
        ("≤ 1.00", "1.00", "no"),
    ]


def test_a_bar_is_of_one_precision() -> None:
    def met(**given: Any) -> list[str]:
        found = lines([("pretrain-L4", TRAINER, FASTER, [4.0])], **given)
        return found.against[found.met == "yes"].tolist()

    assert met() == [f"{TRAINER}, float32"]
    assert met(precision=BF16) == [f"{TRAINER}, bf16"]
    # A GPU computes in bf16, whatever is asked of processors.
    assert met(precision=BF16, gpu=True) == [f"{TRAINER}, float32", f"{TRAINER}, bf16"]


def test_ours_in_bf16_is_held_against_float32() -> None:
    assert {bar.precision for bar in BARS if bar.quantity == AGAINST_BF16} == {FLOAT32}


@pytest.mark.parametrize(
    ("gpu", "words"), [(False, "not measured: no GPU"), (True, "not measured")]
)
def test_what_needs_a_gpu_says_so(gpu: bool, words: str) -> None:
    found = lines([], gpu=gpu)
    assert len(found) == len(BARS)
    needing = [CASES[bar.case].needs_gpu for bar in BARS]
    assert set(found.measured[needing]) == {words}
    assert set(found.measured[[not needs for needs in needing]]) == {"not measured"}
    assert set(found.met) == {""}


def test_every_bar_has_a_case_that_needs_a_gpu_if_it_does() -> None:
    assert all(CASES[bar.case].needs_gpu == bar.needs_gpu for bar in BARS)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.01234, "", "0.0123"),
        (12.34, "", "12.3"),
        (1234.0, "", "1.23 k"),
        (9.87e10, "", "98.7 G"),
        (0, "", "0"),
        # A prefix stands at its unit.
        (2.5e10, "FLOP/s", "25 GFLOP/s"),
        (5.1, "×", "5.1 ×"),
    ],
)
def test_readable_numbers(value: float, unit: str, shown: str) -> None:
    assert with_unit(value, unit) == shown
