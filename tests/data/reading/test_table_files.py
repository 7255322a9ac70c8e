"""Tables of every kind: what is read of them, and what is refused by file, row and value."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertprune.base.errors import UserError
from bertprune.data.documents import check_text, documents, text_key, text_size_bytes
from bertprune.data.reading.table_files import open_table

TEXTS = ['One, "two".\nThree.', "NA", "Vier ß.", "", "\N{SNOWMAN} 1. 2."]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def content(kind: str) -> bytes:
    frame = pd.DataFrame({"n": range(len(TEXTS)), "text": TEXTS})
    if kind == ".csv":
        return frame.to_csv(index=False).encode()
    if kind == ".json":
        return frame.to_json(orient="records").encode()
    if kind == ".txt":
        return b"One, two. Three.\nVier.\n"
    return frame.to_json(orient="records", lines=True).encode()


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("kind", [".csv", ".json", ".jsonl", ".ndjson", ".txt"])
def test_compressed_text_is_what_it_was(tmp_path: Path, kind: str, compression: str) -> None:
    file = tmp_path / f"a{kind}{compression}"
    file.write_bytes(COMPRESS[compression](content(kind)))
    check_text([str(file)])
    expected = ["One, two. Three.", "Vier."] if kind == ".txt" else [one for one in TEXTS if one]
    assert list(documents([str(file)])) == expected
    assert text_size_bytes([str(file)])
    key = text_key([str(file)])
    file.write_bytes(COMPRESS[compression](content(kind).replace(b"One", b"Two")))
    assert text_key([str(file)]) != key


@pytest.mark.parametrize("compression", [name for name in COMPRESS if name])
@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".txt"])
def test_a_compressed_file_that_is_damaged(tmp_path: Path, kind: str, compression: str) -> None:
    """A download that stopped must not pass for the whole."""
    file = tmp_path / f"a{kind}{compression}"
    whole = COMPRESS[compression](content(kind) * 1)
    for damaged in (whole[: len(whole) * 2 // 3], content(kind)):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read") as raised:
            list(documents([str(file)]))
        assert str(file) in str(raised.value)


def test_a_gzip_file_of_several_parts(tmp_path: Path) -> None:
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(b"One. Two.\n") + gzip.compress(b"Three.\n"))
    assert list(documents([str(file)])) == ["One. Two.", "Three."]


@pytest.mark.parametrize("kind", ["stream", "file", "dictionary", "view", "large"])
def test_arrow_tables(tmp_path: Path, kind: str) -> None:
    texts: Any = pa.array(["One. Two.", None, "Three."])
    types = {"view": pa.string_view(), "large": pa.large_string()}
    texts = (
        texts.dictionary_encode() if kind == "dictionary" else texts.cast(types.get(kind, "str"))
    )
    table = pa.table({"n": [1, 2, 3], "text": texts})
    file = tmp_path / "a.arrow"
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(str(file), table.schema) as sink:
        sink.write_table(table)
    check_text([str(file)])
    assert list(documents([str(file)])) == ["One. Two.", "Three."]
    if kind != "view":  # parquet has none
        pq.write_table(table, tmp_path / "a.parquet")
        assert list(documents([str(tmp_path / "a.parquet")])) == ["One. Two.", "Three."]


@pytest.mark.parametrize("damage", [lambda whole: whole[:-200], lambda whole: b"ARROW1" + whole])
def test_an_arrow_table_that_is_damaged(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    datasets.Dataset.from_dict({"text": ["One. Two."] * 99}).save_to_disk(str(tmp_path / "saved"))
    file = tmp_path / "a.arrow"
    file.write_bytes(damage((tmp_path / "saved" / "data-00000-of-00001.arrow").read_bytes()))
    with pytest.raises(UserError, match=r"a\.arrow cannot be read as arrow"):
        check_text([str(file)])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\n", "is empty"),
        ("a.csv", "title,txt\na,b\n", "has no column 'text': did you mean 'txt'"),
        ("a.csv", "text,text\na,b\n", "has the column 'text' twice"),
        ("a.csv", "text,n\nOne. Two.,1\nThree,2,3\n", "row 1: it has 3 fields, .* names 2"),
        ("a.csv", "text,n\nOne. Two.,1\nThree\n", "row 1: it has 1 fields, .* names 2"),
        ("a.csv", 'text,n\n"One. Two.,1\nThree,4\n', "cannot be read as csv: unexpected end"),
        ("a.csv", 'text,n\n"One" two,1\n', "cannot be read as csv"),
        ("a.csv", b"text\ncaf\xe9\n", "is not UTF-8"),
        ("a.tsv", "text\tn\nOne. Two.\tx\ty\n", "row 0: it has 3 fields"),
        ("a.jsonl", '{"text": "One. Two."}\n{"text": "Thr\n', "row 1: .* is no JSON"),
        ("a.jsonl", '{"text": "One. Two."}\n["a"]\n', "row 1: .* is no object"),
        ("a.jsonl", '{"text": "One. Two."}\n{"txt": "a"}\n', "row 1 has no 'text': did you mean"),
        ("a.jsonl", '{"text": "One. Two."}\n{"text": 3}\n', "row 1: 'text' is 3, where .* string"),
        ("a.jsonl", '{"text": ["One.", "Two."]}\n', "'text' holds list"),
        ("a.json", '[{"text": "One. Two."}, {"text": 3}]', "row 1: 'text' is 3"),
        ("a.json", '[{"text": "One."}', "cannot be read as json"),
        ("a.json", '{"version": 1,\n "files": []}', "row 0: .* is no JSON"),
        ("a.jsonl", '{"text": ' + "9" * 30 + "}", "a.jsonl"),
        ("a.jsonl", '{"text": "One. Two."}\n{"text": true}\n', "row 1: 'text' is True"),
        ("a.jsonl", '{"text": "\\ud800"}', "a.jsonl cannot be read .*surrogates"),
        (
            "a.jsonl",
            '{"text": "One. Two."}\n{"text": "\\ud800"}',
            "a.jsonl, row 1: .*which cannot be read: .*surrogates",
        ),
        (
            "a.json",
            '{"text": {"0": "One. Two.", "1": "Three. Four."}}',
            r"'text' holds an object with 2 fields \(pandas writes rows with `to_json\(orient=",
        ),
        ("a.json", "[" * 100_000, "cannot be read as json"),
        ("a.feather", "text", "cannot be read as feather"),
    ],
)
def test_bad_tables(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as raised:
        list(documents([str(tmp_path)]))
    assert str(file) in str(raised.value)


def test_a_type_that_changes_late(tmp_path: Path) -> None:
    rows = [{"text": "One. Two."}] * 3000 + [{"text": 7}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    check_text([str(tmp_path)])
    with pytest.raises(UserError, match=r"a\.jsonl, row 3000: 'text' is 7"):
        list(documents([str(tmp_path)]))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # Quotation marks are text, as in GLUE's own files; ...
        (['"Yes', 'he said "no"', "it's"], ['"Yes', 'he said "no"', "it's"]),
        (['"Yes" or no', '"whole"'], ['"Yes" or no', '"whole"']),
        # ... or what pandas writes around a text that has some.
        (['"a ""quoted"" word"', "plain"], ['a "quoted" word', "plain"]),
        (['"a"', '"b"'], ["a", "b"]),
    ],
)
def test_quotation_marks_of_tsv(tmp_path: Path, lines: list[str], expected: list[str]) -> None:
    file = tmp_path / "a.tsv"
    file.write_text("text\tn\n" + "".join(f"{line}\t1\n" for line in lines))
    with open_table(file, ["text", "n"]) as table:
        (batch,) = table.batches(10)
    assert batch.to_pydict() == {"text": expected, "n": ["1"] * len(lines)}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow"])
def test_batches_are_of_the_columns_and_size_asked_for(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"b": list("uvwxy"), "a": list("abcde"), "c": list("fghij")})
    file = tmp_path / f"t.{kind}"
    write = {
        "csv": lambda: frame.to_csv(file, index=False),
        "jsonl": lambda: frame.to_json(file, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(file),
        "arrow": lambda: frame.to_feather(file),
    }
    write[kind]()
    with open_table(file, ["a", "b"]) as table:
        batches = list(table.batches(2))
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
    assert pa.Table.from_batches(batches).to_pydict() == {
        "a": list("abcde"),
        "b": list("uvwxy"),
    }


def test_a_long_field(tmp_path: Path) -> None:
    """The module's own limit is 131,072 characters; a book has more."""
    book = "It rains. " * 50_000
    pd.DataFrame({"text": [book]}).to_csv(tmp_path / "a.csv", index=False)
    assert list(documents([str(tmp_path)])) == [book]
