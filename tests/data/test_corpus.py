"""The token cache: complete, equal to tokenising by hand, and honest about damage."""

import errno
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from bertprune.base.errors import UserError
from bertprune.data import corpus as corpus_module
from bertprune.data.corpus import Corpus, open_corpus, prepare_corpus, split_documents
from bertprune.data.documents import documents
from bertprune.data.reading.plain_text import sentences
from bertprune.data.tokenizer import plain_tokenizer, wordpiece

from .conftest import TEXT, MakeCorpus


class DiskUsage(NamedTuple):
    total: int
    used: int
    free: int


def test_sentences_end_with_marks_and_paragraphs() -> None:
    cut = sentences("It rains. Dr. Bell left.\nNo end\n\n ")
    assert [sentence.strip() for sentence in cut] == ["It rains.", "Dr. Bell left.", "No end", ""]


def test_speech_is_cut_into_its_sentences() -> None:
    cut = sentences('"It rains. We stay. Do you?" He nodded. "Well," she said, "so do I."')
    assert [sentence.strip() for sentence in cut] == [
        '"It rains.',
        "We stay.",
        'Do you?"',
        "He nodded.",
        '"Well," she said, "so do I."',
    ]


@pytest.mark.parametrize(
    "document", ['"', '""', "(", "'' .", '"A. (B. C.) D."', "“Yes.” No. ‘So’. ...", "x" * 5000]
)
def test_sentences_lose_nothing(document: str) -> None:
    assert "".join(sentences(document)) == document


def test_corpus_is_what_tokenising_by_hand_gives(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast
) -> None:
    text = list(documents(TEXT))
    assert corpus.documents_total == len(text)
    for number in (0, 7, len(text) - 1):
        expected = tokenizer(sentences(text[number]), add_special_tokens=False)["input_ids"]
        first, end = corpus.document_starts[number : number + 2]
        bounds = corpus.sentence_starts[first : end + 1]
        found = [corpus.tokens[a:b].tolist() for a, b in pairwise(bounds)]
        assert found == expected


def test_corpus_is_independent_of_the_batches(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Documents that span batches, and batches that span documents."""
    monkeypatch.setattr(corpus_module, "SENTENCES_A_BATCH", 3)
    again = prepare_corpus(TEXT, tokenizer, tmp_path)
    for name in ("tokens", "sentence_starts", "document_starts"):
        np.testing.assert_array_equal(getattr(again, name), getattr(corpus, name))


def test_sentences_and_documents_without_tokens_are_left_out(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\u200b\nthe net.\n\u200b \u200b\nthe boat. the sail.\n", encoding="utf-8")
    corpus = prepare_corpus([str(text)], tokenizer, tmp_path)
    assert np.diff(corpus.sentence_starts).min() > 0
    assert np.diff(corpus.document_starts).min() > 0
    assert corpus.documents_total == 2


def test_text_without_a_word(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": "\u200b\n\u200b"}))
    with pytest.raises(UserError, match="no word"):
        prepare_corpus([str(text)], tokenizer, tmp_path / "cache")
    assert not any((tmp_path / "cache" / "corpora").iterdir())


def test_second_preparation_reads_the_cache(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerFast,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(corpus_module, "_write")
    again = prepare_corpus(TEXT, tokenizer, cache)
    assert again.key == corpus.key
    assert again.tokens.dtype == np.uint16
    assert not again.tokens.flags.writeable


def test_key_follows_text_and_tokenizer(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the net. the sail.\nthe boat.\n")
    assert prepare_corpus([str(text)], tokenizer, tmp_path).key != corpus.key
    other = wordpiece(TEXT, 300, tmp_path)
    assert prepare_corpus(TEXT, other, tmp_path).key != corpus.key


# A digit of meta.json may change without harm: one of a count that nothing reads.
DAMAGES = [
    (name, damage)
    for name in ("tokens", "sentence_starts", "document_starts", "meta.json")
    for damage in ("cut", "changed", "gone")
    if (name, damage) != ("meta.json", "changed")
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_damaged_corpus(corpus: Corpus, tmp_path: Path, name: str, damage: str) -> None:
    folder = tmp_path / "corpus"
    shutil.copytree(corpus.folder, folder)
    file = folder / name
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[:-2])
    elif damage == "changed":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    with pytest.raises(UserError, match="is damaged .*delete this folder") as raised:
        open_corpus(folder)
    assert str(folder) in str(raised.value)


def test_too_little_space_is_said_before_any_work(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(10, 9, 1))
    with pytest.raises(UserError, match="free some space"):
        prepare_corpus(TEXT, tokenizer, tmp_path)
    assert not any(tmp_path.iterdir())


def test_disk_that_fills_up_leaves_nothing_behind(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(text: Sequence[str], tokenizer: object, folder: Path, key: str) -> None:
        (folder / "tokens").write_bytes(b"begun")
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"more")

    monkeypatch.setattr(corpus_module, "_write", fill_up)
    with pytest.raises(UserError, match="no space left on the disk") as raised:
        prepare_corpus(TEXT, tokenizer, tmp_path)
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.ENOSPC
    assert not any((tmp_path / "corpora").iterdir())


def test_two_at_once_do_not_harm_each_other(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as executor:
        both = executor.map(lambda _: prepare_corpus(TEXT, tokenizer, tmp_path), range(2))
        for prepared in both:
            np.testing.assert_array_equal(prepared.tokens, corpus.tokens)
    assert len(list((tmp_path / "corpora").iterdir())) == 1


def test_documents_are_streamed_into_the_cache(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held at a time is a batch of sentences, not the text."""
    asked = 0
    written: list[int] = []

    def many(text: Sequence[str]) -> Iterator[str]:
        nonlocal asked
        for _ in range(50):
            asked += 1
            yield "the net. the sail. the boat."

    class Watched:
        def encode_batch_fast(self, batch: list[str], add_special_tokens: bool) -> object:
            written.append(asked)
            return plain_tokenizer(tokenizer).encode_batch_fast(
                batch, add_special_tokens=add_special_tokens
            )

    monkeypatch.setattr(corpus_module, "documents", many)
    monkeypatch.setattr(corpus_module, "SENTENCES_A_BATCH", 6)
    for _ in corpus_module._tokenised(TEXT, Watched()):  # type: ignore[arg-type]
        pass
    assert written == sorted(written)
    assert max(later - earlier for earlier, later in pairwise(written)) <= 3


def test_split_is_fixed_and_disjoint(corpus: Corpus) -> None:
    train, dev = split_documents(corpus, 0.1)
    assert len(dev) == round(0.1 * corpus.documents_total)
    together = np.sort(np.concatenate([train, dev]))
    np.testing.assert_array_equal(together, np.arange(corpus.documents_total))
    for first, second in zip((train, dev), split_documents(corpus, 0.1), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("dev_share", [0.0, 0.004, 0.999, 1.0])
def test_split_needs_two_documents_on_each_side(corpus: Corpus, dev_share: float) -> None:
    with pytest.raises(UserError, match="both need 2 at least"):
        split_documents(corpus, dev_share)


@pytest.mark.parametrize(
    ("sentences_a_document", "enough"), [(1, False), (1.1, False), (1.5, True)]
)
def test_documents_need_a_second_sentence(
    make_corpus: MakeCorpus, sentences_a_document: float, enough: bool
) -> None:
    """One sentence a document is what a file of sentences gives: all pairs would be random."""
    longer = round(100 * (sentences_a_document - 1))
    lengths = [[5, 5]] * longer + [[5]] * (100 - longer)
    if enough:
        assert len(split_documents(make_corpus(lengths), 0.2)[1]) == 20
    else:
        with pytest.raises(UserError, match="too few have a next one .* blank line after each"):
            split_documents(make_corpus(lengths), 0.2)
