"""A tokenizer and a corpus of the lab language, and corpora of made-up lengths."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from bertprune.data.corpus import Corpus, prepare_corpus
from bertprune.data.tokenizer import wordpiece

TEXT = ["lab:0:300"]

MakeCorpus = Callable[[Sequence[Sequence[int]]], Corpus]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tokenizer(cache: Path) -> PreTrainedTokenizerFast:
    return wordpiece(TEXT, 400, cache)


@pytest.fixture(scope="session")
def corpus(cache: Path, tokenizer: PreTrainedTokenizerFast) -> Corpus:
    return prepare_corpus(TEXT, tokenizer, cache)


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """A corpus from its sentences' lengths, document by document; token ids count up from 0."""

    def make(lengths: Sequence[Sequence[int]]) -> Corpus:
        flat = [length for document in lengths for length in document]
        return Corpus(
            tokens=np.arange(sum(flat), dtype=np.uint32),
            sentence_starts=np.cumsum([0, *flat]),
            document_starts=np.cumsum([0, *map(len, lengths)]),
            key=str(lengths),
            folder=tmp_path,
        )

    return make
