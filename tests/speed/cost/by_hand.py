"""A small study and a machine, both invented: what they come to can be worked out by hand."""

from typing import Any

from bertprune.experiments import studies
from bertprune.experiments.studies import Study
from bertprune.model.shape import Shape
from bertprune.protocol.evaluation import EVALUATIONS_OF_A_TRAINING, PRETRAINING_EVALUATION_BATCH
from bertprune.protocol.notebook_parameters import CONTRACTS
from bertprune.speed.cost import amounts_of_work as units
from bertprune.speed.cost.unit_costs import Line, Machine

STUDY = """
title: By hand
description: One arm of a small model.
parameters:
  model: prajjwal1/bert-tiny
  text: [somebody/text]
  task_data: nyu-mll/glue
  max_length_tokens: 20
  dev_examples: 640
  burn_in_steps: 100
  pretrain_batch_size: 10
  pretrain_steps: 200
  ramp_steps: 40
  pruning_frequency_steps: 10
  epochs: 2
  batch_size: 10
  learning_rates: [1e-4, 2e-4]
grid: {sparsity: [0.5], task: [cola], seed: [0]}
arms: {prune_pretrain: {}}
"""

TINY = Shape(2, 128, 1, 30_522)

INVENTED = {
    units.PRETRAINING_STEP: Line(0.5, 0.01),
    units.PRETRAINING_EVALUATION: Line(0.0, 0.001),
    units.FINETUNING_STEP: Line(0.1),
    units.FINETUNING_EVALUATION: Line(1.0),
    units.MASK_UPDATE: Line(3.0),
    units.TASK_TOKENISING: Line(0.0),
    units.TEXT: Line(0.0),
    units.PAIRING: Line(0.0),
    units.NOTEBOOK: Line(2.0),
    **{units.fixed(notebook): Line(7.0) for notebook in CONTRACTS},
}

# Steps, evaluations of 10 batches of 20 tokens each, what is done without steps.
_EVALUATION_S = PRETRAINING_EVALUATION_BATCH * 20 * 0.001
BURN_IN_S = 100 * 2.5 + EVALUATIONS_OF_A_TRAINING * 10 * _EVALUATION_S + 7
DENSE_S = 200 * 2.5 + EVALUATIONS_OF_A_TRAINING * 10 * _EVALUATION_S + 7
# Features of two models over 10 batches; updates at steps 0, 10, 20, 30, 40.
PRUNED_S = DENSE_S + 2 * 10 * _EVALUATION_S + 5 * 3
# 8,551 examples are 856 batches of 10, 5,000 are 20 of 256, 1,043 are 5; at two learning rates.
FINETUNE_S = 2 * (2 * 856 * 0.1 + (2 * 5 + 20) * 1.0 + 7)
NOTEBOOKS_S = 4 * 2.0


def machine(cores: int = 1, **options: Any) -> Machine:
    return Machine("invented", cores, {(TINY, 1): INVENTED}, **options)


def by_hand(*changes: str) -> Study:
    return studies.load("by-hand.yaml", changes)
