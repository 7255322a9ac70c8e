"""How often and on how much models are evaluated: what training does, and cost reckons with."""

PRETRAINING_EVALUATION_BATCH = 64
"""Sentence pairs in a batch of the dev set."""

FINETUNING_EVALUATION_BATCH = 256
"""Examples in a batch of a task's dev set, or of its training set after the last epoch."""

TRAINING_EXAMPLES_EVALUATED = 5000
"""Most examples of a training set over which loss and metrics are taken after the last epoch."""

EVALUATIONS_OF_A_TRAINING = 10
"""On the way of pre-training, the one at its end among them."""

PAIRS_COMPARED = 1500
"""Sentence pairs of the dev set on which the features of two models are compared."""
