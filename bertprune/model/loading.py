"""BERT models: fresh ones, pre-trained ones, and pruned ones with their masks beside them."""

import copy
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerBase,
)
from transformers.activations import ACT2FN

from bertprune.base.errors import UserError, full_disk_is_user_error
from bertprune.base.files import check_readable
from bertprune.model.model_folder import CONFIG_FILE, config_of, folder_of, local_folder
from bertprune.model.shape import Shape
from bertprune.pruning import storage
from bertprune.pruning.masks import Masks
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.storage import SPARSE_FILE, load_sparse

MASKS_FILE = "masks.safetensors"
DENSE_FILE = "model.safetensors"
CARD_FILE = "README.md"
CURVE_FILE = "training.csv"
"""Rows of how a model was pre-trained, which `bertprune ship` puts beside it."""

# Loading and saving take a moment here; bars for them would bury those of the training.
transformers.logging.disable_progress_bar()


def fresh_model(shape: Shape, *, padding_id: int = 0, seed: int) -> BertForPreTraining:
    """A BERT of `shape` with random weights drawn from `seed`, with MLM and NSP heads."""
    config = BertConfig(
        vocab_size=shape.vocabulary_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden_size,
        max_position_embeddings=shape.max_length_tokens,
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
        initializer_range=shape.initializer_range,
        pad_token_id=padding_id,
    )
    torch.manual_seed(seed)
    return BertForPreTraining(config)


def check_model(name: str) -> BertConfig:
    """The config of `name`, a folder or of the Hugging Face Hub. Raises UserError unless that is a
    BERT that `model.forward` computes, and has as a folder weights that can be opened."""
    said = config_of(name)
    if (kind := said.get("model_type")) != "bert":
        raise UserError(f"{name} is not a BERT: its {CONFIG_FILE} says model_type {kind!r}")
    config = _checked_config(said, folder_of(name, [CONFIG_FILE]))
    if folder := local_folder(name):
        _weight_files(folder)
    return config


def check_fit(config: BertConfig, vocabulary_size: int, max_length_tokens: int) -> None:
    """Raise UserError unless a model of `config` has an embedding for each token and position."""
    for what, needed, there in (
        ("the tokenizer's vocabulary", vocabulary_size, config.vocab_size),
        ("max_length_tokens", max_length_tokens, config.max_position_embeddings),
    ):
        if needed > there:
            raise UserError(f"{what} is {needed}, but the model has embeddings for {there} only")


def load_pretraining_model(name: str, *, seed: int) -> BertForPreTraining:
    """The BERT `name` (folder or Hub name) with its pre-training heads, in float32.

    Heads that the checkpoint lacks are new, drawn from `seed`, and a line says so.
    """
    check_model(name)
    torch.manual_seed(seed)
    model, info = _load(BertForPreTraining, name)
    if new := sorted(info["missing_keys"]):
        print(f"{name} lacks {', '.join(new)}: they are new, with random values of seed {seed}")
    return model


def load_classifier(name: str, *, labels: int, seed: int) -> BertForSequenceClassification:
    """The BERT `name` with a classifier over its pooler, in float32: its own, or for a model that
    has none a new one drawn from `seed`."""
    check_model(name)
    torch.manual_seed(seed)
    model, _ = _load(BertForSequenceClassification, name, num_labels=labels)
    return model


def save_pretrained(
    model: transformers.PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    masks: Masks,
    folder: Path,
) -> None:
    """Save as an ordinary Hugging Face folder (dense safetensors), with the masks, if there are
    any, beside it."""
    with full_disk_is_user_error(folder):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if masks:
            kept = {name: mask.cpu().contiguous() for name, mask in masks.items()}
            save_file(kept, folder / MASKS_FILE)
        # Safetensors makes them readable for nobody else.
        for file in folder.glob("*.safetensors"):
            shutil.copymode(folder / CONFIG_FILE, file)


def save_sparse(
    model: transformers.PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    masks: Masks,
    folder: Path,
    precision: str,
) -> None:
    """Save without the zeros (see `pruning.storage`), in a folder that only bertprune loads.

    Transformers looks for the file that a config names, and where there is none quotes it: so its
    refusal says what to load the folder with.
    """
    with full_disk_is_user_error(folder):
        tokenizer.save_pretrained(folder)
        config = copy.deepcopy(model.config)
        config.save_pretrained(folder)
        is_classifier = isinstance(model, BertForSequenceClassification)
        loader = f"bertprune.load{'_classifier' if is_classifier else ''}"
        config.transformers_weights = f"{SPARSE_FILE}, which {loader} loads"
        # Its save_pretrained leaves this field out.
        config.to_json_file(folder / CONFIG_FILE)
        storage.save_sparse(model, masks, folder, precision)


def load_masks(folder: Path, model: nn.Module) -> Masks:
    """The masks saved in `folder`, checked against the prunable matrices of `model`.

    They are part of the sparse storage, where that is what the folder has. A folder without masks
    is a dense model: everything is kept.
    """
    weights = prunable_matrices(model)
    if sparse := _sparse_file(folder):
        file, masks = sparse, load_sparse(sparse)[1]
    elif (file := folder / MASKS_FILE).exists():
        masks = load_file(file)
    else:
        return {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    wrong = [name for name, w in weights.items() if getattr(masks.get(name), "shape", 0) != w.shape]
    if wrong:
        raise UserError(f"{file} does not fit the model beside it: {', '.join(wrong[:3])}")
    return masks


# What an encoder has, where a config may say something else. Fields of other versions of
# transformers, which this one reads past, are among them.
_OF_AN_ENCODER = {
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "pruned_heads": {},
    "per_layer_config": None,
    "quantization_config": None,
    # What features and recall are taken from is transformers' own result, of any length, by name.
    "return_dict": True,
    "chunk_size_feed_forward": 0,
    "output_attentions": False,
}
# Numbers of which transformers takes more than make sense here: the least and the most.
_RANGES = {
    "num_hidden_layers": (1, math.inf),
    # Those of the first and of the second sentence.
    "type_vocab_size": (2, math.inf),
    "hidden_dropout_prob": (0, 0.9),
    "attention_probs_dropout_prob": (0, 0.9),
    "classifier_dropout": (0, 0.9),
    "initializer_range": (0, 1),
    "layer_norm_eps": (0, 1),
}


def _checked_config(said: Mapping[str, Any], folder: Path) -> BertConfig:
    """The config in `folder`, whose file has `said`. Raises UserError unless a BERT can be made by
    it, and computed."""
    file = folder / CONFIG_FILE
    for name, only in _OF_AN_ENCODER.items():
        if (value := said.get(name, only)) != only:
            raise UserError(f"{file}: {name} is {value!r}, but only {only!r} can be computed here")
    try:
        config = BertConfig.from_pretrained(folder)
        with torch.device("meta"):
            BertModel(config)
    # Each wrong value ends in an error of another class.
    except Exception as error:
        raise UserError(f"{file} is no config of a BERT: {error!r}") from error
    for name, (low, high) in _RANGES.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            most = "" if high == math.inf else f" and at most {high}"
            raise UserError(f"{file}: {name} is {value}, it must be at least {low}{most}")
    if list(ACT2FN[config.hidden_act].parameters()):
        raise UserError(
            f"{file}: hidden_act {config.hidden_act!r} has weights of its own: take gelu"
        )
    return config


def _weight_files(folder: Path) -> list[Path]:
    """The files of the weights in `folder`. Raises UserError if there is none, or if the header of
    one cannot be read."""
    sparse = _sparse_file(folder)
    files = [sparse] if sparse else sorted(folder.glob("model*.safetensors"))
    if not files:
        raise UserError(f"{folder} has no weights: it needs {DENSE_FILE}, or {SPARSE_FILE}")
    for file in files:
        check_readable(file)
        try:
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise UserError(f"{file} is damaged, or no safetensors file: {error}") from error
    return files


def _load(kind: Any, name: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The model, of class `kind`, and what transformers says of loading it.

    Raises UserError if a weight is missing that is not of a head or the pooler, has another shape
    than the config says, or is not finite.
    """
    # Weights from outside are read as safetensors only: a pickle could run code.
    folder = folder_of(name, [CONFIG_FILE, "*.safetensors"])
    files = ", ".join(map(str, _weight_files(folder)))
    source: dict[str, Any] = {"pretrained_model_name_or_path": folder, **options}
    if sparse := _sparse_file(folder):
        source = {
            "pretrained_model_name_or_path": None,
            "config": BertConfig.from_pretrained(folder, transformers_weights=None, **options),
            "state_dict": load_sparse(sparse)[0],
        }
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        model, info = kind.from_pretrained(
            **source,
            dtype=torch.float32,
            use_safetensors=True,
            # The error of transformers does not name them.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"cannot load the model {name}: {error}") from error
    finally:
        transformers.logging.set_verbosity(verbosity)
    if flaw := _flaw_of_loading(files, info):
        raise UserError(f"cannot load the model {name}: {flaw}")
    if any(weight.startswith("bert.encoder.layer.") for weight in info["unexpected_keys"]):
        layers = model.config.num_hidden_layers
        print(f"{name} has more than the {layers} layers of its {CONFIG_FILE}: they are left out")
    for weight, values in model.named_parameters():
        if not bool(torch.isfinite(values).all()):
            raise UserError(f"cannot load the model {name}: a value of {weight} is not finite")
    # Where its masks are to be found.
    model.name_or_path = str(folder)
    return model, info


def _flaw_of_loading(files: str, info: dict[str, Any]) -> str:
    """What of the BERT, but for its pooler, did not come from `files`; empty if all did."""
    if mismatched := sorted(info["mismatched_keys"]):
        weight, found, asked = mismatched[0]
        return (
            f"{weight} has the shape {tuple(found)} in {files}, but {tuple(asked)} by the "
            f"{CONFIG_FILE} beside it, or the number of labels"
        )
    missing = [
        weight
        for weight in sorted(info["missing_keys"])
        if weight.startswith("bert.") and not weight.startswith("bert.pooler.")
    ]
    if missing:
        # Heads are often not asked for, which says nothing about the rest.
        others = sorted(name for name in info["unexpected_keys"] if not name.startswith("cls."))
        instead = f"; {others[0]} in it has no place there" if others else ""
        return (
            f"{files} lacks {len(missing)} weights of the BERT that the {CONFIG_FILE} beside it "
            f"describes: {', '.join(missing[:3])}{', ...' if missing[3:] else ''}{instead}"
        )
    return ""


def _sparse_file(folder: Path) -> Path | None:
    """The file of a model in sparse storage, or None for one in dense.

    Raises UserError if the folder has both, as one of them must be of another model.
    """
    file = folder / SPARSE_FILE
    if not file.exists():
        return None
    if (folder / DENSE_FILE).exists():
        raise UserError(f"{folder} has both {SPARSE_FILE} and {DENSE_FILE}: delete one of them")
    return file
