"""Every field of a config: computed as transformers does, refused by its name, or of no effect."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification

from bertprune.base.errors import UserError
from bertprune.model import forward
from bertprune.model.loading import check_model, load_pretraining_model

SMALL: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
}

Changes = list[tuple[str, Any]]

COMPUTED: Changes = [
    ("vocab_size", 101),
    ("hidden_size", 24),
    ("num_hidden_layers", 1),
    ("num_hidden_layers", 3),
    ("num_attention_heads", 2),
    ("intermediate_size", 7),
    ("hidden_act", "relu"),
    ("hidden_act", "gelu_new"),
    ("hidden_act", "silu"),
    ("hidden_dropout_prob", 0.0),
    ("hidden_dropout_prob", 0.5),
    ("attention_probs_dropout_prob", 0.0),
    ("attention_probs_dropout_prob", 0.4),
    ("classifier_dropout", 0.0),
    ("classifier_dropout", 0.7),
    ("max_position_embeddings", 14),
    ("type_vocab_size", 3),
    ("layer_norm_eps", 0.1),
    ("tie_word_embeddings", False),
    ("id2label", {0: "a", 1: "b", 2: "c"}),
]
REFUSED: Changes = [
    ("is_decoder", True),
    ("add_cross_attention", True),
    ("return_dict", False),
    ("output_attentions", True),
    ("chunk_size_feed_forward", 7),
    ("type_vocab_size", 1),
    ("num_hidden_layers", 0),
    ("hidden_act", "prelu"),
    ("hidden_act", "xielu"),
    ("hidden_dropout_prob", 1.0),
    ("attention_probs_dropout_prob", 0.95),
    ("classifier_dropout", -0.1),
    ("layer_norm_eps", -1e-12),
    ("initializer_range", -0.02),
    ("pad_token_id", 90),
]
# Fields that this version of transformers reads past, or that are not of a BERT alone.
REFUSED_BESIDE: Changes = [
    ("position_embedding_type", "relative_key"),
    ("position_embedding_type", "relative_key_query"),
    ("pruned_heads", {"0": [1]}),
    ("per_layer_config", {"0": {"num_attention_heads": 2}}),
    ("quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
]
OF_NO_EFFECT: Changes = [
    # Of weights that are drawn, not of those that are there.
    ("initializer_range", 0.5),
    # In transformers it stops the gradient of that token's embedding; padding has none here.
    ("pad_token_id", 3),
    ("pad_token_id", None),
    ("bos_token_id", 5),
    ("eos_token_id", 6),
    ("use_cache", False),
    ("is_encoder_decoder", True),
    ("output_hidden_states", True),
    # The loss is ours.
    ("problem_type", "regression"),
    ("label2id", {"no": 0, "yes": 1}),
    ("architectures", ["BertModel"]),
    ("transformers_version", "4.0.0"),
    # Weights are computed in float32, whatever they are stored in.
    ("dtype", "bfloat16"),
    ("_name_or_path", "elsewhere"),
]


def test_no_field_is_forgotten() -> None:
    """A newer version of transformers may have more of them."""
    known = {name for name, _ in COMPUTED + REFUSED + OF_NO_EFFECT}
    assert known == set(BertConfig().to_dict()) - {"model_type"}


def saved(folder: Path, **values: object) -> Path:
    """A folder with the config of a small BERT that has `values`, and with its weights."""
    BertForPreTraining(BertConfig(**SMALL)).save_pretrained(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | values
    file.write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("name", "value"), REFUSED + REFUSED_BESIDE)
def test_what_is_not_computed_is_refused_by_name(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(UserError) as refused:
        check_model(str(saved(tmp_path, **{name: value})))
    said = str(refused.value)
    assert str(tmp_path / "config.json") in said
    # In torch this one has another name.
    assert {"pad_token_id": "adding_idx"}.get(name, name) in said


@pytest.fixture
def shrinking(monkeypatch: pytest.MonkeyPatch) -> forward.Drop:
    """Dropout without draws: it takes its share from each entry, in transformers too."""

    def theirs(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * (1 - p) if training else x

    monkeypatch.setattr(torch.nn.functional, "dropout", theirs)
    return lambda x, share, axes: x * (1 - share)


def config_with(**values: object) -> BertConfig:
    config = BertConfig(**(SMALL | values))
    # The fused attention draws by itself.
    config._attn_implementation = "eager"
    return config


def inputs(wanted: Tensor) -> forward.Inputs:
    generator = torch.Generator().manual_seed(0)
    inside = torch.arange(14) < torch.tensor([14, 9, 3])[:, None]
    ids = torch.randint(4, 90, (3, 14), generator=generator)
    return forward.Inputs(ids, (torch.arange(14) >= 4).long() * inside, inside, wanted)


def theirs(model: Any, given: forward.Inputs) -> Any:
    return model(
        given.ids, attention_mask=given.inside.long(), token_type_ids=given.types, return_dict=True
    )


def made(kind: Callable[[BertConfig], Any], config: BertConfig) -> Any:
    """A model in training, none of whose weights is what a fresh one has by chance or at zero."""
    model = kind(config).to(torch.float32).train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    return model


def assert_computed(config: BertConfig, drop: forward.Drop) -> None:
    """That all results of ours are those of transformers."""
    form = forward.Architecture.of(config)
    classifier = made(BertForSequenceClassification, config)
    given = inputs(torch.zeros(3, 1, dtype=torch.long))
    ours = forward.classify(forward.weights_of(classifier), form, given, drop)
    torch.testing.assert_close(ours, theirs(classifier, given).logits, rtol=1e-4, atol=1e-5)

    model = made(BertForPreTraining, config)
    weights = forward.weights_of(model)
    given = inputs(torch.tensor([[0, 5, 13], [0, 1, 8], [0, 2, 2]]))
    hidden = forward.encode(weights, form, given, drop)
    words = forward.predict_tokens(weights, form, hidden.flatten(0, 1))
    order = forward.predict_order(weights, forward.pool(weights, hidden[:, 0]))
    expected = theirs(model, given)
    rows = torch.arange(3)[:, None].expand(3, 3)
    of_words = expected.prediction_logits[rows, given.wanted].flatten(0, 1)
    torch.testing.assert_close(words, of_words, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(order, expected.seq_relationship_logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "value"), COMPUTED + OF_NO_EFFECT)
def test_what_is_not_refused_is_computed(
    tmp_path: Path, shrinking: forward.Drop, name: str, value: object
) -> None:
    check_model(str(saved(tmp_path, **{name: value})))
    assert_computed(config_with(**{name: value}), shrinking)


@pytest.mark.parametrize(("name", "value"), OF_NO_EFFECT)
def test_what_has_no_effect_has_none(name: str, value: object) -> None:
    given = inputs(torch.zeros(3, 1, dtype=torch.long))
    found = [
        forward.classify(
            forward.weights_of(made(BertForSequenceClassification, config)),
            forward.Architecture.of(config),
            given,
            forward.no_dropout,
        )
        for config in (config_with(), config_with(**{name: value}))
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize(("name", "value"), COMPUTED + OF_NO_EFFECT)
def test_transformers_gives_features_too(tmp_path: Path, name: str, value: object) -> None:
    """Features and what a model recalls are read from its own forward pass, of any length."""
    folder = tmp_path / "saved"
    config = BertConfig(**(SMALL | {name: value}))
    BertForPreTraining(config).save_pretrained(folder)
    model = load_pretraining_model(str(folder), seed=0)
    found = model.bert(torch.ones(2, 11, dtype=torch.long), output_hidden_states=True)
    assert len(found.hidden_states) == config.num_hidden_layers + 1
    assert torch.equal(found.hidden_states[-1], found.last_hidden_state)
