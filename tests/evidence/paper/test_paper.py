"""The paper's numbers: as they were printed, and as rows that all of ours works on."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bertprune.data.glue import PAPER_TASKS
from bertprune.evidence import paper, scores
from bertprune.protocol import rows
from bertprune.protocol.rows import PRETRAINING

FOLDER = Path(paper.__file__).parent


def lines(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open() as file:
        return list(csv.DictReader(file))


def test_rows_have_our_columns_and_no_key_twice() -> None:
    found = paper.rows()
    assert found.dtypes.to_dict() == rows.join([]).dtypes.to_dict()
    assert not found.drop(columns="value").duplicated().any()
    assert not found.value.isna().any()
    assert set(found.task) == {*PAPER_TASKS, PRETRAINING}


def test_rows_are_read_once_and_given_out_as_copies() -> None:
    changed = paper.rows()
    changed["value"] = 0.0
    assert paper.rows().value.sum() > 0


def test_every_number_of_table_1_is_a_row() -> None:
    scored = scores.scores(paper.rows()).set_index(["arm", "sparsity", "task"]).accuracy
    printed = lines("table1_glue.csv")
    assert len(printed) == 200
    for line in printed:
        task = {"SST-2": "sst2"}.get(line["task"], line["task"].lower())
        accuracy = scored[line["arm"], float(line["sparsity"]), task]
        assert 100 * accuracy == pytest.approx(float(line["dev_accuracy"]))


def test_averages_are_those_of_the_five_tasks() -> None:
    """The paper's own averages are not in the files: ours follow from its rows."""
    scored = scores.scores(paper.rows())
    ours = scored[scored.task == scores.AVERAGE].set_index(["arm", "sparsity"]).accuracy
    by_hand = paper.glue().groupby(["arm", "sparsity"]).dev_accuracy.mean()
    assert len(ours) == 40
    pd.testing.assert_series_equal(100 * ours, by_hand, check_names=False)


def test_pretraining_losses_are_those_that_the_arms_start_from() -> None:
    point = ["arm", "sparsity", "task"]
    ours = scores.summary(paper.rows()).set_index(point).pretraining_loss
    printed = paper.glue().set_index(point).pretrain_loss
    assert printed.isna().sum() == 50
    pd.testing.assert_series_equal(ours[printed.index], printed, check_names=False)


def test_movement_rows_are_shares() -> None:
    found = paper.rows()
    whole = found[(found.metric == "movement_mean") & (found.part == "")]
    table2 = whole[whole.seed == 0]
    assert len(table2) == 20 and set(table2.epoch) == {3}
    place = (table2.task == "mnli") & (table2.learning_rate == 5e-5)
    assert table2[place].value.item() == pytest.approx(0.0412)
    longer = whole[whole.seed == paper.LONGER_RUN]
    assert set(longer.learning_rate) == {5e-5} and set(longer.epoch) == set(range(13))


def test_matrices_are_those_of_table_3() -> None:
    named = set(paper.weight_statistics().matrix)
    assert len(named) == 74
    by_matrix = paper.movement_by_matrix()
    counts = by_matrix.groupby(["task", "learning_rate"]).matrix.nunique()
    assert counts.pop(("cola", 2e-5)) == 9
    assert set(counts) == {73}
    assert named - set(by_matrix.matrix) == {"embeddings.word_embeddings"}
    square = by_matrix.matrix.str.contains("attention|pooler")
    assert (by_matrix.matrix_size == np.where(square, 768 * 768, 768 * 3072)).all()


def test_matrices_average_to_the_table() -> None:
    """Weighed by size, the matrices give table 2 to the digits that it prints."""
    by_matrix = paper.movement_by_matrix()
    by_matrix["moved"] = by_matrix.mean_fraction * by_matrix.matrix_size
    sums = by_matrix.groupby(["task", "learning_rate"])[["moved", "matrix_size"]].sum()
    table = paper.movement().set_index(["task", "learning_rate"]).mean_percent
    percent = (100 * sums.moved / sums.matrix_size).drop(("cola", 2e-5))
    assert (percent - table).abs().max() < 0.03


def test_the_order_of_the_layers_is_alphabetical() -> None:
    """Values and attention outputs of a larger spread move less: only with the layers in the order
    of a TensorFlow checkpoint do the two files agree on that."""
    std = paper.weight_statistics().set_index("matrix")["std"]
    found = paper.movement_by_matrix()
    for (task, rate), of in found.groupby(["task", "learning_rate"]):
        if len(of) < 73 or (task, rate) == ("cola", 4e-5):
            continue
        for matrix in ("attention.output.dense", "attention.self.value"):
            moved = of[of.matrix.str.endswith(matrix)].set_index("matrix").mean_fraction
            assert np.corrcoef(moved, std[moved.index])[0, 1] < -0.8
            layers = sorted(moved.index, key=lambda name: int(name.split(".")[2]))
            assert np.corrcoef(moved, std[layers])[0, 1] > -0.5
