"""Runs made elsewhere: they come whole or not at all, and without a model they are made again."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bertprune import cli, execution, rows, studies
from bertprune.errors import UserError
from bertprune.importing import ALREADY_HERE, IMPORTED, REFUSED, Found, export, import_runs
from bertprune.runs import FACTS_FILE, NOTEBOOK_FILE, RECORD_FILE, ROWS_FILE, Run, to_execute

from .finished import BURN_IN, PRUNED, TUNED, finished

STUDY = """
title: Moved
parameters: {text: ["lab:0:300"], sparsity: 0.6}
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
            for file in (Path(__file__).parent.parent / "notebooks").glob("*.ipynb"):
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
        record, theirs = run.record(), json.loads((source / RECORD_FILE).read_text())
        imported = record.pop("imported")
        assert record == theirs and imported["from"] == "there"
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
    assert Run.of(PRUNED).record()["imported"]["from"] == "moved.tar.gz"
    assert Run.of(PRUNED).has_model()


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
    # The models may come later.
    assert [one.what for one in import_runs(there)].count(IMPORTED) == len(PARTS)
    assert all(run.has_model() for run in plan)


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
    assert "imported" not in Run.of(BURN_IN).record()


def test_other_rows_stay_what_they_are(there: Path) -> None:
    finished(BURN_IN, loss=2.25)
    ours = Run.of(BURN_IN)
    found = {one.name: one for one in import_runs(there)}
    # The loss and, of it, the loss of masked words.
    assert found[ours.id].note == "2 of 3 values differ, by up to 0.25: ours stay"
    assert found[ours.id].what == ALREADY_HERE
    assert ours.rows().value.tolist()[0] == 2.25 and "imported" not in ours.record()


def altered_notebook(folder: Path) -> None:
    (folder / NOTEBOOK_FILE).write_text((folder / NOTEBOOK_FILE).read_text() + " ")


def other_identity(folder: Path) -> None:
    record = json.loads((folder / RECORD_FILE).read_text())
    record["identity"]["code"] = "0" * 16
    (folder / RECORD_FILE).write_text(json.dumps(record))


def other_name(folder: Path) -> None:
    folder.rename(folder.with_name("other-0123456789"))


def no_rows(folder: Path) -> None:
    (folder / ROWS_FILE).unlink()


def no_record(folder: Path) -> None:
    (folder / RECORD_FILE).write_text("[]")


def a_link(folder: Path) -> None:
    (folder / "model" / "vocab.txt").symlink_to("/etc/passwd")


def cut_model(folder: Path) -> None:
    file = folder / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (altered_notebook, "its notebook was altered"),
        (other_identity, "its name is not that of its record"),
        (other_name, "its name is not that of its record"),
        (no_rows, r"it has no rows.csv"),
        (no_record, "cannot be read"),
        (a_link, "it has a link in it"),
        (cut_model, "cannot be read"),
    ],
)
def test_a_damaged_run_is_refused(
    there: Path, at: Move, damage: Callable[[Path], None], said: str
) -> None:
    damage(there / "runs" / Run.of(PRUNED).id)
    found = import_runs(there)
    (refused,) = [one for one in found if one.what == REFUSED]
    assert said in refused.note
    assert len(found) == len(PARTS)
    assert not Run.of(PRUNED).folder.exists()
    assert not list(at("here").glob("runs/.partial/import-*"))
    assert cli.main(["import", str(there)]) == 1


def test_runs_of_other_code_come_but_do_not_count(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bertprune.runs.code_key", lambda module: "f" * 16)
    monkeypatch.setattr("bertprune.importing.code_key", lambda module: "f" * 16)
    assert cli.main(["import", str(there)]) == 0
    said = capsys.readouterr().out
    assert "not counted as done, since it was made by other code" in said
    assert f"{len(PARTS)} imported, 0 already here, 0 refused; {len(PARTS)} not counted" in said
    assert not any(run.is_done() for run in studies.load("moved").plan())


def archive_of(file: Path, member: tarfile.TarInfo) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(b"x" * member.size))
    return file


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
