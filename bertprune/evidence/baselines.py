"""What a task gives away without any language: its most frequent label, and its bag of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV

from bertprune.data.tasks import LABEL, TaskData, load_task
from bertprune.evidence.gathering import is_shown_as_published
from bertprune.evidence.published import Published
from bertprune.experiments.studies import Study
from bertprune.protocol.notebook_parameters import Finetune

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
