"""Tokenizers: BERT's special tokens and rules, the same in every training."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import PostProcessor, RobertaProcessing
from transformers import PreTrainedTokenizerFast

from bertprune.base.errors import UserError
from bertprune.data.documents import documents
from bertprune.data.tokenizer import (
    SPECIAL_TOKENS,
    _complete,
    load_tokenizer,
    tokenizer_key,
    vocabulary_size,
    wordpiece,
)
from bertprune.lab.text import vocabulary

from .conftest import TEXT


def test_special_tokens_come_first(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS) == [0, 1, 2, 3, 4]
    assert tokenizer.pad_token_id == 0
    assert (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id) == (2, 3, 4)
    assert len(tokenizer) <= 400


def test_pairs_are_segments(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = tokenizer("the potter", "the dyer")
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    assert tokens == ["[CLS]", "the", "potter", "[SEP]", "the", "dyer", "[SEP]"]
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]


def test_case_and_accents_do_not_matter(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("Thé POTTER") == ["the", "potter"]


def test_training_is_deterministic(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Several times: the library's own trainer is right now and then."""
    for attempt in range(3):
        again = wordpiece(TEXT, 400, tmp_path / str(attempt))
        assert again.get_vocab() == tokenizer.get_vocab()
        assert tokenizer_key(again) == tokenizer_key(tokenizer)


def test_training_is_done_once(tokenizer: PreTrainedTokenizerFast, cache: Path) -> None:
    folders = set((cache / "tokenizers").iterdir())
    assert tokenizer_key(wordpiece(TEXT, 400, cache)) == tokenizer_key(tokenizer)
    assert set((cache / "tokenizers").iterdir()) == folders
    assert all("wordpiece-400" in folder.name for folder in folders)


def test_rare_characters_stay_out(tmp_path: Path) -> None:
    """An alphabet of every character seen would leave no room for words."""
    rare = [chr(0x4E00 + number) for number in range(500)]
    text = tmp_path / "text.txt"
    text.write_text("\n".join([*["the sailor mends. the net tears"] * 50, *rare]), encoding="utf-8")
    vocabulary = wordpiece([str(text)], 1000, tmp_path / "cache").get_vocab()
    assert sum(character in vocabulary for character in rare) < 100
    assert {"the", "sailor", "##s"} <= vocabulary.keys()


def test_too_small_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a vocabulary of 20 tokens is too small"):
        wordpiece(TEXT, 20, tmp_path)
    assert not any(tmp_path.iterdir())


def test_key_ignores_the_latest_use(tokenizer: PreTrainedTokenizerFast) -> None:
    """Truncation and padding are left behind in the tokenizer by every call."""
    before = tokenizer_key(tokenizer)
    tokenizer(["the net", "the sailor mends"], truncation=True, max_length=4, padding=True)
    assert tokenizer_key(tokenizer) == before


def test_key_follows_the_vocabulary(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    assert tokenizer_key(wordpiece(TEXT, 300, tmp_path)) != tokenizer_key(tokenizer)


def test_damaged_cache(tmp_path: Path) -> None:
    wordpiece(TEXT, 300, tmp_path)
    (folder,) = (tmp_path / "tokenizers").iterdir()
    file = folder / "tokenizer.json"
    file.write_bytes(file.read_bytes().replace(b'"the"', b'"teh"'))
    with pytest.raises(UserError, match="is damaged") as raised:
        wordpiece(TEXT, 300, tmp_path)
    assert str(folder) in str(raised.value)
    shutil.rmtree(folder)
    wordpiece(TEXT, 300, tmp_path)


def test_a_lab_language_has_a_token_for_each_word() -> None:
    words = load_tokenizer("lab")
    assert words.convert_tokens_to_ids(SPECIAL_TOKENS) == [0, 1, 2, 3, 4]
    assert set(words.get_vocab()) == {*SPECIAL_TOKENS, *vocabulary(0)}
    for document in documents(["lab:0:300"]):
        tokens = words.tokenize(document)
        assert tokens == re.findall(r"\w+|[^\w\s]", document.lower())
    encoded = words("The potter", "a dyer", padding="max_length", max_length=8)
    assert words.decode(encoded["input_ids"]) == "[CLS] the potter [SEP] a dyer [SEP] [PAD]"
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1, 0]


def test_the_tokenizer_of_a_lab_language_is_that_of_its_seed() -> None:
    key = tokenizer_key(load_tokenizer("lab"))
    assert key == tokenizer_key(load_tokenizer("lab:0:300"))
    assert key != tokenizer_key(load_tokenizer("lab:1"))


def test_neither_folder_nor_hub(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="connect to the network, or give a local tokenizer"):
        load_tokenizer("google-bert/bert-base-uncased")
    with pytest.raises(UserError, match=r"no name of the Hugging Face Hub.*/missing"):
        load_tokenizer(str(tmp_path / "missing"))


def test_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer can be loaded"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for broken in ("{", "{}"):
        (tmp_path / "tokenizer.json").write_text(broken)
        with pytest.raises(UserError, match="no tokenizer can be loaded"):
            load_tokenizer(str(tmp_path))


def test_tokenizer_of_another_kind(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    other = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]", cls_token="[CLS]"
    )
    other.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="it has no sep, mask token"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (None, r"makes \['a', 'a'\] of a pair, of types \[0, 1\]; a BERT reads"),
        (
            RobertaProcessing(("[SEP]", 3), ("[CLS]", 2)),
            r"'\[SEP\]', '\[SEP\]'.* of types \[0, 0, 0, 0, 0, 0\]; a BERT reads",
        ),
    ],
)
def test_tokenizer_that_makes_no_pairs(
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    processor: PostProcessor | None,
    message: str,
) -> None:
    """With the right tokens, but not where BERT is pre-trained to find them."""
    tokenizer.save_pretrained(tmp_path)
    load_tokenizer(str(tmp_path))
    machine = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    machine.post_processor = processor
    machine.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=message):
        load_tokenizer(str(tmp_path))


def test_tokenizer_that_cannot_be_used(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "model_max_length": "512"}))
    with pytest.raises(UserError, match="encodes no text: TypeError"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("hole", [0, 1, 30])
def test_embeddings_that_tokens_need(hole: int) -> None:
    """Of a vocab.txt with a word twice, the first of its numbers is no token's."""
    words = [*SPECIAL_TOKENS, "net", "boat"]
    numbers = {word: number + hole * (word == "boat") for number, word in enumerate(words)}
    made = PreTrainedTokenizerFast(tokenizer_object=_complete(numbers), pad_token="[PAD]")
    assert vocabulary_size(made) == len(words) + hole
