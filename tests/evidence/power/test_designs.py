"""Designs are what was published, and noise is what was put into rows."""

import numpy as np
import pandas as pd
import pytest

from bertprune.evidence import published
from bertprune.evidence.power import designs
from bertprune.evidence.power.designs import STUDIES, design, points_of, shares_in_common
from bertprune.evidence.power.replicates import rows_at
from bertprune.experiments import studies
from bertprune.protocol.arms import INFORMATION_DELETION, PRUNE_PRETRAIN
from bertprune.protocol.rows import Metric, Rows, where


@pytest.mark.parametrize("study", STUDIES)
def test_every_point_has_its_noise(study: str) -> None:
    points = design(study).points
    assert points["std"].notna().all() and (points["std"] >= 0).all()
    assert points.value.notna().all() and (points.seeds > 0).all()
    accuracies = where(points, metric=Metric.ACCURACY)
    assert len(accuracies) and (accuracies.examples > 0).all()


def test_points_are_means_over_seeds() -> None:
    found = published.rows_of("lab")
    # Two seeds on each BERT, as the whole study has them.
    found = found.assign(bert=(found.seed // 2).astype(str))
    points = where(points_of(found), arm=PRUNE_PRETRAIN, metric=Metric.ACCURACY, split="dev")
    point = where(points, task="sst2", sparsity=0.5).iloc[0]
    of_point = where(
        found, arm=PRUNE_PRETRAIN, metric="accuracy", split="dev", task="sst2", sparsity=0.5
    )
    last = of_point[of_point.epoch == of_point.epoch.max()]
    within = last.groupby("bert").value.var().mean() ** 0.5  # each BERT has as many seeds
    assert (point["value"], point["std"]) == pytest.approx((last.value.mean(), within))


def test_a_study_that_asks_for_more_seeds_than_are_published_is_as_its_file_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = studies.load("lab", ["seed=[0, 1, 2, 3, 4, 5, 6, 7]", "sparsity=[0.0, 0.3, 0.7]"])
    monkeypatch.setattr(studies, "load", lambda name: asked)
    found = where(published.rows_of("lab"), seed=[0, 1, 2])
    monkeypatch.setattr(designs, "rows_of", lambda name: found)
    of = design("lab")
    assert (of.points.seeds == 8).all()
    assert of.berts == len(asked.grid["model"]) and of.has_answers
    assert "as planned" in of.says
    curve = where(of.points, arm=PRUNE_PRETRAIN, task="cola", metric=Metric.ACCURACY)
    assert sorted(curve.sparsity) == pytest.approx([0.0, 0.3, 0.7])


def made(common: float, seeds: int = 400) -> Rows:
    """Accuracies of two arms at three sparsities, with a share of their variance in common."""
    generator = np.random.default_rng(0)
    places = pd.DataFrame({"sparsity": [0.3, 0.5, 0.7] * 2, "task": "cola", "epoch": 3})
    places["arm"] = [PRUNE_PRETRAIN] * 3 + [INFORMATION_DELETION] * 3
    points = places.assign(split="dev", metric="accuracy", part="", position=np.nan)
    noise = np.sqrt(1 - common) * generator.standard_normal((seeds, 6))
    noise += np.sqrt(common) * generator.standard_normal((seeds, 1))
    return pd.concat(
        rows_at(points.assign(value=0.7 + 0.01 * noise[seed]), seed) for seed in range(seeds)
    )


@pytest.mark.parametrize("common", [0.0, 0.5])
def test_what_seeds_have_in_common_is_found(common: float) -> None:
    found = shares_in_common(made(common))
    assert found.index.tolist() == [("dev", "accuracy", "cola")]
    assert found[["seed", "start"]].to_numpy() == pytest.approx(np.array([[common, 0]]), abs=0.1)
