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


def test_what_a_run_says() -> None:
    found = study(tasks=("sst2",))

    def run(arm: str, sparsity: float, task: str) -> Rows:
        return found[(found.arm == arm) & (found.sparsity == sparsity) & (found.task == task)]

    dense = run("prune_pretrain", 0.0, rows.PRETRAINING)
    sparse = run("prune_pretrain", 0.9, rows.PRETRAINING)
    assert run_checks.recovered(dense, sparse, 0.9) == (
        "Dev loss 3.000 before pruning, 3.900 after it (+0.900)."
    )
    assert "before training on, with nothing pruned" in run_checks.recovered(dense, dense, 0.0)
    assert "ln 1000 + ln 2 = 7.601" in run_checks.learned(dense, 1000)
    tuned = run("prune_after_finetune", 0.9, "sst2")
    before = run_checks.before_and_after(run("prune_pretrain", 0.0, "sst2"), tuned)
    assert before == "sst2: before 0.901, after 0.739 (-0.162)."
    assert run_checks.on_training_set(tuned) == "sst2: accuracy 0.789 in training, 0.739 on dev."
    labels = {"sst2": pd.Series([0] * 75 + [1] * 25)}
    assert run_checks.beside_majority(tuned, labels) == (
        "sst2: dev accuracy 0.739 ± 0.044 (100 examples), most frequent label 0.750."
    )
