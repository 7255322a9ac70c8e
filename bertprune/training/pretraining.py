"""Pre-training, with and without pruning: masked language model and next-sentence prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import BertForPreTraining, PreTrainedTokenizerFast

from bertprune.analysis import feature_similarity, pruned_parts, weight_statistics
from bertprune.analysis.stored_sizes import sizes
from bertprune.base import paths
from bertprune.data.batches import PretrainingBatch
from bertprune.data.corpus import prepare_corpus, split_documents
from bertprune.data.documents import text_key
from bertprune.data.pretraining_examples import PretrainingExamples, dev_batches
from bertprune.data.tokenizer import (
    KeyedTokenizer,
    load_tokenizer,
    tokenizer_key,
    vocabulary_size,
    wordpiece,
)
from bertprune.lab.language import SOURCE, language, language_of
from bertprune.lab.probe import probe
from bertprune.model import forward, loading
from bertprune.model.precision import precision_of
from bertprune.model.shape import fresh_shape
from bertprune.protocol import rows
from bertprune.protocol.arms import PRUNE_PRETRAIN, arm_of, seed_of
from bertprune.protocol.evaluation import EVALUATIONS_OF_A_TRAINING, PRETRAINING_EVALUATION_BATCH
from bertprune.protocol.notebook_parameters import ADAMW, BurnIn, PrunePretrain
from bertprune.protocol.rows import Entry, Split, entry
from bertprune.pruning.masks import Criterion
from bertprune.pruning.matrices import WORD_EMBEDDINGS, prunable_matrices
from bertprune.pruning.pruner import Pruner
from bertprune.pruning.schedule import Schedule
from bertprune.training import loop, processes
from bertprune.training.variants import Ahead, Loss, Optimization, Variant

if TYPE_CHECKING:
    from bertprune.training.dispatch import Job


class PretrainingLoss(Loss):
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


def work(job: Job) -> rows.Rows:
    """Pre-train, and prune meanwhile (the paper, section 3): a cubic ramp, then recovery.

    Burn-in does not prune. It starts from the model named, or a fresh one of the given shape;
    pruning from the burnt-in model upstream. The model and its masks go to the folder, its dev
    losses into the rows, and after pruning what became of heads, embeddings and features, these
    against the dense model that it is compared with. Of the dense model itself the rows have how
    its weights are distributed.
    """
    parameters, folder = job.parameters, job.folder
    accelerator = processes.accelerator(precision_of(parameters))
    plan = _plan(job, accelerator)
    variant, steps = _variant(plan, accelerator), plan.optimization.steps
    what = f"{parameters.notebook} at sparsity {plan.sparsity:g}"
    (history,) = loop.train([variant], accelerator, folder=folder, what=what)
    if steps == 0:
        # Nothing trains, so the one mask update of one-shot pruning is all there is to do.
        plan.pruner.before_step(0)
        history = variant.evaluate(0)
    plan.pruner.check(plan.sparsity)
    found = _looked_at(plan)
    if job.compared_with is not None:
        found += _beside_dense(plan, job.compared_with, accelerator)
    if accelerator.is_main_process:
        masks = plan.pruner.masks
        loading.save_pretrained(plan.model, plan.tokenizer, masks, folder / "model")
    return rows.of_history(
        history + [{"step": steps, **entry} for entry in found],
        arm=arm_of(parameters),
        sparsity=plan.sparsity,
        learning_rate=plan.optimization.learning_rate,
        seed=seed_of(parameters),
    )


def ahead(job: Job, accelerator: Accelerator) -> Iterator[Ahead]:
    """The training that a run has ahead of it."""

    def make() -> Variant:
        return _variant(_plan(job, accelerator), accelerator)

    if not (job.folder / "model").exists():
        yield Ahead("pre-training", job.folder, make)


@dataclass(frozen=True)
class _Plan:
    """What a run of pre-training does."""

    parameters: BurnIn
    model: BertForPreTraining
    tokenizer: PreTrainedTokenizerFast
    optimization: Optimization
    seed: int
    pruner: Pruner
    sparsity: float = 0.0


def _plan(job: Job, accelerator: Accelerator) -> _Plan:
    parameters = job.parameters
    if isinstance(parameters, PrunePretrain):
        return _plan_of_pruning(parameters, str(job.upstream), accelerator)
    tokenizer = _tokenizer(parameters)
    if parameters.model:
        model = loading.load_pretraining_model(parameters.model, seed=parameters.burn_in_seed)
    else:
        model = loading.fresh_model(
            fresh_shape(parameters, vocabulary_size(tokenizer)),
            padding_id=tokenizer.pad_token_id,
            seed=parameters.burn_in_seed,
        )
    model.to(accelerator.device)
    return _Plan(
        parameters,
        model,
        tokenizer,
        Optimization(
            learning_rate=parameters.burn_in_learning_rate,
            steps=parameters.burn_in_steps,
            warmup_steps=parameters.burn_in_warmup_steps,
            decay_ends=parameters.burn_in_decay_ends_steps,
            bias_correction=parameters.optimizer == ADAMW,
        ),
        parameters.burn_in_seed,
        Pruner.following(model, Schedule(final=0.0), Criterion()),
    )


def _plan_of_pruning(parameters: PrunePretrain, start: str, accelerator: Accelerator) -> _Plan:
    model = loading.load_pretraining_model(start, seed=parameters.seed)
    model.to(accelerator.device)
    return _Plan(
        parameters,
        model,
        load_tokenizer(start),
        Optimization(
            learning_rate=parameters.pretrain_learning_rate,
            steps=parameters.pretrain_steps,
            warmup_steps=parameters.pretrain_warmup_steps,
            decay_ends=parameters.pretrain_decay_ends_steps,
            bias_correction=parameters.optimizer == ADAMW,
        ),
        # The first batches of burn-in are not the first ones here, even with equal seeds.
        parameters.burn_in_seed + 1 + parameters.seed,
        Pruner.following(model, Schedule.of(parameters), Criterion.of(parameters)),
        parameters.sparsity,
    )


def _variant(plan: _Plan, accelerator: Accelerator) -> Variant:
    model, dev = plan.model, _dev(plan.parameters, plan.tokenizer)

    def evaluated(step: int) -> rows.History:
        metrics = evaluate(model, dev, accelerator)
        return [
            {"step": step, "split": str(Split.DEV), "metric": name, "value": value}
            for name, value in metrics.items()
        ]

    return Variant(
        PretrainingLoss(model, accelerator.num_processes),
        _short_pairs_first(plan),
        plan.optimization,
        plan.seed,
        plan.pruner,
        evaluated,
        _curve_points(plan.optimization.steps),
    )


def _short_pairs_first(plan: _Plan) -> Callable[[int, int, int], PretrainingBatch]:
    """The training batches of a run: where burn-in begins with short pairs, so many more of them a
    step that tokens are as many.

    BERT's own pre-training was on short sequences for the first nine tenths of its steps (Devlin et
    al., 2019, appendix A.2). Attention finds out sooner where to look if there is less to look at.
    """
    parameters, long = plan.parameters, _batches_of(plan)
    steps = parameters.burn_in_short_steps
    if isinstance(parameters, PrunePretrain) or steps == 0:
        return long
    short = _batches_of(plan, parameters.max_length_tokens // parameters.burn_in_short_tokens)

    def batch(step: int, rank: int, world: int) -> PretrainingBatch:
        return short(step, rank, world) if step < steps else long(step - steps, rank, world)

    return batch


def _batches_of(plan: _Plan, shorter: int = 1) -> Callable[[int, int, int], PretrainingBatch]:
    """Batches of pairs that are `shorter` times as short, and as many times more."""
    parameters = plan.parameters
    return _batches(
        parameters.text,
        text_key(parameters.text),
        KeyedTokenizer(tokenizer_key(plan.tokenizer), plan.tokenizer),
        parameters.dev_share,
        parameters.max_length_tokens // shorter,
        parameters.pretrain_batch_size * shorter,
        plan.seed,
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
    return dev_batches(
        corpus,
        documents,
        tokenizer,
        max_length_tokens=parameters.max_length_tokens,
        batch_size=PRETRAINING_EVALUATION_BATCH,
        examples=parameters.dev_examples,
    )


def _looked_at(plan: _Plan) -> list[Entry]:
    """What the model recalls of the language it was trained on, where that is a lab language, and
    of the paper's models what they take on disk, and how the weights of the dense one are
    distributed."""
    parameters, model = plan.parameters, plan.model
    seed = language_of(parameters.text)
    recalled = probe(model, plan.tokenizer, language(seed)) if seed is not None else {}
    found = [entry(Split.PROBE, name, value) for name, value in recalled.items()]
    if arm_of(parameters) != PRUNE_PRETRAIN:
        return found
    if plan.sparsity == 0:
        matrices = prunable_matrices(model)
        found += weight_statistics.statistics(matrices)
        found += weight_statistics.histograms(matrices)
        found += weight_statistics.memory(model)
        found += weight_statistics.magnitudes(matrices[WORD_EMBEDDINGS])
    return found + sizes(model, plan.pruner.masks)


def _beside_dense(plan: _Plan, compared_with: Path, accelerator: Accelerator) -> list[Entry]:
    """How like its features are those of the dense model in `compared_with`, and which heads and
    word embeddings are pruned."""
    dense = loading.load_pretraining_model(str(compared_with), seed=0)
    dense.to(accelerator.device)
    masks, heads = plan.pruner.masks, plan.model.config.num_attention_heads
    return [
        *feature_similarity.similarity(plan.model, dense, _dev(plan.parameters, plan.tokenizer)),
        *pruned_parts.shares_of_heads(masks, heads=heads),
        *pruned_parts.shares_of_dimensions(masks[WORD_EMBEDDINGS]),
        *pruned_parts.shares_by_subword_length(masks[WORD_EMBEDDINGS], plan.tokenizer),
    ]


def _curve_points(steps: int, points: int = EVALUATIONS_OF_A_TRAINING) -> frozenset[int]:
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
