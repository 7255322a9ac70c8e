"""What can be had without any language: of a task its most frequent label and its bag of words, of
a text how frequent each word is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV

from bertprune.base import paths
from bertprune.data.tasks import LABEL, TaskData, load_task
from bertprune.evidence.gathering import is_shown_as_published, published_runs
from bertprune.evidence.published import Published
from bertprune.evidence.scores import WORD_FREQUENCIES
from bertprune.experiments.runs import Run
from bertprune.experiments.studies import Study
from bertprune.protocol import rows
from bertprune.protocol.arms import BURN_IN, bert_of, seed_of
from bertprune.protocol.evaluation import PRETRAINING_EVALUATION_BATCH
from bertprune.protocol.notebook_parameters import Finetune, PrunePretrain

_STRENGTHS = np.logspace(-6, -2, 5)  # of the regularisation, to choose from
_FOLDS = 4


def majority(data: TaskData) -> float:
    """Dev accuracy of always giving the dev set's most frequent label."""
    return float(data.dev[LABEL].value_counts(normalize=True).max())


def bag_of_words(data: TaskData) -> float:
    """Dev accuracy of a logistic regression, trained by stochastic gradient descent, on which words
    each sentence has.

    The words of the two sentences of a pair count apart, and besides those that both have. The
    regularisation is chosen by cross-validation on the training set.
    """
    train, dev = _counts(data)
    regression = SGDClassifier(loss="log_loss", random_state=0)
    search = GridSearchCV(regression, {"alpha": _STRENGTHS}, cv=_FOLDS)
    search.fit(train, data.train[LABEL])
    return float(search.score(dev, data.dev[LABEL]))


def of_study(study: Study) -> pd.DataFrame:
    """Of each task of `study` both baselines, as shares, and how many `train examples` and `dev
    examples` it has: as published, where the study is shown as it was published."""
    if is_shown_as_published(study):
        return pd.DataFrame.from_dict(Published.read(study.name).tasks, orient="index")
    runs = [run.parameters for run in study.plan()]
    sources = {name: p.task_data for p in runs if isinstance(p, Finetune) for name in p.task}
    lines = {}
    for name, source in sources.items():
        data = load_task(name, source)
        lines[name] = {
            "majority": majority(data),
            "bag of words": bag_of_words(data),
            "train examples": len(data.train),
            "dev examples": len(data.dev),
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def word_frequencies(run: Run) -> float:
    """Dev loss (nats) of a burn-in that is done, if it knew no more than how frequent each word is:
    of masked words by their shares in the training documents, each counted once more since it may
    be in none, and ln 2 for the order of two sentences."""
    # They take seconds to import, and most who ask for baselines ask for those of tasks.
    from bertprune.data.corpus import prepare_corpus, split_documents
    from bertprune.data.pretraining_examples import dev_batches
    from bertprune.data.tokenizer import load_tokenizer

    p, tokenizer = run.parameters, load_tokenizer(str(run.model_folder))
    corpus = prepare_corpus(p.text, tokenizer, paths.cache_folder())
    training, dev = split_documents(corpus, p.dev_share)
    starts = corpus.sentence_starts[corpus.document_starts]
    counts = np.ones(len(tokenizer))
    for document in training:
        tokens = corpus.tokens[starts[document] : starts[document + 1]]
        counts += np.bincount(tokens, minlength=len(counts))
    batches = dev_batches(
        corpus,
        dev,
        tokenizer,
        max_length_tokens=p.max_length_tokens,
        batch_size=PRETRAINING_EVALUATION_BATCH,
        examples=p.dev_examples,
    )
    masked = np.concatenate([batch.masked_labels.numpy() for batch in batches])
    return float(np.log(2) - np.log(counts / counts.sum())[masked].mean())


def of_burn_ins(study: Study) -> rows.Rows:
    """`word_frequencies` of the burn-ins of `study` that were trained here and are not published:
    rows as `gathering.rows_of` has them."""
    elsewhere, found = published_runs(study), [rows.join([])]
    for run in study.plan():
        p = run.parameters
        trains = p.burn_in_steps > 0 and not isinstance(p, PrunePretrain)
        if trains and run not in elsewhere and run.is_whole():
            level = {"split": str(rows.Split.DEV), "metric": WORD_FREQUENCIES}
            of_run = rows.of_history(
                [level | {"step": p.burn_in_steps, "value": word_frequencies(run)}],
                arm=BURN_IN,
                sparsity=0.0,
                learning_rate=p.burn_in_learning_rate,
                seed=seed_of(p),
            )
            bert = bert_of(p.model, p.burn_in_seed)
            found.append(of_run.assign(notebook=run.notebook, run=run.id, bert=bert, own=False))
    return pd.concat(found, ignore_index=True)


def _counts(data: TaskData) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Which words stand where (examples, words), in the training and the dev set."""
    columns = data.task.columns
    texts = [text for column in columns for text in data.train[column]]
    words = CountVectorizer(binary=True, token_pattern=r"\w+|[^\w\s]").fit(texts)
    return _of(data.train, columns, words), _of(data.dev, columns, words)


def _of(frame: pd.DataFrame, columns: Sequence[str], words: CountVectorizer) -> sparse.csr_matrix:
    found = [words.transform(frame[column]) for column in columns]
    if len(found) == 2:
        found.append(found[0].multiply(found[1]))
    return sparse.hstack(found).tocsr()
