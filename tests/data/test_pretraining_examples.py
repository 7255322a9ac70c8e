"""Pre-training examples: the protocol's rules as properties, its shares as statistics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from bertprune.base.errors import UserError
from bertprune.data import pretraining_examples as examples_module
from bertprune.data.batches import PretrainingBatch
from bertprune.data.corpus import Corpus, split_documents
from bertprune.data.pretraining_examples import (
    NOT_MASKED,
    PretrainingExamples,
    dev_batches,
    mask_tokens,
    masked_pairs,
    sentence_pairs,
)

from .conftest import MakeCorpus

Integers = NDArray[np.int64]


def random_lengths(seed: int, documents: int, longest: int = 40) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [
        generator.integers(1, longest, generator.integers(1, 60)).tolist() for _ in range(documents)
    ]


def document_of(corpus: Corpus, token: Integers) -> Integers:
    sentence = np.searchsorted(corpus.sentence_starts, token, side="right") - 1
    return np.searchsorted(corpus.document_starts, sentence, side="right") - 1


@pytest.mark.parametrize("max_length_tokens", [8, 32, 128])
@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_keep_the_rules(make_corpus: MakeCorpus, max_length_tokens: int, seed: int) -> None:
    corpus = make_corpus(random_lengths(seed, 40))
    used = np.arange(0, 40, 2)
    pairs = sentence_pairs(corpus, used, max_length_tokens=max_length_tokens, seed=seed)
    a_start, a_length, b_start, b_length, is_random = pairs.T
    assert min(a_length.min(), b_length.min()) >= 1
    assert (a_length + b_length).max() <= max_length_tokens - 3
    assert set(is_random) == {0, 1}
    a_document, b_document = (document_of(corpus, start) for start in (a_start, b_start))
    # Each side lies inside one document, and only the named documents are used.
    np.testing.assert_array_equal(a_document, document_of(corpus, a_start + a_length - 1))
    np.testing.assert_array_equal(b_document, document_of(corpus, b_start + b_length - 1))
    assert set(a_document) == set(used)
    assert set(b_document) <= set(used)
    # Random next is another document; actual next is the same one, and follows.
    np.testing.assert_array_equal(a_document != b_document, is_random == 1)
    follows = is_random == 0
    assert np.all(b_start[follows] >= (a_start + a_length)[follows])


def test_untruncated_next_follows_at_once(make_corpus: MakeCorpus) -> None:
    """Sentences of one token are never cut, so B must begin where A ends."""
    corpus = make_corpus([[1] * 500, [1] * 500])
    a_start, a_length, b_start, _, is_random = sentence_pairs(corpus, np.arange(2), seed=0).T
    follows = is_random == 0
    np.testing.assert_array_equal(b_start[follows], (a_start + a_length)[follows])


def test_every_sentence_is_used(make_corpus: MakeCorpus) -> None:
    """What random next pushes out of a chunk begins the next one: nothing is skipped."""
    corpus = make_corpus([[1] * 1000, [1] * 10])
    pairs = sentence_pairs(corpus, np.arange(2), short_share=0.0, seed=3)
    seen = np.zeros(len(corpus.tokens), bool)
    for a_start, a_length, b_start, b_length, _ in pairs:
        seen[a_start : a_start + a_length] = True
        seen[b_start : b_start + b_length] = True
    assert seen.all()


def test_half_the_next_sentences_are_random(make_corpus: MakeCorpus) -> None:
    """Chunks of many sentences, so that none is forced to be random: 5 sigma."""
    corpus = make_corpus([[5] * 4000 for _ in range(10)])
    is_random = sentence_pairs(corpus, np.arange(10), short_share=0.0, seed=0)[:, 4]
    assert abs(is_random.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(is_random))


def test_random_documents_are_uniform(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus([[5] * 2000, *([[5] * 20] * 4)])
    pairs = sentence_pairs(corpus, np.arange(5), short_share=0.0, seed=0)
    from_first = pairs[(document_of(corpus, pairs[:, 0]) == 0) & (pairs[:, 4] == 1)]
    counts = np.bincount(document_of(corpus, from_first[:, 2]), minlength=5)
    assert counts[0] == 0
    share = counts[1:] / counts.sum()
    assert np.abs(share - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / counts.sum())


def test_a_tenth_of_the_chunks_is_short(make_corpus: MakeCorpus) -> None:
    """Sentences of one token fill a target exactly, so lengths show the targets."""
    corpus = make_corpus([[1] * 30_000 for _ in range(10)])
    pairs = sentence_pairs(corpus, np.arange(10), max_length_tokens=128, seed=0)
    lengths = (pairs[:, 1] + pairs[:, 3])[pairs[:, 4] == 0]
    short = lengths < 125
    # One of the 124 short targets is the longest length itself. Few chunks end with a document.
    assert abs(short.mean() - 0.1 * 123 / 124) < 5 * np.sqrt(0.09 / len(lengths)) + 1e-3
    assert abs(lengths[short].mean() - 63.5) < 5 * 36 / np.sqrt(short.sum())


def test_first_part_is_uniform(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus([[25] * 20_000, [25] * 10])
    pairs = sentence_pairs(corpus, np.arange(2), short_share=0.0, seed=0)
    # Chunks of five sentences: A has one to four of them, each as often.
    counts = np.bincount(pairs[pairs[:, 4] == 0, 1] // 25)[1:]
    assert len(counts) == 4
    assert np.abs(counts / counts.sum() - 0.25).max() < 5 * np.sqrt(0.1875 / counts.sum())


def truncated_one_by_one(
    a: list[int], b: list[int], max_tokens: int, generator: np.random.Generator
) -> tuple[list[int], list[int]]:
    """The original's rule, token by token."""
    a, b = list(a), list(b)
    while len(a) + len(b) > max_tokens:
        longer = a if len(a) > len(b) else b
        longer.pop(0 if generator.random() < 0.5 else -1)
    return a, b


def test_truncation_is_the_original_ones() -> None:
    """Equal lengths for all pairs of lengths, and fronts cut as often as backs."""
    lengths = np.array([(a, b) for a in range(1, 40) for b in range(1, 40)])
    pairs = np.zeros((len(lengths), 5), np.int64)
    pairs[:, [1, 3]] = lengths
    pairs[:, 2] = 1000
    generator = np.random.default_rng(0)
    examples_module._truncate(pairs, 30, generator)
    for (a, b), (a_start, a_length, b_start, b_length, _) in zip(lengths, pairs, strict=True):
        kept_a, kept_b = truncated_one_by_one([*range(a)], [*range(b)], 30, generator)
        assert (a_length, b_length) == (len(kept_a), len(kept_b))
        assert 0 <= a_start <= a - a_length
        assert 0 <= b_start - 1000 <= b - b_length
    removed = lengths.sum() - pairs[:, [1, 3]].sum()
    at_front = pairs[:, 0].sum() + (pairs[:, 2] - 1000).sum()
    assert abs(at_front / removed - 0.5) < 5 * 0.5 / np.sqrt(removed)


def test_pairs_are_a_function_of_the_seed(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(random_lengths(0, 20))
    first, same, other = (sentence_pairs(corpus, np.arange(20), seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert first.tolist() != other.tolist()


def test_pairs_of_one_document(make_corpus: MakeCorpus) -> None:
    with pytest.raises(UserError, match="give 2 at least"):
        sentence_pairs(make_corpus([[3, 4], [5]]), np.array([0]), seed=0)


def masked(
    rows: int, width: int, lengths: Integers, seed: int = 0, vocabulary_size: int = 1000
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, vocabulary_size, (rows, width)).astype(np.int32)
    columns = np.arange(width)
    maskable = (columns > 0) & (columns < lengths[:, None] - 1)
    after, labels = mask_tokens(
        ids,
        maskable,
        lengths,
        mask_id=4,
        vocabulary_size=vocabulary_size,
        generator=generator,
    )
    return ids, after, labels, maskable


@pytest.mark.parametrize(
    ("length", "expected"), [(128, 19), (135, 20), (400, 20), (20, 3), (4, 1), (3, 1)]
)
def test_number_of_masked_tokens(length: int, expected: int) -> None:
    """15 %, at least 1, at most 20."""
    lengths = np.full(50, length)
    _, _, labels, _ = masked(50, length, lengths)
    np.testing.assert_array_equal((labels != NOT_MASKED).sum(axis=1), expected)


@pytest.mark.parametrize(("max_length_tokens", "most"), [(64, 10), (136, 20), (512, 77)])
def test_long_pairs_are_masked_to_the_same_share(
    make_corpus: MakeCorpus,
    tokenizer: PreTrainedTokenizerFast,
    max_length_tokens: int,
    most: int,
) -> None:
    corpus = make_corpus([[5] * 400, [5] * 400])
    pairs = sentence_pairs(corpus, np.arange(2), max_length_tokens=max_length_tokens, seed=0)
    examples = masked_pairs(corpus, pairs, tokenizer, max_length_tokens, np.random.default_rng(0))
    counts = (examples.labels != NOT_MASKED).sum(axis=1)
    np.testing.assert_array_equal(counts, np.rint(0.15 * examples.lengths).clip(min=1))
    assert counts.max() == most


def test_only_words_are_masked_and_labels_are_the_truth() -> None:
    lengths = np.random.default_rng(1).integers(5, 65, 500)
    ids, after, labels, maskable = masked(500, 64, lengths)
    chosen = labels != NOT_MASKED
    assert not np.any(chosen & ~maskable)
    np.testing.assert_array_equal(labels[chosen], ids[chosen])
    np.testing.assert_array_equal(after[~chosen], ids[~chosen])


def test_eighty_ten_ten() -> None:
    vocabulary_size = 1000
    ids, after, labels, _ = masked(20_000, 64, np.full(20_000, 64), 0, vocabulary_size)
    chosen = labels != NOT_MASKED
    total = chosen.sum()
    as_mask = np.mean(after[chosen] == 4)
    same = np.mean(after[chosen] == ids[chosen])
    # A random token is [MASK] or the true one for one in `vocabulary_size`.
    for share, expected in ((as_mask, 0.8001), (same, 0.1001)):
        assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / total)
    random_tokens = after[chosen & (after != 4) & (after != ids)]
    counts = np.bincount(random_tokens, minlength=vocabulary_size)
    assert np.all(np.delete(counts, 4) > 0)  # special tokens too: the whole vocabulary
    assert abs(random_tokens.mean() - 499.5) < 5 * 289 / np.sqrt(len(random_tokens))


def test_masked_positions_are_uniform() -> None:
    _, _, labels, _ = masked(20_000, 22, np.full(20_000, 22))
    counts = (labels != NOT_MASKED).sum(axis=0)
    assert counts[0] == counts[-1] == 0
    share = counts[1:-1] / counts.sum()
    assert np.abs(share - 0.05).max() < 5 * np.sqrt(0.05 * 0.95 / counts.sum())


def make_examples(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerFast,
    cache: Path,
    batch_size: int = 8,
    seed: int = 0,
    max_length_tokens: int = 64,
) -> PretrainingExamples:
    return PretrainingExamples(
        corpus,
        split_documents(corpus, 0.1)[0],
        tokenizer,
        max_length_tokens=max_length_tokens,
        batch_size=batch_size,
        seed=seed,
        cache=cache,
    )


def assert_equal(first: PretrainingBatch, second: PretrainingBatch) -> None:
    assert vars(first).keys() == vars(second).keys()
    for name, value in vars(first).items():
        other = getattr(second, name)
        assert torch.equal(value, other) if torch.is_tensor(value) else value == other, name


def test_batch_is_a_pair_in_berts_form(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, cache: Path
) -> None:
    batch = make_examples(corpus, tokenizer, cache).batch(0)
    rows, width = batch.input_ids.shape
    assert rows == batch.examples_total == 8
    assert width % 8 == 0
    assert width <= 64
    restored = batch.input_ids.clone()
    restored.view(-1)[batch.masked_positions] = batch.masked_labels
    assert len(batch.masked_labels) == batch.masked_total
    words = corpus.tokens.tobytes()
    size = corpus.tokens.itemsize
    for row in range(rows):
        length = int(batch.attention_mask[row].sum())
        ids = restored[row, :length].tolist()
        assert restored[row, length:].tolist() == [tokenizer.pad_token_id] * (width - length)
        assert ids[0] == tokenizer.cls_token_id
        first_sep = ids.index(tokenizer.sep_token_id)
        assert ids[-1] == tokenizer.sep_token_id
        types = [0] * (first_sep + 1) + [1] * (length - first_sep - 1) + [0] * (width - length)
        assert batch.token_type_ids[row].tolist() == types
        # Both sides are stretches of the corpus, and together one if B follows A.
        a, b = ids[1:first_sep], ids[first_sep + 1 : -1]
        for stretch in (a, b):
            found = words.find(np.array(stretch, corpus.tokens.dtype).tobytes())
            assert found >= 0
            assert found % size == 0
        masks = int(((batch.masked_positions // width) == row).sum())
        assert masks == max(1, round(0.15 * length))


def test_labels_tell_random_next(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, cache: Path
) -> None:
    """As in transformers: 0 where B follows A, 1 where it is random."""
    examples = make_examples(corpus, tokenizer, cache)
    words = corpus.tokens.astype(np.int64)
    batch = examples.batch(3)
    restored = batch.input_ids.clone()
    restored.view(-1)[batch.masked_positions] = batch.masked_labels
    joined = " " + " ".join(map(str, words)) + " "
    uncut = set()
    for row in range(8):
        ids = restored[row, : int(batch.attention_mask[row].sum())].tolist()
        sep = ids.index(tokenizer.sep_token_id)
        if len(ids) < 50:  # not cut, so A and B touch
            together = " " + " ".join(map(str, ids[1:sep] + ids[sep + 1 : -1])) + " "
            assert (together in joined) == (batch.next_sentence_labels[row] == 0)
            uncut.add(int(batch.next_sentence_labels[row]))
    assert uncut == {0, 1}


def test_random_access_equals_the_sequence(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, cache: Path, tmp_path: Path
) -> None:
    """A resumed training sees what an unbroken one sees, with or without the cache."""
    unbroken = make_examples(corpus, tokenizer, cache, batch_size=64)
    steps = range(unbroken.steps_per_epoch - 2, unbroken.steps_per_epoch + 2)
    batches = {step: unbroken.batch(step) for step in steps}
    for place in (cache, tmp_path):
        for step in reversed(steps):
            resumed = make_examples(corpus, tokenizer, place, batch_size=64)
            assert_equal(resumed.batch(step), batches[step])


def test_epochs_have_fresh_pairs_and_masks(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, cache: Path
) -> None:
    examples = make_examples(corpus, tokenizer, cache)
    first, later = (examples.batch(step).input_ids for step in (0, examples.steps_per_epoch))
    assert first.shape != later.shape or not torch.equal(first, later)
    other_seed = make_examples(corpus, tokenizer, cache, seed=1).batch(0).input_ids
    assert first.shape != other_seed.shape or not torch.equal(first, other_seed)


@pytest.mark.parametrize("world", [2, 3, 8])
def test_processes_share_a_batch(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, cache: Path, world: int
) -> None:
    examples = make_examples(corpus, tokenizer, cache)
    whole = examples.batch(5)
    parts = [examples.batch(5, rank, world) for rank in range(world)]
    assert sum(len(part.input_ids) for part in parts) == 8
    assert {part.masked_total for part in parts} == {whole.masked_total}
    assert {part.examples_total for part in parts} == {8}
    assert sum(len(part.masked_labels) for part in parts) == whole.masked_total
    labels = torch.cat([part.next_sentence_labels for part in parts])
    assert torch.equal(labels, whole.next_sentence_labels)
    row = 0
    for part in parts:
        for ids, attended in zip(part.input_ids, part.attention_mask, strict=True):
            length = int(attended.sum())
            assert torch.equal(ids[:length], whole.input_ids[row, :length])
            row += 1


def test_more_examples_than_pairs(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, cache: Path
) -> None:
    examples = make_examples(corpus, tokenizer, cache, batch_size=5000)
    assert examples.steps_per_epoch == 1
    assert examples.batch(0).examples_total == 5000


def test_damaged_pairs(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    make_examples(corpus, tokenizer, tmp_path)
    (folder,) = (tmp_path / "pairs").iterdir()
    content = bytearray((folder / "pairs.npy").read_bytes())
    content[-1] ^= 1
    (folder / "pairs.npy").write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        make_examples(corpus, tokenizer, tmp_path)


def make_dev(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerFast,
    batch_size: int = 8,
    examples: int = 50,
) -> list[PretrainingBatch]:
    return dev_batches(
        corpus,
        split_documents(corpus, 0.1)[1],
        tokenizer,
        max_length_tokens=64,
        batch_size=batch_size,
        examples=examples,
    )


def test_dev_masks_are_fixed(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
    """The same on every reading, for every run, and for every batch size."""
    dev = make_dev(corpus, tokenizer)
    assert [batch.examples_total for batch in dev] == [8] * 6 + [2]
    for first, second in zip(dev, make_dev(corpus, tokenizer), strict=True):
        assert_equal(first, second)
    labels = [
        torch.cat([batch.masked_labels for batch in make_dev(corpus, tokenizer, size)])
        for size in (8, 50)
    ]
    assert torch.equal(*labels)


def test_dev_says_when_there_are_fewer(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    dev = make_dev(corpus, tokenizer, examples=100_000)
    total = sum(int(batch.examples_total) for batch in dev)
    assert 0 < total < 100_000
    assert f"give {total} examples, 100000 were asked for" in caplog.text


def test_dev_and_training_documents_do_not_mix(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast
) -> None:
    train, dev = split_documents(corpus, 0.1)
    for used in (train, dev):
        pairs = sentence_pairs(corpus, used, seed=0)
        found = document_of(corpus, np.concatenate([pairs[:, 0], pairs[:, 2]]))
        assert set(found) <= set(used)
