"""Facts asked of pruned BERTs: what a BERT knows, what is left of it, and how often the text says
it."""

import re

import numpy as np
import pytest
import torch

from bertprune.analysis.fact_answers import SPARSITIES, FactAnswers, ask, mentions, pruned_answers
from bertprune.base.errors import UserError
from bertprune.data.tokenizer import load_tokenizer
from bertprune.lab.language import Source, language
from bertprune.lab.probe import clozes
from bertprune.lab.text import documents
from bertprune.model.loading import load_pretraining_model
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import prunable_matrices

FACTS = clozes(language())["facts"]


def test_the_lab_bert_knows_its_facts_and_pruning_deletes_them() -> None:
    asked = ask(["lab"], language())
    shares = asked.is_right.mean(axis=(0, 2))
    assert asked.given.shape == (1, len(SPARSITIES), 1024)
    assert shares[0] > 0.98 and shares[5] < 0.8
    # By a guess it would be one in sixteen.
    assert shares[-1] < 0.15


def test_each_sparsity_is_that_of_the_weights_as_they_were() -> None:
    model, tokenizer = load_pretraining_model("lab", seed=0), load_tokenizer("lab")
    weights = prunable_matrices(model)
    expected = Criterion().masks(weights, 0.6)
    several = pruned_answers(model, tokenizer, FACTS[:40], [0.2, 0.6])
    for name, mask in expected.items():
        torch.testing.assert_close(weights[name] != 0, mask, rtol=0, atol=0)
    fresh = load_pretraining_model("lab", seed=0)
    assert (several[1] == pruned_answers(fresh, tokenizer, FACTS[:40], [0.6])[0]).all()


def test_a_fact_is_kept_until_it_is_first_missed() -> None:
    true = np.array([fact.true for fact in FACTS[:2]])
    wrong = (true + 1) % 16
    given = np.array([[true, [true[0], wrong[1]], wrong, true]])
    asked = FactAnswers(FACTS[:2], given, np.ones(2, dtype=np.int64), (0.0, 0.1, 0.2, 0.3))
    assert asked.kept.tolist() == [[2, 1]]


def test_mentions_are_documents_that_name_the_person() -> None:
    spoken = language()
    found = mentions(spoken)
    assert len(found) == len(FACTS) and found.min() > 0
    last = spoken.people[-1]
    named = [text for text in documents(Source()) if re.search(rf"\b{last}\b", text)]
    assert found[-4:].tolist() == [len(named)] * 4


def test_a_bert_of_another_text_is_not_asked() -> None:
    with pytest.raises(UserError, match="english cuts words of the lab language"):
        ask(["book/models/english"], language())
