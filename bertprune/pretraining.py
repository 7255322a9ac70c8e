"""Pre-training, with and without pruning: masked language model and next-sentence prediction."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import BertForPreTraining, PreTrainedTokenizerFast

from bertprune import bert, models, paths, rows, training
from bertprune.analysis import embeddings, features, heads, weights
from bertprune.analysis.entries import Entry, entry
from bertprune.analysis.sizes import sizes
from bertprune.contracts import BurnIn, PrunePretrain
from bertprune.data.corpus import Corpus, prepare_corpus, split_documents
from bertprune.data.examples import PretrainingBatch, PretrainingExamples, dev_batches
from bertprune.data.tokenizer import load_tokenizer, wordpiece
from bertprune.lab.language import SOURCE, language, language_of
from bertprune.lab.probe import probe
from bertprune.pruning.masks import Criterion, Masks
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule

_DEV_BATCH_SIZE = 64


class PretrainingLoss(training.Loss):
    """MLM loss + NSP loss of a batch, each a mean, as `BertForPreTraining` has them.

    The means are over the global batch: where `processes` share it, their averaged gradients are
    those of one process with all of it.
    """

    def of(self, weights: bert.Weights, batch: PretrainingBatch, drop: bert.Drop) -> Tensor:
        logits = pretraining_logits(weights, self.form, batch, drop)
        mlm, nsp = _summed_losses(*logits, batch)
        return self.processes * (mlm / batch.masked_total + nsp / batch.examples_total)


def pretraining_logits(
    weights: bert.Weights,
    form: bert.Architecture,
    batch: PretrainingBatch,
    drop: bert.Drop = bert.no_dropout,
) -> tuple[Tensor, Tensor]:
    """MLM logits at the masked positions only (K, M, vocabulary), and NSP logits (K, B, 2).

    The vocabulary is by far the widest matrix product of BERT, and most positions have no label:
    as in the original, they are left out.
    """
    inputs = bert.Inputs(
        batch.input_ids, batch.token_type_ids, batch.attention_mask.bool(), batch.read_positions
    )
    hidden = bert.encode(weights, form, inputs, drop)
    masked = bert.at(hidden.flatten(-3, -2), batch.masked_reads)
    order = bert.predict_order(weights, bert.pool(weights, hidden[..., 0, :]))
    return bert.predict_tokens(weights, form, masked), order


@torch.inference_mode()
def evaluate(
    model: BertForPreTraining, batches: Iterable[PretrainingBatch], accelerator: Accelerator
) -> dict[str, float]:
    """Dev losses (mlm_loss, nsp_loss and their sum, loss, in nats) and accuracies, without dropout.

    Means over all masked tokens and over all pairs of the dev set, not over batches.
    """
    weights, form = bert.weights_of(model), bert.Architecture.of(model.config)
    sums = torch.zeros(4, dtype=torch.float64)
    masked = examples = 0
    for batch in batches:
        batch = batch.to(accelerator.device)
        with accelerator.autocast():
            mlm_logits, nsp_logits = pretraining_logits(weights, form, batch)
            mlm, nsp = _summed_losses(mlm_logits, nsp_logits, batch)
        correct = (mlm_logits.argmax(-1) == batch.masked_labels).sum()
        ordered = (nsp_logits.argmax(-1) == batch.next_sentence_labels).sum()
        sums += torch.stack([mlm, nsp, correct, ordered]).cpu().double()
        masked += int(batch.masked_total)
        examples += batch.examples_total
    mlm, nsp, correct, ordered = sums.tolist()
    return {
        "loss": mlm / masked + nsp / examples,
        "mlm_loss": mlm / masked,
        "nsp_loss": nsp / examples,
        "masked_accuracy": correct / masked,
        "next_sentence_accuracy": ordered / examples,
    }


def burn_in(parameters: BurnIn, upstream: Path | None, folder: Path) -> rows.Rows:
    """Pre-train without pruning; the model goes to `folder`/model, its dev losses into the rows.

    The model is the one named, or a fresh one of the given shape. `upstream` is not used: burn-in
    is where a study begins.
    """
    accelerator = training.accelerator(parameters.precision)
    tokenizer = _tokenizer(parameters)
    if parameters.model:
        model = models.load_pretraining_model(parameters.model, seed=parameters.burn_in_seed)
        models.check_fit(model, len(tokenizer), parameters.max_length_tokens)
    else:
        shape = models.Shape(
            layers=parameters.layers,
            hidden_size=parameters.hidden_size,
            heads=parameters.heads,
            vocabulary_size=len(tokenizer),
            max_length_tokens=parameters.max_length_tokens,
            dropout=parameters.dropout,
        )
        model = models.fresh_model(
            shape, padding_id=tokenizer.pad_token_id, seed=parameters.burn_in_seed
        )
    return _pretrain(
        model.to(accelerator.device),
        tokenizer,
        parameters,
        training.Optimization(
            learning_rate=parameters.burn_in_learning_rate,
            steps=parameters.burn_in_steps,
            warmup_steps=parameters.burn_in_warmup_steps,
        ),
        accelerator=accelerator,
        seed=parameters.burn_in_seed,
        schedule=Schedule(final=0.0),
        criterion=Criterion(),
        folder=folder,
    )


def prune_pretrain(
    parameters: PrunePretrain, upstream: Path, folder: Path, compared_with: Path | None = None
) -> rows.Rows:
    """Prune while pre-training goes on (the paper, section 3): a cubic ramp, then recovery.

    `upstream` is the burnt-in model's folder. The pruned model and its masks go to
    `folder`/model, its dev losses into the rows, and what became of heads, embeddings and features,
    these against the dense model in `compared_with`. Of the dense model itself the rows have how
    its weights are distributed.
    """
    accelerator = training.accelerator(parameters.precision)
    model = models.load_pretraining_model(str(upstream), seed=parameters.seed)
    return _pretrain(
        model.to(accelerator.device),
        load_tokenizer(str(upstream)),
        parameters,
        training.Optimization(
            learning_rate=parameters.pretrain_learning_rate,
            steps=parameters.pretrain_steps,
            warmup_steps=parameters.pretrain_warmup_steps,
        ),
        accelerator=accelerator,
        # The first batches of burn-in are not the first ones here, even with equal seeds.
        seed=parameters.burn_in_seed + 1 + parameters.seed,
        schedule=Schedule(
            final=parameters.sparsity,
            end_step=parameters.ramp_steps if parameters.sparsity else 0,
            frequency_steps=parameters.pruning_frequency_steps,
        ),
        criterion=Criterion(parameters.method, parameters.scope, parameters.seed),
        folder=folder,
        compared_with=compared_with,
    )


def prepare(parameters: BurnIn, tokenizer: PreTrainedTokenizerFast) -> tuple[Corpus, list]:
    """The tokenised text of `parameters` and the batches of its dev set."""
    corpus = prepare_corpus(parameters.text, tokenizer, paths.cache_folder())
    _, dev_documents = split_documents(corpus, parameters.dev_share)
    dev = dev_batches(
        corpus,
        dev_documents,
        tokenizer,
        max_length_tokens=parameters.max_length_tokens,
        batch_size=_DEV_BATCH_SIZE,
        examples=parameters.dev_examples,
    )
    return corpus, list(dev)


def _pretrain(
    model: BertForPreTraining,
    tokenizer: PreTrainedTokenizerFast,
    parameters: BurnIn,
    optimization: training.Optimization,
    *,
    accelerator: Accelerator,
    seed: int,
    schedule: Schedule,
    criterion: Criterion,
    folder: Path,
    compared_with: Path | None = None,
) -> rows.Rows:
    corpus, dev = prepare(parameters, tokenizer)
    train_documents, _ = split_documents(corpus, parameters.dev_share)
    examples = PretrainingExamples(
        corpus,
        train_documents,
        tokenizer,
        max_length_tokens=parameters.max_length_tokens,
        batch_size=parameters.pretrain_batch_size,
        seed=seed,
        cache=paths.cache_folder(),
    )
    pruner = Pruner.following(model, schedule, criterion)

    def evaluated(step: int) -> training.History:
        metrics = evaluate(model, dev, accelerator)
        return [
            {"step": step, "split": "dev", "metric": name, "value": value}
            for name, value in metrics.items()
        ]

    trained = training.train(
        PretrainingLoss(model, accelerator.num_processes),
        examples.batch,
        optimization,
        accelerator=accelerator,
        seed=seed,
        folder=folder,
        what=f"{parameters.notebook} at sparsity {schedule.final:g}",
        pruner=pruner,
        evaluate=evaluated,
        evaluate_after=_curve_points(optimization.steps),
    )
    history = trained.history
    if optimization.steps == 0:
        # Nothing trains, so the one mask update of one-shot pruning is all there is to do.
        pruner.before_step(0)
        history = evaluated(0)
    pruner.check(schedule.final)
    found = _probed(model, tokenizer, parameters)
    if parameters.arm == "prune_pretrain" and schedule.final == 0:
        found += _of_weights(model)
    if parameters.arm == "prune_pretrain":
        found += sizes(model, pruner.masks)
    if compared_with is not None:
        dense = models.load_pretraining_model(str(compared_with), seed=0).to(accelerator.device)
        found += features.similarity(model, dense, dev)
        found += heads.pruned_shares(pruner.masks, heads=model.config.num_attention_heads)
        found += _of_embeddings(pruner.masks, tokenizer)
    history = history + [{"step": optimization.steps, **entry} for entry in found]
    if accelerator.is_main_process:
        models.save_pretrained(model, tokenizer, pruner.masks, folder / "model")
    return rows.of_pretraining(
        history,
        arm=parameters.arm,
        sparsity=schedule.final,
        learning_rate=optimization.learning_rate,
        seed=parameters.seed_of_run(),
    )


def _probed(
    model: BertForPreTraining, tokenizer: PreTrainedTokenizerFast, parameters: BurnIn
) -> list[Entry]:
    """What the model recalls of the language it was trained on, where that is a lab language."""
    seed = language_of(parameters.text)
    found = probe(model, tokenizer, language(seed)) if seed is not None else {}
    return [entry("probe", name, value) for name, value in found.items()]


def _of_weights(model: BertForPreTraining) -> list[Entry]:
    """How the weights of a dense model are distributed, and what they weigh."""
    matrices = prunable_matrices(model)
    return [
        *weights.statistics(matrices),
        *weights.histograms(matrices),
        *weights.memory(model),
        *embeddings.magnitudes(matrices[WORD_EMBEDDINGS]),
    ]


def _of_embeddings(masks: Masks, tokenizer: PreTrainedTokenizerFast) -> list[Entry]:
    """Which of the word embeddings are pruned."""
    mask = masks[WORD_EMBEDDINGS]
    return [
        *embeddings.pruned_by_dimension(mask),
        *embeddings.pruned_by_subword_length(mask, tokenizer),
    ]


def _curve_points(steps: int, points: int = 10) -> set[int]:
    """Steps after which the dev set is evaluated: the last one, and some on the way."""
    return {round(steps * point / points) for point in range(1, points + 1)} - {0}


def _summed_losses(
    mlm_logits: Tensor, nsp_logits: Tensor, batch: PretrainingBatch
) -> tuple[Tensor, Tensor]:
    return (
        bert.summed_cross_entropy(mlm_logits, batch.masked_labels),
        bert.summed_cross_entropy(nsp_logits, batch.next_sentence_labels),
    )


def _tokenizer(parameters: BurnIn) -> PreTrainedTokenizerFast:
    if named := parameters.tokenizer or parameters.model:
        return load_tokenizer(named)
    if (seed := language_of(parameters.text)) is not None:
        return load_tokenizer(f"{SOURCE}:{seed}")
    return wordpiece(parameters.text, parameters.vocabulary_size, paths.cache_folder())
