"""Text sources: what they give, in which order, and how a bad one is refused."""

import errno
import os
import socket
import time
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertprune.base.errors import UserError
from bertprune.data import documents as documents_module
from bertprune.data.documents import (
    DEFAULT_TEXT,
    check_text,
    documents,
    text_key,
    text_size_bytes,
)
from bertprune.data.reading import hub
from bertprune.lab import text as lab_text
from bertprune.lab.language import Source


def write_parquet(file: Path, rows: list[str | None]) -> None:
    pq.write_table(pa.table({"text": pa.array(rows, pa.string())}), file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three documents in a .txt and three in a .parquet file, one of each blank."""
    write_parquet(tmp_path / "b.parquet", ["third", None, "fourth\nwith two paragraphs", " \n"])
    (tmp_path / "deeper").mkdir()
    (tmp_path / "a.txt").write_text("first\n\nsecond ümlaut\n", encoding="utf-8")
    (tmp_path / "deeper" / "c.txt").write_text("fifth")
    (tmp_path / "README.md").write_text("not text")
    return tmp_path


def test_folder_gives_documents_in_order_of_paths(folder: Path) -> None:
    check_text([str(folder)])
    assert list(documents([str(folder)])) == [
        "first",
        "second ümlaut",
        "third",
        "fourth\nwith two paragraphs",
        "fifth",
    ]


def test_sources_follow_each_other(folder: Path) -> None:
    text = [str(folder / "deeper" / "c.txt"), "lab:1:30", str(folder / "a.txt")]
    read = list(documents(text))
    assert read[0] == "fifth"
    assert read[1:-2] == list(lab_text.documents(Source(1, 30)))
    assert read[-1] == "second ümlaut"


def test_relative_path_is_relative_to_the_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(folder))
    assert list(documents(["deeper"])) == ["fifth"]


def test_documents_are_streamed(tmp_path: Path) -> None:
    """The first document comes without reading a damaged end of the file."""
    lines = tmp_path / "long.txt"
    lines.write_bytes(b"good\n" * 100_000 + b"\xff\n")
    assert list(islice(documents([str(lines)]), 3)) == ["good"] * 3
    with pytest.raises(UserError, match="not UTF-8"):
        list(documents([str(lines)]))


def test_key_follows_the_content_not_the_place(folder: Path, tmp_path: Path) -> None:
    key = text_key([str(folder)])
    moved = tmp_path / "moved.txt"
    moved.write_bytes((folder / "a.txt").read_bytes())
    assert text_key([str(moved)]) == text_key([str(folder / "a.txt")])
    (folder / "a.txt").write_text("another first\n")
    assert text_key([str(folder)]) != key


def test_key_of_a_lab_language_follows_its_text() -> None:
    assert text_key(["lab:0:20000"]) == text_key(["lab"]) == text_key(["lab:0"])
    sources = (["lab:0:30"], ["lab:0:31"], ["lab:1:30"], ["lab:0:30", "lab:0:30"])
    assert len({text_key(source) for source in sources}) == len(sources)


def test_size_is_that_of_the_text(folder: Path) -> None:
    characters = sum(map(len, documents([str(folder)])))
    size_bytes = text_size_bytes([str(folder)])
    assert size_bytes is not None
    assert characters <= size_bytes <= 10 * characters
    assert text_size_bytes(["owner/name"]) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"caf\xe9\n", "not UTF-8"),
    ],
)
def test_bad_text_file(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        check_text([str(file)])
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": pa.array([], pa.string())}, "is empty"),
        ({"content": ["a"]}, "has no column 'text': valid: content"),
        ({"text": [1, 2]}, "holds int64, it must hold strings"),
    ],
)
def test_bad_parquet(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    file = tmp_path / "bad.parquet"
    pq.write_table(pa.table(columns), file)
    with pytest.raises(UserError, match=message) as raised:
        check_text([str(tmp_path)])
    assert str(file) in str(raised.value)


def test_damaged_parquet(tmp_path: Path) -> None:
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(UserError, match=r"damaged\.parquet cannot be read"):
        check_text([str(tmp_path)])


def test_parquet_damaged_inside(tmp_path: Path) -> None:
    file = tmp_path / "damaged.parquet"
    write_parquet(file, ["word " * 1000])
    content = bytearray(file.read_bytes())
    content[4:24] = b"\xff" * 20  # the header of the first page
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.parquet cannot be read"):
        list(documents([str(file)]))


def test_text_damaged_inside(tmp_path: Path) -> None:
    file = tmp_path / "damaged.parquet"
    pq.write_table(pa.table({"text": ["the boat"]}), file, compression="none")
    file.write_bytes(file.read_bytes().replace(b"boat", b"\xff" * 4))
    with pytest.raises(UserError, match=r"damaged\.parquet cannot be read as parquet: .*utf-8"):
        list(documents([str(file)]))


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"])
    pq.write_table(table, tmp_path / "twice.parquet")
    for work in (check_text, text_size_bytes):
        with pytest.raises(UserError, match=r"twice\.parquet has the column 'text' twice"):
            work([str(tmp_path)])


def test_a_folder_may_be_called_like_a_file(folder: Path) -> None:
    (folder / "deeper").rename(folder / "deeper.txt")
    assert list(documents([str(folder)]))[-1] == "fifth"
    assert text_size_bytes([str(folder)])


def test_a_link_that_leads_nowhere(folder: Path) -> None:
    (folder / "z.txt").symlink_to(folder / "nowhere.txt")
    for work in (check_text, text_key, text_size_bytes):
        with pytest.raises(UserError, match=r"z\.txt is no file that you may read"):
            work([str(folder)])


@pytest.mark.skipif(os.geteuid() == 0, reason="to root nothing is closed")
def test_what_may_not_be_read(folder: Path) -> None:
    (folder / "a.txt").chmod(0)
    for source in (folder, folder / "a.txt"):
        with pytest.raises(UserError, match=r"a\.txt is no file that you may read"):
            text_key([str(source)])
    (folder / "deeper").chmod(0)
    for source in (folder, folder / "deeper"):
        with pytest.raises(UserError, match="deeper cannot be read: Permission denied"):
            text_key([str(source)])
    (folder / "deeper").chmod(0o755)


def test_a_folder_that_cannot_be_walked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def closed(place: str) -> object:
        if str(place).endswith("deeper"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match="deeper cannot be read: Permission denied"):
        check_text([str(folder)])


def test_missing_or_unsuitable_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.parquet"):
        check_text([str(tmp_path / "missing.parquet")])
    with pytest.raises(UserError, match="no file of text in the folder"):
        check_text([str(tmp_path)])
    (tmp_path / "page.html").write_text("a,b")
    with pytest.raises(UserError, match=r"page\.html is of no kind that is read"):
        check_text([str(tmp_path / "page.html")])
    with pytest.raises(UserError, match="no text is named"):
        check_text([])


@pytest.mark.parametrize("source", DEFAULT_TEXT)
def test_hub_out_of_reach_names_both_ways(source: str) -> None:
    """The tests run with HF_HUB_OFFLINE, which the Hub's library treats as no network."""
    for work in (lambda: check_text([source]), lambda: list(documents([source]))):
        with pytest.raises(UserError, match=r"connect to the network, or give a local folder"):
            work()


def test_silent_network_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "TIMEOUT_S", 0.3)
        huggingface_hub.close_session()
        started = time.monotonic()
        with pytest.raises(UserError, match="connect to the network"):
            check_text(["owner/name"])
        assert time.monotonic() - started < 5.0
    huggingface_hub.close_session()


@pytest.fixture
def on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the repository owner/name; the library loads it as it is."""
    load = datasets.load_dataset

    def load_from_folder(
        repository: str, config: str | None, *, split: str, revision: str | None
    ) -> datasets.Dataset:
        assert repository == "owner/name"
        files = {"data_files": {split: f"{revision or 'main'}/{config or '*'}/{split}*.parquet"}}
        return load(str(tmp_path), split=split, cache_dir=str(tmp_path / "cache"), **files)

    monkeypatch.setattr(hub, "check_hub", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", load_from_folder)
    return tmp_path


def _publish(folder: Path, place: str, rows: list[str | None]) -> None:
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / place, rows)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("owner/name", ["one", "two"]),
        ("owner/name:en", ["one"]),
        ("owner/name:en@v2", ["three"]),
    ],
)
def test_a_data_set_of_the_hub(source: str, expected: list[str], on_the_hub: Path) -> None:
    _publish(on_the_hub, "main/en/train-0.parquet", ["one", ""])
    _publish(on_the_hub, "main/fr/train-0.parquet", ["two"])
    _publish(on_the_hub, "main/en/test-0.parquet", ["not this"])
    _publish(on_the_hub, "v2/en/train-0.parquet", ["three"])
    assert list(documents([source])) == expected


def test_a_configuration_that_the_hub_does_not_have(on_the_hub: Path) -> None:
    _publish(on_the_hub, "main/en/train-0.parquet", ["one"])
    with pytest.raises(UserError, match="'owner/name' cannot give de"):
        list(documents(["owner/name:de"]))


def test_rows_that_are_sentences_are_joined(
    on_the_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(on_the_hub, "main/en/train-0.parquet", ["one", "two", "three", "four", "five"])
    monkeypatch.setitem(documents_module.SENTENCES_A_DOCUMENT, "owner/name", 2)
    assert list(documents(["owner/name"])) == ["one\ntwo", "three\nfour", "five"]
