"""What a folder of text holds is read, is litter, or is refused by name."""

import gzip
import json
import os
import socket
from pathlib import Path

import datasets
import pytest

from bertprune.base.errors import UserError
from bertprune.data.documents import check_text, documents, text_key
from bertprune.data.reading.folders import check_shards, files_below


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One document, and room for more."""
    place = tmp_path / "text"
    place.mkdir()
    (place / "a.txt").write_text("Here it is. It rains.\n")
    return place


def read(folder: Path) -> list[str]:
    check_text([str(folder)])
    return list(documents([str(folder)]))


def test_linked_folders_and_files_are_read(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deeper").mkdir(parents=True)
    (elsewhere / "deeper" / "b.txt").write_text("Second.\n")
    (elsewhere / "c").write_text("Third.\n")  # as the Hub's library keeps its downloads
    (folder / "b").symlink_to(elsewhere / "deeper")
    (folder / "c.txt").symlink_to(elsewhere / "c")
    assert read(folder) == ["Here it is. It rains.", "Second.", "Third."]
    key = text_key([str(folder)])
    (elsewhere / "deeper" / "b.txt").write_text("Another.\n")
    assert text_key([str(folder)]) != key


@pytest.mark.parametrize("above", [".", ".."])
def test_a_link_that_leads_back(folder: Path, above: str) -> None:
    (folder / "deeper").mkdir()
    (folder / "deeper" / "again").symlink_to(folder / "deeper" / above)
    with pytest.raises(UserError, match="again leads back to a folder that it lies in"):
        check_text([str(folder)])


def test_two_links_to_one_folder_are_no_loop(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.txt").write_text("Second.\n")
    for name in ("x", "y"):
        (folder / name).symlink_to(tmp_path / "other")
    assert read(folder)[1:] == ["Second."] * 2


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store", "._a.txt", ".a.txt.swp", ".gitattributes", "a.txt~", "#a.txt#", "a.txt.bak",
        "Thumbs.db", "desktop.ini", "README", "README.md", "LICENSE", "SHA256SUMS", "_SUCCESS",
        "a.txt.md5", "a.txt:Zone.Identifier", "license.docx", "dataset_info.json",
        "__MACOSX/b.txt", ".cache/huggingface/b.txt", ".ipynb_checkpoints/a.txt",
    ],
)  # fmt: skip
def test_litter_is_passed_over(folder: Path, name: str) -> None:
    key = text_key([str(folder)])
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"\xff\x00")
    assert read(folder) == ["Here it is. It rains."]
    assert text_key([str(folder)]) == key


@pytest.mark.parametrize("name", ["readme.txt", "License.csv"])
def test_a_note_that_can_be_read_is_read(folder: Path, name: str) -> None:
    (folder / name).write_text("text\n")
    assert files_below(folder) == sorted([folder / name, folder / "a.txt"])


def test_a_text_that_is_there_compressed_and_not(folder: Path) -> None:
    """As `gzip --keep` leaves it: it would be read twice."""
    (folder / "a.txt.gz").write_bytes(gzip.compress((folder / "a.txt").read_bytes()))
    with pytest.raises(UserError, match=r"a\.txt and .*a\.txt\.gz are one text"):
        check_text([str(folder)])


def test_litter_in_the_path_to_the_folder_does_not_count(tmp_path: Path) -> None:
    place = tmp_path / ".cache" / "text~"
    place.mkdir(parents=True)
    (place / "a.txt").write_text("Here it is. It rains.\n")
    assert len(read(place)) == 1


@pytest.mark.parametrize(
    "name",
    ["notes.md", "wiki_00", "b.html", "all.zip", "b.tar.gz", "b.gz", "b.parquet.gz", "b.txt.part",
     "b.pdf", "deeper/b.rtf", "b.txt.1"],
)  # fmt: skip
def test_other_kinds_are_refused_by_name(folder: Path, name: str) -> None:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("Second.\n")
    for source in (folder, file):
        with pytest.raises(UserError, match="is of no kind that is read") as raised:
            check_text([str(source)])
        assert str(file) in str(raised.value)


@pytest.mark.parametrize("name", ["B.TXT", "b.Txt", "b.txt.gz", "B.TXT.GZ", "b.v2.txt"])
def test_suffixes_in_any_case(folder: Path, name: str) -> None:
    content = b"Second.\n"
    compressed = name.lower().endswith(".gz")
    (folder / name).write_bytes(gzip.compress(content) if compressed else content)
    assert sorted(read(folder)) == ["Here it is. It rains.", "Second."]


@pytest.mark.parametrize("suffix", ["txt", "dat"])
def test_what_is_no_plain_file(folder: Path, suffix: str) -> None:
    """To read a FIFO would wait for ever."""
    odd = folder / f"b.{suffix}"
    os.mkfifo(odd)
    for source in (folder, odd):
        with pytest.raises(UserError, match=rf"b\.{suffix} is no file that you may read"):
            check_text([str(source)])
    odd.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(odd))
        with pytest.raises(UserError, match=rf"b\.{suffix} is no file that you may read"):
            check_text([str(folder)])


@pytest.mark.parametrize("target", ["nowhere", "b.txt", "../gone/b.txt"])
def test_a_link_without_an_end(folder: Path, target: str) -> None:
    (folder / "b.txt").symlink_to(target)
    with pytest.raises(UserError, match=r"b\.txt is no file that you may read"):
        check_text([str(folder)])


@pytest.mark.parametrize("name", ["b.txt", "b.csv", "b.jsonl", "b.txt.gz"])
def test_an_empty_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    with pytest.raises(UserError, match=name):
        check_text([str(folder)])


def test_a_missing_shard_is_named(folder: Path) -> None:
    for number in (0, 2):
        (folder / f"train-0000{number}-of-00003.txt").write_text("Second.\n")
    with pytest.raises(UserError, match=r"train-00001-of-00003\.txt is missing: 2 of 3 shards"):
        check_text([str(folder)])
    (folder / "train-00001-of-00003.txt").write_text("Second.\n")
    assert len(read(folder)) == 4
    check_shards([folder / "dev-00000-of-00001.txt", folder / "train-00000-of-00001.txt"])


def saved(folder: Path, texts: list[str]) -> datasets.Dataset:
    data = datasets.Dataset.from_dict({"text": texts, "n": list(range(len(texts)))})
    data.save_to_disk(str(folder), num_shards=2)
    return data


def test_a_data_set_that_was_saved(tmp_path: Path) -> None:
    texts = ["One. Two.", "Three. Four.", "Five. Six."]
    saved(tmp_path / "saved", texts)
    assert read(tmp_path / "saved") == texts
    # Whoever works with the data set leaves tables in its folder that are no part of it.
    datasets.load_from_disk(str(tmp_path / "saved")).map(lambda row: {"n": row["n"] + 1})
    assert any(file.name.startswith("cache-") for file in (tmp_path / "saved").iterdir())
    assert read(tmp_path / "saved") == texts
    (tmp_path / "saved" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(UserError, match=r"data-00001-of-00002\.arrow is no file"):
        read(tmp_path / "saved")


def test_all_splits_of_a_data_set_that_was_saved(tmp_path: Path) -> None:
    splits = {
        name: datasets.Dataset.from_dict({"text": [f"{name} one. And two."]})
        for name in ("train", "test")
    }
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    assert read(tmp_path / "saved") == ["test one. And two.", "train one. And two."]


def test_a_state_that_is_none(folder: Path) -> None:
    (folder / "state.json").write_text(json.dumps({"_data_files": None}))
    with pytest.raises(UserError, match=r"state\.json is not as `save_to_disk` writes it"):
        files_below(folder)
