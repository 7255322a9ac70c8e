"""What a run can say of the paper's claims alone."""

import pandas as pd

from bertprune.evidence.claims import run_checks
from bertprune.protocol import rows
from bertprune.protocol.rows import Rows

from ...made_up import study


def test_global_sparsity_is_counted_over_all_matrices() -> None:
    matrices = pd.DataFrame({"weights": [100, 100], "pruned": [90, 10]}, index=["a", "b"])
    assert run_checks.is_exactly_sparse(matrices, 0.5, "global").holds
    assert not run_checks.is_exactly_sparse(matrices, 0.5, "matrix").holds


def test_claims_of_a_run() -> None:
    found = study(tasks=("sst2",))

    def run(arm: str, sparsity: float, task: str) -> Rows:
        return found[(found.arm == arm) & (found.sparsity == sparsity) & (found.task == task)]

    dense = run("prune_pretrain", 0.0, rows.PRETRAINING)
    sparse = run("prune_pretrain", 0.9, rows.PRETRAINING)
    assert run_checks.recovers(dense, dense).holds
    assert not run_checks.recovers(dense, sparse).holds
    assert run_checks.learns(dense, 1000).holds
    assert not run_checks.learns(dense, 2).holds
    tuned = run("prune_after_finetune", 0.9, "sst2")
    assert run_checks.keeps_accuracy(tuned, tuned).holds
    assert not run_checks.keeps_accuracy(run("prune_pretrain", 0.0, "sst2"), tuned).holds
    assert run_checks.fits_training_set(tuned).holds
    assert run_checks.beats_majority(tuned, {"sst2": pd.Series([0, 0, 1])}).holds
    assert not run_checks.beats_majority(tuned, {"sst2": pd.Series([0] * 9 + [1])}).holds
