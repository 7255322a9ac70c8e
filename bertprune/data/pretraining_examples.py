"""Pre-training examples: masked language model and next sentence (Devlin et al., 2019).

The rules are those of the original's create_pretraining_data. Everything is a pure function of
the seed and the step, so training goes on anywhere as if it had never stopped.
"""

import logging
import random
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from bertprune.base.errors import UserError
from bertprune.base.files import new_folder, open_sealed, seal
from bertprune.base.progress import bar
from bertprune.data.batches import PretrainingBatch
from bertprune.data.corpus import Corpus

logger = logging.getLogger(__name__)

FORMAT = 1  # changes when the same corpus and seed give other examples
SPECIAL_TOKENS_A_PAIR = 3  # [CLS] A [SEP] B [SEP]
SHORT_SHARE = 0.1
MASKED_SHARE = 0.15
MAX_MASKED_TOKENS = 20  # as in the original; more only where pairs may be so long
MASK_SHARE, KEEP_SHARE = 0.8, 0.1  # of the chosen tokens; the rest become a random one
NOT_MASKED = -1
DEV_SEED = 20020830  # one for all runs, so that losses of different sparsities compare
Integers = NDArray[np.int64]


def sentence_pairs(
    corpus: Corpus,
    documents: Integers,
    *,
    max_length_tokens: int = 128,
    short_share: float = SHORT_SHARE,
    seed: int,
) -> Integers:
    """Pairs (pairs, 5) int64, shuffled: a_start, a_length, b_start, b_length, is_random_next.

    Starts and lengths are in tokens of `corpus`, both lengths at least 1 and their sum at most
    `max_length_tokens` - 3. A document is cut into chunks of sentences that reach a target length:
    the longest possible or, for `short_share` of the chunks, uniform from 2 to it. (The original
    draws it once a document; a draw a chunk holds the share for documents of any length.) A random
    number of a chunk's first sentences is A. B is the rest or, for half of the chunks and those of
    one sentence, sentences from a random place of another document; the rest then begins the next
    chunk. Raises UserError unless there are two documents at least.
    """
    if len(documents) < 2:
        raise UserError(
            f"{len(documents)} document: random next sentences come from another document, so "
            "give 2 at least"
        )
    generator = np.random.default_rng(seed)
    chunks = _chunks(
        corpus,
        documents,
        max_length_tokens - SPECIAL_TOKENS_A_PAIR,
        short_share,
        random.Random(int(generator.integers(1 << 62))),
    )
    position, a_first, a_end, b_end, target, is_random = chunks.T
    starts = corpus.sentence_starts
    a_length = starts[a_end] - starts[a_first]
    random_first, random_end = _random_next(
        corpus, documents, position, target - a_length, generator
    )
    b_first = np.where(is_random, random_first, a_end)
    b_end = np.where(is_random, random_end, b_end)
    pairs = np.stack(
        [starts[a_first], a_length, starts[b_first], starts[b_end] - starts[b_first], is_random],
        axis=1,
    )
    _truncate(pairs, max_length_tokens - SPECIAL_TOKENS_A_PAIR, generator)
    return pairs[generator.permutation(len(pairs))]


def _chunks(
    corpus: Corpus,
    documents: Integers,
    max_tokens: int,
    short_share: float,
    generator: random.Random,
) -> Integers:
    """Chunks (chunks, 6): position in `documents`, A's first sentence, its end, the chunk's end,
    target length in tokens, is_random_next."""
    chunks = array("q")
    draw = generator.random
    with bar("pairing sentences", len(documents), " documents") as progress:
        for position, document in enumerate(documents.tolist()):
            first, end = corpus.document_starts[document : document + 2].tolist()
            starts = corpus.sentence_starts[first : end + 1].tolist()
            count = end - first
            here = 0
            while here < count:
                target = max_tokens
                if draw() < short_share:
                    target = 2 + int(draw() * (max_tokens - 1))
                chunk_end = bisect_left(starts, starts[here] + target, here + 1, count)
                a_end = here + 1 + int(draw() * (chunk_end - here - 1))
                is_random = a_end == chunk_end or draw() < 0.5
                chunks.extend(
                    (position, first + here, first + a_end, first + chunk_end, target, is_random)
                )
                here = a_end if is_random else chunk_end
            progress.update(1)
    return np.frombuffer(chunks, np.int64).reshape(-1, 6)


def _random_next(
    corpus: Corpus,
    documents: Integers,
    position: Integers,
    wanted_tokens: Integers,
    generator: np.random.Generator,
) -> tuple[Integers, Integers]:
    """First sentence and end of a random text of `wanted_tokens` or a little more, one sentence at
    least, from any document but `documents[position]`; it stops where its document does."""
    shift = generator.integers(1, len(documents), len(position))
    others = documents[(position + shift) % len(documents)]
    document_end = corpus.document_starts[others + 1]
    first = generator.integers(corpus.document_starts[others], document_end)
    starts = corpus.sentence_starts
    end = np.searchsorted(starts, starts[first] + np.maximum(wanted_tokens, 1))
    return first, np.minimum(end, document_end)


def _truncate(pairs: Integers, max_tokens: int, generator: np.random.Generator) -> None:
    """Cut pairs, in place, to `max_tokens`, a token at a time from the longer side's front or back.

    That is what the original does; here it is worked out at once: the longer side loses down to
    the shorter, then B and A lose in turn. How many go at the front is binomial.
    """
    a_length, b_length = pairs[:, 1].copy(), pairs[:, 3].copy()
    surplus = np.maximum(a_length + b_length - max_tokens, 0)
    from_longer = np.minimum(surplus, np.abs(a_length - b_length))
    rest = surplus - from_longer
    from_a = np.where(a_length > b_length, from_longer, 0) + rest // 2
    from_b = surplus - from_a
    for start, length, removed in ((0, 1, from_a), (2, 3, from_b)):
        pairs[:, start] += generator.binomial(removed, 0.5)
        pairs[:, length] -= removed


def mask_tokens(
    ids: NDArray[np.int32],
    maskable: NDArray[np.bool_],
    lengths: Integers,
    *,
    mask_id: int,
    vocabulary_size: int,
    masked_share: float = MASKED_SHARE,
    max_masked_tokens: int = MAX_MASKED_TOKENS,
    generator: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Masked copy of `ids` (n, L), and labels (n, L): the true token, or -1 where none is asked.

    Of each row round(masked_share * length) tokens are chosen among the `maskable` ones, at least
    1 and at most `max_masked_tokens`; as in the original, `lengths` count the special tokens. 80 %
    of them become [MASK], 10 % stay, 10 % become any token of the vocabulary.
    """
    count = np.clip(np.rint(lengths * masked_share).astype(np.int64), 1, max_masked_tokens)
    count = np.minimum(count, maskable.sum(axis=1))
    scores = np.where(maskable, generator.random(ids.shape), 2.0)
    highest = np.take_along_axis(np.sort(scores, axis=1), count[:, None] - 1, axis=1)
    chosen = scores <= highest
    fate = generator.random(ids.shape)
    replaced = np.where(
        fate < MASK_SHARE, mask_id, generator.integers(0, vocabulary_size, ids.shape)
    )
    kept = (fate >= MASK_SHARE) & (fate < MASK_SHARE + KEEP_SHARE)
    masked = np.where(chosen & ~kept, replaced, ids).astype(np.int32)
    return masked, np.where(chosen, ids, NOT_MASKED).astype(np.int32)


@dataclass(frozen=True, eq=False)
class MaskedPairs:
    """Sentence pairs as rows of numbers, padded to `L`, masked."""

    ids: NDArray[np.int32]  # (n, L)
    labels: NDArray[np.int32]  # (n, L)
    a_lengths: Integers  # (n,)
    lengths: Integers  # (n,), special tokens included
    is_random: Integers  # (n,)

    def batch(self, rows: slice, whole: slice | None = None) -> PretrainingBatch:
        """The batch of `rows`, which are a part of the batch `whole` of all processes.

        As wide as its longest example needs, rounded up to a multiple of 8.
        """
        whole = whole or rows
        longest = int(self.lengths[rows].max(initial=1))
        width = min(-(-longest // 8) * 8, self.ids.shape[1])
        columns = np.arange(width)
        labels = self.labels[rows, :width].reshape(-1)
        positions = np.flatnonzero(labels != NOT_MASKED)
        read_positions, masked_reads = reads(positions, (len(self.lengths[rows]), width))
        lengths = self.lengths[rows, None]
        inside = columns < lengths
        in_second = inside & (columns >= self.a_lengths[rows, None] + 2)
        return PretrainingBatch(
            input_ids=_tensor(self.ids[rows, :width]),
            token_type_ids=_tensor(in_second),
            attention_mask=_tensor(inside),
            read_positions=_tensor(read_positions),
            masked_reads=_tensor(masked_reads),
            masked_labels=_tensor(labels[positions]),
            next_sentence_labels=_tensor(self.is_random[rows]),
            masked_total=int(np.sum(self.labels[whole] != NOT_MASKED)),
            examples_total=len(self.lengths[whole]),
        )

    def batches(self, batch_size: int) -> list[PretrainingBatch]:
        """All rows in order, in batches of `batch_size` and one of the rest."""
        starts = range(0, len(self.lengths), batch_size)
        return [self.batch(slice(start, start + batch_size)) for start in starts]


def masked_pairs(
    corpus: Corpus,
    pairs: Integers,
    tokenizer: PreTrainedTokenizerFast,
    max_length_tokens: int,
    generator: np.random.Generator,
) -> MaskedPairs:
    """[CLS] A [SEP] B [SEP] for each of `pairs` (sentence_pairs), masked."""
    a_start, a_length, b_start, b_length, is_random = (column[:, None] for column in pairs.T)
    columns = np.arange(max_length_tokens)
    lengths = a_length + b_length + SPECIAL_TOKENS_A_PAIR
    in_a = (columns >= 1) & (columns <= a_length)
    in_b = (columns >= a_length + 2) & (columns < lengths - 1)
    source = np.where(in_a, a_start - 1, b_start - a_length - 2) + columns
    source = np.where(in_a | in_b, source, 0)
    special = np.where(columns < lengths, tokenizer.sep_token_id, tokenizer.pad_token_id)
    special[:, 0] = tokenizer.cls_token_id
    ids = np.where(in_a | in_b, corpus.tokens[source], special).astype(np.int32)
    masked, labels = mask_tokens(
        ids,
        in_a | in_b,
        lengths[:, 0],
        mask_id=int(tokenizer.mask_token_id),
        vocabulary_size=len(tokenizer),
        max_masked_tokens=max(MAX_MASKED_TOKENS, round(MASKED_SHARE * max_length_tokens)),
        generator=generator,
    )
    return MaskedPairs(masked, labels, a_length[:, 0], lengths[:, 0], is_random[:, 0])


class PretrainingExamples:
    """Endless training batches with random access.

    `steps_per_epoch` is how many batches the pairs of the first epoch fill. Each epoch has new
    pairs and new masks; their number differs by a little, so a few pairs of an epoch may be left
    out or come twice.
    """

    def __init__(
        self,
        corpus: Corpus,
        documents: Integers,
        tokenizer: PreTrainedTokenizerFast,
        *,
        max_length_tokens: int,
        batch_size: int,
        seed: int,
        cache: Path,
    ) -> None:
        self._corpus = corpus
        self._documents = documents
        self._tokenizer = tokenizer
        self._max_length_tokens = max_length_tokens
        self._batch_size = batch_size
        self._seed = seed
        self._cache = cache
        self._epoch = -1
        self._pairs = self._pairs_of(0)
        self.steps_per_epoch = max(1, len(self._pairs) // batch_size)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> PretrainingBatch:
        """Process `rank`'s part of the batch of `step`; the whole is the same for every `world`."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        pairs = self._pairs_of(epoch)
        rows = step_in_epoch * self._batch_size + np.arange(self._batch_size)
        whole = masked_pairs(
            self._corpus,
            pairs[rows % len(pairs)],
            self._tokenizer,
            self._max_length_tokens,
            np.random.default_rng([self._seed, step]),
        )
        first, end = (self._batch_size * part // world for part in (rank, rank + 1))
        return whole.batch(slice(first, end), slice(None))

    def _pairs_of(self, epoch: int) -> Integers:
        """The pairs of an epoch, from the cache or made now; the last epoch's stay open."""
        if epoch != self._epoch:
            self._pairs = _cached_pairs(
                self._corpus,
                self._documents,
                self._max_length_tokens,
                int(np.random.SeedSequence([self._seed, epoch]).generate_state(1, np.uint64)[0]),
                self._cache,
            )
            self._epoch = epoch
        return self._pairs


def _cached_pairs(
    corpus: Corpus, documents: Integers, max_length_tokens: int, seed: int, cache: Path
) -> Integers:
    chosen = xxhash.xxh3_128_hexdigest(documents.tobytes())
    identity = (FORMAT, corpus.key, chosen, max_length_tokens, SHORT_SHARE, seed)
    folder = cache / "pairs" / xxhash.xxh3_128_hexdigest(repr(identity).encode())
    if not folder.is_dir():
        pairs = sentence_pairs(corpus, documents, max_length_tokens=max_length_tokens, seed=seed)
        with new_folder(folder) as temporary:
            np.save(temporary / "pairs.npy", pairs)
            seal(temporary, {"corpus": corpus.key, "pairs": len(pairs)})
    open_sealed(folder)
    return np.asarray(np.load(folder / "pairs.npy", mmap_mode="r", allow_pickle=False))


def dev_batches(
    corpus: Corpus,
    documents: Integers,
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length_tokens: int,
    batch_size: int,
    examples: int,
) -> list[PretrainingBatch]:
    """Batches of `examples` masked pairs of the dev documents, or of all there are, which is then
    logged: the same for every model and seed."""
    pairs = sentence_pairs(corpus, documents, max_length_tokens=max_length_tokens, seed=DEV_SEED)
    if len(pairs) < examples:
        logger.warning(
            "the dev documents give %d examples, %d were asked for", len(pairs), examples
        )
    generator = np.random.default_rng(DEV_SEED)
    masked = masked_pairs(corpus, pairs[:examples], tokenizer, max_length_tokens, generator)
    return masked.batches(batch_size)


def reads(masked: Integers, shape: tuple[int, int]) -> tuple[Integers, Integers]:
    """`read_positions` and `masked_reads` of a batch of `shape` (B, L), whose masked positions
    in the flattened (B * L) are `masked` (M,), in order."""
    row, column = np.divmod(masked, shape[1])
    count = np.bincount(row, minlength=shape[0])
    place = 1 + np.arange(len(masked)) - np.repeat(np.cumsum(count) - count, count)
    positions = np.zeros((shape[0], 1 + count.max(initial=0)), np.int64)
    positions[row, place] = column
    return positions, row * positions.shape[1] + place


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))
