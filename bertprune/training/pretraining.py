"""Pre-training, with and without pruning: masked language model and next-sentence prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import BertForPreTraining, PreTrainedTokenizerFast

from bertprune.analysis import embeddings, feature_similarity, pruned_heads, weight_statistics
from bertprune.analysis.entries import Entry, entry
from bertprune.analysis.stored_sizes import sizes
from bertprune.base import paths
from bertprune.data.corpus import prepare_corpus, split_documents
from bertprune.data.documents import text_key
from bertprune.data.pretraining_examples import (
    PretrainingBatch,
    PretrainingExamples,
    dev_batches,
)
from bertprune.data.tokenizer import KeyedTokenizer, load_tokenizer, tokenizer_key, wordpiece
from bertprune.lab.language import SOURCE, language, language_of
from bertprune.lab.probe import probe
from bertprune.model import checkpoints, forward
from bertprune.protocol import rows
from bertprune.protocol.arms import PRUNE_PRETRAIN, arm_of, seed_of
from bertprune.protocol.notebook_parameters import BurnIn, PrunePretrain
from bertprune.pruning.masks import Criterion, Masks
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.training import loop

_DEV_BATCH_SIZE = 64


class PretrainingLoss(loop.Loss):
    """MLM loss + NSP loss of a batch, each a mean, as `BertForPreTraining` has them.

    The means are over the global batch: where `processes` share it, their averaged gradients are
    those of one process with all of it.
    """

    def of(self, weights: forward.Weights, batch: PretrainingBatch, drop: forward.Drop) -> Tensor:
        logits = pretraining_logits(weights, self.form, batch, drop)
        mlm, nsp = _summed_losses(*logits, batch)
        return self.processes * (mlm / batch.masked_total + nsp / batch.examples_total)


def pretraining_logits(
    weights: forward.Weights,
    form: forward.Architecture,
    batch: PretrainingBatch,
    drop: forward.Drop = forward.no_dropout,
) -> tuple[Tensor, Tensor]:
    """MLM logits at the masked positions only (K, M, vocabulary), and NSP logits (K, B, 2).

    The vocabulary is by far the widest matrix product of BERT, and most positions have no label:
    as in the original, they are left out.
    """
    inputs = forward.Inputs(
        batch.input_ids, batch.token_type_ids, batch.attention_mask.bool(), batch.read_positions
    )
    hidden = forward.encode(weights, form, inputs, drop)
    masked = forward.at(hidden.flatten(-3, -2), batch.masked_reads)
    order = forward.predict_order(weights, forward.pool(weights, hidden[..., 0, :]))
    return forward.predict_tokens(weights, form, masked), order


@torch.inference_mode()
def evaluate(
    model: BertForPreTraining, batches: Iterable[PretrainingBatch], accelerator: Accelerator
) -> dict[str, float]:
    """Dev losses (mlm_loss, nsp_loss and their sum, loss, in nats) and accuracies, without dropout.

    Means over all masked tokens and over all pairs of the dev set, not over batches.
    """
    weights, form = forward.weights_of(model), forward.Architecture.of(model.config)
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
        examples += int(batch.examples_total)
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
    accelerator = loop.accelerator(parameters.precision)
    return _pretrain(_work(parameters, upstream, accelerator), folder, accelerator)


def prune_pretrain(
    parameters: PrunePretrain, upstream: Path, folder: Path, compared_with: Path | None = None
) -> rows.Rows:
    """Prune while pre-training goes on (the paper, section 3): a cubic ramp, then recovery.

    `upstream` is the burnt-in model's folder. The pruned model and its masks go to
    `folder`/model, its dev losses into the rows, and what became of heads, embeddings and features,
    these against the dense model in `compared_with`. Of the dense model itself the rows have how
    its weights are distributed.
    """
    accelerator = loop.accelerator(parameters.precision)
    work = _work(parameters, upstream, accelerator)
    return _pretrain(work, folder, accelerator, compared_with)


def jobs(
    parameters: BurnIn,
    upstream: Path | None,
    folder: Path,
    compared_with: Path | None,
    accelerator: Accelerator,
) -> Iterator[tuple[str, Callable[[], loop.Job]]]:
    """How to make the training that a run has ahead of it, with what it is of."""

    def make() -> loop.Job:
        return _job(_work(parameters, upstream, accelerator), folder, accelerator)

    if not (folder / "model").exists():
        yield "pre-training", make


@dataclass(frozen=True)
class _Work:
    """What a run of pre-training does."""

    parameters: BurnIn
    model: BertForPreTraining
    tokenizer: PreTrainedTokenizerFast
    optimization: loop.Optimization
    seed: int
    pruner: Pruner
    sparsity: float = 0.0


def _work(parameters: BurnIn, upstream: Path | None, accelerator: Accelerator) -> _Work:
    if isinstance(parameters, PrunePretrain):
        model = checkpoints.load_pretraining_model(str(upstream), seed=parameters.seed)
        model.to(accelerator.device)
        schedule = Schedule(
            final=parameters.sparsity,
            end_step=parameters.ramp_steps if parameters.sparsity else 0,
            frequency_steps=parameters.pruning_frequency_steps,
        )
        criterion = Criterion(parameters.method, parameters.scope, parameters.seed)
        return _Work(
            parameters,
            model,
            load_tokenizer(str(upstream)),
            loop.Optimization(
                learning_rate=parameters.pretrain_learning_rate,
                steps=parameters.pretrain_steps,
                warmup_steps=parameters.pretrain_warmup_steps,
            ),
            # The first batches of burn-in are not the first ones here, even with equal seeds.
            parameters.burn_in_seed + 1 + parameters.seed,
            Pruner.following(model, schedule, criterion),
            parameters.sparsity,
        )
    tokenizer = _tokenizer(parameters)
    if parameters.model:
        model = checkpoints.load_pretraining_model(parameters.model, seed=parameters.burn_in_seed)
        checkpoints.check_fit(model, len(tokenizer), parameters.max_length_tokens)
    else:
        shape = checkpoints.Shape(
            layers=parameters.layers,
            hidden_size=parameters.hidden_size,
            heads=parameters.heads,
            vocabulary_size=len(tokenizer),
            max_length_tokens=parameters.max_length_tokens,
            dropout=parameters.dropout,
            initializer_range=parameters.initializer_range,
        )
        model = checkpoints.fresh_model(
            shape, padding_id=tokenizer.pad_token_id, seed=parameters.burn_in_seed
        )
    model.to(accelerator.device)
    return _Work(
        parameters,
        model,
        tokenizer,
        loop.Optimization(
            learning_rate=parameters.burn_in_learning_rate,
            steps=parameters.burn_in_steps,
            warmup_steps=parameters.burn_in_warmup_steps,
        ),
        parameters.burn_in_seed,
        Pruner.following(model, Schedule(final=0.0), Criterion()),
    )


def _job(work: _Work, folder: Path, accelerator: Accelerator) -> loop.Job:
    parameters, model = work.parameters, work.model
    dev = _dev(parameters, work.tokenizer)

    def evaluated(step: int) -> loop.History:
        metrics = evaluate(model, dev, accelerator)
        return [
            {"step": step, "split": "dev", "metric": name, "value": value}
            for name, value in metrics.items()
        ]

    variant = loop.Variant(
        PretrainingLoss(model, accelerator.num_processes),
        _short_pairs_first(work),
        work.optimization,
        work.seed,
        work.pruner,
        evaluated,
    )
    what = f"{parameters.notebook} at sparsity {work.sparsity:g}"
    return loop.Job(variant, folder, what, _curve_points(work.optimization.steps))


def _short_pairs_first(work: _Work) -> Callable[[int, int, int], PretrainingBatch]:
    """The training batches of a run: where burn-in begins with short pairs, so many more of them a
    step that tokens are as many.

    BERT's own pre-training was on short sequences for the first nine tenths of its steps (Devlin et
    al., 2019, appendix A.2). Attention finds out sooner where to look if there is less to look at.
    """
    parameters, long = work.parameters, _batches_of(work)
    steps = parameters.burn_in_short_steps
    if parameters.notebook != "burn_in" or steps == 0:
        return long
    short = _batches_of(work, parameters.max_length_tokens // parameters.burn_in_short_tokens)

    def batch(step: int, rank: int, world: int) -> PretrainingBatch:
        return short(step, rank, world) if step < steps else long(step - steps, rank, world)

    return batch


def _batches_of(work: _Work, shorter: int = 1) -> Callable[[int, int, int], PretrainingBatch]:
    """Batches of pairs that are `shorter` times as short, and as many times more."""
    parameters = work.parameters
    return _batches(
        parameters.text,
        text_key(parameters.text),
        KeyedTokenizer(tokenizer_key(work.tokenizer), work.tokenizer),
        parameters.dev_share,
        parameters.max_length_tokens // shorter,
        parameters.pretrain_batch_size * shorter,
        work.seed,
    )


@lru_cache(maxsize=4)
def _batches(
    text: tuple[str, ...],
    content: str,
    tokenizer: KeyedTokenizer,
    dev_share: float,
    max_length_tokens: int,
    batch_size: int,
    seed: int,
) -> Callable[[int, int, int], PretrainingBatch]:
    """The training batches, one object for all runs that have the same; `content` is the text's
    key."""
    corpus = prepare_corpus(text, tokenizer.tokenizer, paths.cache_folder())
    documents, _ = split_documents(corpus, dev_share)
    return PretrainingExamples(
        corpus,
        documents,
        tokenizer.tokenizer,
        max_length_tokens=max_length_tokens,
        batch_size=batch_size,
        seed=seed,
        cache=paths.cache_folder(),
    ).batch


def _dev(parameters: BurnIn, tokenizer: PreTrainedTokenizerFast) -> list[PretrainingBatch]:
    """The batches of the dev set."""
    corpus = prepare_corpus(parameters.text, tokenizer, paths.cache_folder())
    _, documents = split_documents(corpus, parameters.dev_share)
    return list(
        dev_batches(
            corpus,
            documents,
            tokenizer,
            max_length_tokens=parameters.max_length_tokens,
            batch_size=_DEV_BATCH_SIZE,
            examples=parameters.dev_examples,
        )
    )


def _pretrain(
    work: _Work, folder: Path, accelerator: Accelerator, compared_with: Path | None = None
) -> rows.Rows:
    parameters, model, pruner = work.parameters, work.model, work.pruner
    arm = arm_of(parameters)
    job = _job(work, folder, accelerator)
    history = loop.do(job, accelerator).history
    steps = work.optimization.steps
    if steps == 0 and job.variant.evaluate is not None:
        # Nothing trains, so the one mask update of one-shot pruning is all there is to do.
        pruner.before_step(0)
        history = job.variant.evaluate(0)
    pruner.check(work.sparsity)
    found = _probed(model, work.tokenizer, parameters)
    if arm == PRUNE_PRETRAIN and work.sparsity == 0:
        found += _of_weights(model)
    if arm == PRUNE_PRETRAIN:
        found += sizes(model, pruner.masks)
    if compared_with is not None:
        dense = checkpoints.load_pretraining_model(str(compared_with), seed=0).to(
            accelerator.device
        )
        dev = _dev(parameters, work.tokenizer)
        found += feature_similarity.similarity(model, dense, dev)
        found += pruned_heads.pruned_shares(pruner.masks, heads=model.config.num_attention_heads)
        found += _of_embeddings(pruner.masks, work.tokenizer)
    history = history + [{"step": steps, **entry} for entry in found]
    if accelerator.is_main_process:
        checkpoints.save_pretrained(model, work.tokenizer, pruner.masks, folder / "model")
    return rows.of_pretraining(
        history,
        arm=arm,
        sparsity=work.sparsity,
        learning_rate=work.optimization.learning_rate,
        seed=seed_of(parameters),
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
        *weight_statistics.statistics(matrices),
        *weight_statistics.histograms(matrices),
        *weight_statistics.memory(model),
        *embeddings.magnitudes(matrices[WORD_EMBEDDINGS]),
    ]


def _of_embeddings(masks: Masks, tokenizer: PreTrainedTokenizerFast) -> list[Entry]:
    """Which of the word embeddings are pruned."""
    mask = masks[WORD_EMBEDDINGS]
    return [
        *embeddings.pruned_by_dimension(mask),
        *embeddings.pruned_by_subword_length(mask, tokenizer),
    ]


def _curve_points(steps: int, points: int = 10) -> frozenset[int]:
    """Steps after which the dev set is evaluated: the last one, and some on the way."""
    return frozenset(round(steps * point / points) for point in range(1, points + 1)) - {0}


def _summed_losses(
    mlm_logits: Tensor, nsp_logits: Tensor, batch: PretrainingBatch
) -> tuple[Tensor, Tensor]:
    return (
        forward.summed_cross_entropy(mlm_logits, batch.masked_labels),
        forward.summed_cross_entropy(nsp_logits, batch.next_sentence_labels),
    )


def _tokenizer(parameters: BurnIn) -> PreTrainedTokenizerFast:
    if named := parameters.tokenizer or parameters.model:
        return load_tokenizer(named)
    if (seed := language_of(parameters.text)) is not None:
        return load_tokenizer(f"{SOURCE}:{seed}")
    return wordpiece(parameters.text, parameters.vocabulary_size, paths.cache_folder())
