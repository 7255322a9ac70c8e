"""Publishing: what of a study is kept, and that nothing but a whole study is published."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bertprune import paths, publishing, results, rows, studies
from bertprune.errors import UserError
from bertprune.rows import Rows
from bertprune.runs import Run

from .test_results import made_up


def _detailed() -> Rows:
    """Rows of two seeds with all that `_worth_publishing` thins out."""
    point: dict[str, Any] = {"sparsity": 0.5, "learning_rate": 1e-3}
    parts = []
    for seed in (3, 4):
        entries = [
            {"metric": "magnitude", "part": part, "position": 10.0 * block, "value": block + seed}
            for part in ("dimension 0", "dimension 1")
            for block in range(20)
        ]
        entries += [{"metric": "histogram", "part": "query", "value": 0.5}]
        entries += [{"metric": "memory_bytes", "part": "pooler", "value": 12345678.0}]
        entries += [{"metric": "pruned_share", "part": "dimension 0", "value": 2 / 3}]
        masks = [{"metric": "mask_difference", "part": part, "value": 1 / 3} for part in ("", "a")]
        for arm in ("prune_pretrain", "random_pruning"):
            history = [{"split": "weights", "step": 1, **one} for one in [*entries, *masks]]
            parts.append(rows.of_pretraining(history, arm=arm, seed=seed, **point))
    return rows.join(parts).assign(own=False)


def test_published_rows_are_as_many_as_pages_show() -> None:
    found = publishing._worth_publishing(_detailed())
    assert set(found[found.metric == "mask_difference"].part) == {""}
    assert found[found.metric == "memory_bytes"].value.tolist() == [12345678.0] * 4
    assert set(found[found.metric == "mask_difference"].value) == {0.333333}
    assert set(found[found.metric.isin(["histogram", "magnitude"])].seed) == {3}
    shares = found[found.metric == "pruned_share"].groupby("arm").seed.apply(set).to_dict()
    assert shares == {"prune_pretrain": {3, 4}, "random_pruning": {3}}
    again = publishing._worth_publishing(found.assign(own=False))
    pd.testing.assert_frame_equal(again.reset_index(drop=True), found.reset_index(drop=True))


def test_published_maps_have_means_of_neighbouring_blocks() -> None:
    found = publishing._worth_publishing(_detailed())
    ours = (found.metric == "magnitude") & (found.arm == "prune_pretrain")
    one = found[ours & (found.part == "dimension 1")]
    assert one.position.tolist() == [20.0 * pair for pair in range(10)]
    assert one.value.tolist() == [2 * pair + 0.5 + 3 for pair in range(10)]


def test_of_burn_in_the_whole_curve_is_published_and_of_pruning_that_of_the_dev_loss() -> None:
    history = [
        {"step": step, "split": split, "metric": metric, "value": 1.0}
        for step in (1, 2)
        for split, metric in (("dev", "loss"), ("train", "running_loss"))
    ]
    point: dict[str, Any] = {"sparsity": 0.0, "learning_rate": 1e-3, "seed": 0}
    arms = ("burn_in", "prune_pretrain", "random_pruning")
    found = rows.join(rows.of_pretraining(history, arm=arm, **point) for arm in arms)
    kept = publishing._worth_publishing(found.assign(own=False))
    assert kept.groupby("arm").size().to_dict() == {
        "burn_in": 4,
        "prune_pretrain": 2,
        "random_pruning": 1,
    }


def test_publishing_takes_a_whole_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "published", lambda name: tmp_path / "new" / f"{name}.csv")
    study = studies.load("ci", ["seed=[0]"])
    elsewhere = dataclasses.replace(study, given_as="/some/where/ci.yaml")
    with pytest.raises(UserError, match="/some/where/ci.yaml cannot be published"):
        publishing.publish(elsewhere)
    with pytest.raises(UserError, match="there is no .*ci.csv: execute the study and publish it"):
        results.published(["ci"])
    monkeypatch.setattr(Run, "is_done", lambda run: False)
    count = len(study.plan())
    with pytest.raises(UserError, match=f"is not whole, {count} of {count} runs are missing"):
        publishing.publish(study)
    monkeypatch.setattr(Run, "is_done", lambda run: True)
    found = made_up(seeds=2)
    of_run = found.assign(notebook="finetune", run="finetune/x", own=False)
    monkeypatch.setattr(results, "rows_of", lambda study: of_run)
    record = {
        "id": "finetune/x",
        "parameters": {"seed": 0},
        "peak_memory_bytes": 1,
        "tries": 1,
        "finished": "2020-01-01T00:00:00Z",
        "wall_time_s": 60.0,
        "device": "CPU",
        "threads": 1,
        "versions": {"torch": "2"},
        "identity": {"code": "abc"},
    }
    newer = record | {"versions": {"torch": "3", "numpy": "2"}, "precision": "bf16"}
    last = study.plan()[-1]
    monkeypatch.setattr(Run, "record", lambda run: record if run == last else newer)
    publishing.publish(study)
    facts = results.published_facts(["ci"])
    assert list(facts["runs"]) == [count] and list(facts["changed by --set"]) == ["seed=[0]"]
    # Where runs differ, all versions are there.
    assert list(facts["torch"]) == ["2, 3"]
    assert results.facts_of("ci")["versions"] == {"torch": "2, 3", "numpy": "2"}
    precisions = [one.get("precision") for one in results.facts_of("ci")["records"]]
    assert precisions == ["bf16"] * (count - 1) + [None]
    assert results.facts_of("ci")["tasks"]["cola"]["train examples"] > 0
    made_by = {one["id"] for one in results.facts_of("ci")["records"]}
    again = results.published(["ci"])["ci"]
    assert set(again.run) <= made_by
    pd.testing.assert_frame_equal(results.scores(again), results.scores(found))
    assert len(again) < len(found) and set(again.run) == {"finetune/x"}
