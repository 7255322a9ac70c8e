"""What is timed is given made-up text and phrases, since only their lengths matter here."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
import pandas as pd
from torch.nn.functional import pad
from transformers import BertForSequenceClassification, BertTokenizer, PreTrainedTokenizerFast

from bertprune.data.batches import PretrainingBatch
from bertprune.data.corpus import Corpus
from bertprune.data.glue import TASKS
from bertprune.data.pretraining_examples import PretrainingExamples
from bertprune.data.task_examples import TaskExamples
from bertprune.data.tasks import LABEL, load_task
from bertprune.data.tokenizer import SPECIAL_TOKENS, wordpiece
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape

VOCABULARY = 30_522  # BERT's
MAX_LENGTH_TOKENS = 128
IGNORED = -100  # the label of a position that a loss leaves out, by the custom of PyTorch
DOCUMENTS, SENTENCES, LONGEST_SENTENCE = 400, 100, 49

# Evenly spaced quantiles of the lengths of SST-2's phrases, special tokens included, in a WordPiece
# of 30,522 tokens trained on Wikipedia. Means: 13.5 (train, 67,349 phrases), 25.6 (dev, 872).
TRAIN_QUANTILES = (
    *(3, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 10),
    *(10, 11, 11, 12, 13, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 25, 28, 30, 34, 39, 70),
)
DEV_QUANTILES = (
    *(4, 10, 12, 14, 16, 17, 19, 21, 22, 23, 25, 26, 27, 29, 30, 33, 35, 38, 40, 45, 56),
)
DEV_PHRASES = 872

SMALL = Shape(layers=2, hidden_size=128, heads=2, vocabulary_size=VOCABULARY)
MEDIUM = Shape(layers=4, hidden_size=256, heads=4, vocabulary_size=VOCABULARY)
MINILM = Shape(layers=6, hidden_size=384, heads=12, vocabulary_size=VOCABULARY)
BASE = Shape(layers=12, hidden_size=768, heads=12, vocabulary_size=VOCABULARY)

Example = dict[str, Any]


@cache
def tokenizer(vocabulary_size: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A BERT tokenizer whose words are the special tokens, w5, w6, and so on."""
    words = [*SPECIAL_TOKENS, *(f"w{n}" for n in range(len(SPECIAL_TOKENS), vocabulary_size))]
    return BertTokenizer(vocab={word: n for n, word in enumerate(words)})


def corpus(vocabulary_size: int, folder: Path) -> Corpus:
    """A made-up text. Sentences have 1 to 49 tokens, documents 100 sentences, so that most pairs
    are full; nothing of it is in `folder` yet."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, LONGEST_SENTENCE + 1, DOCUMENTS * SENTENCES)
    return Corpus(
        tokens=generator.integers(len(SPECIAL_TOKENS), vocabulary_size, lengths.sum()),
        sentence_starts=np.concatenate([[0], np.cumsum(lengths)]),
        document_starts=np.arange(DOCUMENTS + 1) * SENTENCES,
        key=f"made up of {vocabulary_size} tokens",
        folder=folder,
    )


def pairs(
    text: Corpus,
    tokenizer: PreTrainedTokenizerFast,
    batch_size: int,
    max_length_tokens: int,
    folder: Path,
) -> PretrainingExamples:
    """Masked sentence pairs of all of `text`; `folder` is their cache."""
    return PretrainingExamples(
        text,
        np.arange(text.documents_total),
        tokenizer,
        max_length_tokens=max_length_tokens,
        batch_size=batch_size,
        seed=0,
        cache=folder,
    )


class Pairs:
    """Pairs of the made-up text: ours as we give them, the rival's masked before."""

    def __init__(self, batch_size: int, vocabulary_size: int = VOCABULARY) -> None:
        folder = Path(mkdtemp())
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        text, words = corpus(vocabulary_size, folder), tokenizer(vocabulary_size)
        self.examples = pairs(text, words, batch_size, MAX_LENGTH_TOKENS, folder)

    def of_rival(self, steps: int) -> list[Example]:
        """The examples of the first `steps` batches, in their order."""
        return [example for step in range(steps) for example in padded(self.examples.batch(step))]


def padded(batch: PretrainingBatch, length_tokens: int = MAX_LENGTH_TOKENS) -> list[Example]:
    """The examples of `batch` as `BertForPreTraining` takes them: padded, with a label at each
    position, which most positions are without."""
    size, width = batch.input_ids.shape
    labels = batch.input_ids.new_full((size * width,), IGNORED)
    labels[batch.masked_positions] = batch.masked_labels
    columns = {
        "input_ids": (batch.input_ids, 0),
        "token_type_ids": (batch.token_type_ids, 0),
        "attention_mask": (batch.attention_mask, 0),
        "labels": (labels.view(size, width), IGNORED),
    }
    wide = {
        name: pad(values, (0, length_tokens - width), value=padding)
        for name, (values, padding) in columns.items()
    }
    wide["next_sentence_label"] = batch.next_sentence_labels
    return [{name: values[row] for name, values in wide.items()} for row in range(size)]


class Phrases:
    """SST-2, or as many made-up phrases of its lengths, for both sides."""

    def __init__(self, train: int, dev: int = DEV_PHRASES, task_data: str = "") -> None:
        self.task = TASKS["sst2"]
        if task_data:
            data = load_task("sst2", task_data)
            self._train, self._dev = data.train.sample(train, random_state=0), data.dev
            self.tokenizer = _trained(data.train.sentence.tolist())
        else:
            self.tokenizer = tokenizer()
            self._train = phrases(train, TRAIN_QUANTILES, self.tokenizer)
            self._dev = phrases(dev, DEV_QUANTILES, self.tokenizer)
        self.train, self.dev = (
            TaskExamples(frame, self.task, self.tokenizer, MAX_LENGTH_TOKENS)
            for frame in (self._train, self._dev)
        )

    def of_rival(self, split: str, *, padded: bool) -> list[Example]:
        """The examples of a split tokenised as run_glue does, `padded` to the greatest length."""
        frame = self._train if split == "train" else self._dev
        encoded = self.tokenizer(
            frame.sentence.tolist(),
            truncation=True,
            max_length=MAX_LENGTH_TOKENS,
            padding="max_length" if padded else False,
            return_token_type_ids=True,
        )
        columns = {**encoded, "label": frame[LABEL].tolist()}
        return [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]


def phrases(
    number: int, quantiles: Sequence[int], tokenizer: PreTrainedTokenizerFast
) -> pd.DataFrame:
    """Made-up phrases with labels. Of lengths in tokens, special ones included, there are as many
    between any two `quantiles` that follow each other, in any order."""
    words = np.array(sorted(word for word in tokenizer.get_vocab() if word.isalnum()))
    generator = np.random.default_rng(0)
    places = generator.permutation((np.arange(number) + 0.5) / number)
    lengths = np.rint(np.interp(places, np.linspace(0, 1, len(quantiles)), quantiles))
    sentences = [" ".join(generator.choice(words, max(1, int(n) - 2))) for n in lengths]
    return pd.DataFrame({"sentence": sentences, LABEL: generator.integers(0, 2, number)})


def classifier(shape: Shape) -> BertForSequenceClassification:
    return BertForSequenceClassification(fresh_model(shape, seed=0).config)


def _trained(phrases: Sequence[str]) -> PreTrainedTokenizerFast:
    """A WordPiece of 8,000 tokens, the study glue-tiny's size, trained on `phrases`."""
    with TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        text.mkdir()
        pd.DataFrame({"text": phrases}).to_parquet(text / "phrases.parquet")
        return wordpiece([str(text)], 8_000, Path(folder))
