"""The three ways to fine-tune, on a model of a few thousand weights."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from bertprune.data.task_examples import TaskExamples
from bertprune.data.tasks import load_task
from bertprune.data.tokenizer import load_tokenizer, wordpiece
from bertprune.model.loading import load_classifier, load_masks, save_pretrained
from bertprune.model.shape import Shape
from bertprune.protocol import predictions, rows
from bertprune.protocol.notebook_parameters import (
    BERTADAM,
    Finetune,
    InformationDeletion,
    PruneAfterFinetune,
)
from bertprune.protocol.predictions import PREDICTIONS_FILE
from bertprune.protocol.rows import History
from bertprune.pruning.masks import Criterion, RealisedSparsityError
from bertprune.pruning.matrices import prunable_matrices
from bertprune.training import finetuning
from bertprune.training.checkpoint import CHECKPOINT_FILE
from bertprune.training.dispatch import Job
from bertprune.training.finetuning import evaluate, work
from bertprune.training.loop import train
from bertprune.training.variants import Optimization, Variant

from ..models import assert_same, pruned_model

SETTINGS: dict[str, Any] = {
    "sparsity": 0.6,
    "epochs": 2,
    "learning_rates": (1e-3,),
    "max_length_tokens": 32,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _upstream(folder: Path, cache: Path, sparsity: float, scope: str = "matrix") -> Path:
    tokenizer = wordpiece(("lab:0:300",), 200, cache)
    model, masks = pruned_model(Shape(1, 16, 2, len(tokenizer), 32), sparsity, scope)
    save_pretrained(model, tokenizer, masks, folder)
    return folder


@pytest.fixture
def upstream(tmp_path: Path, cache: Path) -> Path:
    return _upstream(tmp_path / "upstream", cache, 0.6)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[torch.nn.Module]:
    """The models that were trained, in order."""
    found: list[torch.nn.Module] = []

    def remember(variants: list[Variant], *given: Any, **how: Any) -> list[History]:
        found.extend(variant.loss.model for variant in variants)
        return train(variants, *given, **how)

    monkeypatch.setattr(finetuning, "train", remember)
    return found


def test_a_recovery_that_counts_on_from_fine_tuning(tmp_path: Path) -> None:
    """As the authors' prune_glue2.py, of tasks with ten steps an epoch."""
    parameters = PruneAfterFinetune(
        epochs=3,
        recovery_epochs=5,
        warmup_epochs=0.1,
        decay_ends_epochs=(1, 2, 3),
        recovery_begins_epoch=3,
        recovery_decay_ends_epochs=(3.1, 4, 5, 6, 7, 8),
        optimizer=BERTADAM,
    )
    job = Job(parameters, tmp_path)
    found = finetuning._Training(job, parameters, "cola", 2e-5)._optimization(10)
    ends = (31, 40, 50, 60, 70, 80)
    assert found == Optimization(2e-5, 50, 1, decay_ends=ends, begins=30, bias_correction=False)
    before = parameters.upstream()
    assert isinstance(before, Finetune)
    found = finetuning._Training(job, before, "cola", 2e-5)._optimization(10)
    assert found == Optimization(2e-5, 30, 1, decay_ends=(10, 20, 30), bias_correction=False)


def test_masks_are_held(upstream: Path, tmp_path: Path, trained: list[torch.nn.Module]) -> None:
    found = work(Job(Finetune(**SETTINGS, task=("cola",)), tmp_path / "work", upstream))
    masks = load_masks(upstream, trained[0])
    before = load_file(upstream / "model.safetensors")
    for name, weight in prunable_matrices(trained[0]).items():
        assert not weight[~masks[name]].any()
        assert not torch.equal(weight, before[f"bert.{name}"])
    values = found.groupby(["split", "metric"]).size()
    assert values["dev", "accuracy"] == values["dev", "matthews"] == 2
    # The training loss is that of the whole set at the end, beside the curve of the batches.
    assert values["train", "loss"] == 1
    assert values["train", "running_loss"] > 2
    assert set(found.arm) == {"prune_pretrain"} and set(found.sparsity) == {0.6}
    assert not (tmp_path / "work" / "model").exists()


@pytest.mark.parametrize(("epochs", "in_stacks"), [(0, False), (2, False), (2, True)])
def test_what_is_predicted_in_the_end_gives_the_accuracy(
    epochs: int,
    in_stacks: bool,
    upstream: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if in_stacks:
        # As on a GPU.
        monkeypatch.setattr(finetuning, "_together", lambda left, accelerator: [left])
    settings = {**SETTINGS, "task": ("cola", "mnli"), "learning_rates": (1e-3, 5e-4)}
    parameters = Finetune(**settings).replace(epochs=epochs)
    found = rows.final(work(Job(parameters, tmp_path / "work", upstream)))
    accuracies = rows.where(found, split="dev", metric="accuracy")
    predicted = predictions.read(tmp_path / "work" / PREDICTIONS_FILE)
    places = ["arm", "task", "sparsity", "learning_rate", "seed", "epoch"]
    both = predicted.merge(accuracies, on=places)
    assert len(both) == len(predicted) == len(accuracies) == 4
    right = [(p == true).mean() for p, true in zip(both.predicted, both.labels, strict=True)]
    assert right == both.value.tolist()
    # Examples go by their place in the dev set as it is read.
    for task, labels in zip(both.task, both.labels, strict=True):
        assert labels.tolist() == load_task(task, "lab").dev.label.tolist()
    assert all(1 < length <= 32 for lengths in both.lengths for length in lengths)


def test_globally_pruned_models_are_fine_tuned(tmp_path: Path, cache: Path) -> None:
    upstream = _upstream(tmp_path / "upstream", cache, 0.6, "global")
    parameters = Finetune(**SETTINGS).replace(epochs=1)
    held = Job(parameters.replace(scope="global"), tmp_path / "work", upstream)
    assert not work(held).empty
    # Masks that are not what the parameters say are found before the work.
    with pytest.raises(RealisedSparsityError, match="asked for sparsity 0.6"):
        work(Job(parameters, tmp_path / "other", upstream))


def test_without_masks_what_was_pruned_comes_back(
    upstream: Path, tmp_path: Path, trained: list[torch.nn.Module]
) -> None:
    parameters = InformationDeletion(**SETTINGS)
    found = work(Job(parameters, tmp_path / "work", upstream))
    masks = load_masks(upstream, trained[0])
    matrices = prunable_matrices(trained[0])
    query = "encoder.layer.0.attention.self.query.weight"
    assert (matrices[query][~masks[query]] != 0).float().mean() > 0.9
    assert set(found.arm) == {"information_deletion"}


def test_pruning_afterwards_starts_from_the_fine_tuned_dense_model(
    tmp_path: Path, cache: Path, trained: list[torch.nn.Module]
) -> None:
    dense = _upstream(tmp_path / "upstream", cache, 0.0)
    settings = {**SETTINGS, "task": ("sst2", "cola"), "learning_rates": (1e-3, 5e-4)}
    first = work(Job(Finetune(**settings).replace(sparsity=0.0), tmp_path / "dense", dense))
    kept = sorted(folder.name for folder in (tmp_path / "dense" / "model").iterdir())
    assert kept == ["cola-0.0005", "cola-0.001", "sst2-0.0005", "sst2-0.001"]
    tuned = tmp_path / "dense" / "model"
    found = work(Job(PruneAfterFinetune(**settings, recovery_epochs=0), tmp_path, tuned))
    unpruned_model = load_classifier(str(tuned / "cola-0.0005"), labels=2, seed=0)
    masks = Criterion().masks(prunable_matrices(unpruned_model), 0.6)
    assert_same({name: w != 0 for name, w in prunable_matrices(trained[-1]).items()}, masks)
    # Without recovery and without pruning, dev metrics are those fine-tuning ended with.
    unpruned = PruneAfterFinetune(**settings, recovery_epochs=0).replace(sparsity=0.0)
    again = work(Job(unpruned, tmp_path / "unpruned", tuned))
    key = ["task", "learning_rate", "split", "metric"]
    merged = rows.final(first).merge(rows.final(again), on=key, suffixes=("", "_again"))
    assert len(merged) == len(again) > 0
    assert (merged.value - merged.value_again).abs().max() < 1e-6
    assert set(found.sparsity) == {0.6}


def test_what_is_finished_is_not_repeated(
    upstream: Path, tmp_path: Path, trained: list[torch.nn.Module]
) -> None:
    parameters = Finetune(**SETTINGS, task=("sst2", "cola"))
    whole = work(Job(parameters, tmp_path / "work", upstream))
    (tmp_path / "work" / "cola-0.001.csv").unlink()
    again = work(Job(parameters, tmp_path / "work", upstream))
    assert len(trained) == 3
    pd.testing.assert_frame_equal(whole, again, check_exact=True)


@pytest.mark.parametrize("contract", [Finetune, InformationDeletion])
def test_learning_rates_that_train_together_give_the_rows_of_each_alone(
    contract: type[Finetune], upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = contract(**{**SETTINGS, "learning_rates": (1e-3, 3e-4)}, task=("cola",))
    alone = work(Job(parameters, tmp_path / "alone", upstream))
    monkeypatch.setattr(finetuning, "_together", lambda rates, accelerator: [rates])
    together = work(Job(parameters, tmp_path / "together", upstream))
    pd.testing.assert_frame_equal(alone, together, rtol=1e-4, atol=1e-6)
    assert not list((tmp_path / "together").rglob(CHECKPOINT_FILE))


def test_a_task_of_the_readers_own(upstream: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tasks" / "colours"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text("columns: [first, second]\nlabels: [red, green, blue]\n")
    things = {"first": ["the net", "the sail", "the rose"], "second": ["red", "green", "blue"]}
    for split in ("train", "validation"):
        frame = pd.DataFrame({**things, "label": [0, 1, 2]})
        frame.to_parquet(folder / f"{split}.parquet")
    parameters = Finetune(**SETTINGS, task=("colours",), task_data=str(tmp_path / "tasks"))
    found = work(Job(parameters, tmp_path / "work", upstream))
    assert set(found.task) == {"colours"}
    assert found[found.metric == "accuracy"].value.between(0, 1).all()


def test_a_sample_is_evaluated_as_within_the_whole(upstream: Path) -> None:
    model, data = load_classifier(str(upstream), labels=2, seed=0), load_task("cola", "lab")
    model.eval()
    tokenizer, accelerator = load_tokenizer(str(upstream)), Accelerator()
    examples = TaskExamples(data.dev, data.task, tokenizer, 32)
    _, whole = evaluate(model, examples, data.task, accelerator)
    found, predicted = evaluate(model, examples, data.task, accelerator, most=40)
    chosen = examples.sample(40)
    assert predicted.tolist() == whole[chosen].tolist()
    right = predicted == examples.labels[chosen]
    assert found["accuracy"] == pytest.approx(right.mean()) and found["loss"] > 0
