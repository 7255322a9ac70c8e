"""The study beside the paper: what is known of made-up drops, and of the paper beside itself."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest

from bertprune.base.errors import UserError
from bertprune.evidence import paper
from bertprune.evidence.paper.agreement import (
    agreement,
    cells,
    cells_by_seed,
    overall,
    shared_order,
)
from bertprune.evidence.paper.beside_ours import numbers
from bertprune.protocol import rows
from bertprune.protocol.arms import ARMS, COMPARED
from bertprune.protocol.rows import Rows

TASKS = ["mnli", "qqp", "qnli", "sst2", "cola"]


Place = tuple[str, float, str]


def table1(drops: Mapping[Place, tuple[float, float]]) -> pd.DataFrame:
    """A table as the ledger has it, of drops in points: by place the paper's and ours."""
    lines = [
        (*place, "accuracy", theirs / 100, ours / 100) for place, (theirs, ours) in drops.items()
    ]
    names = ["arm", "sparsity", "task", "quantity", "paper_drop", "our_drop"]
    return pd.DataFrame(lines, columns=names)


def along(
    task: str, theirs: Sequence[float], ours: Sequence[float]
) -> dict[Place, tuple[float, float]]:
    """Drops of one arm on a task at 10 %, 20 %, and so on."""
    pairs = enumerate(zip(theirs, ours, strict=True), start=1)
    return {("prune_pretrain", at / 10, task): pair for at, pair in pairs}


def line(made: pd.DataFrame, task: str) -> Any:
    """What a page says of the arm `prune_pretrain` on a task."""
    lines = agreement(made).reset_index()
    of_task = lines[(lines.arm == ARMS["prune_pretrain"].words) & (lines.task == task)]
    return of_task.squeeze()


MADE = table1(along("sst2", [1, 2, 3, 4], [1.5, 3, 2.5, 14]) | along("cola", [5, 6, 7], [0, 0, 0]))


def found_with(change: float, seeds: int = 1) -> Rows:
    """The paper's rows, their pruned models worse by `change` times one more than the seed."""
    parts = []
    for seed in range(seeds):
        part = paper.rows().query("seed == 0").assign(seed=seed)
        pruned = (part.metric == "accuracy") & (part.sparsity > 0)
        part.loc[pruned, "value"] -= change * (seed + 1)
        parts.append(part)
    return rows.join(parts)


def test_the_correlation_is_of_ranks() -> None:
    """Ranks 1 2 3 4 against 1 3 2 4: 1 − 6 · 2 / (4 · 15) = 0.8."""
    found = line(MADE, "sst2")
    assert found["rank correlation"] == "+0.80" and found["cells"] == 4


def test_differences_of_drops_are_in_points() -> None:
    found = line(MADE, "sst2")
    # 0.5, 1, 0.5 and 10, of which three are no more than one point.
    assert found["mean difference (points)"] == "3.0" and found["within 1 point"] == 3


def test_where_one_is_constant_there_is_no_order() -> None:
    found = line(MADE, "cola")
    assert found["rank correlation"] == "–"
    assert found["mean difference (points)"] == "6.0" and found["within 1 point"] == 0


def test_two_cells_have_no_order() -> None:
    made = table1(along("sst2", [1, 2], [1, 2]))
    assert set(agreement(made)["rank correlation"]) == {"–"}
    assert overall(made) == (
        "2 of 2 drops in accuracy are within 1 point of the paper's. Of a study that loses nothing "
        "anywhere 1 would be."
    )


def test_of_a_study_that_loses_nothing_some_cells_are_near_too() -> None:
    assert overall(MADE).startswith(
        "3 of 7 drops in accuracy are within 1 point of the paper's. Of a study that loses nothing "
        "anywhere 1 would be. Over"
    )


def test_averages_do_not_count_among_all_cells() -> None:
    whole = MADE.iloc[:4]
    more = pd.concat([whole, whole.assign(task="average", our_drop=0.9)])
    for of in (whole, more):
        assert line(of, "all cells")["cells"] == 4
        assert overall(of).startswith("3 of 4 drops in accuracy are within 1 point of the paper's.")
        assert overall(of).endswith(" Over all of them the rank correlation is +0.80.")
    assert line(more, "average")["within 1 point"] == 0


def test_dense_models_and_missing_numbers_are_no_cells() -> None:
    made = table1(
        {
            ("prune_pretrain", 0.0, "sst2"): (0, 0),
            ("prune_pretrain", 0.5, "sst2"): (1, math.nan),
            ("prune_pretrain", 0.9, "sst2"): (2, 3),
        }
    )
    assert cells(made).values.tolist() == [["prune_pretrain", 0.9, "sst2", 2.0, 3.0]]


def test_what_is_equal_in_digits_is_equal() -> None:
    """83.1 − 81.0 and 78.5 − 76.4 are 2.1 each, and 70 − 69 is one, but not as floats."""
    drops = [100 * (0.831 - 0.81), 100 * (0.785 - 0.764), 100 * (0.785 - 0.764)]
    assert drops[0] != drops[1]
    assert line(table1(along("sst2", [1, 2, 3], drops)), "sst2")["rank correlation"] == "–"
    assert 100 * (0.7 - 0.69) > 1
    assert overall(table1(along("sst2", [0], [100 * (0.7 - 0.69)]))).startswith("1 of 1 drops")


def test_the_paper_agrees_with_itself() -> None:
    compared = numbers(paper.rows())["table1"]
    table = agreement(compared)
    # Four arms at nine sparsities on five tasks, and their averages.
    assert len(table) == 4 * (5 + 1 + 1)
    assert list(table.loc["information deletion"].index) == [*TASKS, "average", "all cells"]
    assert list(table.index.unique("arm")) == [
        ARMS[arm].words for arm in COMPARED if arm != "from_scratch"
    ]
    assert set(table["rank correlation"]) == {"+1.00"}
    assert set(table["mean difference (points)"]) == {"0.0"}
    assert (table["cells"] == table["within 1 point"]).all()
    assert table["cells"].tolist() == [*[9] * 6, 45] * 4
    assert overall(compared).startswith("180 of 180 drops")
    order = shared_order(compared)
    assert len(order) == 9 and set(order["rank correlation"]) == {"+1.00"}
    assert set(order.arms) == {4} and set(order.tasks) == {5}


def test_a_drop_that_is_larger_all_over_has_the_same_order() -> None:
    compared = numbers(found_with(0.02))["table1"]
    assert set(agreement(compared)["mean difference (points)"]) == {"2.0"}
    assert overall(compared).startswith("0 of 180 drops")
    assert overall(compared).endswith(" is +1.00.")


def test_cells_are_means_of_those_of_seeds() -> None:
    found = found_with(0.01, seeds=3)
    place = ["arm", "sparsity", "task"]
    by_seed = cells_by_seed(found)
    assert len(by_seed) == 3 * 4 * 9 * 6
    means = by_seed.groupby(place, as_index=False).ours.mean()
    both = cells(numbers(found)["table1"]).merge(means, on=place)
    assert both.ours_x.to_numpy() == pytest.approx(both.ours_y.to_numpy())
    # The mean of 1, 2 and 3 points more that are lost.
    assert (both.ours_x - both.paper).to_numpy() == pytest.approx(-2)


def test_the_order_of_arms_is_over_the_tasks_that_all_have() -> None:
    arms = ["prune_pretrain", "information_deletion", "random_pruning"]
    drops: dict[Place, tuple[float, float]]
    drops = {(arm, 0.5, "sst2"): (at, -at) for at, arm in enumerate(arms, start=1)}
    # Without it in one arm, cola would turn the order of the others round.
    drops |= {(arm, 0.5, "cola"): (9.0 - at, 100.0 * at) for at, arm in enumerate(arms[:2])}
    drops |= {(arm, 0.9, "sst2"): (at, at) for at, arm in enumerate(arms[:2])}
    order = shared_order(table1(drops))
    assert order.to_numpy().tolist() == [[3, 1, "−1.00"], [2, 1, "–"]]


@pytest.mark.parametrize("lacks", ["task", "dense model", "rows"])
def test_nothing_to_compare_is_said(lacks: str) -> None:
    found = paper.rows()
    if lacks == "task":
        found = found.assign(task=found.task.where(found.task == rows.PRETRAINING, "other"))
    elif lacks == "dense model":
        found = found[found.sparsity > 0]
    else:
        found = found[:0]
    compared = numbers(found)["table1"]
    for table in (agreement, shared_order):
        with pytest.raises(UserError, match="no accuracy on a task of the paper"):
            table(compared)
    assert overall(compared).startswith("Nothing to compare: the study has no")
    assert cells_by_seed(found).empty
