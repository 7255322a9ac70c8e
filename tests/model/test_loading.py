"""Models: the paper's prunable matrices, saving and loading with masks, heads that are missing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertForPreTraining, BertModel

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
    model_key,
    save_pretrained,
)
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion, pruned_entries, sparsity_of
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule

TINY = Shape(layers=2, hidden_size=16, heads=2, vocabulary_size=60)
BASE = Shape(layers=12, hidden_size=768, heads=12, vocabulary_size=30_522)


@pytest.fixture(scope="module")
def base() -> BertForPreTraining:
    return fresh_model(BASE, seed=0)


def test_bert_base_is_the_papers(base: BertForPreTraining) -> None:
    assert len(prunable_matrices(base)) == 74
    encoder = base.bert.num_parameters()
    words = base.bert.embeddings.word_embeddings.weight.numel()
    assert encoder == pytest.approx(109.5e6, rel=1e-3)
    assert words / encoder == pytest.approx(0.21, abs=0.005)
    names = list(prunable_matrices(base))
    assert names[0] == "embeddings.word_embeddings.weight"
    assert names[-1] == "pooler.dense.weight"
    assert not any("position" in name or "LayerNorm" in name for name in names)


def test_masks_of_bert_base_are_exact_in_every_matrix(base: BertForPreTraining) -> None:
    weights = {name: weight.detach() for name, weight in prunable_matrices(base).items()}
    for percent in range(0, 101, 10):
        masks = Criterion().masks(weights, percent / 100)
        for name, weight in weights.items():
            assert pruned_entries(masks[name]) == round(percent / 100 * weight.numel()), name


def test_the_decoder_sees_the_pruned_embeddings() -> None:
    model = fresh_model(TINY, seed=0)
    pruner = Pruner.following(model, Schedule(0.5), Criterion())
    pruner.before_step(0)
    mask = pruner.masks["embeddings.word_embeddings.weight"]
    assert not model.cls.predictions.decoder.weight[~mask].any()


@pytest.mark.parametrize("spread", [0.02, 0.08])
def test_fresh_weights_have_the_spread_asked_for(spread: float) -> None:
    model = fresh_model(replace(TINY, initializer_range=spread), seed=0)
    for name, weight in prunable_matrices(model).items():
        assert weight.std().item() == pytest.approx(spread, rel=0.1), name


def test_same_seed_same_weights() -> None:
    first, second = (fresh_model(TINY, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = fresh_model(TINY, seed=4).state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    model = fresh_model(TINY, seed=0)
    pruner = Pruner.following(model, Schedule(0.6), Criterion())
    pruner.before_step(0)
    tokenizer = wordpiece(("lab:0:300",), 300, tmp_path / "cache")
    save_pretrained(model, tokenizer, pruner.masks, tmp_path / "pruned")
    return tmp_path / "pruned"


def test_a_pruned_model_is_an_ordinary_hugging_face_folder(pruned: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(pruned, num_labels=3)
    ours = load_classifier(str(pruned), labels=3, seed=0)
    masks = load_masks(pruned, model)
    assert sparsity_of(masks) == pytest.approx(0.6, abs=0.01)
    for name, weight in prunable_matrices(model).items():
        assert not weight[~masks[name]].any()
        assert torch.equal(weight, prunable_matrices(ours)[name])


def test_masks_of_another_model_are_refused(pruned: Path) -> None:
    other = fresh_model(Shape(2, 32, 2, 60), seed=0)
    with pytest.raises(UserError, match=f"{MASKS_FILE} does not fit"):
        load_masks(pruned, other)


def test_a_folder_without_masks_is_dense(pruned: Path) -> None:
    (pruned / MASKS_FILE).unlink()
    model = load_pretraining_model(str(pruned), seed=0)
    assert sparsity_of(load_masks(pruned, model)) == 0


def test_missing_heads_are_new_and_said(pruned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = pruned.parent / "bare"
    BertModel.from_pretrained(pruned).save_pretrained(bare)
    first = load_pretraining_model(str(bare), seed=1)
    said = capsys.readouterr().out
    assert "cls.seq_relationship.weight" in said and "they are new" in said
    second = load_pretraining_model(str(bare), seed=1)
    capsys.readouterr()
    assert torch.equal(first.cls.seq_relationship.weight, second.cls.seq_relationship.weight)
    load_pretraining_model(str(pruned), seed=1)
    assert "they are new" not in capsys.readouterr().out


def test_a_checkpoint_that_is_not_bert(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    with pytest.raises(UserError, match="not a BERT: .* model_type 'roberta'"):
        check_model(str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"no config\.json"):
        check_model(str(tmp_path))
    with pytest.raises(UserError, match="there is no model folder"):
        check_model(str(tmp_path / "nowhere"))


def change_config(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def compiled(folder: Path) -> None:
    """Weights under the names that they have in a compiled model."""
    weights = load_file(folder / DENSE_FILE)
    save_file({f"_orig_mod.{name}": w for name, w in weights.items()}, folder / DENSE_FILE)


def one_layer_more(folder: Path) -> None:
    change_config(folder, num_hidden_layers=3)


def larger_vocabulary(folder: Path) -> None:
    change_config(folder, vocab_size=70)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        # Of five embeddings and sixteen weights in each of two layers, all; or those of a third.
        (compiled, r"lacks 37 weights .* bert\.embeddings\.\S+, .*; _orig_mod\.\S+ in it has no"),
        (one_layer_more, r"lacks 16 weights .* bert\.encoder\.layer\.2\.\S+, \.\.\.$"),
        (larger_vocabulary, r"word_embeddings\.weight has the shape \(60, 16\) .* but \(70, 16\)"),
    ],
)
def test_weights_that_are_not_of_the_config_are_refused(
    pruned: Path, damage: Callable[[Path], None], said: str
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


def test_a_pooler_may_be_missing(pruned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = load_file(pruned / DENSE_FILE)
    kept = {name: w for name, w in weights.items() if not name.startswith("bert.pooler.")}
    save_file(kept, pruned / DENSE_FILE)
    load_pretraining_model(str(pruned), seed=0)
    assert "lacks bert.pooler.dense.bias, bert.pooler.dense.weight:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": "sixteen"},
        {"hidden_act": "sigmoidal"},
        {"num_attention_heads": 0},
        {"num_attention_heads": 3},
        {"dtype": "float12"},
        {"id2label": ["no", "yes"]},
    ],
)
def test_a_config_that_makes_no_bert_is_refused(pruned: Path, wrong: dict[str, object]) -> None:
    change_config(pruned, **wrong)
    with pytest.raises(UserError, match=f"{pruned}/config.json is no config of a BERT"):
        check_model(str(pruned))


def test_the_check_draws_no_random_numbers(pruned: Path) -> None:
    before = torch.get_rng_state()
    check_model(str(pruned))
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_that_cannot_be_opened_are_refused_beforehand(pruned: Path) -> None:
    file = pruned / DENSE_FILE
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(UserError, match=f"{file} is damaged, or no safetensors file"):
        check_model(str(pruned))
    # The masks beside them are no weights.
    file.unlink()
    with pytest.raises(UserError, match=f"{pruned} has no weights: it needs {DENSE_FILE}"):
        check_model(str(pruned))


def test_weights_that_are_a_pickle_are_not_read(pruned: Path) -> None:
    model = load_pretraining_model(str(pruned), seed=0)
    torch.save(model.state_dict(), pruned / "pytorch_model.bin")
    (pruned / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        load_pretraining_model(str(pruned), seed=0)


def test_a_model_too_small_for_tokens_or_positions() -> None:
    model = fresh_model(TINY, seed=0)
    check_fit(model, 60, 512)
    with pytest.raises(UserError, match="vocabulary is 61, but the model has embeddings for 60"):
        check_fit(model, 61, 512)
    with pytest.raises(UserError, match="max_length_tokens is 513"):
        check_fit(model, 60, 513)


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
    check_fit(model, len(tokenizer), 32)
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
