"""Models: the paper's prunable matrices, saving and loading with masks, heads that are missing."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from bertprune.base.errors import UserError
from bertprune.data.tokenizer import load_tokenizer, tokenizer_key, wordpiece
from bertprune.lab import language as lab
from bertprune.lab.language import language
from bertprune.lab.probe import probe
from bertprune.model.loading import (
    DENSE_FILE,
    MASKS_FILE,
    check_fit,
    check_model,
    fresh_model,
    load_classifier,
    load_masks,
    load_pretraining_model,
    save_pretrained,
)
from bertprune.model.model_folder import CONFIG_FILE, model_key
from bertprune.model.shape import BERT_BASE, Shape
from bertprune.pruning.masks import sparsity_of
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.storage import SPARSE_FILE, save_sparse

from ..finished import save_model
from ..models import assert_same, pruned_model

TINY = Shape(layers=2, hidden_size=16, heads=2, vocabulary_size=60)

Damage = Callable[[Path], None]
NO_CONFIG = "{}/config.json is no config of a BERT"


def test_bert_base_is_the_papers() -> None:
    with torch.device("meta"):
        base = fresh_model(BERT_BASE, seed=0)
    names = list(prunable_matrices(base))
    assert len(names) == 74
    assert names[0] == "embeddings.word_embeddings.weight"
    assert names[-1] == "pooler.dense.weight"
    assert not any("position" in name or "LayerNorm" in name for name in names)
    encoder = base.bert.num_parameters()
    words = base.bert.embeddings.word_embeddings.weight.numel()
    assert encoder == pytest.approx(109.5e6, rel=1e-3)
    assert words / encoder == pytest.approx(0.21, abs=0.005)


def test_the_decoder_sees_the_pruned_embeddings() -> None:
    model, masks = pruned_model(TINY, 0.5)
    mask = masks["embeddings.word_embeddings.weight"]
    assert not model.cls.predictions.decoder.weight[~mask].any()


@pytest.mark.parametrize("spread", [0.02, 0.08])
def test_fresh_weights_have_the_spread_asked_for(spread: float) -> None:
    model = fresh_model(replace(TINY, initializer_range=spread), seed=0)
    for name, weight in prunable_matrices(model).items():
        assert weight.std().item() == pytest.approx(spread, rel=0.1), name


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_all_files_of_a_model_can_be_read_by_the_same_people(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        save_model(tmp_path / "model", 0.5)
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "model").iterdir()}
    assert {DENSE_FILE, MASKS_FILE} <= modes.keys()
    assert set(modes.values()) == {0o666 & ~umask}


@pytest.mark.parametrize("hidden", [DENSE_FILE, SPARSE_FILE])
def test_weights_that_may_not_be_read_are_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    save_model(tmp_path, 0.5)
    if hidden == SPARSE_FILE:
        (tmp_path / DENSE_FILE).unlink()
        save_sparse(*pruned_model(TINY, 0.5), tmp_path)
    monkeypatch.setattr("os.access", lambda file, mode: Path(file).name != hidden)
    with pytest.raises(UserError, match=f"{hidden} may not be read by you"):
        check_model(str(tmp_path))


def test_same_seed_same_weights() -> None:
    first, again, other = (fresh_model(TINY, seed=seed).state_dict() for seed in (3, 3, 4))
    assert_same(first, again)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    model, masks = pruned_model(TINY, 0.6)
    tokenizer = wordpiece(("lab:0:300",), 300, tmp_path / "cache")
    save_pretrained(model, tokenizer, masks, tmp_path / "pruned")
    return tmp_path / "pruned"


def test_a_pruned_model_is_an_ordinary_hugging_face_folder(pruned: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(pruned, num_labels=3)
    ours = load_classifier(str(pruned), labels=3, seed=0)
    masks = load_masks(pruned, model)
    assert sparsity_of(masks) == pytest.approx(0.6, abs=0.01)
    for name, weight in prunable_matrices(model).items():
        assert not weight[~masks[name]].any()
        assert torch.equal(weight, prunable_matrices(ours)[name])


def change_names(folder: Path, change: Callable[[str], str]) -> None:
    """Save the weights under other names, and those that get none not at all."""
    weights = load_file(folder / DENSE_FILE)
    kept = {change(name): weight for name, weight in weights.items() if change(name)}
    save_file(kept, folder / DENSE_FILE)


def test_masks_of_another_model_are_refused(pruned: Path) -> None:
    other = fresh_model(Shape(2, 32, 2, 60), seed=0)
    with pytest.raises(UserError, match=f"{MASKS_FILE} does not fit"):
        load_masks(pruned, other)


def test_a_folder_without_masks_is_dense(pruned: Path) -> None:
    (pruned / MASKS_FILE).unlink()
    model = load_pretraining_model(str(pruned), seed=0)
    assert sparsity_of(load_masks(pruned, model)) == 0


@pytest.mark.parametrize("part", ["cls.", "bert.pooler."])
def test_missing_heads_and_pooler_are_new_and_said(
    pruned: Path, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    load_pretraining_model(str(pruned), seed=1)
    assert "they are new" not in capsys.readouterr().out
    change_names(pruned, lambda name: "" if name.startswith(part) else name)
    first, again = (load_pretraining_model(str(pruned), seed=1) for _ in range(2))
    said = capsys.readouterr().out
    assert f"lacks {part}" in said and "they are new" in said
    assert_same(first.state_dict(), again.state_dict())


def config(**values: object) -> Damage:
    def change(folder: Path) -> None:
        file = folder / CONFIG_FILE
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


def cut(folder: Path) -> None:
    file = folder / DENSE_FILE
    file.write_bytes(file.read_bytes()[:-50])


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / DENSE_FILE), folder / "pytorch_model.bin")
    (folder / DENSE_FILE).unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (config(model_type="roberta"), "{} is not a BERT: .* model_type 'roberta'"),
        (lambda folder: (folder / CONFIG_FILE).unlink(), r"{} is .*: it has no config\.json"),
        (config(hidden_size="sixteen"), NO_CONFIG),
        (config(hidden_act="sigmoidal"), NO_CONFIG),
        (config(num_attention_heads=0), NO_CONFIG),
        (config(num_attention_heads=3), NO_CONFIG),
        (config(dtype="float12"), NO_CONFIG),
        (config(id2label=["no", "yes"]), NO_CONFIG),
        (cut, f"{{}}/{DENSE_FILE} is damaged, or no safetensors file"),
        # The masks beside them are no weights, and a pickle is not read.
        (pickled, f"{{}} has no weights: it needs {DENSE_FILE}"),
    ],
)
def test_what_is_no_bert_is_refused_beforehand(pruned: Path, damage: Damage, said: str) -> None:
    damage(pruned)
    with pytest.raises(UserError, match=said.format(pruned)):
        check_model(str(pruned))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        # Of five embeddings and sixteen weights in each of two layers, all; or those of a third.
        (
            lambda folder: change_names(folder, lambda name: f"_orig_mod.{name}"),
            r"lacks 37 weights .* bert\.embeddings\.\S+, .*; _orig_mod\.\S+ in it has no",
        ),
        (config(num_hidden_layers=3), r"lacks 16 weights .* bert\.encoder\.layer\.2\.\S+, \.\.\.$"),
        (
            config(vocab_size=70),
            r"word_embeddings\.weight has the shape \(60, 16\) .* but \(70, 16\)",
        ),
    ],
)
def test_weights_that_are_not_of_the_config_are_refused(
    pruned: Path, damage: Damage, said: str
) -> None:
    damage(pruned)
    for load in (
        lambda: load_pretraining_model(str(pruned), seed=0),
        lambda: load_classifier(str(pruned), labels=2, seed=0),
    ):
        with pytest.raises(UserError, match=said) as refused:
            load()
        assert str(pruned / DENSE_FILE) in str(refused.value)


def test_a_classifier_of_other_classes_is_refused(pruned: Path) -> None:
    load_classifier(str(pruned), labels=2, seed=0).save_pretrained(pruned)
    with pytest.raises(UserError, match=r"classifier\.bias has the shape \(2,\) .* but \(3,\)"):
        load_classifier(str(pruned), labels=3, seed=0)


def test_the_check_draws_no_random_numbers(pruned: Path) -> None:
    before = torch.get_rng_state()
    check_model(str(pruned))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_too_small_for_tokens_or_positions() -> None:
    config = fresh_model(TINY, seed=0).config
    check_fit(config, 60, 512)
    with pytest.raises(UserError, match="vocabulary is 61, but the model has embeddings for 60"):
        check_fit(config, 61, 512)
    with pytest.raises(UserError, match="max_length_tokens is 513"):
        check_fit(config, 60, 513)


def test_a_model_is_known_by_its_content(pruned: Path) -> None:
    key = model_key(str(pruned))
    moved = pruned.rename(pruned.parent / "moved")
    assert model_key(str(moved)) == key
    load_pretraining_model(str(moved), seed=0)
    fresh_model(TINY, seed=9).save_pretrained(moved)
    assert model_key(str(moved)) != key


def test_the_model_that_ships_is_of_the_language_and_small() -> None:
    model = load_pretraining_model("lab", seed=0)
    tokenizer = load_tokenizer("lab")
    check_fit(model.config, len(tokenizer), 32)
    folder = Path(lab.__file__).parent / "model"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5_000_000
    assert tokenizer_key(load_tokenizer(str(folder))) == tokenizer_key(tokenizer)
    # What its card says it recalls, measured again.
    card = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    found = probe(model, tokenizer, language(0))
    assert found["all_bits"] == pytest.approx(card["bits_recalled"], rel=0.001)
    assert found["facts_recall"] == pytest.approx(card["facts_recalled"], abs=0.001)


def test_models_of_other_languages_do_not_ship() -> None:
    with pytest.raises(UserError, match="no model of the language 'lab:1' comes with the package"):
        load_pretraining_model("lab:1", seed=0)


def test_layers_that_the_config_leaves_out_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh_model(TINY, seed=0).save_pretrained(tmp_path)
    file = tmp_path / CONFIG_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": 1}))
    assert load_pretraining_model(str(tmp_path), seed=0).config.num_hidden_layers == 1
    assert "more than the 1 layers" in capsys.readouterr().out


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    model = fresh_model(TINY, seed=0)
    with torch.no_grad():
        next(model.parameters())[0, 0] = value
    model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"word_embeddings\.weight is not finite"):
        load_classifier(str(tmp_path), labels=2, seed=0)
