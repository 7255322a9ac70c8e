"""Lines of accuracy against pre-training loss, against numpy and by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bertprune.evidence import paper, scores
from bertprune.evidence.claims import straight_lines
from bertprune.evidence.claims.claim import FAILS, HOLDS, UNTESTED
from bertprune.protocol import rows
from bertprune.protocol.rows import Rows

from ... import made_up
from .altered import entry, is_accuracy, several

LOSSES = {0.3: 2.0, 0.5: 2.4, 0.7: 3.1, 0.8: 3.9}


def made(slopes: dict[str, float], *, seeds: int = 1, noise: float = 0.0) -> Rows:
    """Rows whose accuracy is 0.9 + slope · (loss − 2) plus noise; seeds differ in loss."""
    generator = np.random.default_rng(0)
    losses = {
        (at, seed): loss + 0.05 * seed for seed in range(seeds) for at, loss in LOSSES.items()
    }
    accuracies = {
        (*place, task): 0.9 + slope * (loss - 2) + generator.normal(0, noise)
        for place, loss in losses.items()
        for task, slope in slopes.items()
    }
    deleted = {"arm": "information_deletion", "split": "dev", "metric": "accuracy"}
    return rows.join(
        [
            made_up.made(losses, "sparsity seed", split="dev", metric="loss"),
            made_up.made(accuracies, "sparsity seed task", **deleted),
        ]
    )


def test_lines_are_those_of_numpy() -> None:
    found = made({"qqp": -0.02, "mnli": -0.05}, seeds=3, noise=0.01)
    points = straight_lines.points(found)
    lines = straight_lines.line_fits(found).set_index("task")
    assert list(lines.index) == ["mnli", "qqp"] and list(lines.points) == [12, 12]
    for task, of in points.groupby("task"):
        x, y = of.loss.to_numpy(float), of.accuracy.to_numpy(float)
        (slope, intercept), covariance = np.polyfit(x, y, 1, cov=True)
        line = lines.loc[task]
        assert (line.slope, line.intercept) == pytest.approx((slope, intercept))
        half = float(stats.t.ppf(0.975, 10)) * math.sqrt(covariance[0, 0])
        assert (line.lower, line.upper) == pytest.approx((slope - half, slope + half))
        assert line.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
        assert line.off == pytest.approx(np.std(y - slope * x - intercept, ddof=2))


def test_the_points_are_the_seeds_points() -> None:
    points = straight_lines.points(made({"qqp": -0.02}, seeds=2))
    assert len(points) == 2 * len(LOSSES)
    assert sorted(points.loss) == pytest.approx([2.0, 2.05, 2.4, 2.45, 3.1, 3.15, 3.9, 3.95])


def test_the_papers_lines() -> None:
    lines = straight_lines.line_fits(paper.rows()).set_index("task")
    assert dict(lines.points) == {"cola": 9, "mnli": 10, "qnli": 10, "qqp": 10, "sst2": 10}
    assert (lines.upper < 0).all() and (lines.r2 > 0.97).all()
    assert list(lines.slope.sort_values().index) == ["cola", "qnli", "mnli", "sst2", "qqp"]


def test_colas_last_point_is_left_out() -> None:
    points = straight_lines.points(paper.rows())
    assert len(points) == 50
    left_out = points[~points.fitted.astype(bool)]
    assert [*zip(left_out.task, left_out.sparsity, strict=True)] == [("cola", 0.9)]


def test_an_extra_thirty_percent_costs_what_the_paper_says() -> None:
    """About one point on QQP, about ten on CoLA."""
    cost = 100 * straight_lines.cost_of_pruning(paper.rows()).set_index("task").change
    assert -1.5 < cost["qqp"] < -0.5
    assert -10.5 < cost["cola"] < -8.5


def test_no_cost_without_both_ends() -> None:
    found = made({"qqp": -0.02})
    assert straight_lines.cost_of_pruning(found).change.item() == pytest.approx(-0.02 * 1.5)
    lacking = found[found.sparsity != 0.8]
    assert straight_lines.cost_of_pruning(lacking).change.isna().all()


def test_few_points_make_no_line() -> None:
    found = made({"qqp": -0.02, "mnli": -0.05})
    lacking = found[found.sparsity.isin([0.3, 0.5]) | (found.task != "qqp")]
    lines = straight_lines.line_fits(lacking).set_index("task")
    assert lines.points["qqp"] == 2 and lines.loc["qqp"].drop("points").isna().all()
    assert lines.slope["mnli"] == pytest.approx(-0.05)


def test_what_does_not_vary_has_no_r2() -> None:
    line = straight_lines.line_fits(made({"cola": 0.0}))
    assert line.slope.item() == 0 and math.isnan(line.r2.item())


def test_without_rows_there_is_nothing() -> None:
    empty = paper.rows().iloc[:0]
    assert straight_lines.points(empty).empty and straight_lines.line_fits(empty).empty
    assert straight_lines.cost_of_pruning(empty).empty


def test_with_enough_examples_the_papers_curves_are_straight_but_colas() -> None:
    """A square law bows by 25 % of its fall, the paper's CoLA by 13 %, others by 9 % at most."""
    found = paper.rows()
    for seeds in (1, 4):
        assert entry("C5", several(seeds, found[found.task != "cola"])).verdict == HOLDS
    got = entry("C5", found)
    assert got.verdict == FAILS and got.reason.startswith("the curve bows by more")


def altered(law: Callable[[pd.Series, str], Any]) -> Rows:
    """The paper's rows with accuracies under information deletion by a law: of the share of all
    loss that a sparsity costs, and of the task."""
    found = paper.rows()
    losses = scores.pretraining_losses(found)
    loss = losses[losses.arm == "prune_pretrain"].set_index("sparsity").loss
    deleted = is_accuracy(found, "information_deletion")
    shares = (found.sparsity[deleted].map(loss) - loss.min()) / (loss.max() - loss.min())
    for task, of in shares.groupby(found.task[deleted]):
        found.loc[of.index, "value"] = 0.9 - law(of, str(task))
    return found


def steep(task: str) -> float:
    return 0.1 if task in ("cola", "mnli") else 0.02


@pytest.mark.parametrize(
    ("law", "verdict", "reason"),
    [
        (lambda x, task: steep(task) * x, HOLDS, ""),
        (lambda x, task: 0.06 * x, FAILS, "all slopes are about the same"),
        (
            lambda x, task: steep(task) * x**2,
            FAILS,
            "the curve bows by more than an eighth of its fall on cola",
        ),
        (lambda x, task: -steep(task) * x, FAILS, "accuracy rises on cola"),
    ],
)
def test_laws(law: Callable[[pd.Series, str], Any], verdict: str, reason: str) -> None:
    got = entry("C5", several(4, altered(law)))
    assert got.verdict == verdict and got.reason.startswith(reason)


def test_a_square_law_bows_by_a_quarter_of_its_fall() -> None:
    got = entry("C5", several(4, altered(lambda x, task: steep(task) * x**2)))
    bows = [
        float(part.split("bowed by ")[1].split("\u00a0")[0])
        for part in got.statistic.split("; ")[:5]
    ]
    assert bows == pytest.approx([25] * 5, abs=5)


def test_what_is_on_the_floor_is_left_out() -> None:
    """A line, but for points that lie where CoLA's models without pre-training do."""

    def law(x: pd.Series, task: str) -> Any:
        fall = 3 * steep(task) * x
        return fall.clip(upper=0.9 - 0.691) if task == "cola" else fall

    got = entry("C5", several(4, altered(law)))
    assert got.verdict == HOLDS and "(9 points)" in got.statistic.split("; ")[0]


def test_few_points_are_no_curve() -> None:
    found = paper.rows()
    got = entry("C5", found[found.sparsity.isin([0.0, 0.5, 0.9])])
    assert got.verdict == UNTESTED and got.reason.startswith("it takes 4 points above the floor")
