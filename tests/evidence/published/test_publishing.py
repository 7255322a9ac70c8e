"""Publishing: what of a study is kept, and that it may be published in parts."""

import dataclasses
import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bertprune import cli
from bertprune.base import paths
from bertprune.base.errors import UserError
from bertprune.base.files import read_json
from bertprune.base.words import SPACE
from bertprune.book.pages import tables
from bertprune.data.glue import TASKS
from bertprune.evidence import answers, gathering, scores
from bertprune.evidence import published as stored
from bertprune.evidence.claims import ledger
from bertprune.evidence.published import Published, publishing
from bertprune.experiments import runs, studies
from bertprune.experiments.runs import Run
from bertprune.experiments.sweep import local, scheduling
from bertprune.protocol import predictions, rows
from bertprune.protocol.arms import EPOCHS_BEFORE_PRUNING
from bertprune.protocol.predictions import Predictions
from bertprune.protocol.record import Record
from bertprune.protocol.rows import Rows

from ... import made_up
from ...conftest import PROJECT
from ...finished import ANSWERED, FACTS, finished


def _detailed() -> Rows:
    """Rows of two seeds with all that `_worth_publishing` thins out."""
    values = {
        ("magnitude", part, 10.0 * block): float(block)
        for part in ("dimension 0", "dimension 1")
        for block in range(20)
    }
    nowhere = math.nan
    values |= {("histogram", "query", nowhere): 0.5, ("memory_bytes", "pooler", nowhere): 12345678}
    values |= {("pruned_share", "dimension 0", nowhere): 2 / 3}
    values |= {("mask_difference", part, nowhere): 1 / 3 for part in ("", "a")}
    of_seeds = {
        (arm, seed, *place): value + seed * (place[0] == "magnitude")
        for seed in (3, 4)
        for arm in ("prune_pretrain", "random_pruning")
        for place, value in values.items()
    }
    names = "arm seed metric part position"
    return made_up.made(of_seeds, names, sparsity=0.5, split="weights").assign(own=False)


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
    values = {
        (arm, step, *of): 1.0
        for arm in ("burn_in", "prune_pretrain", "random_pruning")
        for step in (1, 2)
        for of in (("dev", "loss"), ("train", "running_loss"))
    }
    found = made_up.made(values, "arm step split metric")
    kept = publishing._worth_publishing(found.assign(own=False))
    assert kept.groupby("arm").size().to_dict() == {
        "burn_in": 4,
        "prune_pretrain": 2,
        "random_pruning": 1,
    }


def _predictions(run: str) -> Predictions:
    place = {"arm": "prune_pretrain", "task": "sst2", "sparsity": 0.5, "seed": 0}
    found = [predictions.of(ANSWERED, {**place, "learning_rate": 1e-3})]
    return predictions.join(found).assign(run=run, position=math.nan, bert="lab-seed0", own=False)


def test_what_publishing_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "published", lambda name, end="": tmp_path / "new" / f"{name}{end}")
    study = studies.load("ci", ["seed=[0]"])
    elsewhere = dataclasses.replace(study, given_as="/some/where/ci.yaml")
    with pytest.raises(UserError, match="/some/where/ci.yaml cannot be published"):
        publishing.publish(elsewhere)
    with pytest.raises(UserError, match="there is no .*ci: execute the study and publish it"):
        stored.rows_of("ci")
    monkeypatch.setattr(Run, "is_done", lambda run: False)
    count = len(study.plan())
    with pytest.raises(UserError, match=f"0 of {count} runs of study ci are published"):
        publishing.publish(study)
    monkeypatch.setattr(Run, "is_done", lambda run: True)
    found = made_up.study(seeds=2)
    of_run = found.assign(notebook="finetune", run="finetune/x", own=False)
    monkeypatch.setattr(gathering, "rows_of", lambda study: of_run)
    monkeypatch.setattr(gathering, "predictions_of", lambda study: _predictions("finetune/x"))
    names = dict.fromkeys(("id", "notebook", "page", "notebook_sha256"), "finetune/x")
    names["finished"] = "2020-01-01T00:00:00Z"
    identity = dict.fromkeys(("notebook", "parameters", "data", "code", "upstream"), "abc")
    older = Record.of({**names, **FACTS, "parameters": {"seed": 0}, "identity": identity})
    newer = older.replace(versions={"torch": "3", "numpy": "2"}, precision="bf16")
    last = study.plan()[-1]
    monkeypatch.setattr(Run, "record", lambda run: older if run == last else newer)
    publishing.publish(study)
    facts = stored.overview(["ci"])
    assert list(facts["runs"]) == [count] and list(facts["changed by --set"]) == ["seed=[0]"]
    # Where runs differ, all versions are there.
    assert list(facts["torch"]) == ["2, 3"]
    assert Published.read("ci").versions == {"torch": "2, 3", "numpy": "2"}
    precisions = [one.precision for one in Published.read("ci").records]
    assert precisions == ["bf16"] * (count - 1) + [""]
    assert Published.read("ci").tasks["cola"]["train examples"] > 0
    again = stored.rows_of("ci")
    pd.testing.assert_frame_equal(scores.scores(again), scores.scores(found))
    assert len(again) < len(found) and set(again.run) == {"finetune/x"}


PARTS = """
parameters: {text: ["lab:0:300"]}
grid: {sparsity: [0.0, 0.6], task: [sst2], seed: [0, 1]}
arms:
  prune_pretrain: {}
  information_deletion: {}
  random_pruning: {}
  epochs_before_pruning: {grid: {sparsity: [0.6], epochs: [1, 4]}}
  from_scratch: {}
"""


@pytest.fixture
def in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> studies.Study:
    """A study in a project of its own, all runs of which look done."""
    (tmp_path / "notebooks" / "studies").mkdir(parents=True)
    for file in (PROJECT / "notebooks").glob("*.ipynb"):
        (tmp_path / "notebooks" / file.name).symlink_to(file)
    (tmp_path / "notebooks" / "studies" / "parts.yaml").write_text(PARTS)
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    study = studies.load("parts")
    for run in study.plan():
        finished(run.parameters)
    return study


def test_a_study_is_published_in_parts(in_parts: studies.Study, tmp_path: Path) -> None:
    publishing.publish(in_parts)
    whole, predicted = stored.rows_of("parts"), stored.predictions_of("parts")
    assert (
        gathering.missing(in_parts, gathering.rows_of(in_parts)) == []
        and len(stored.files("parts")) == 4
    )
    for file in stored.files("parts").values():
        file.unlink()
    first = set(in_parts.needed_for("prune_pretrain"))
    rest = [run for run in in_parts.plan() if run not in first]
    for run in rest:
        run.folder.rename(tmp_path / run.id.replace("/", "-"))
    publishing.publish(in_parts)
    shown = [gathering.provenance(in_parts, gathering.rows_of(in_parts))]
    # Another day, on another machine.
    _remove(first)
    shown.append(gathering.provenance(in_parts, gathering.rows_of(in_parts)))
    assert shown[1].startswith(f"Published rows of {len(first)} runs: ")
    for said in shown:
        # At 0 % what is pruned at random is the dense model, which is there.
        assert said.replace(SPACE, " ").endswith(
            "Missing, information deletion, epochs before pruning, never pre-trained: all of "
            "seeds 0, 1. Missing, pruned at random: 60 % of seeds 0, 1."
        )
    with pytest.raises(UserError, match="no other is done here: there is nothing to add"):
        publishing.publish(in_parts)
    for run in rest:
        (tmp_path / run.id.replace("/", "-")).rename(run.folder)
    publishing.publish(in_parts)
    assert gathering.missing(in_parts, gathering.rows_of(in_parts)) == []
    pd.testing.assert_frame_equal(_in_order(stored.rows_of("parts")), _in_order(whole))
    assert set(stored.predictions_of("parts").run) == set(predicted.run)


def test_a_part_is_not_published_over_what_another_edition_has_published(
    in_parts: studies.Study,
) -> None:
    _remove(in_parts.plan()[-1:])
    paths.published("parts").parent.mkdir(parents=True)
    paths.published("parts").touch()
    paths.published("parts", ".json").write_text(json.dumps({"runs": 3}))
    with pytest.raises(UserError, match="3 of the 3 published runs of parts would be lost"):
        publishing.publish(in_parts)


# What was published before.


@pytest.fixture
def published(ci_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> studies.Study:
    """The study `ci`, executed and published in a project of its own."""
    root = tmp_path / "project"
    shutil.copytree(ci_project, root)
    monkeypatch.setenv("BERTPRUNE_ROOT", str(root))
    study = studies.load("ci")
    publishing.publish(study)
    return study


def _remove(removed: Iterable[Run]) -> None:
    for run in removed:
        shutil.rmtree(run.folder)


def _unpublish(run: Run) -> None:
    """Take one run out of what is published."""
    file = paths.published("ci", ".json")
    facts = read_json(file)
    facts["records"] = [one for one in facts["records"] if one["id"] != run.id]
    file.write_text(json.dumps(facts))
    stored.rows_of("ci").query("run != @run.id").to_parquet(paths.published("ci"))


def _in_order(found: Rows) -> Rows:
    columns = ["notebook", *rows.COLUMNS, "run"]
    return found[columns].sort_values(columns, ignore_index=True)


def test_what_was_published_stays_where_the_study_is_not_whole(published: studies.Study) -> None:
    before, facts = stored.rows_of("ci"), Published.read("ci")
    plan = published.plan()
    # All done here: what is published does not count.
    assert gathering.published_runs(published) == {}
    _remove(run for run in plan if run.notebook == "finetune")
    added = plan[-1]
    _unpublish(added)
    assert [*gathering.published_runs(published)] == plan[:-1]
    gathered = gathering.rows_of(published)
    assert set(gathered.run) == set(before.run)
    said = gathering.provenance(published, gathered)
    assert said.startswith(f"{len(plan) - 1} of {len(plan)} runs of this study came with the book")
    here = sum(run.is_done() for run in plan) - 1
    assert said.endswith(
        f" {here} of them were done on this machine too. 1 more: done on this machine."
    )
    publishing.publish(published)
    pd.testing.assert_frame_equal(_in_order(stored.rows_of("ci")), _in_order(before))
    assert Published.read("ci") == facts


def test_what_models_answer_is_published(published: studies.Study) -> None:
    here = answers.answers_of(published)
    accuracies = scores.best_accuracies(gathering.rows_of(published))
    for task, of in here.items():
        assert of is not None
        # Of every score there are the examples that it counts.
        scored = of.models.assign(accuracy=of.right.mean(axis=1)).merge(
            accuracies[accuracies.task == task],
            on=["arm", "sparsity", "seed", "position", "learning_rate"],
        )
        assert len(scored) == len(of.models) == sum(accuracies.task == task)
        assert scored.accuracy_x.tolist() == scored.accuracy_y.tolist()
        assert set(of.models.bert) == {"lab-seed0", "fresh-seed0"}
        assert of.lengths.min() > 2
    # Some are here, some as they were published; then all as they were.
    for removed in (published.runs_of("information_deletion"), published.plan()):
        _remove(run for run in removed if run.is_done())
        for task, of in answers.answers_of(published).items():
            before = here[task]
            assert before and of
            order = of.models.merge(before.models.reset_index(), how="left")["index"]
            assert sorted(order) == [*range(len(order))] == [*range(len(before.models))]
            assert (of.predicted == before.predicted[order]).all()
            assert (of.labels == before.labels).all() and (of.lengths == before.lengths).all()
    # The ledger, which leaves out what readers add, takes them too.
    assert {*ledger.published("ci").answers} == {*here}


def test_predictions_of_a_large_study_are_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """250 models on five dev sets as large as GLUE's, right on 90 % of the examples."""
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    draw, parts = np.random.default_rng(0), []
    sizes = {"cola": 1043, "sst2": 872, "qnli": 5463, "mnli": 9815, "qqp": 40_430}
    for task, size in sizes.items():
        classes = len(TASKS[task].labels)
        labels = draw.integers(classes, size=size)
        lengths = draw.poisson(draw.gamma(9.0, 4.0, size)) + 3
        wrong = (draw.random((250, size)) < 0.1) * draw.integers(1, classes, (250, size))
        for seed, predicted in enumerate((labels + wrong) % classes):
            found = {"epoch": 3, "predicted": predicted, "labels": labels, "lengths": lengths}
            place = {"arm": "a", "task": task, "sparsity": 0.5, "seed": seed, "learning_rate": 1.0}
            parts.append(predictions.of(found, place).assign(run=f"finetune/{seed:010x}"))
    Published().write("large", pd.DataFrame(), predictions.join(parts))
    files = [*(tmp_path / "book" / "published").glob("large.*.parquet")]
    assert len(files) == 2 and sum(file.stat().st_size for file in files) < 2.5e6


def test_publishing_a_part_anew_loses_nothing(published: studies.Study) -> None:
    before = paths.published("ci").read_bytes()
    last = published.plan()[-1]
    _remove([last])
    with pytest.raises(UserError, match="is done here: there is nothing to add"):
        publishing.publish(published)
    part = studies.load("ci", ["sparsity=[0.0, 0.5]"])
    _remove(run for run in part.plan() if run != last)
    with pytest.raises(UserError, match="published runs of ci would be lost"):
        publishing.publish(part)
    assert paths.published("ci").read_bytes() == before
    _unpublish(last)
    with pytest.raises(UserError, match="and no other is done here.* --unpublished`"):
        publishing.publish(published)


def test_what_would_be_otherwise_now_is_not_taken_from_what_was_published(
    published: studies.Study,
) -> None:
    plan = published.plan()
    _remove(plan[1:])
    file = paths.published("ci", ".json")
    facts = read_json(file)
    # As if a default had been another one then.
    facts["records"][-1]["parameters"]["batch_size"] = 7
    file.write_text(json.dumps(facts))
    assert [*gathering.published_runs(published)] == plan[:-1]
    elsewhere = dataclasses.replace(published, given_as="/some/where/ci.yaml")
    assert gathering.published_runs(elsewhere) == {}
    # Published before there were records of each run, so that nothing is known of them.
    file.write_text(json.dumps({"changes": []}))
    assert gathering.published_runs(published) == {}
    file.write_text("{")
    with pytest.raises(UserError, match="ci.json is damaged"):
        gathering.rows_of(published)


def test_a_part_of_what_is_published_has_the_rows_that_it_would_have_here(
    published: studies.Study,
) -> None:
    # The one that prunes after fine-tuning is compared with a model of another sparsity.
    part = studies.load("ci", ["sparsity=[0.0, 0.9]"])
    here = gathering.rows_of(part).query("~own")
    _remove(published.plan())
    there = gathering.rows_of(part)
    cells = ["arm", "sparsity", "task", "run"]
    assert set(there[cells].itertuples(index=False)) == set(here[cells].itertuples(index=False))
    assert len(here) > len(there) > 0


def test_a_run_that_two_figures_show_is_published_for_both(published: studies.Study) -> None:
    before = stored.rows_of("ci")
    over_epochs = published.runs_of(EPOCHS_BEFORE_PRUNING)
    both = [run for run in over_epochs if run in published.runs_of("prune_after_finetune")]
    assert both and set(over_epochs) != set(both)
    _remove(over_epochs)
    before[before.arm != EPOCHS_BEFORE_PRUNING].to_parquet(paths.published("ci"))
    assert not set(over_epochs) & gathering.published_runs(published).keys()
    is_other = ~before.run.isin({run.id for run in both}) | (before.arm == EPOCHS_BEFORE_PRUNING)
    before[is_other].to_parquet(paths.published("ci"))
    found = gathering.published_runs(published).keys()
    assert set(over_epochs) & found == set(over_epochs) - set(both)


def test_a_run_that_another_figure_shows_since_may_be_published_anew(
    published: studies.Study,
) -> None:
    before = stored.rows_of("ci")
    after = set(published.runs_of("prune_after_finetune"))
    both = {run.id for run in published.runs_of(EPOCHS_BEFORE_PRUNING) if run in after}
    # One figure showed it when it was published; some other run is done elsewhere alone.
    is_lacking = before.run.isin(both) & (before.arm != EPOCHS_BEFORE_PRUNING)
    before[~is_lacking].to_parquet(paths.published("ci"))
    _remove(run for run in published.plan() if run.notebook == "information_deletion")
    publishing.publish(published)
    pd.testing.assert_frame_equal(_in_order(stored.rows_of("ci")), _in_order(before))


def test_a_sweep_may_leave_out_what_is_published(
    published: studies.Study,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cli.main(["sweep", "ci", "--unpublished"]) == 2
    assert "leave out --unpublished" in capsys.readouterr().err
    tuned = published.runs_of("prune_pretrain")[1]
    _unpublish(tuned)
    plan = published.plan()
    _remove(plan)
    assert cli.main(["status", "ci"]) == 0
    assert f"0 of {len(plan)} runs are done, {len(plan) - 1} others published" in (
        capsys.readouterr().out
    )
    given: dict[str, Any] = {}

    def note(
        plan: list[Run], executor: object, threads: dict[Run, int], *_: object
    ) -> scheduling.Outcome:
        given.update(plan=plan, threads=threads)
        return scheduling.Outcome()

    monkeypatch.setattr(scheduling, "sweep", note)
    assert cli.main(["sweep", "ci", "--unpublished", "--workers", "2"]) == 0
    assert given["plan"] == [*runs.lineage(tuned), tuned]
    # Bits depend on the threads: as many as in a sweep over all.
    assert given["threads"] == local.thread_counts(plan, 2)


def test_what_is_executed_again_is_laid_beside_what_was_published(
    published: studies.Study,
) -> None:
    # What is published is what is here: no second execution.
    with pytest.raises(UserError, match="no published run was rerun"):
        tables.again_table(gathering.executed_again(published))
    file = paths.published("ci", ".json")
    facts = read_json(file)
    for record in facts["records"]:
        record["wall_time_s"] += 1
    file.write_text(json.dumps(facts))
    again = gathering.executed_again(published)
    assert (again.published == again.again).all()
    assert set(again.groupby("arm").metric.apply(frozenset)["prune_after_finetune"]) == {"accuracy"}
    gathered = gathering.rows_of(published)
    trained = gathered[~gathered.arm.isin([EPOCHS_BEFORE_PRUNING, "burn_in"])]
    assert len(again) == trained.groupby(["run", "task"]).ngroups
    before = stored.rows_of("ci")
    is_loss = (before.arm == "random_pruning") & (before.metric == "loss")
    is_loss &= (before.task == rows.PRETRAINING) & (before.split == "dev")
    before.assign(value=before.value.where(~is_loss, 1.5)).to_parquet(paths.published("ci"))
    table = tables.again_table(gathering.executed_again(published))
    changed = table.trainings != table["the same"]
    assert [*changed.index[changed]] == [("pruned at random", "loss (nats)")]
    device = published.plan()[0].record().machine
    assert set(table["first on"]) == set(table["then on"]) == {device}
    apart = again[(again.arm == "random_pruning") & (again.metric == "loss")].again - 1.5
    assert table.loc[changed, "largest"].tolist() == [f"{apart.abs().max():.2g}"]
    assert table.loc[changed, "mean"].tolist() == [f"{apart.mean():+.2g}"]
    # Published anew, it stays known where no run is done; not where the runs are others.
    publishing.publish(published)
    _remove(published.plan())
    noted = gathering.executed_again(published)
    pd.testing.assert_frame_equal(tables.again_table(noted), table)
    longer = studies.load("ci", ["epochs=7"])
    left = {run.id for run in longer.plan()} & {*noted.run}
    assert {*gathering.executed_again(longer).run} == left < {*noted.run}
