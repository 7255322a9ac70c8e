"""Gathering: which study a notebook shows, and what there is of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bertprune.base.errors import UserError
from bertprune.evidence import gathering
from bertprune.experiments import studies
from bertprune.model.loading import load_masks, load_pretraining_model

from ..finished import PRUNED, finished

POINTS = ((0, 0.6), (1, 0.6), (2, 0.6), (0, 0.3), (0, 0.0), (1, 0.0))
"""Seeds and sparsities: three to compare, one alone, and two that are not pruned."""


def _file(folder: Path) -> Path:
    file = folder / "mine.yaml"
    file.write_text("title: Mine\narms: {prune_pretrain: {}}\ngrid: {sparsity: [0.6]}\n")
    return file


def test_a_study_without_runs_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").symlink_to(Path(__file__).parents[2] / "notebooks")
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    study = studies.load("ci", ["sparsity=[0.0, 0.5]"])
    with pytest.raises(UserError, match=r"bertprune sweep ci --set 'sparsity=\[0.0, 0.5\]'"):
        gathering.rows_of(study)


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        ({"studies": ["glue-tyni"]}, "glue-tiny"),
        ({"studies": ["ci", "glue-tyni"]}, "glue-tiny"),
        ({"studies": [3]}, "must be a text"),
        ({"studies": []}, "name at least one"),
    ],
)
def test_the_notebook_of_results_is_checked(namespace: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        gathering.studies_of(namespace)


def test_the_ramp_is_that_of_the_pruned_models() -> None:
    # The dense model, which is the first, has none.
    assert gathering.ramp_steps(studies.load("ci")) == 30
    assert gathering.ramp_steps(studies.load("english-burn-in")) == 0


def test_masks_of_two_seeds_of_one_bert_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").symlink_to(Path(__file__).parents[2] / "notebooks")
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    pruned = [finished(replace(PRUNED, seed=seed, sparsity=at)) for seed, at in POINTS]
    # All have the masks of one pruning, but for one matrix of seed 1.
    of_one = pruned[1].model_folder
    masks = load_masks(of_one, load_pretraining_model(str(of_one), seed=0))
    name = min(masks)
    flipped = masks | {name: ~masks[name]}
    monkeypatch.setattr(
        "bertprune.model.loading.load_masks",
        lambda folder, model: flipped if folder == of_one else masks,
    )
    study = studies.load(str(_file(tmp_path)))
    monkeypatch.setattr(type(study), "needed_for", lambda self, arm: [*pruned, *pruned])
    got = gathering.masks_between_seeds(study)
    share = masks[name].numel() / sum(mask.numel() for mask in masks.values())
    assert list(got.seed) == [0, 1, 2]
    assert list(got.value) == pytest.approx([share, share, 0])
    assert set(got.part) == {"another seed"} and set(got.sparsity) == {0.6}
