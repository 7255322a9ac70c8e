"""Both sides have the same examples, of the lengths that the page says."""

import numpy as np
import torch

from bertprune.data.batches import PretrainingBatch
from bertprune.speed.made_up_inputs import (
    DEV_QUANTILES,
    IGNORED,
    TRAIN_QUANTILES,
    Pairs,
    Phrases,
    padded,
)


def test_the_rival_has_our_pairs(batch: PretrainingBatch) -> None:
    examples = padded(batch)
    labels = torch.stack([one["labels"] for one in examples])
    ids = torch.stack([one["input_ids"] for one in examples])
    inside = torch.stack([one["attention_mask"] for one in examples]).bool()
    assert ids.shape == (4, 128)
    assert ids[inside].tolist() == batch.input_ids[batch.attention_mask.bool()].tolist()
    assert labels[labels != IGNORED].tolist() == batch.masked_labels.tolist()
    assert not (labels[~inside] != IGNORED).any()


def test_narrow_batches_are_padded(pairs: Pairs) -> None:
    """A label stays at its token where the batch becomes wider."""
    batch = pairs.examples.batch(1)
    examples = padded(batch, length_tokens=160)
    width = batch.input_ids.shape[1]
    for row, example in enumerate(examples):
        assert example["input_ids"].tolist() == batch.input_ids[row].tolist() + [0] * (160 - width)
        places = (example["labels"] != IGNORED).nonzero().flatten() + row * width
        mine = batch.masked_positions[batch.masked_positions // width == row]
        assert places.tolist() == mine.tolist()


def test_the_made_up_text_is_mostly_full(pairs: Pairs) -> None:
    lengths = torch.cat([pairs.examples.batch(step).attention_mask.sum(1) for step in range(50)])
    assert 105 < lengths.float().mean() <= 128
    assert lengths.max() == 128


def test_phrases_have_the_lengths_of_sst2() -> None:
    phrases = Phrases(train=2_000)
    for examples, quantiles, mean in (
        (phrases.train, TRAIN_QUANTILES, 13.5),
        (phrases.dev, DEV_QUANTILES, 25.6),
    ):
        found = np.quantile(examples.lengths, np.linspace(0, 1, len(quantiles)))
        assert np.abs(found - quantiles)[:-1].max() <= 1  # the longest is rare
        assert abs(examples.lengths.mean() - mean) < 0.3
    assert len(phrases.dev) == 872


def test_the_rival_has_our_phrases() -> None:
    phrases = Phrases(train=40, dev=10)
    ours = phrases.train.batch(np.arange(40))
    theirs = phrases.of_rival("train", padded=False)
    assert [one["input_ids"] for one in theirs] == [
        ids[: sum(inside)]
        for ids, inside in zip(ours.input_ids.tolist(), ours.attention_mask.tolist(), strict=True)
    ]
    assert [one["label"] for one in theirs] == ours.labels.tolist()
    assert {len(one["input_ids"]) for one in phrases.of_rival("train", padded=True)} == {128}
