"""The ledger: verdicts follow from rows, and turn when the rows do."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bertprune.base.shown import Prose
from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper, scores
from bertprune.evidence.claims import CLAIMS, ON_ACCURACY, ledger
from bertprune.evidence.claims.claim import FAILS, HOLDS, OPEN
from bertprune.evidence.claims.ledger import Entry
from bertprune.evidence.paper.beside_ours import numbers
from bertprune.protocol import rows
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING, Rows

TASKS = list(PAPER_TASKS)
BY_TABLES = ["C1", "C2", "C3", "C4", "C5", "C7", "C9", "C11", "C13", "C14"]
BY_FIGURES = ["C6", "C8", "C10", "C12"]


def entries(found: Rows) -> dict[str, Entry]:
    return {entry.key: entry for entry in ledger.ledger(found)}


def entry(key: str, found: Rows) -> Entry:
    """One claim alone, with its own test."""
    claim = next(claim for claim in CLAIMS if claim.key == key)
    return ledger.entry(claim, claim.test(found))


def is_accuracy(found: Rows, arm: str) -> "pd.Series[bool]":
    return (found.arm == arm) & (found.split == "dev") & (found.metric == "accuracy")


def with_change(arm: str, change: float, where: Callable[[Rows], Any] = lambda found: True) -> Rows:
    """The paper's rows with another accuracy of one arm."""
    found = paper.rows()
    found.loc[is_accuracy(found, arm) & where(found), "value"] += change
    return found


def several(seeds: int, noise: float = 0.001, found: Rows | None = None) -> Rows:
    """The paper's rows as if of several seeds: accuracies of each with a little noise."""
    generator = np.random.default_rng(0)
    base = paper.rows() if found is None else found
    base = base[base.seed == 0]
    parts = []
    for seed in range(seeds):
        part = base.assign(seed=seed)
        accuracy = (part.split == "dev") & (part.metric == "accuracy")
        part.loc[accuracy, "value"] += generator.normal(0, noise, int(accuracy.sum()))
        parts.append(part)
    return rows.join(parts)


def made(values: Mapping[tuple[Any, ...], float], fixed: dict[str, Any], *names: str) -> Rows:
    """Rows of `values`, by the columns `names`."""
    usual = {"arm": "prune_pretrain", "task": PRETRAINING, "sparsity": 0.0, "learning_rate": 1e-3}
    usual |= {"seed": 0, "epoch": 0, "step": 0, "part": "", "position": math.nan}
    lines = [
        usual | fixed | dict(zip(names, place, strict=True)) | {"value": value}
        for place, value in values.items()
    ]
    return pd.DataFrame(lines)[list(rows.COLUMNS)].astype(rows.COLUMNS)


# The paper's own numbers.


def test_every_claim_is_in_the_ledger_once() -> None:
    assert [claim.key for claim in CLAIMS] == [f"C{n}" for n in range(1, 15)]


def test_the_papers_numbers_bear_its_claims_out() -> None:
    found = entries(paper.rows())
    assert {key: found[key].verdict for key in BY_TABLES} == dict.fromkeys(BY_TABLES, HOLDS)


def test_what_the_papers_tables_lack_cannot_be_told() -> None:
    found = entries(paper.rows())
    for key in BY_FIGURES:
        assert found[key].verdict == OPEN
        assert found[key].reason.startswith("no rows of")
        assert found[key].ours == "missing" and math.isnan(found[key].lower)
        assert "its tables have no number" in found[key].paper
    assert found["C9"].reason == "not tested: by starting position"
    assert found["C13"].reason == "not tested: near normal"


def test_the_papers_statistic_is_computed_as_ours_is() -> None:
    found = entries(paper.rows())
    assert found["C7"].paper == f"{found['C7'].ours} ({found['C7'].n})"


def test_entries_say_what_was_sampled() -> None:
    assert entry("C7", paper.rows()).n == "n = 5 tasks, one seed"
    assert entry("C7", several(3)).n == "n = 3 seeds, each a mean over 5 tasks"


def test_entries_say_what_was_sampled_where_sparsities_have_different_seeds() -> None:
    found = several(3)
    got = entry("C1", found[(found.seed == 0) | found.sparsity.isin([0.0, 0.3])])
    by_sparsity = dict(part.split(": accuracy ") for part in got.ours.split("; "))
    assert [name for name, said in by_sparsity.items() if "n = 3 seeds" in said] == ["30\u00a0%"]
    assert sum("(n = 5 tasks, one seed)" in said for said in by_sparsity.values()) == 3
    assert got.verdict == HOLDS and got.n in {f"lowest at {name}" for name in by_sparsity}


def test_bounds_are_students_over_tasks_and_over_seeds() -> None:
    def bounds(values: "pd.Series[float]") -> tuple[float, ...]:
        half = stats.sem(values) * stats.t.ppf(0.95, len(values) - 1)
        return float(values.mean() - half), float(values.mean() + half)

    for found, unit in ((paper.rows(), "task"), (several(3), "seed")):
        scored = scores.scores(found)
        scored = scored[(scored.task != scores.AVERAGE) & (scored.sparsity > 0)]
        on = ["task", "seed", "sparsity"]
        arms = {arm: of.set_index(on).accuracy for arm, of in scored.groupby("arm")}
        differences = arms["prune_after_finetune"] - arms["prune_pretrain"]
        expected = bounds(100 * differences.groupby(unit).mean())
        got = entry("C7", found)
        assert (got.lower, got.upper) == pytest.approx(expected)
        assert got.unit == "points"


def test_three_seeds_of_these_numbers_tell_the_same() -> None:
    found = entries(several(3))
    told = [key for key in BY_TABLES if key != "C9"]
    assert {key: found[key].verdict for key in told} == dict.fromkeys(told, HOLDS)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("key", "arm", "change"),
    [
        ("C2", "information_deletion", 0.03),
        ("C3", "information_deletion", 0.02),
        ("C4", "information_deletion", 0.2),
        ("C7", "prune_after_finetune", 0.05),
    ],
)
def test_what_epochs_gain_alone_is_no_gain_of_the_arm(
    key: str, arm: str, change: float, seeds: int
) -> None:
    """At sparsity 0, where nothing is pruned, the arm gains as much as elsewhere."""
    found = paper.rows() if seeds == 1 else several(seeds)
    dense = found[(found.arm == "prune_pretrain") & found.metric.isin(["accuracy"])]
    copied = dense.assign(arm=arm, value=dense.value + change * (1.02 - 0.02 * dense.sparsity))
    others = found[(found.arm != arm) | (found.metric != "accuracy")]
    got = entry(key, rows.join([others, copied]))
    assert got.verdict == OPEN and "its epochs alone" in got.ours
    if key != "C3":
        assert got.reason == "not told from what the arm's epochs gain alone"
    without = copied[copied.sparsity > 0]
    assert "alone" not in entry(key, rows.join([others, without])).ours


@pytest.mark.parametrize(("alone", "verdict"), [((0.0, 0.0, 0.0), FAILS), ((-0.1, 0.1, 0.0), OPEN)])
def test_what_epochs_gain_is_as_uncertain_as_it_is(alone: tuple[float, ...], verdict: str) -> None:
    """Two controls of one mean: a gain is told beyond that which is the same for all seeds."""
    found = several(3)
    dense = found[(found.arm == "prune_pretrain") & (found.metric == "accuracy")]
    gains = dense.seed.map(dict(enumerate(alone))).where(dense.sparsity == 0, 0.05)
    copied = dense.assign(arm="prune_after_finetune", value=dense.value + gains)
    others = found[(found.arm != "prune_after_finetune") | (found.metric != "accuracy")]
    assert entry("C7", rows.join([others, copied])).verdict == verdict
    # A control that some cells have not got tells nothing of the others.
    without = copied[(copied.seed != 2) | (copied.sparsity > 0)]
    assert entry("C7", rows.join([others, without])).verdict == OPEN


def test_two_seeds_are_too_few_however_many_tasks() -> None:
    assert entry("C11", several(2)).reason == "2 seeds are too few"


# Rows that say otherwise.


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("key", "arm", "change", "where"),
    [
        ("C1", "prune_pretrain", -0.05, lambda found: found.sparsity == 0.2),
        ("C2", "information_deletion", 0.03, lambda found: found.sparsity.between(0.4, 0.6)),
        ("C2", "information_deletion", -0.03, lambda found: found.sparsity.between(0.4, 0.6)),
        ("C3", "information_deletion", -0.2, lambda found: found.sparsity >= 0.7),
        ("C3", "information_deletion", 0.2, lambda found: found.task.isin(["sst2", "cola"])),
        ("C4", "information_deletion", 0.2, lambda found: found.sparsity > 0),
        ("C5", "information_deletion", -0.015, lambda found: found.sparsity.between(0.5, 0.6)),
        ("C7", "prune_after_finetune", 0.05, lambda found: found.sparsity > 0),
        ("C11", "random_pruning", 0.05, lambda found: True),
        ("C11", "random_pruning", 0.15, lambda found: found.sparsity == 0.5),
    ],
)
def test_altered_accuracies_refute(
    key: str, arm: str, change: float, where: Callable[[Rows], Any], seeds: int
) -> None:
    altered = with_change(arm, change, where)
    found = altered if seeds == 1 else several(seeds, found=altered)
    assert entry(key, found).verdict == FAILS


def test_a_rise_of_the_pretraining_loss_refutes_c1() -> None:
    found = paper.rows()
    loss = (found.task == PRETRAINING) & (found.metric == "loss") & (found.sparsity == 0.3)
    found.loc[loss, "value"] *= 1.1
    got = entry("C1", found)
    assert got.verdict == FAILS and "pre-training loss rises at 30" in got.reason
    missing = entry("C1", found[~loss])
    assert missing.verdict == OPEN and missing.reason.startswith("no rows of pre-training loss")


def test_a_loss_inside_the_margin_is_none_and_said() -> None:
    """Half a point, told from zero: inside the point that counts as none."""
    found = paper.rows()
    dense = found[is_accuracy(found, "prune_pretrain") & (found.sparsity == 0)]
    at = is_accuracy(found, "prune_pretrain") & (found.sparsity == 0.3)
    found.loc[at, "value"] = dense.value.to_numpy() - [0.004, 0.005, 0.006, 0.005, 0.005]
    got = entry("C1", found)
    assert got.verdict == HOLDS and "a loss inside the margin is told at 30" in got.reason


def test_without_a_loss_there_is_nothing_to_explain() -> None:
    got = entry("C2", with_change("prune_pretrain", 0.02, lambda found: found.sparsity > 0))
    assert got.verdict == OPEN and "no loss to explain" in got.reason


def test_c2_explains_the_loss_at_the_same_points() -> None:
    """All is lost at 60 %, where nobody took the masks off."""
    found = with_change("prune_pretrain", 0.02, lambda found: found.sparsity.between(0.1, 0.5))
    deleted = found.arm == "information_deletion"
    got = entry("C2", found[~deleted | (found.sparsity == 0.5)])
    assert got.verdict == OPEN and "no loss to explain" in got.reason
    assert got.ours.endswith("at 50\N{NO-BREAK SPACE}%")


def test_too_few_runs_at_one_level_do_not_refute_c11() -> None:
    found = with_change("random_pruning", 0.3, lambda found: found.sparsity == 0.5)
    few = (found.arm == "random_pruning") & (found.sparsity == 0.5)
    few &= ~found.task.isin(["mnli", "qqp"])
    assert entry("C11", found).verdict == FAILS
    assert entry("C11", found[~few]).verdict == OPEN


def test_c3_names_the_part_that_is_not_told() -> None:
    def large(found: Rows) -> Any:
        return found.task.isin(["mnli", "qqp"]) & (found.sparsity >= 0.7)

    got = entry("C3", with_change("information_deletion", -0.02, large))
    assert got.verdict == OPEN and got.reason.endswith("more on large tasks")
    lacking = paper.rows()
    lacking = lacking[~lacking.task.isin(["mnli", "qqp"])]
    got = entry("C3", lacking)
    assert got.verdict == OPEN and "of a large and of a small task" in got.reason


def test_c4_takes_the_training_loss_of_the_dense_model() -> None:
    found = paper.rows()
    train = (found.split == "train") & (found.arm == "information_deletion")
    found.loc[train, "value"] += 1
    got = entry("C4", found)
    assert got.verdict == OPEN and got.reason == "training loss not matched"
    assert got.ours.startswith("0 of 30 cells")
    as_printed = entry("C4", paper.rows()).ours
    assert as_printed.startswith("26 of 30 cells")
    # Of the cells that reach it, how far below they end.
    lower = paper.rows()
    lower.loc[train, "value"] -= 1
    gap = "training loss there {:+.2f} nats"
    by_cell = scores.training_losses(lower)
    by_cell = by_cell[(by_cell.arm == "information_deletion") & (by_cell.sparsity >= 0.4)]
    dense = scores.training_losses(lower)
    dense = dense[(dense.arm == PRUNE_PRETRAIN) & (dense.sparsity == 0)]
    both = by_cell.merge(dense, on="task", suffixes=("", "_dense"))
    below = (both["loss"] - both.loss_dense).mean()
    assert gap.format(below) in entry("C4", lower).ours and gap.format(below) not in as_printed


def test_c5_without_slopes_that_differ_is_open() -> None:
    found = paper.rows()
    deleted = is_accuracy(found, "information_deletion")
    losses = scores.pretraining_losses(found)
    loss = losses[losses.arm == "prune_pretrain"].set_index("sparsity").loss
    # Each task's points wave about its line.
    noise = 0.003 * np.cos(np.pi * np.arange(50).reshape(10, 5) + np.arange(5)).ravel()
    line = 0.9 - 0.02 * found.sparsity[deleted].map(loss)
    found.loc[deleted, "value"] = line + noise
    got = entry("C5", found)
    assert got.verdict == OPEN and got.reason == "one slope for all tasks is not ruled out"
    found.loc[deleted, "value"] = 0.9 + noise
    got = entry("C5", found)
    assert got.verdict == OPEN and "told from zero on" in got.reason
    found.loc[deleted, "value"] = 2 * 0.9 - line + noise
    assert entry("C5", found).verdict == FAILS


def test_more_movement_refutes_c9() -> None:
    def moved(by: Mapping[tuple[Any, ...], float]) -> Rows:
        fixed = {"split": "weights", "metric": "movement_mean"}
        return made(by, fixed, "task", "epoch", "part", "position")

    nowhere = ("", math.nan)
    top, low = ("starting position", 0.975), ("starting position", 0.025)
    values: dict[tuple[Any, ...], float] = {}
    for task in ("cola", "qqp", "mnli"):
        values |= {(task, 1, *nowhere): 0.025, (task, 3, *nowhere): 0.03}
        values |= {(task, 3, *top): 0.01, (task, 3, *low): 0.05}
    got = entry("C9", moved(values))
    assert got.verdict == HOLDS and got.reason == ""
    assert "83" in got.ours and "1.0\N{NO-BREAK SPACE}%" in got.ours
    assert "(3 tasks of 3 epochs or more)" in got.ours
    short = {
        (*place[:1], place[1] - 2 * (place[0] == "qqp"), *place[2:]): value
        for place, value in values.items()
        if place[:2] != ("qqp", 1)
    }
    assert "(2 tasks of 3 epochs or more)" in entry("C9", moved(short)).ours
    late = {place: 0.01 if place[1] == 1 else value for place, value in values.items()}
    assert entry("C9", moved(late)).reason == "it does not settle in one epoch"
    high = {place: 0.04 if place[3] == 0.975 else value for place, value in values.items()}
    assert entry("C9", moved(high)).reason == "high magnitudes move no less"
    more = {place: 2 * value for place, value in values.items()}
    assert entry("C9", moved(more)).reason == "moves more"
    assert entry("C9", moved(more)).verdict == FAILS
    one_task = {place: value for place, value in values.items() if place[0] == "qqp"}
    assert entry("C9", moved(one_task)).verdict == OPEN


def test_the_longer_run_of_figure_4_is_not_averaged_with_table_2() -> None:
    got = entry("C9", paper.rows())
    assert got.n == "n = 5 tasks, one seed"
    assert f"moved {paper.movement().mean_percent.mean():.1f}" in got.ours


@pytest.mark.parametrize(
    ("metric", "change", "part"),
    [
        ("weight_mean", 0.02, "mean near 0"),
        ("weight_std", 0.03, "std in range"),
        ("weight_kurtosis", 5.0, "near normal"),
    ],
)
def test_weights_that_are_otherwise_refute_c13(metric: str, change: float, part: str) -> None:
    found = paper.rows()
    std = found[found.metric == "weight_std"]
    found = rows.join([found, std.assign(metric="weight_kurtosis", value=0.1)])
    assert entry("C13", found).verdict == HOLDS and entry("C13", found).reason == ""
    found.loc[found.metric == metric, "value"] += change
    got = entry("C13", found)
    assert got.verdict == FAILS and got.reason == f"too few: {part}"


def test_matrices_without_a_mean_are_not_tested() -> None:
    found = paper.rows()
    std = (found.metric == "weight_std") & found.part.str.contains("pooler")
    mean = (found.metric == "weight_mean") & ~found.part.str.contains("pooler")
    got = entry("C13", found[std | mean])
    assert got.verdict == OPEN and got.reason.startswith("no rows of means")


# What the paper shows in figures only.


def features(by: Callable[[float], float], seeds: int) -> Rows:
    values = {
        (f"layer {layer}", sparsity, seed): 1 - by(sparsity) * (1 + 0.01 * seed) - 0.001 * layer
        for layer in range(3)
        for sparsity in (0.2, 0.4, 0.6, 0.9)
        for seed in range(seeds)
    }
    fixed = {"split": "features", "metric": "cosine_similarity"}
    return made(values, fixed, "part", "sparsity", "seed")


def test_features_that_bend_at_forty_percent() -> None:
    def bend(at: float) -> float:
        return 0.1 * at + max(at - 0.4, 0)

    got = entry("C6", features(bend, 3))
    assert got.verdict == HOLDS and got.n == "n = 3 seeds, each a mean over layers"
    slow = [(bend(0.4) * (1 + 0.01 * seed) + 0.001) / 0.4 for seed in range(3)]
    fast = [(bend(0.9) - bend(0.4)) * (1 + 0.01 * seed) / 0.5 for seed in range(3)]
    excess = np.array(fast) - 2 * np.array(slow)
    half = stats.sem(excess) * stats.t.ppf(0.95, 2)
    assert (got.lower, got.upper) == pytest.approx((excess.mean() - half, excess.mean() + half))
    assert entry("C6", features(lambda at: 0.3 * at, 3)).verdict == FAILS
    assert entry("C6", features(bend, 2)).verdict == OPEN
    below = features(bend, 3)
    assert entry("C6", below[below.sparsity < 0.5]).reason.startswith("no rows of features")


def masks(shares: Mapping[tuple[str, float, int], float]) -> Rows:
    fixed = {"arm": "prune_after_finetune", "split": "masks", "metric": "mask_difference"}
    return made(shares, fixed, "task", "sparsity", "seed")


def test_masks_that_differ_little_and_much() -> None:
    one = {(task, sparsity, 0): 0.03 for task in TASKS for sparsity in (0.5, 0.9)}
    assert entry("C8", masks(one)).verdict == HOLDS
    assert entry("C8", masks(one | {("qqp", 0.9, 0): 0.07})).verdict == FAILS
    assert entry("C8", masks({place: 0.03 for place in one if place[0] == "qqp"})).verdict == OPEN
    three = {("qqp", 0.5, seed): 0.03 + 0.001 * seed for seed in range(3)}
    assert entry("C8", masks(three)).verdict == HOLDS
    wide = {("qqp", 0.5, seed): 0.03 + 0.02 * seed for seed in range(3)}
    assert entry("C8", masks(wide)).verdict == OPEN
    much = {("qqp", 0.5, seed): 0.09 + 0.001 * seed for seed in range(3)}
    got = entry("C8", masks(three | {("cola", *place[1:]): v for place, v in much.items()}))
    assert got.verdict == FAILS and got.reason.endswith("on cola")


def longer(gains: Mapping[float, float], seeds: int = 3) -> Rows:
    values = {
        (task, seed, epochs): 0.7 + gain + 0.001 * seed * (epochs > 3)
        for task in TASKS
        for seed in range(seeds)
        for epochs, gain in gains.items()
    }
    fixed = {"arm": "epochs_before_pruning", "sparsity": 0.6, "split": "dev", "metric": "accuracy"}
    return made(values, fixed, "task", "seed", "position")


def test_training_longer_before_pruning() -> None:
    flat = {0.0: -0.3, 1.0: 0.0, 3.0: 0.0, 12.0: -0.01}
    got = entry("C10", longer(flat))
    assert got.verdict == HOLDS and "after 12 epochs less after 3" in got.ours
    # The noise of the seeds is a tenth of a point on average, on each task and on all.
    assert "; by task " in got.ours and got.ours.count("-0.90") == 1 + len(TASKS)
    assert entry("C10", longer(flat | {12.0: 0.02})).verdict == FAILS
    nearest = entry("C10", longer({0.0: 0.0, 2.0: 0.0, 6.0: -0.02}))
    assert "after 6 epochs less after 2" in nearest.ours
    alone = entry("C10", longer({0.0: 0.0, 3.0: 0.0}))
    assert alone.verdict == OPEN and alone.reason.startswith("no rows")
    same = entry("C10", longer({3.0: 0.0, 12.0: 0.0}, seeds=1))
    assert same.verdict == OPEN and "learned nothing" in same.reason


def test_that_arm_is_in_no_other_claim() -> None:
    both = rows.join([paper.rows(), longer({3.0: 0.3, 12.0: 0.4}, seeds=1)])
    before, after = entries(paper.rows()), entries(both)
    assert {k: v for k, v in after.items() if k != "C10"} == {
        k: v for k, v in before.items() if k != "C10"
    }


def test_heads_that_are_pruned_much_more() -> None:
    def heads(most: float) -> Rows:
        values = {
            (f"layer 0 head {head}", sparsity, seed): sparsity + most * (head == 1) + 0.01 * seed
            for head in range(4)
            for sparsity in (0.5, 0.7)
            for seed in (-1, 0, 1)
        }
        fixed = {"split": "heads", "metric": "pruned_share"}
        return made(values, fixed, "part", "sparsity", "seed")

    assert entry("C12", heads(0.1)).verdict == HOLDS
    got = entry("C12", heads(0.2))
    assert got.verdict == FAILS and "layer 0 head 1" in got.ours
    half = 0.01 * math.sqrt(1 / 3) * stats.t.ppf(0.95, 2)
    assert (got.lower, got.upper) == pytest.approx((20 - 100 * half, 20 + 100 * half))


def test_c14_is_about_bert_base_whatever_the_study() -> None:
    values = {("word embeddings",): 800.0, ("attention",): 200.0}
    fixed = {"split": "weights", "metric": "memory_bytes"}
    got = entry("C14", made(values, fixed, "part"))
    assert got.verdict == HOLDS and "this study's model 80.0" in got.ours
    assert "BERT-Base's shape 21.3" in got.ours


# What is missing, and what is too little.


def test_rows_that_lack_everything_tell_nothing() -> None:
    found = entries(paper.rows().iloc[:0])
    assert {entry.verdict for key, entry in found.items() if key != "C14"} == {OPEN}
    assert all(entry.reason for entry in found.values())


@pytest.mark.parametrize(
    ("arm", "keys"),
    [
        ("information_deletion", {"C2", "C3", "C4", "C5"}),
        ("prune_after_finetune", {"C7"}),
        ("random_pruning", {"C11"}),
    ],
)
def test_a_missing_arm_is_named_and_leaves_the_others(arm: str, keys: set[str]) -> None:
    found = paper.rows()
    before, after = entries(found), entries(found[found.arm != arm])
    for key, one in after.items():
        if key in keys:
            assert one.verdict == OPEN and one.reason.startswith("no rows of")
        else:
            assert one == before[key] or key in BY_FIGURES


def test_two_tasks_and_one_or_two_seeds_tell_nothing() -> None:
    keys = ["C1", "C2", "C3", "C4", "C5", "C7", "C9", "C11"]
    for seeds in (1, 2):
        found = several(seeds)
        few = entries(found[found.task.isin(["mnli", "cola", PRETRAINING])])
        for key in keys:
            assert few[key].verdict == OPEN, key
            assert few[key].reason.startswith(("fewer than 3 seeds and fewer", "2 seeds are too"))


def test_places_that_a_seed_lacks_do_not_count() -> None:
    """A seed with one easy point does not shift the mean of the others."""
    found = several(3)
    lacking = found[~((found.seed == 2) & (found.sparsity > 0.15) & (found.task != PRETRAINING))]
    got = entry("C7", lacking)
    assert "at 10\N{NO-BREAK SPACE}%;" in got.ours
    assert got.n == "n = 3 seeds, each a mean over 5 tasks"


def test_models_that_learned_nothing_bear_nothing_out() -> None:
    found = paper.rows()
    found.loc[(found.split == "dev") & (found.metric == "accuracy"), "value"] = 0.5
    got = entries(found)
    for key in ("C1", "C7"):
        assert got[key].verdict == OPEN and "learned nothing" in got[key].reason
    assert HOLDS not in {got[key].verdict for key in ("C2", "C3", "C4", "C5", "C11")}


def test_seeds_without_a_point_in_common_are_said_to_be_so() -> None:
    found = several(3)
    apart = dict(enumerate(["mnli", "qqp", "cola"]))
    found = found[(found.task == PRETRAINING) | (found.task == found.seed.map(apart))]
    got = entry("C7", found)
    assert got.verdict == OPEN and got.reason == "the seeds have no point in common"
    assert got.n == "3 seeds"
    assert "nan" not in ledger.text(ledger.ledger(found))


def test_one_value_has_no_bounds() -> None:
    got = entry("C10", longer({3.0: 0.0, 12.0: 0.02}, seeds=1).query("task == 'qqp'"))
    assert got.ours.startswith("+2.00 points after 12")
    assert math.isnan(got.lower) and math.isnan(got.upper)
    assert "inf" not in ledger.text([got]) + ledger._shown(got)


def test_an_accuracy_that_is_no_number_is_none() -> None:
    found = paper.rows()
    at = is_accuracy(found, "random_pruning") & (found.sparsity == 0.5)
    without = found[~at]
    found.loc[at, "value"] = math.nan
    assert entries(found) == entries(without)


def test_the_readers_own_runs_do_not_count() -> None:
    found = paper.rows()
    own = found[is_accuracy(found, "random_pruning")].assign(value=1.0, epoch=99, own=True)
    both = pd.concat([found.assign(own=False), own], ignore_index=True)
    assert entries(both) == entries(found)
    tables = numbers(both), numbers(found)
    for name in tables[0]:
        pd.testing.assert_frame_equal(tables[0][name], tables[1][name])


def test_claims_on_some_tasks_alone() -> None:
    found = several(3)
    shown = ledger.on_tasks(found, ["mnli", "qqp"])
    assert isinstance(shown, Prose)
    table = shown.table
    assert list(table.index) == [claim.key for claim in ON_ACCURACY]
    assert table.columns.tolist() == ["all tasks", "mnli, qqp alone", "numbers of mnli, qqp alone"]
    assert "n = 3 seeds, each a mean over 2 tasks" in table.iloc[:, 2]["C7"]
    # Only CoLA loses, so without it nothing does.
    of_cola = with_change(PRUNE_PRETRAIN, -0.3, lambda of: (of.task == "cola") & (of.sparsity > 0))
    shown = ledger.on_tasks(several(3, found=of_cola), ["mnli", "qqp"])
    assert isinstance(shown, Prose)
    assert list(shown.table.loc["C1"])[:2] == ["✗ does not hold", "✓ holds"]
    for tasks, why in (([], "On no task"), (list(PAPER_TASKS), "On all tasks")):
        assert str(ledger.on_tasks(found, tasks)).startswith(why)


# What is shown.


def test_the_table_has_every_field_of_every_entry() -> None:
    found = ledger.ledger(paper.rows())
    table = ledger.table(found)
    assert list(table.key) == [entry.key for entry in found]
    assert set(table.verdict) <= {HOLDS, FAILS, OPEN}
    assert table.rule.str.len().min() > 20
    assert ledger.table([]).columns.tolist() == table.columns.tolist()


def test_the_text_says_all_and_is_not_too_wide() -> None:
    text = ledger.text(ledger.ledger(paper.rows()))
    assert max(len(line) for line in text.splitlines()) <= 100
    assert text.count("HOLDS") == len(BY_TABLES)
    assert text.count("CANNOT BE TOLD") == len(BY_FIGURES)


def test_the_papers_tables_beside_themselves_differ_in_nothing() -> None:
    found = numbers(paper.rows())
    # 200 accuracies and 40 averages, 200 training losses, 20 losses of pre-training.
    assert {name: len(table) for name, table in found.items()} == {
        "table1": 460,
        "table2": 40,
        "table3": 148,
    }
    for table in found.values():
        assert (table.difference == 0).all() and (table.seeds == 1).all()


def test_drops_are_from_the_dense_model() -> None:
    table = numbers(paper.rows())["table1"]
    point = table[(table.arm == "random_pruning") & (table.sparsity == 0.5)]
    accuracy = point[point.quantity == "accuracy"].set_index("task")
    assert accuracy.paper_drop["mnli"] == pytest.approx(0.831 - 0.716)
    assert accuracy.paper_drop["average"] == pytest.approx(0.8718 - 0.7876)
    assert accuracy.our_drop.equals(accuracy.paper_drop.rename("our_drop"))
    others = table[table.quantity != "accuracy"]
    assert not others[["paper_drop", "our_drop"]].notna().to_numpy().any()


def test_numbers_that_rows_lack_are_nan_and_never_interpolated() -> None:
    found = several(2)
    kept = found[(found.sparsity != 0.5) & (found.task != "cola")]
    tables = numbers(kept)
    table = tables["table1"]
    lacks = (table.sparsity == 0.5) | (table.task == "cola")
    lacks |= table.task == scores.AVERAGE
    assert table[lacks][["ours", "difference", "our_drop"]].isna().to_numpy().all()
    assert (table[lacks].seeds == 0).all() and (table[~lacks].seeds == 2).all()
    assert table[~lacks].ours.notna().all() and table.paper.notna().all()
    nothing = numbers(found.iloc[:0])
    for name, whole in numbers(found).items():
        assert nothing[name].ours.isna().all()
        assert nothing[name].paper.equals(whole.paper)


def test_numbers_are_means_over_seeds() -> None:
    found = several(3)
    point = ["arm", "sparsity", "task"]
    means = scores.scores(found).groupby(point, as_index=False).accuracy.mean()
    table = numbers(found)["table1"]
    both = table[table.quantity == "accuracy"].merge(means, on=point)
    assert len(both) == 240
    assert both.ours.to_numpy() == pytest.approx(both.accuracy.to_numpy())
