"""Tasks: declarations, tables and their errors, batches, metrics."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from bertprune.base.errors import UserError
from bertprune.data import tasks as tasks_module
from bertprune.data.glue import PAPER_TASKS, RELEASED, TASKS, Task
from bertprune.data.tasks import RESERVED, check_task, find_task, load_task, task_key
from bertprune.evidence import scores
from bertprune.lab.task_data import DEV_EXAMPLES, TRAIN_EXAMPLES
from bertprune.protocol import rows


def write(folder: Path, name: str, split: str, columns: dict[str, Any]) -> Path:
    file = folder / name / f"{split}.parquet"
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """SST-2 in miniature."""
    sentences = ["the net", "the boat", "the sail"]
    columns = {"sentence": sentences, "label": [0, 1, 1], "idx": [0, 1, 2]}
    for split in ("train", "validation"):
        write(tmp_path, "sst2", split, columns)
    return tmp_path


def declare(folder: Path, **changes: Any) -> None:
    declaration = {"columns": ["first", "second"], "labels": ["no", "yes", "perhaps"], **changes}
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "task.yaml").write_text(yaml.safe_dump(declaration))
    columns = {"first": ["a", "b"], "second": ["c", "d"], "label": [2, 0]}
    for split in ("train", "validation"):
        write(folder, "own", split, columns)


def test_all_tasks_have_the_accuracy() -> None:
    assert all("accuracy" in task.metrics for task in TASKS.values())


def test_the_papers_tasks_are_in_its_order() -> None:
    """It sorts them by their training examples."""
    sizes = [RELEASED[name].train_examples for name in PAPER_TASKS]
    assert sizes == sorted(sizes, reverse=True)


def test_local_folder(folder: Path) -> None:
    check_task("sst2", str(folder))
    data = load_task("sst2", str(folder))
    assert data.task is TASKS["sst2"]
    assert data.train.columns.tolist() == ["sentence", "label"]
    assert data.train["label"].tolist() == [0, 1, 1]
    assert len(data.dev) == 3


def test_shards_as_the_hub_names_them(folder: Path) -> None:
    (folder / "sst2" / "train.parquet").rename(folder / "sst2" / "train-00000-of-00002.parquet")
    more = write(folder, "sst2", "train", {"sentence": ["the pier"], "label": [0]})
    more.rename(folder / "sst2" / "train-00001-of-00002.parquet")
    assert load_task("sst2", str(folder)).train["sentence"].tolist()[-1] == "the pier"


def test_tables_of_the_hub_are_checked_as_local_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"sentence": ["a", "b"], "label": [0, 5], "idx": [0, 1]}
    monkeypatch.setattr(
        tasks_module, "load_rows", lambda *_, **__: datasets.Dataset.from_dict(rows)
    )
    with pytest.raises(UserError, match=r"nyu-mll/glue, sst2, train, row 1: label 5"):
        load_task("sst2", "nyu-mll/glue")
    rows["label"] = [0, 1]
    train = load_task("sst2", "nyu-mll/glue").train
    assert train.to_dict("list") == {"sentence": ["a", "b"], "label": [0, 1]}
    rows["label"] = ["positive", "negative"]
    assert load_task("sst2", "nyu-mll/glue").train["label"].tolist() == [1, 0]


def test_no_network_and_no_folder_names_both_ways() -> None:
    for work in (check_task, load_task):
        with pytest.raises(UserError, match="connect to the network, or give a local folder"):
            work("sst2")
    with pytest.raises(UserError, match="give a local folder .* or the Hub data set"):
        check_task("sst2", "../missing")


def test_key_follows_declaration_and_content(folder: Path) -> None:
    key = task_key("sst2", str(folder))
    assert task_key("sst2", str(folder)) == key
    write(folder, "sst2", "train", {"sentence": ["the net"], "label": [1]})
    changed = task_key("sst2", str(folder))
    assert changed != key
    write(folder, "sst2", "validation_matched", {"sentence": ["the net"], "label": [1]})
    assert task_key("sst2", str(folder)) == changed
    assert len({task_key(name) for name in TASKS}) == len(TASKS)  # the Hub's: no network needed


def test_unknown_task(folder: Path) -> None:
    with pytest.raises(UserError, match="unknown task 'sst-2': did you mean 'sst2'"):
        check_task("sst-2", str(folder))
    with pytest.raises(UserError, match="unknown task 'sst-2': did you mean 'sst2'"):
        check_task("sst-2", "lab")


def test_a_task_that_the_lab_language_lacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the same name may know it; the source is the language all the same."""
    declare(folder)
    folder.rename(folder.parent / "lab")
    monkeypatch.setenv("BERTPRUNE_ROOT", str(folder.parent))
    with pytest.raises(UserError, match="unknown task 'own': valid: cola, mnli"):
        check_task("own", "lab")


@pytest.mark.parametrize("label", [2, -1])
def test_label_out_of_range(folder: Path, label: int) -> None:
    file = write(folder, "sst2", "train", {"sentence": ["a", "b", "c"], "label": [0, 1, label]})
    for work in (check_task, load_task):
        with pytest.raises(UserError, match=f"row 2: label {label} is outside .* 0 to 1") as raised:
            work("sst2", str(folder))
        assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sentences": ["a"], "label": [0]}, "has no column 'sentence': did you mean 'sentences'"),
        ({"sentence": ["a"]}, "has no column 'label'"),
        ({"sentence": [1], "label": [0]}, "'sentence' holds int64, it must hold strings"),
        ({"sentence": ["a"], "label": [0.0]}, "'label' holds double.*0 = negative, 1 = positive"),
        ({"sentence": ["a"], "label": [True]}, "'label' holds bool.*or these names"),
        ({"sentence": ["a", "b"], "label": ["1", "2"]}, "row 1: label 2 is outside .* 0 to 1"),
        ({"sentence": ["a", "b"], "label": ["0", "positive"]}, "row 0: label 0 is a number and"),
        (
            {"sentence": ["a", "b"], "label": ["positive", "negatve"]},
            "row 1: label negatve is .*: did you mean 'negative'",
        ),
        ({"sentence": ["a", None], "label": [0, 1]}, "row 1: 'sentence' is missing"),
        ({"sentence": ["a", "b"], "label": [None, 1]}, "row 0: 'label' is missing"),
        ({"sentence": pa.array([], pa.string()), "label": pa.array([], pa.int64())}, "no rows"),
    ],
)
def test_bad_table(folder: Path, columns: dict[str, Any], message: str) -> None:
    file = write(folder, "sst2", "validation", columns)
    with pytest.raises(UserError, match=message) as raised:
        check_task("sst2", str(folder))
    assert str(file) in str(raised.value)


def test_a_column_that_is_there_twice(folder: Path) -> None:
    columns = [pa.array(["a", "b"]), pa.array(["c", "d"]), pa.array([0, 1])]
    table = pa.Table.from_arrays(columns, names=["sentence", "sentence", "label"])
    pq.write_table(table, folder / "sst2" / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet has the column 'sentence' twice"):
        check_task("sst2", str(folder))


def test_the_index_of_a_frame_is_a_column_like_another(folder: Path) -> None:
    columns = {"sentence": ["a", "b", "c"], "label": [1, 0, 0]}
    frame = pd.DataFrame(columns, index=[7, 5, 6])
    for indexed in (frame, frame.set_index("label"), frame.set_index("sentence")):
        indexed.to_parquet(folder / "sst2" / "train.parquet")
        train = load_task("sst2", str(folder)).train
        assert train.to_dict("list") == columns
        assert train.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize("part", [b"boat", b'"index_columns"', b'"column_indexes"'])
def test_a_table_damaged_inside(folder: Path, part: bytes) -> None:
    """A text is then no text; what pandas has noted is no business of ours."""
    file = folder / "sst2" / "train.parquet"
    frame = pd.DataFrame({"sentence": ["the net", "the boat"], "label": [0, 1]})
    frame.to_parquet(file, compression=None)
    content = file.read_bytes()
    assert part in content
    file.write_bytes(content.replace(part, b"\xff" * len(part)))
    if part == b"boat":
        with pytest.raises(UserError, match=r"train\.parquet cannot be read as parquet"):
            check_task("sst2", str(folder))
    else:
        assert load_task("sst2", str(folder)).train["label"].tolist() == [0, 1]


def test_missing_and_damaged_tables(folder: Path) -> None:
    file = folder / "sst2" / "validation.parquet"
    file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as parquet"):
        check_task("sst2", str(folder))
    file.rename(file.with_name("dev.parquet"))
    with pytest.raises(
        UserError, match=r"there is no .*sst2/validation\.parquet.* has dev.parquet, train.parquet"
    ):
        check_task("sst2", str(folder))


def test_own_task(folder: Path) -> None:
    declare(folder, metrics=["accuracy", "matthews"])
    data = load_task("own", str(folder))
    assert data.task == Task(
        "own", ("first", "second"), ("no", "yes", "perhaps"), ("accuracy", "matthews")
    )
    assert data.train["label"].tolist() == [2, 0]
    with pytest.raises(UserError, match="did you mean 'own'"):
        find_task("owm", str(folder))


@pytest.mark.parametrize("metrics", [["f1"], ["accuracy", "f1"], ["matthews", "f1"]])
def test_f1_is_of_two_labels(folder: Path, metrics: list[str]) -> None:
    """Of three it would be that of one of them alone: 0 where that one is never predicted."""
    declare(folder, metrics=metrics)
    with pytest.raises(UserError, match="task 'own' has 3 labels, and f1 is .*: take matthews"):
        check_task("own", str(folder))
    declare(folder, metrics=metrics, labels=["no", "yes"])
    assert "f1" in find_task("own", str(folder)).metrics


@pytest.mark.parametrize("metric", ["pearson", "spearman", "macro_f1", "mse"])
def test_metrics_of_no_classification(folder: Path, metric: str) -> None:
    declare(folder, metrics=[metric])
    with pytest.raises(UserError, match=f"unknown metric '{metric}': .*accuracy, f1, matthews"):
        check_task("own", str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colunms": ["a"]}, "unknown key 'colunms': did you mean 'columns'"),
        ({"name": "mine"}, "unknown key 'name'"),
        ({"columns": "first"}, "columns is 'first', it must be a list"),
        ({"columns": ["a", "b", "c"]}, "columns has 3 names, it must have 1 or 2"),
        ({"columns": ["first", "first"]}, "columns is .'first', 'first'., they must differ"),
        ({"labels": ["only"]}, "labels is .'only'., it must be 2 or more"),
        ({"labels": ["no", "no"]}, "labels is"),
        ({"labels": [False, True]}, "labels is .False, True., it must be a list of strings"),
        ({"metrics": ["acuracy"]}, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ({"dev_split": 3}, "dev_split is 3"),
    ],
)
def test_bad_declaration(folder: Path, changes: dict[str, Any], message: str) -> None:
    declare(folder, **changes)
    with pytest.raises(UserError, match=message) as raised:
        check_task("own", str(folder))
    assert "task.yaml" in str(raised.value)


def test_accuracy_is_among_the_metrics(folder: Path) -> None:
    """Without it no run of the task would ever end; named, it stays where it is."""
    for named, expected in (
        (["matthews"], ("accuracy", "matthews")),
        ([], ("accuracy",)),
        (["matthews", "accuracy"], ("matthews", "accuracy")),
    ):
        declare(folder, metrics=named)
        assert find_task("own", str(folder)).metrics == expected


@pytest.mark.parametrize("name", ["pretraining", "average"])
def test_a_name_that_rows_have_for_no_task(folder: Path, name: str) -> None:
    assert {rows.PRETRAINING, scores.AVERAGE} == set(RESERVED)
    declare(folder)
    (folder / "own").rename(folder / name)
    with pytest.raises(UserError, match=f"a task cannot be called '{name}'"):
        check_task(name, str(folder))


def test_labels_need_no_quotes(folder: Path) -> None:
    """In YAML 1.1 these are two truth values, a number of seconds and a day."""
    declare(folder)
    (folder / "own" / "task.yaml").write_text(
        "columns: [first, second]\nlabels: [no, on, 1:30, 2020-12-24]\n"
    )
    assert find_task("own", str(folder)).labels == ("no", "on", "1:30", "2020-12-24")


@pytest.mark.parametrize(
    "content",
    ["- a", "columns: [", "", "!!python/object:os.system {}", "columns: !!timestamp 2020-13-45"],
)
def test_declaration_that_is_no_mapping(folder: Path, content: str) -> None:
    declare(folder)
    (folder / "own" / "task.yaml").write_text(content)
    with pytest.raises(UserError, match=r"task\.yaml"):
        check_task("own", str(folder))


@pytest.mark.parametrize("name", PAPER_TASKS)
def test_tasks_of_a_lab_language(name: str) -> None:
    check_task(name, "lab")
    data = load_task(name, "lab")
    assert data.task is TASKS[name]
    assert (len(data.train), len(data.dev)) == (TRAIN_EXAMPLES[name], DEV_EXAMPLES)
    for frame in (data.train, data.dev):
        assert frame.columns.tolist() == [*data.task.columns, "label"]
        shares = frame["label"].value_counts(normalize=True)
        assert sorted(shares.index) == list(range(len(data.task.labels)))
        assert 0.2 < shares.min() <= shares.max() < 0.7
    pd.testing.assert_frame_equal(data.train, load_task(name, "lab").train)
    assert not data.train.equals(load_task(name, "lab:1").train)


def test_key_of_a_lab_task_follows_its_seed_alone() -> None:
    """The amount of text is no part of a task."""
    assert task_key("cola", "lab") == task_key("cola", "lab:0") == task_key("cola", "lab:0:300")
    keys = {
        task_key(name, source)
        for name in PAPER_TASKS
        for source in ("lab", "lab:1", "nyu-mll/glue")
    }
    assert len(keys) == 3 * len(PAPER_TASKS)


def test_the_lab_has_only_its_own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    rte = Task("rte", ("sentence1", "sentence2"), ("entailment", "not_entailment"))
    monkeypatch.setitem(TASKS, "rte", rte)
    assert find_task("rte") == rte
    with pytest.raises(UserError, match="lab:3 has no task 'rte'"):
        check_task("rte", "lab:3")


FORMATS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "parquet": lambda frame, file: frame.to_parquet(file),
    "csv": lambda frame, file: frame.to_csv(file, index=False),
    "CSV": lambda frame, file: frame.to_csv(file, index=False, encoding="utf-8-sig"),
    "csv.gz": lambda frame, file: frame.to_csv(file, index=False),
    "tsv": lambda frame, file: frame.to_csv(file, index=False, sep="\t"),
    "tsv.xz": lambda frame, file: frame.to_csv(file, index=False, sep="\t"),
    "jsonl": lambda frame, file: frame.to_json(file, orient="records", lines=True),
    "jsonl.bz2": lambda frame, file: frame.to_json(file, orient="records", lines=True),
    "ndjson": lambda frame, file: frame.to_json(file, orient="records", lines=True),
    "json": lambda frame, file: frame.to_json(file, orient="records"),
    "feather": lambda frame, file: frame.to_feather(file),
}


@pytest.mark.parametrize("labels", [[2, 0, 1], ["perhaps", "no", "yes"]], ids=["numbers", "names"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_give_the_same_rows_and_errors(
    folder: Path, suffix: str, labels: list[int] | list[str]
) -> None:
    """With quotation marks, commas, words that look like nothing, and letters beyond ASCII."""
    declare(folder)
    first = ['the "net", he said', "NA", "null"]
    frame = pd.DataFrame({"idx": [0, 1, 2], "first": first, "second": ["é", "1", "ß"]})
    for split in ("train", "validation"):
        (folder / "own" / f"{split}.parquet").unlink()
        FORMATS[suffix](frame.assign(label=labels), folder / "own" / f"{split}.{suffix}")
    check_task("own", str(folder))
    data = load_task("own", str(folder))
    assert data.train.to_dict("list") == {
        "first": first,
        "second": ["é", "1", "ß"],
        "label": [2, 0, 1],
    }
    file = folder / "own" / f"validation.{suffix}"
    key = task_key("own", str(folder))
    wrong = "3" if isinstance(labels[0], int) else "maybe"
    FORMATS[suffix](frame.assign(label=[*labels[:2], type(labels[0])(wrong)]), file)
    assert task_key("own", str(folder)) != key
    with pytest.raises(UserError, match=f"row 2: label {wrong} is outside") as raised:
        check_task("own", str(folder))
    assert str(file) in str(raised.value)


@pytest.mark.parametrize("whole", [True, False])
def test_a_task_that_the_library_datasets_saved(folder: Path, whole: bool) -> None:
    """As one DatasetDict, or each split by itself. The names of the labels go with it."""
    declare(folder)
    names = datasets.ClassLabel(names=["perhaps", "no", "yes"])  # in another order than declared
    columns = {"first": ["a", "b"], "second": ["c", "d"], "label": [0, 2]}
    rows = datasets.Dataset.from_dict(columns).cast_column("label", names)
    for split in ("train", "validation"):
        (folder / "own" / f"{split}.parquet").unlink()
        if not whole:
            rows.save_to_disk(str(folder / "own" / split), num_shards=2)
    if whole:
        datasets.DatasetDict(train=rows, validation=rows).save_to_disk(str(folder / "own"))
    assert load_task("own", str(folder)).dev["label"].tolist() == [2, 1]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["negative", "positive"], [0, 1]),
        (["positive", "negative"], [1, 0]),
        (["neg", "pos"], [0, 1]),
        (["positive", "neutral"], None),
    ],
)
def test_names_that_a_table_notes(
    folder: Path, suffix: str, names: list[str], expected: list[int] | None
) -> None:
    rows = datasets.Dataset.from_dict({"sentence": ["a", "b"], "label": [0, 1]})
    rows = rows.cast_column("label", datasets.ClassLabel(names=names))
    file = folder / "sst2" / "train.parquet"
    file.unlink()
    if suffix == "parquet":
        rows.to_parquet(file)
    else:
        table = rows.with_format("arrow")[:]
        with pa.ipc.new_stream(str(file.with_suffix(".arrow")), table.schema) as stream:
            stream.write_table(table)
    if expected:
        assert load_task("sst2", str(folder)).train["label"].tolist() == expected
    else:
        with pytest.raises(UserError, match="labels are noted as positive, neutral, those of"):
            load_task("sst2", str(folder))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 5], [0, 1, 4]),
        (["1", "5", "2"], [0, 4, 1]),
        ([0, 4, 1], [0, 4, 1]),
        ([1, 2, 4], "label 1 could be a name or a number"),
        ([0, 5, 1], "row 0: label 0 is a number and others are names"),
        ([1, 2, 6], "row 2: label 6 is outside the range"),
    ],
)
def test_names_that_are_numbers(
    folder: Path, values: list[int] | list[str], expected: list[int] | str
) -> None:
    """Stars, one to five."""
    declare(folder, labels=["1", "2", "3", "4", "5"])
    columns = {"first": ["a", "b", "c"], "second": ["d", "e", "f"], "label": values}
    write(folder, "own", "train", columns)
    write(folder, "own", "validation", {**columns, "label": [0, 4, 1]})
    if isinstance(expected, list):
        assert load_task("own", str(folder)).train["label"].tolist() == expected
    else:
        with pytest.raises(UserError, match=expected):
            check_task("own", str(folder))


@pytest.mark.parametrize("other", ["train.csv", "train-00000-of-00001.parquet", "train/0.parquet"])
def test_a_split_that_is_there_twice(folder: Path, other: str) -> None:
    (folder / "sst2" / other).parent.mkdir(exist_ok=True)
    (folder / "sst2" / other).write_bytes((folder / "sst2" / "train.parquet").read_bytes())
    with pytest.raises(UserError, match="has the split 'train' more than once: .*train.parquet"):
        check_task("sst2", str(folder))


def test_a_split_in_a_folder_of_its_own(folder: Path) -> None:
    file = folder / "sst2" / "train.parquet"
    (folder / "sst2" / "train").mkdir()
    file.rename(folder / "sst2" / "train" / "0000.parquet")
    assert len(load_task("sst2", str(folder)).train) == 3


def test_what_is_no_table_in_the_folder_of_a_split(folder: Path) -> None:
    file = folder / "sst2" / "train.parquet"
    (folder / "sst2" / "train").mkdir()
    (folder / "sst2" / "train" / ".DS_Store").write_text("litter")
    assert len(load_task("sst2", str(folder)).train) == 3
    file.rename(folder / "sst2" / "train" / "0000.parquet")
    for name, message in (("notes.txt", "is no table"), ("notes.md", "of no kind that is read")):
        (folder / "sst2" / "train" / name).write_text("a note")
        with pytest.raises(UserError, match=f"{name} {'is ' * (name[-1] == 'd')}{message}"):
            check_task("sst2", str(folder))
        (folder / "sst2" / "train" / name).unlink()


@pytest.mark.parametrize("value", [True, 0.5, None, 10**30, [0]])
def test_labels_of_json_that_are_none(folder: Path, value: object) -> None:
    (folder / "sst2" / "train.parquet").unlink()
    rows = [{"sentence": "a", "label": 1}, {"sentence": "b", "label": value}]
    (folder / "sst2" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match=r"train\.jsonl, row 1: .*label"):
        check_task("sst2", str(folder))


def test_a_shard_that_is_missing(folder: Path) -> None:
    file = folder / "sst2" / "train.parquet"
    file.rename(file.with_name("train-00001-of-00002.parquet"))
    for work in (check_task, task_key):
        with pytest.raises(UserError, match=r"train-00000-of-00002.parquet is missing: 1 of 2"):
            work("sst2", str(folder))


def test_other_tables_of_the_folder_are_no_part_of_a_split(folder: Path) -> None:
    for name in ("train_small.csv", "train.csv~", "test.csv", "trainer.json", "train.old.csv"):
        (folder / "sst2" / name).write_text("nothing")
    assert len(load_task("sst2", str(folder)).train) == 3


def test_a_link_of_a_split_that_leads_nowhere(folder: Path) -> None:
    (folder / "sst2" / "train.parquet").unlink()
    (folder / "sst2" / "train.parquet").symlink_to("gone.parquet")
    with pytest.raises(UserError, match=r"train\.parquet is no file that you may read"):
        check_task("sst2", str(folder))
