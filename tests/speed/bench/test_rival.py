"""The comparison is fair: both sides train the same function, with as many weights pruned."""

import copy
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate
from transformers import BertForPreTraining

from bertprune.data.batches import PretrainingBatch
from bertprune.model.precision import BF16, FLOAT32
from bertprune.model.shape import Shape
from bertprune.pruning.masks import Criterion, pruned_entries
from bertprune.pruning.matrices import prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.speed.bench.rival import NncfPruner, TorchPruner, seconds_of_trainer_step
from bertprune.speed.bench.timing import Setting
from bertprune.speed.made_up_inputs import VOCABULARY, Pairs, Phrases, classifier, padded
from bertprune.speed.stopwatch import quiet
from bertprune.training.finetuning import ClassificationLoss
from bertprune.training.pretraining import PretrainingLoss


def test_the_same_pretraining_loss_and_gradient(
    model: BertForPreTraining, batch: PretrainingBatch
) -> None:
    other = copy.deepcopy(model)
    masks = Criterion().masks(prunable_matrices(model), 0.5)
    pruner = Pruner.holding(model, masks, Criterion())
    TorchPruner(other).hold(masks)
    ours = PretrainingLoss(model)(batch)
    theirs = other(**default_collate(padded(batch))).loss
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    ours.backward()
    theirs.backward()
    pruner.mask_gradients()
    of_ours, of_theirs = (one.bert.embeddings.word_embeddings for one in (model, other))
    assert of_ours.weight.grad is not None
    torch.testing.assert_close(
        of_ours.weight.grad, of_theirs.weight_orig.grad, rtol=1e-4, atol=1e-6
    )


def test_the_same_classification_loss() -> None:
    phrases = Phrases(train=8, dev=1)
    model = classifier(Shape(2, 16, 2, vocabulary_size=VOCABULARY, dropout=0.0))
    other = copy.deepcopy(model)
    masks = Criterion().masks(prunable_matrices(model), 0.5)
    Pruner.holding(model, masks, Criterion())
    TorchPruner(other).hold(masks)
    batch = phrases.train.batch(phrases.train.sorted_batches(8)[0])
    theirs = other(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).loss
    ours = ClassificationLoss(model)(batch)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_as_many_weights_are_pruned_all_along_the_ramp(model: BertForPreTraining) -> None:
    other = copy.deepcopy(model)
    theirs, weights = TorchPruner(other), prunable_matrices(model)
    for sparsity in (0.0, 0.2, 0.37, 0.5):
        theirs.update(sparsity)
        ours = Criterion().masks(weights, sparsity)
        assert {name: pruned_entries(mask) for name, mask in ours.items()} == {
            name: pruned_entries(mask) for name, mask in theirs.masks().items()
        }
    decoder = other.cls.predictions.decoder
    assert decoder.weight_mask is other.bert.embeddings.word_embeddings.weight_mask
    assert decoder.weight_orig is other.bert.embeddings.word_embeddings.weight_orig


@pytest.mark.parametrize("sparsity", [0.0, 0.37, 0.5])
def test_nncf_prunes_the_same_matrices_and_its_own_number(sparsity: float) -> None:
    """It prunes all that are no larger than a threshold: one where none was asked for, and more
    where weights are equal."""
    pytest.importorskip("nncf")
    model = classifier(Shape(2, 16, 2, vocabulary_size=300))
    weights = prunable_matrices(model)
    with torch.no_grad():
        for weight in weights.values():
            weight.copy_(torch.arange(weight.numel()).view_as(weight) // 4 + 1.0)
    pruner = NncfPruner(model)
    with quiet():
        pruner.update(sparsity)
    found = pruner.pruned()
    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        # Of four that are equal, all go.
        assert found[name] == (int((weight.numel() - 1) * sparsity) // 4 + 1) * 4


@pytest.mark.parametrize("precision", [BF16, FLOAT32])
def test_trainer_computes_in_the_precision_of_the_setting(
    model: BertForPreTraining, pairs: Pairs, precision: str
) -> None:
    """Whatever it computed in before."""
    computed: set[torch.dtype] = set()
    dense = model.bert.get_submodule("pooler.dense")
    dense.register_forward_hook(lambda module, given, found: computed.add(found.dtype))
    seconds_of_trainer_step(
        model,
        pairs.of_rival(2),
        setting=Setting(precision=precision),
        batch_size=4,
        steps=2,
        skip=1,
        pruner=TorchPruner(model),
    )
    assert computed == {torch.bfloat16 if precision == BF16 else torch.float32}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_trainer_follows_the_schedule(model: BertForPreTraining, pairs: Pairs) -> None:
    pruner = TorchPruner(model)
    matrix: Any = model.bert.get_submodule("pooler.dense")
    before = matrix.weight.detach().clone()
    seconds = seconds_of_trainer_step(
        model,
        pairs.of_rival(3),
        setting=Setting(),
        batch_size=4,
        steps=3,
        skip=1,
        pruner=pruner,
        schedule=Schedule(0.5, end_step=2),
        sampling="sequential",
    )
    assert seconds > 0
    assert {
        name: pruned_entries(mask) / mask.numel() for name, mask in pruner.masks().items()
    } == dict.fromkeys(pruner.masks(), 0.5)
    assert not torch.equal(matrix.weight_orig, before)
