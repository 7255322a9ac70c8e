"""Replicates have on average what is expected, and the spread that was measured."""

import numpy as np
import pandas as pd
import pytest

from bertprune.evidence.power.designs import PLACE, Design
from bertprune.evidence.power.replicates import Replicates
from bertprune.protocol import rows
from bertprune.protocol.arms import INFORMATION_DELETION, PRUNE_PRETRAIN
from bertprune.protocol.rows import PRETRAINING

SEEDS, BERTS, EXAMPLES = 8, 2, 400
ACCURACIES = {"cola": (0.7, 0.03), "sst2": (0.97, 0.01), "qnli": (0.5, 0.0)}
"""What is expected of each task, and its standard deviation over seeds."""


def made(seed: float = 0.3, start: float = 0.3, bert: float = 0.0, berts: int = 1) -> Design:
    """A design of two arms with these shares of chance in common, and pre-training losses."""
    common = {"sparsity": 0.5, "epoch": 3, "part": "", "position": np.nan, "seeds": SEEDS}
    lines = [
        {"arm": arm, "task": task, "split": "dev", "metric": "accuracy", "value": value, "std": std}
        | {"examples": EXAMPLES}
        for arm in (PRUNE_PRETRAIN, INFORMATION_DELETION)
        for task, (value, std) in ACCURACIES.items()
    ]
    lines.append(
        {"arm": PRUNE_PRETRAIN, "task": PRETRAINING, "split": "dev", "metric": "loss"}
        | {"value": 2.0, "std": 0.1}
    )
    points = pd.DataFrame([line | common for line in lines])
    kinds = points[["split", "metric", "task"]].drop_duplicates()
    shares = kinds.assign(seed=seed, start=start, bert=bert).set_index(["split", "metric", "task"])
    return Design(points, shares, pd.DataFrame(), berts, has_answers=True)


def drawn(design: Design, replicates: int = 150) -> pd.DataFrame:
    """The rows of many replicates, numbered."""
    generator, many = np.random.default_rng(0), Replicates(design, design.points)
    return pd.concat(
        many.draw(generator).rows.assign(replicate=number) for number in range(replicates)
    )


def test_means_and_spreads_are_those_of_the_design() -> None:
    design = made()
    found = drawn(design).groupby(["arm", "task"]).value
    spreads = drawn(design).groupby(["replicate", "arm", "task"]).value.var()
    std = spreads.groupby(["arm", "task"]).mean() ** 0.5
    for _, point in design.points.iterrows():
        place = (point["arm"], point["task"])
        # The draw of examples, which all replicates' seeds have in common, moves their mean.
        assert found.mean()[place] == pytest.approx(point["value"], abs=0.01)
        assert std[place] == pytest.approx(point["std"], rel=0.1, abs=1e-9)


@pytest.mark.parametrize(("seed", "start"), [(0.0, 0.0), (0.8, 0.0), (0.0, 0.8)])
def test_arms_of_one_seed_have_in_common_what_was_measured(seed: float, start: float) -> None:
    found = drawn(made(seed, start), 60)
    of_task = found[found.task == "cola"].pivot_table(
        index=["replicate", "seed"], columns="arm", values="value"
    )
    within = of_task - of_task.groupby("replicate").transform("mean")
    assert within.corr().iloc[0, 1] == pytest.approx(seed + start, abs=0.15)


def test_berts_differ_by_what_was_measured() -> None:
    losses = drawn(made(seed=0, start=0, bert=4.0, berts=BERTS)).query("task == @PRETRAINING")
    by_bert = losses.groupby(["replicate", "bert"]).value
    assert by_bert.mean().groupby("replicate").var().mean() == pytest.approx(
        0.1**2 * (4 + BERTS / SEEDS), rel=0.25
    )
    assert by_bert.var().mean() ** 0.5 == pytest.approx(0.1, rel=0.1)


def test_rows_are_those_of_a_study_and_agree_with_the_answers() -> None:
    one = Replicates(made(), made().points).draw(np.random.default_rng(1))
    found, answers = one.rows, one.answers
    assert list(found.columns) == [*rows.COLUMNS, "bert"]
    for task, of in answers.items():
        assert of is not None
        models = of.models.merge(found, on=[*PLACE, "seed"], suffixes=("", "_of_rows"))
        assert models.task.eq(task).all() and len(models) == len(of.right)
        assert models.value_of_rows.to_numpy() == pytest.approx(of.right.mean(axis=1))


def test_models_agree_on_which_examples_are_hard() -> None:
    answers = Replicates(made(), made().points).draw(np.random.default_rng(1)).answers["cola"]
    assert answers is not None
    right = answers.right
    both, by_chance = np.mean(right[0] & right[1]), np.mean(right[0]) * np.mean(right[1])
    assert both > by_chance + 0.05


def test_the_same_seed_gives_the_same_rows() -> None:
    one, two = (
        Replicates(made(), made().points).draw(np.random.default_rng(3)).rows for _ in range(2)
    )
    pd.testing.assert_frame_equal(one, two)
