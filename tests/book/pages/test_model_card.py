"""Shipping: the folder loads as what it was made from, and its card says what the record says."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import (
    AutoModel,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)

import bertprune
from bertprune.base.errors import UserError
from bertprune.book.pages.model_card import asked_for, ship
from bertprune.data.tokenizer import load_tokenizer, tokenizer_key
from bertprune.experiments.runs import Run
from bertprune.model.loading import (
    fresh_model,
    load_classifier,
    load_masks,
    load_pretraining_model,
    save_pretrained,
)
from bertprune.protocol import rows
from bertprune.protocol.record import RECORD_FILE
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule

from ...finished import BURN_IN, PRUNED, TINY, TUNED, finished, save_model


@pytest.fixture(autouse=True)
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    (tmp_path / "notebooks").symlink_to(Path(__file__).parents[3] / "notebooks")


def test_a_pruned_run_is_shipped_without_its_zeros(tmp_path: Path) -> None:
    for parameters in (BURN_IN, PRUNED, TUNED):
        finished(parameters)
    run = Run.of(PRUNED)
    shipped = ship(run.id, tmp_path / "shipped", precision="float32")
    names = {"README.md", "config.json", "sparse.safetensors", "training.csv"}
    assert names | {"tokenizer.json", "tokenizer_config.json"} == {
        file.name for file in shipped.iterdir()
    }
    first, second = bertprune.load(str(run.model_folder)), bertprune.load(str(shipped))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert tokenizer_key(load_tokenizer(str(shipped))) == tokenizer_key(load_tokenizer("lab"))

    curve = rows.read(shipped / "training.csv")
    assert set(curve.task) == {rows.PRETRAINING} and set(curve.split) <= {"train", "dev"}

    text = (shipped / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front == {"license": "mit", "sparsity": 0.6, "precision": "float32"}
    assert 'bertprune.load("shipped")' in text and "-p sparsity 0.6 -p max_length_tokens 32" in text
    assert f"`{run.id}`" in text and f"starts from `{Run.of(BURN_IN).id}`" in text
    assert "1.5 minutes on abacus × 1, 1.00 GB" in text
    assert "| `pretrain_steps` | `60` |" in text and "| `text` | `lab:0:300` |" in text
    assert "| masked words right on the dev set | 37.5 % |" in text
    assert "| sst2 | pruned while pre-training | 60\N{NO-BREAK SPACE}% | 81.2 % |" in text
    # 60 % of 829 × 16 word embeddings and of the 16 × 16 of the pooler.
    assert "| `embeddings.word_embeddings` | 829 × 16 | 13,264 | 7,958 |" in text
    assert "| `pooler.dense` | 16 × 16 | 256 | 154 |" in text
    stored = (shipped / "sparse.safetensors").stat().st_size
    assert f"{stored / 1e6:.4f} MB; dense" in text or f"{stored / 1e6:.3f} MB; dense" in text


def test_a_dense_run_is_shipped_as_an_ordinary_folder(tmp_path: Path) -> None:
    finished(BURN_IN)
    shipped = ship(str(Run.of(BURN_IN).folder), tmp_path / "dense")
    model = load_pretraining_model(str(shipped), seed=0)
    theirs = load_pretraining_model(str(Run.of(BURN_IN).model_folder), seed=0)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor.bfloat16().float(), model.state_dict()[name]), name
    text = (shipped / "README.md").read_text()
    assert "AutoModel" in text and "Sparsity by matrix" not in text
    assert "`model.safetensors`" not in text and "sparsity: 0.0" in text
    # The record is of a run of before the precision was noted.
    assert "1.00 GB.\n" in text


@pytest.mark.parametrize("kind", ["run", "classifier"])
def test_a_pruned_model_is_shipped_for_plain_transformers(tmp_path: Path, kind: str) -> None:
    """Its zeros are there, and so are its masks, for who trains it on."""
    masks = save_model(tmp_path / "model", 0.5)
    if kind == "classifier":
        classifier = load_classifier(str(tmp_path / "model"), labels=3, seed=1)
        save_pretrained(classifier, load_tokenizer("lab"), masks, tmp_path / "model")
    shipped = ship(str(tmp_path / "model"), tmp_path / "shipped", storage="dense")
    model = AutoModel.from_pretrained(shipped)
    for name, weight in prunable_matrices(model).items():
        assert not weight[~masks[name]].any() and weight.dtype == torch.bfloat16
    end = bertprune.hold_masks(model)
    end()
    text = (shipped / "README.md").read_text()
    assert "`AutoModel` reads it. Its pruned weights are zero" in text
    assert "precision: bf16" in text and "Sparsity by matrix" in text
    assert ("-p ramp_steps 0 -p sparsity 0.5" in text) == (kind == "run")


@pytest.mark.parametrize("kind", ["load", "load_classifier"])
def test_transformers_refusal_of_a_sparse_folder_says_what_loads_it(
    tmp_path: Path, kind: str
) -> None:
    masks = save_model(tmp_path / "model", 0.5)
    if kind == "load_classifier":
        classifier = load_classifier(str(tmp_path / "model"), labels=3, seed=1)
        save_pretrained(classifier, load_tokenizer("lab"), masks, tmp_path / "model")
    shipped = ship(str(tmp_path / "model"), tmp_path / "shipped")
    for auto in (AutoModel, AutoModelForPreTraining, AutoModelForSequenceClassification):
        with pytest.raises(
            ValueError, match=rf"sparse\.safetensors, which bertprune\.{kind} loads"
        ):
            auto.from_pretrained(shipped)
    # What is loaded is an ordinary model, wherever it is saved.
    if kind == "load":
        bertprune.load(str(shipped)).save_pretrained(tmp_path / "saved")
        AutoModel.from_pretrained(tmp_path / "saved")
    # A model that is shipped again is as good as the first.
    again = ship(str(shipped), tmp_path / "again")
    for file in shipped.glob("*.json"):
        assert (again / file.name).read_text() == file.read_text()


def test_a_shipped_onnx_file_is_loaded_as_the_card_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    save_model(tmp_path / "model", 0.5)
    shipped = ship(str(tmp_path / "model"), tmp_path / "shipped", storage="onnx")
    assert {"README.md", "config.json", "model.onnx", "tokenizer.json"} <= {
        file.name for file in shipped.iterdir()
    }
    text = (shipped / "README.md").read_text()
    assert "precision: float32" in text and "bertprune run" not in text
    said: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    exec(text.split("```python")[1].split("```")[0], said)
    tokens = said["tokenizer"]("A sentence.", return_tensors="pt")
    with torch.no_grad():
        expected = bertprune.load(str(tmp_path / "model"))(**tokens)
    assert list(tokens) == ["input_ids", "token_type_ids", "attention_mask"]
    for name in ("token_logits", "order_logits"):
        found = torch.from_numpy(said[name])
        wanted = expected[0 if name == "token_logits" else 1]
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    with pytest.raises(UserError, match="ONNX is written in float32"):
        ship(str(tmp_path / "model"), tmp_path / "bf16", storage="onnx", precision="bf16")


def test_the_card_says_in_which_precision_it_was_trained(tmp_path: Path) -> None:
    run = finished(BURN_IN)
    file = run.folder / RECORD_FILE
    run.record().replace(precision="bf16").write(run.folder)
    # A record of another run that cannot be read is in nobody's way.
    (run.folder.parent / "damaged").mkdir()
    (run.folder.parent / "damaged" / RECORD_FILE).write_text("{")
    shipped = ship(run.id, tmp_path / "shipped", precision="float32")
    assert "1.00 GB, in bf16.\n" in (shipped / "README.md").read_text()
    file.write_text("{")
    with pytest.raises(UserError, match=r"record\.json is damaged"):
        ship(run.id, tmp_path / "again")


@pytest.mark.parametrize("scope", ["matrix", "global"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_one_shot_pruning_of_a_shipped_model_gives_its_masks(
    tmp_path: Path, scope: str, precision: str
) -> None:
    """What the card tells a reader to do, so that a notebook holds the masks."""
    masks = save_model(tmp_path / "model", 0.7, scope)
    shipped = ship(str(tmp_path / "model"), tmp_path / "shipped", precision=precision)
    model = load_pretraining_model(str(shipped), seed=0)
    assert asked_for(load_masks(shipped, model)) == (0.7, scope)
    assert ("-p scope global" in (shipped / "README.md").read_text()) == (scope == "global")
    pruner = Pruner.following(model, Schedule(0.7), Criterion(scope=scope))
    pruner.before_step(0)
    pruner.check(0.7)
    assert all(torch.equal(mask, masks[name]) for name, mask in pruner.masks.items())


def test_masks_at_random_are_found_by_magnitude(tmp_path: Path) -> None:
    model = fresh_model(TINY, seed=0)
    # The embedding of padding, which begins as zeros, would tie with what is pruned.
    torch.nn.init.normal_(prunable_matrices(model)["embeddings.word_embeddings.weight"])
    masks = Criterion("random", seed=3).masks(prunable_matrices(model), 0.25)
    Pruner.holding(model, masks, Criterion("random"))
    assert asked_for(masks) == (0.25, "matrix")
    pruner = Pruner.following(model, Schedule(0.25), Criterion())
    pruner.before_step(0)
    assert all(torch.equal(mask, masks[name]) for name, mask in pruner.masks.items())


def test_a_model_without_a_run_and_a_classifier(tmp_path: Path) -> None:
    save_model(tmp_path / "model", 0.5)
    classifier = load_classifier(str(tmp_path / "model"), labels=3, seed=1)
    masks = load_masks(tmp_path / "model", classifier)
    save_pretrained(classifier, load_tokenizer("lab"), masks, tmp_path / "tuned")
    shipped = ship(str(tmp_path / "tuned"), tmp_path / "shipped", precision="float32")
    again = bertprune.load_classifier(str(shipped), labels=3)
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    text = (shipped / "README.md").read_text()
    assert 'load_classifier("shipped", labels=3)' in text and "How it was made" not in text


def test_the_card_keeps_paths_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "wiki.txt").write_text("A line.\n")
    parameters = BURN_IN.replace(text=(str(tmp_path / "secret" / "wiki.txt"),))
    run = finished(parameters)
    shipped = ship(run.id, tmp_path / "shipped")
    text = (shipped / "README.md").read_text()
    assert "| `text` | `wiki.txt` |" in text and "secret" not in text


def test_what_cannot_be_shipped(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run and no model folder 'finetune/nowhere'"):
        ship("finetune/nowhere", tmp_path / "shipped")
    finished(TUNED)
    with pytest.raises(UserError, match="has no model of its own"):
        ship(Run.of(TUNED).id, tmp_path / "shipped")
    masks = save_model(tmp_path / "model", 0.5)
    dense = fresh_model(TINY, seed=0)
    save_pretrained(dense, load_tokenizer("lab"), masks, tmp_path / "moved")
    with pytest.raises(UserError, match="that the masks prune are not zero"):
        ship(str(tmp_path / "moved"), tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists() and not list(tmp_path.glob(".shipped*"))
    with pytest.raises(UserError, match="is there already"):
        ship(str(tmp_path / "model"), tmp_path / "moved")


def test_a_model_in_a_home_of_nobody() -> None:
    with pytest.raises(UserError, match="~nouser/model: there is no such user"):
        bertprune.load("~nouser/model")
