"""Lines of accuracy against pre-training loss, against numpy and by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bertprune.evidence import paper, scores
from bertprune.evidence.claims import straight_lines
from bertprune.evidence.claims.claim import FAILS, OPEN
from bertprune.evidence.claims.straight_lines import chance_of_one_slope
from bertprune.protocol import rows
from bertprune.protocol.rows import Rows

from ... import made_up
from .altered import entry, is_accuracy, several, with_change

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
    assert math.isnan(chance_of_one_slope(empty))


def test_one_slope_for_all_is_a_comparison_of_two_models() -> None:
    """ANCOVA by hand: least squares with design matrices."""
    found = made({"qqp": -0.02, "mnli": -0.03, "qnli": -0.025}, seeds=2, noise=0.005)
    points = straight_lines.points(found)
    x, y = points.loss.to_numpy(float), points.accuracy.to_numpy(float)
    dummies = pd.get_dummies(points.task).to_numpy(float)
    designs = np.c_[dummies, x], np.c_[dummies, dummies * x[:, None]]
    one, each = (
        float(((y - design @ np.linalg.lstsq(design, y)[0]) ** 2).sum()) for design in designs
    )
    within = len(y) - 6
    f = (one - each) / 2 / (each / within)
    chance = chance_of_one_slope(found)
    assert chance == pytest.approx(float(stats.f.sf(f, 2, within)))


def test_slopes_that_differ_are_told_apart() -> None:
    assert chance_of_one_slope(made({"qqp": -0.02, "mnli": -0.2}, noise=0.001)) < 1e-6
    assert chance_of_one_slope(made({"qqp": -0.02, "mnli": -0.02}, noise=0.01)) > 0.05
    assert math.isnan(chance_of_one_slope(made({"qqp": -0.02})))
    assert chance_of_one_slope(made({"qqp": -0.02, "mnli": -0.2})) < 1e-6


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_bent_curve_refutes(seeds: int) -> None:
    found = with_change(
        "information_deletion", -0.015, lambda found: found.sparsity.between(0.5, 0.6)
    )
    assert entry("C5", several(seeds, found)).verdict == FAILS


def test_c5_without_slopes_that_differ_is_open() -> None:
    found = paper.rows()
    deleted = is_accuracy(found, "information_deletion")
    losses = scores.pretraining_losses(found)
    loss = losses[losses.arm == "prune_pretrain"].set_index("sparsity").loss
    # Each task's points wave about its line.
    noise = 0.003 * np.cos(np.pi * np.arange(50).reshape(10, 5) + np.arange(5)).ravel()
    line = 0.9 - 0.02 * found.sparsity[deleted].map(loss)
    found.loc[deleted, "value"] = line + noise
    got = entry("C5", found)
    assert got.verdict == OPEN and got.reason == "one slope for all tasks is not ruled out"
    found.loc[deleted, "value"] = 0.9 + noise
    got = entry("C5", found)
    assert got.verdict == OPEN and "told from zero on" in got.reason
    found.loc[deleted, "value"] = 2 * 0.9 - line + noise
    assert entry("C5", found).verdict == FAILS
