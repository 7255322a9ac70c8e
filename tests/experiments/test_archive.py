"""Runs made elsewhere: they come whole or not at all, and without a model they are made again."""

import errno
import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertprune import cli
from bertprune.base.errors import UserError
from bertprune.experiments import execution, studies
from bertprune.experiments.archive import (
    ALREADY_HERE,
    IMPORTED,
    REFUSED,
    Found,
    export,
    import_runs,
)
from bertprune.experiments.runs import (
    FACTS_FILE,
    NOTEBOOK_FILE,
    ROWS_FILE,
    Run,
    file_hashes,
    to_execute,
)
from bertprune.protocol import rows
from bertprune.protocol.predictions import PREDICTIONS_FILE
from bertprune.protocol.record import RECORD_FILE, Record, digest_of

from ..finished import ANSWERED, BURN_IN, PRUNED, TUNED, finished

STUDY = """
title: Moved
parameters: {text: ["lab:0:300"]}
grid: {sparsity: [0.6], task: [sst2], seed: [0]}
arms: {prune_pretrain: {}}
"""
PARTS = (BURN_IN, PRUNED.replace(sparsity=0.0), PRUNED, TUNED)

Move = Callable[[str], Path]


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Go to the project of that name, made where it is not there yet."""

    def go(name: str) -> Path:
        root = tmp_path / name
        if not root.exists():
            studies_folder = root / "notebooks" / "studies"
            studies_folder.mkdir(parents=True)
            for file in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb"):
                (root / "notebooks" / file.name).symlink_to(file)
            (studies_folder / "moved.yaml").write_text(STUDY)
        monkeypatch.setenv("BERTPRUNE_ROOT", str(root))
        return root

    return go


@pytest.fixture
def there(at: Move) -> Path:
    """Another project, in which the study is done; we are in ours."""
    root = at("there")
    for parameters in PARTS:
        finished(parameters)
    at("here")
    return root


def told(found: list[Found]) -> list[tuple[str, str]]:
    return [(one.what, one.note) for one in found]


def test_what_is_imported_counts(there: Path) -> None:
    plan = studies.load("moved").plan()
    assert len(plan) == len(PARTS) and not any(run.is_done() for run in plan)
    found = import_runs(there)
    assert told(found) == [(IMPORTED, "")] * len(PARTS)
    assert all(run.is_current() and run.has_model() for run in plan)
    assert to_execute(plan) == []
    for run in plan:
        source = there / "runs" / run.id
        assert rows.read(source / ROWS_FILE).equals(rows.read(run.folder / ROWS_FILE))
        imported = run.record().imported
        assert run.record() == Record.read(source).replace(imported=imported)
        assert imported["from"] == "there"
        # A page that is made anew takes its record from the facts.
        assert json.loads((run.folder / FACTS_FILE).read_text())["imported"] == imported
        assert not (run.folder / "log.txt").exists()
    assert [file.name for file in (plan[0].folder.parents[1] / ".partial").iterdir()] == []
    assert told(import_runs(there / "runs")) == [(ALREADY_HERE, "")] * len(PARTS)


def test_a_dry_run_writes_nothing(there: Path, at: Move) -> None:
    here = at("here")
    before = sorted(here.rglob("*"))
    assert told(import_runs(there, dry_run=True)) == [(IMPORTED, "")] * len(PARTS)
    assert sorted(here.rglob("*")) == before


def test_an_archive_and_back(there: Path, at: Move, tmp_path: Path) -> None:
    at("there")
    file = tmp_path / "moved.tar.gz"
    assert export(studies.load("moved"), file) == len(PARTS)
    with tarfile.open(file) as archive:
        names = archive.getnames()
        assert {member.uname for member in archive.getmembers()} == {""}
    assert not any(name.endswith("log.txt") for name in names)
    at("here")
    assert told(import_runs(file)) == [(IMPORTED, "")] * len(PARTS)
    predicted = Run.of(TUNED).predictions()
    assert predicted is not None and predicted.lengths[0].tolist() == ANSWERED["lengths"]
    assert Run.of(PRUNED).record().imported["from"] == "moved.tar.gz"
    assert Run.of(PRUNED).has_model()


def test_what_nobody_would_take_over_is_not_packed(there: Path, at: Move, tmp_path: Path) -> None:
    at("there")
    altered_notebook(Run.of(PRUNED).folder)
    with pytest.raises(UserError, match=f"of {Run.of(PRUNED).id} were altered .* sweep moved`"):
        export(studies.load("moved"), tmp_path / "moved.tar.gz")
    assert not (tmp_path / "moved.tar.gz").exists()


def test_without_models_only_what_is_needed_is_made_again(
    there: Path, at: Move, tmp_path: Path
) -> None:
    at("there")
    export(studies.load("moved"), tmp_path / "lean.tar.gz", with_models=False)
    at("here")
    found = import_runs(tmp_path / "lean.tar.gz")
    assert [bool(one.note) for one in found] == [True, True, True, False]
    assert "without its model" in found[0].note
    plan = burn_in, dense, pruned, tuned = studies.load("moved").plan()
    assert all(run.is_current() for run in plan) and to_execute(plan) == []
    # Who trains needs the model it starts from, and this one the models of its own.
    shutil.rmtree(tuned.folder)
    assert to_execute(plan) == list(plan)
    with pytest.raises(UserError, match=f"starts from {pruned.id}, which was imported without"):
        tuned.work()
    # One that is trained, and whose page alone is missing, needs no model.
    tuned.partial_folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(there / "runs" / tuned.id / ROWS_FILE, tuned.partial_folder)
    assert to_execute(plan) == [tuned]
    # A model that is asked for is made; that of the dense one is what pruning is compared with.
    assert to_execute(plan[:2], models_of=[dense]) == [burn_in, dense]
    # Its result stays until the new one is there.
    dense.reopen()
    assert dense.is_done()
    # The models may come later, from another execution even: the record has what lies there.
    config = there / "runs" / pruned.id / "model" / "config.json"
    config.write_text(config.read_text() + " ")
    note_hashes(config.parents[1])
    assert [one.what for one in import_runs(there)].count(IMPORTED) == len(PARTS)
    assert all(run.has_model() for run in plan)
    assert pruned.record().files_sha256 == file_hashes(pruned.folder)
    assert "model/model.safetensors" in pruned.record().files_sha256


def test_what_is_executed_again_replaces_what_came(
    there: Path, at: Move, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(there / "runs" / Run.of(BURN_IN).id / "model")
    import_runs(there)
    executed = []

    def execute(run: Run, **_: object) -> str:
        executed.append(run.id)
        shutil.rmtree(run.folder)
        return finished(run.parameters).id

    monkeypatch.setattr(execution, "execute", execute)
    for _ in range(2):
        assert cli.main(["run", "burn_in", "-p", "text", "[lab:0:300]"]) == 0
    assert executed == [Run.of(BURN_IN).id]
    assert not Run.of(BURN_IN).record().imported


def test_other_rows_stay_what_they_are(there: Path) -> None:
    finished(BURN_IN, loss=2.25)
    ours = Run.of(BURN_IN)
    found = {one.name: one for one in import_runs(there)}
    # The loss and, of it, the loss of masked words.
    assert found[ours.id].note == "2 of 3 values differ, by up to 0.25: ours stay"
    assert found[ours.id].what == ALREADY_HERE
    assert ours.rows().value.tolist()[0] == 2.25 and not ours.record().imported


def change_record(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((folder / RECORD_FILE).read_text())
    change(record)
    (folder / RECORD_FILE).write_text(json.dumps(record))


def note_hashes(folder: Path) -> None:
    change_record(folder, lambda record: record.update(files_sha256=file_hashes(folder)))


def forget_hashes(folder: Path) -> None:
    """Make it a run of before files were hashed."""
    change_record(folder, lambda record: record.pop("files_sha256"))


def altered_notebook(folder: Path) -> None:
    (folder / NOTEBOOK_FILE).write_text((folder / NOTEBOOK_FILE).read_text() + " ")


def written(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def linked(folder: Path) -> None:
    (folder / "model" / "vocab.txt").symlink_to("/etc/passwd")


def other_identity(folder: Path) -> None:
    change_record(folder, lambda record: record["identity"].update(code="0" * 16))


def no_code(folder: Path) -> None:
    """A run whose name fits its identity, which says nothing of the code."""
    identity = json.loads((folder / RECORD_FILE).read_text())["identity"]
    del identity["code"]
    name = f"less-{digest_of(identity)}"
    run = f"{identity['notebook']}/{name}"
    change_record(folder, lambda record: record.update(identity=identity, id=run))
    folder.rename(folder.with_name(name))


def other_name(folder: Path) -> None:
    folder.rename(folder.with_name("other-0123456789"))


def cut_model(folder: Path) -> None:
    file = folder / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def cut_model_of_before(folder: Path) -> None:
    forget_hashes(folder)
    cut_model(folder)


def other_weights(folder: Path) -> None:
    file = folder / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def other_values(folder: Path) -> None:
    file = folder / ROWS_FILE
    rows.write(rows.read(file).assign(value=0.875), file)


def hashes_that_are_none(folder: Path) -> None:
    change_record(folder, lambda record: record.update(files_sha256=["rows.csv"]))


def no_values(folder: Path) -> None:
    forget_hashes(folder)
    file = folder / ROWS_FILE
    rows.write(rows.read(file).drop(columns="value"), file)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (altered_notebook, "its notebook was altered"),
        (other_identity, "its name is not that of its record"),
        (no_code, "its record cannot be read: its identity has no code"),
        (other_name, "its name is not that of its record"),
        (without(ROWS_FILE), r"it has no rows.csv"),
        (written(RECORD_FILE, "[]"), "its record cannot be read: it is no mapping"),
        (linked, "it has a link in it"),
        (cut_model, "after it was executed: model/model.safetensors"),
        (cut_model_of_before, "cannot be read"),
        (other_weights, "after it was executed: model/model.safetensors"),
        (other_values, "after it was executed: rows.csv"),
        (
            without("model/masks.safetensors"),
            "after it was executed: model/masks.safetensors",
        ),
        (
            written("model/adapter_config.json", "{}"),
            "after it was executed: model/adapter_config.json",
        ),
        (hashes_that_are_none, "cannot be read"),
        (no_values, "its rows.csv has no column value"),
        (written(FACTS_FILE, "[]"), "its facts.json has no facts"),
        (written(RECORD_FILE, "[" * 100_000), "cannot be read"),
        (written(FACTS_FILE, "[" * 100_000), "cannot be read"),
    ],
)
def test_a_damaged_run_is_refused(
    there: Path, at: Move, damage: Callable[[Path], object], said: str
) -> None:
    damage(there / "runs" / Run.of(PRUNED).id)
    found = import_runs(there)
    (refused,) = [one for one in found if one.what == REFUSED]
    assert said in refused.note
    assert len(found) == len(PARTS)
    assert not Run.of(PRUNED).folder.exists()
    assert not list(at("here").glob("runs/.partial/import-*"))
    assert cli.main(["import", str(there)]) == 1


@pytest.mark.parametrize("damage", [without(PREDICTIONS_FILE), written(PREDICTIONS_FILE, "PAR1")])
def test_predictions_that_were_altered_are_refused(
    there: Path, at: Move, damage: Callable[[Path], object]
) -> None:
    damage(there / "runs" / Run.of(TUNED).id)
    (refused,) = [one for one in import_runs(there) if one.what == REFUSED]
    assert refused.note == "it was altered or damaged after it was executed: predictions.parquet"


def test_runs_of_before_files_were_hashed_come(there: Path) -> None:
    for parameters in PARTS:
        forget_hashes(there / "runs" / Run.of(parameters).id)
    *others, tuned = import_runs(there)
    assert told(others) == [(IMPORTED, "")] * (len(PARTS) - 1)
    assert tuned.note.startswith("without its predictions on dev sets")
    assert Run.of(TUNED).predictions() is None
    assert all(run.is_current() for run in studies.load("moved").plan())


@pytest.mark.parametrize("place", [0.25, 0.5, 0.75])
def test_a_damaged_archive_is_refused(there: Path, at: Move, tmp_path: Path, place: float) -> None:
    at("there")
    for parameters in PARTS:
        forget_hashes(Run.of(parameters).folder)
    export(studies.load("moved"), tmp_path / "whole.tar.gz")
    weights = (Run.of(BURN_IN).model_folder / "model.safetensors").read_bytes()
    some = weights[int(place * len(weights)) :][:16]
    # Not compressed, whatever bit is flipped can still be unpacked.
    plain = gzip.decompress((tmp_path / "whole.tar.gz").read_bytes())
    content = bytearray(gzip.compress(plain, compresslevel=0))
    content[content.index(some)] ^= 1
    (tmp_path / "damaged.tar.gz").write_bytes(content)
    here = at("here")
    with pytest.raises(UserError, match=r"cannot be read as a \.tar\.gz: CRC check failed"):
        import_runs(tmp_path / "damaged.tar.gz")
    assert not list(here.glob("runs/*/*")) + list(here.glob("runs/.partial/import-*"))


def test_an_archive_that_cannot_be_unpacked_is_refused(
    there: Path, at: Move, tmp_path: Path
) -> None:
    at("there")
    file = tmp_path / "moved.tar.gz"
    export(studies.load("moved"), file)
    # A header of gzip, and a block of a kind that deflate does not have, behind tar's end.
    file.write_bytes(file.read_bytes() + gzip.compress(b"")[:10] + b"\xff" * 20)
    at("here")
    with pytest.raises(UserError, match=r"cannot be read as a \.tar\.gz: .* invalid block type"):
        import_runs(file)


def test_runs_of_other_code_come_but_do_not_count(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bertprune.training.dispatch.code_of", lambda contract: "f" * 16)
    assert cli.main(["import", str(there)]) == 0
    said = capsys.readouterr().out
    assert "not counted as done, since it was made by other code" in said
    assert f"{len(PARTS)} imported, 0 already here, 0 refused; {len(PARTS)} not counted" in said
    assert not any(run.is_done() for run in studies.load("moved").plan())


def archive_of(file: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return file


@pytest.mark.parametrize("names", [["runs", "runs/finetune/a/record.json"], ["runs/" + 300 * "a"]])
def test_an_archive_of_names_that_no_disk_has_is_refused(
    at: Move, tmp_path: Path, names: list[str]
) -> None:
    here = at("here")
    file = archive_of(tmp_path / "bad.tar.gz", *map(tarfile.TarInfo, names))
    with pytest.raises(UserError, match=r"bad\.tar\.gz cannot be read as a \.tar\.gz"):
        import_runs(file)
    assert not list(here.glob("runs/.partial/import-*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_gets_full_is_not_the_archives_fault(
    there: Path, at: Move, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(code, "full")

    at("there")
    export(studies.load("moved"), tmp_path / "moved.tar.gz")
    at("here")
    monkeypatch.setattr("tarfile.TarFile.extractall", full)
    with pytest.raises(UserError, match="no space left on the disk"):
        import_runs(tmp_path / "moved.tar.gz")


@pytest.mark.parametrize("name", ["../out", "/tmp/bertprune-out", "runs/../../out"])
def test_an_archive_does_not_write_outside(at: Move, tmp_path: Path, name: str) -> None:
    at("here")
    member = tarfile.TarInfo(name)
    member.size = 1
    with pytest.raises(UserError, match="would lie outside"):
        import_runs(archive_of(tmp_path / "bad.tar.gz", member))


def test_an_archive_with_a_link_is_refused(at: Move, tmp_path: Path) -> None:
    at("here")
    member = tarfile.TarInfo("runs/finetune")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    with pytest.raises(UserError, match="neither a file nor a folder"):
        import_runs(archive_of(tmp_path / "bad.tar.gz", member))


def test_an_archive_larger_than_the_disk_is_refused(
    there: Path, at: Move, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("there")
    export(studies.load("moved"), tmp_path / "big.tar.gz")
    at("here")
    usage = type(shutil.disk_usage("/"))(10**9, 10**9, 100)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"needs 0\.0 GB .*: free some space"):
        import_runs(tmp_path / "big.tar.gz")


def test_sources_without_runs(at: Move, tmp_path: Path) -> None:
    here = at("here")
    finished(BURN_IN)
    with pytest.raises(UserError, match="there is no .*nowhere"):
        import_runs(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no runs"):
        import_runs(tmp_path / "empty")
    (tmp_path / "text.tar.gz").write_text("no archive")
    with pytest.raises(UserError, match=r"cannot be read as a \.tar\.gz"):
        import_runs(tmp_path / "text.tar.gz")
    with pytest.raises(UserError, match="is where the runs of this project lie"):
        import_runs(here)


def test_there_must_be_something_to_export(at: Move, tmp_path: Path) -> None:
    at("here")
    with pytest.raises(UserError, match=r"no run of study moved is done: .* sweep moved"):
        export(studies.load("moved"), tmp_path / "none.tar.gz")
    with pytest.raises(UserError, match=r"none.zip must be a \.tar\.gz"):
        export(studies.load("moved"), tmp_path / "none.zip")
    assert not list(tmp_path.glob("none*"))
