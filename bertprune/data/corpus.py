"""Text as numbers: every sentence's tokens, once, in memory-mapped files.

A corpus is a folder of three flat arrays,

- `tokens`: the token ids of all sentences, one after another;
- `sentence_starts`: for each sentence where in `tokens` it starts, and at last their number;
- `document_starts`: for each document its first sentence, and at last the sentences' number.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from bertprune.base.errors import UserError
from bertprune.base.files import new_folder, open_sealed, seal
from bertprune.base.progress import bar
from bertprune.data.documents import (
    HOW_TO_WRITE,
    check_text,
    documents,
    text_key,
    text_size_bytes,
)
from bertprune.data.reading.plain_text import sentences
from bertprune.data.tokenizer import plain_tokenizer, tokenizer_key

FORMAT = 1  # changes when the same text and tokenizer give another corpus
SENTENCES_A_BATCH = 8192
CACHE_BYTES_PER_TEXT_BYTE = 1.0  # measured: 0.6 at 8,000 word pieces; small vocabularies need more
FOLLOWED_SHARE = 0.2  # of the sentences; with fewer, "random" is right for nine pairs in ten
SPLIT_SEED = 20200708  # of the dev documents: one for all runs, so that their losses compare


@dataclass(frozen=True, eq=False)
class Corpus:
    """Tokenised text on disk; its arrays are read-only and memory-mapped."""

    tokens: NDArray[Any]  # (tokens,) uint16, or uint32 for large vocabularies
    sentence_starts: NDArray[np.int64]  # (sentences + 1,) in tokens
    document_starts: NDArray[np.int64]  # (documents + 1,) in sentences
    key: str
    folder: Path

    @property
    def documents_total(self) -> int:
        return len(self.document_starts) - 1


def prepare_corpus(text: Sequence[str], tokenizer: PreTrainedTokenizerFast, cache: Path) -> Corpus:
    """The corpus of `text` in `tokenizer`'s tokens: from below `cache`, or made there now.

    Raises UserError if the text cannot be read or has no word, if the disk is too full, or if the
    cached corpus is damaged.
    """
    parts = (text_key(text), tokenizer_key(tokenizer), str(FORMAT))
    key = xxhash.xxh3_128_hexdigest("-".join(parts).encode())
    folder = cache / "corpora" / key
    if not folder.is_dir():
        check_text(text)
        _check_space(folder, text)
        with new_folder(folder) as temporary:
            _write(text, tokenizer, temporary, key)
    return open_corpus(folder)


def open_corpus(folder: Path) -> Corpus:
    """A corpus prepared earlier. Raises UserError if its files are not as they were written."""
    about = open_sealed(folder)
    return Corpus(
        tokens=_map(folder / "tokens", np.dtype(about["token_type"])),
        sentence_starts=_map(folder / "sentence_starts", np.dtype(np.int64)),
        document_starts=_map(folder / "document_starts", np.dtype(np.int64)),
        key=about["key"],
        folder=folder,
    )


def split_documents(
    corpus: Corpus, dev_share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the training and of the dev documents, each ascending, without overlap.

    The choice depends on the corpus's size and `dev_share` only, never on a run's seed. Raises
    UserError if either side has fewer than two, as random next sentences need another document, or
    too few sentences that another one follows.
    """
    total = corpus.documents_total
    dev_total = round(total * dev_share)
    if min(dev_total, total - dev_total) < 2:
        raise UserError(
            f"a dev share of {dev_share} of {total} documents leaves {total - dev_total} to train "
            f"and {dev_total} to test on: both need 2 at least, so give more text or another share"
        )
    shuffled = np.random.default_rng(SPLIT_SEED).permutation(total)
    sides = np.sort(shuffled[dev_total:]), np.sort(shuffled[:dev_total])
    for side in sides:
        _check_followed(corpus, side)
    return sides


def _check_followed(corpus: Corpus, chosen: NDArray[np.int64]) -> None:
    """Raise UserError if nearly all next sentences of these documents would be random ones."""
    sentences_total = int(np.diff(corpus.document_starts)[chosen].sum())
    if sentences_total - len(chosen) < FOLLOWED_SHARE * sentences_total:
        raise UserError(
            f"{len(chosen):,} documents of the text have {sentences_total:,} sentences together: "
            f"too few have a next one to make pairs of. {HOW_TO_WRITE}"
        )


def _write(text: Sequence[str], tokenizer: PreTrainedTokenizerFast, folder: Path, key: str) -> None:
    highest_id = max(tokenizer.get_vocab().values())
    token_type = np.dtype(np.uint16 if highest_id < 1 << 16 else np.uint32)
    tokens_total = sentences_total = documents_total = 0
    with (
        (folder / "tokens").open("wb") as tokens_file,
        (folder / "sentence_starts").open("wb") as sentences_file,
        (folder / "document_starts").open("wb") as documents_file,
    ):
        for tokens, lengths, new_document in _tokenised(text, plain_tokenizer(tokenizer)):
            starts = tokens_total + np.cumsum(lengths) - lengths
            tokens_file.write(tokens.astype(token_type).tobytes())
            sentences_file.write(starts.tobytes())
            first_sentences = sentences_total + np.flatnonzero(new_document)
            documents_file.write(first_sentences.tobytes())
            tokens_total += len(tokens)
            sentences_total += len(lengths)
            documents_total += len(first_sentences)
        if not sentences_total:
            raise UserError(f"there is no word in the text {list(text)}")
        sentences_file.write(np.int64(tokens_total).tobytes())
        documents_file.write(np.int64(sentences_total).tobytes())
    about = {
        "key": key,
        "text": list(text),
        "token_type": token_type.name,
        "tokens": tokens_total,
        "sentences": sentences_total,
        "documents": documents_total,
    }
    seal(folder, about)


def _tokenised(
    text: Sequence[str], tokenizer: Tokenizer
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
    """Batches of sentences: their tokens (flat), their lengths, and which begin a document."""
    previous = -1
    numbered = _numbered_sentences(text)
    while batch := list(islice(numbered, SENTENCES_A_BATCH)):
        encoded = tokenizer.encode_batch_fast(
            [sentence for sentence, _ in batch], add_special_tokens=False
        )
        ids = [encoding.ids for encoding in encoded]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        numbers = np.fromiter((number for _, number in batch), np.int64, len(batch))
        # A sentence without tokens (a lone control character) would be an empty example.
        kept = lengths > 0
        if not kept.any():
            continue
        lengths, numbers = lengths[kept], numbers[kept]
        new_document = np.diff(numbers, prepend=previous) != 0
        previous = int(numbers[-1])
        yield np.fromiter(chain.from_iterable(ids), np.int64), lengths, new_document


def _numbered_sentences(text: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every sentence with the number of its document."""
    with bar("sentences and tokens", text_size_bytes(text), "B") as progress:
        for number, document in enumerate(documents(text)):
            for sentence in sentences(document):
                yield sentence, number
            progress.update(len(document.encode()))


def _check_space(folder: Path, text: Sequence[str]) -> None:
    """Raise UserError if the disk has no room for the corpus of `text`."""
    needed_bytes = round((text_size_bytes(text) or 0) * CACHE_BYTES_PER_TEXT_BYTE)
    there = next(parent for parent in folder.parents if parent.is_dir())
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < needed_bytes:
        raise UserError(
            f"tokenising the text {list(text)} needs about {needed_bytes / 1e6:.0f} MB in {there}, "
            f"which has {free_bytes / 1e6:.0f} MB free: free some space, then give the same "
            "command again"
        )


def _map(file: Path, kind: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray(np.memmap(file, kind, mode="r"))
