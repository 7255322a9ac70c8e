"""The paper's tables beside our numbers."""

import pytest

from bertprune.evidence import paper, scores
from bertprune.evidence.paper.beside_ours import numbers

from ..claims.altered import several


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
    assert accuracy.paper_drop["mnli"] == pytest.approx(0.716 - 0.831)
    assert accuracy.paper_drop["average"] == pytest.approx(0.7876 - 0.8718)
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
