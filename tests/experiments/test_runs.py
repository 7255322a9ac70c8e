"""Runs: what their identity depends on, and what counts as done."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from bertprune.base.errors import UserError
from bertprune.experiments import execution, runs, stacking, timekeeping
from bertprune.experiments.runs import Run
from bertprune.protocol import notebook_parameters, rows
from bertprune.protocol.notebook_parameters import (
    BurnIn,
    Finetune,
    PruneAfterFinetune,
    PrunePretrain,
)
from bertprune.protocol.record import RECORD_FILE, DamagedRecord

from ..finished import BURN_IN, FACTS, PRUNED, finished, full_disk_for, write_record


@pytest.fixture(autouse=True)
def own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    notebooks = Path(__file__).parents[2] / "notebooks"
    (tmp_path / "notebooks").symlink_to(notebooks)


def test_identity_is_stable_and_told_by_what_matters(tmp_path: Path) -> None:
    assert Run.of(Finetune()).id == Run.of(Finetune()).id
    different = [
        Finetune(),
        Finetune(epochs=4),
        Finetune(layers=3),
        Finetune(sparsity=0.6),
        Finetune(seed=1),
        Finetune(task=("cola",)),
        Finetune(burn_in_steps=7),
        PruneAfterFinetune(),
        PrunePretrain(),
        BurnIn(),
    ]
    assert len({Run.of(parameters).id for parameters in different}) == len(different)


def test_data_count_by_content_not_by_place(tmp_path: Path) -> None:
    for name, line in (("one", "A line."), ("two", "A line."), ("three", "Another line.")):
        (tmp_path / f"{name}.txt").write_text(f"{line}\n")
    one, two, three = (Run.of(BurnIn(text=(f"{name}.txt",))).id for name in ("one", "two", "three"))
    assert one == two != three


def test_a_run_at_no_sparsity_is_shared_by_all_methods() -> None:
    dense = Run.of(Finetune(sparsity=0.0))
    assert Run.of(Finetune(sparsity=0.0, method="random")).id == dense.id
    assert Run.of(PruneAfterFinetune(sparsity=0.9)).upstream == dense


def test_pruning_after_fine_tuning_is_told_by_how_it_prunes() -> None:
    different = [
        PruneAfterFinetune(),
        PruneAfterFinetune(scope="global"),
        PruneAfterFinetune(method="random"),
        PruneAfterFinetune(sparsity=0.6),
        PruneAfterFinetune(recovery_epochs=1),
    ]
    assert len({Run.of(p).id.rpartition("-")[2] for p in different}) == len(different)
    # It prunes in one shot, but is compared with what was pruned along a ramp.
    assert Run.of(PruneAfterFinetune(ramp_steps=7)).id != Run.of(PruneAfterFinetune()).id


def test_done_is_a_record_with_these_parameters() -> None:
    run = Run.of(Finetune())
    assert not run.is_done()
    record = write_record(run)
    assert run.is_done() and run.is_current()
    record.replace(parameters=record.parameters | {"epochs": 9}).write(run.folder)
    assert not run.is_done()


def test_a_parameter_added_later_orphans_nothing() -> None:
    run = Run.of(Finetune())
    known = notebook_parameters.as_values(run.parameters)
    del known["warmup_steps"]
    write_record(run, parameters=known)
    assert run.is_done()


def test_what_was_begun_under_another_default_is_begun_anew() -> None:
    run = Run.of(BurnIn(text=("lab:0:300",), dev_share=0.1, burn_in_steps=1))
    found = run.work()
    facts = run.partial_folder / runs.FACTS_FILE
    assert json.loads(facts.read_text())["tries"] == 1
    tries = run.partial_folder / timekeeping.TRIES_FILE
    assert json.loads(tries.read_text())["tries"] == 1
    assert run.work().equals(found)
    assert json.loads(tries.read_text())["tries"] == 1
    file = run.partial_folder / runs.PARAMETERS_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dev_examples": 7}))
    (run.partial_folder / runs.ROWS_FILE).write_text("of then")
    assert run.work().equals(found)
    # Stopped half an hour after it was begun, and begun again: also by a version that only counted.
    for noted, tried, before_s in (
        ({"tries": 1, "wall_time_s": 200.0, "begun": 1000.0}, 2, 2000),
        ("|||", 1, 0),
    ):
        (run.partial_folder / runs.ROWS_FILE).unlink()
        tries.write_text(noted if isinstance(noted, str) else json.dumps(noted))
        (run.partial_folder / timekeeping.PROGRESS_FILE).write_text(json.dumps({"time": 2800.0}))
        assert run.work().equals(found)
        said = json.loads(facts.read_text())
        assert said["tries"] == tried and before_s <= said["wall_time_s"] < before_s + 100


@pytest.mark.parametrize("left", ["", '{"dev_exam', "[]"])
def test_parameters_that_were_cut_off_stop_nothing(left: str) -> None:
    run = Run.of(BurnIn(text=("lab:0:300",)))
    run.start_or_go_on()
    (run.partial_folder / runs.ROWS_FILE).write_text("kept")
    file = run.partial_folder / runs.PARAMETERS_FILE
    file.write_text(left)
    run.start_or_go_on()
    assert json.loads(file.read_text())["text"] == ["lab:0:300"]
    assert (run.partial_folder / runs.ROWS_FILE).read_text() == "kept"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_on_a_full_disk_what_was_written_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.of(BurnIn(text=("lab:0:300",)))
    run.start_or_go_on()
    timekeeping.note_training_together(run.partial_folder, 2.0, 3)
    files = [
        run.partial_folder / name for name in (runs.PARAMETERS_FILE, timekeeping.TOGETHER_FILE)
    ]
    before = [file.read_text() for file in files]
    for file in files:
        full_disk_for(file.name, monkeypatch)
    with pytest.raises(UserError, match=r"no space left .*/parameters\.json"):
        run.start_or_go_on()
    with pytest.raises(UserError, match=r"no space left .*/together\.json"):
        timekeeping.note_training_together(run.partial_folder, 2.0, 3)
    assert [file.read_text() for file in files] == before


def test_shares_of_time_add_up_and_survive_damage(tmp_path: Path) -> None:
    for share_s, models in ((2.0, 3), (1.5, 2)):
        timekeeping.note_training_together(tmp_path, share_s, models)
    assert timekeeping.trained_together(tmp_path) == {"wall_time_s": 3.5, "models": 3}
    (tmp_path / timekeeping.TOGETHER_FILE).write_text("")
    timekeeping.note_training_together(tmp_path, 1.0, 2)
    assert timekeeping.trained_together(tmp_path) == {"wall_time_s": 1.0, "models": 2}


@pytest.mark.parametrize("left", ["", "{", "[]", "{}", "\0\0"])
def test_a_damaged_record_is_named_with_what_to_do(left: str) -> None:
    run = Run.of(Finetune())
    write_record(run)
    file = run.folder / RECORD_FILE
    file.write_text(left)
    with pytest.raises(DamagedRecord) as said:
        run.is_done()
    assert str(file) in str(said.value) and f"delete the folder {run.folder}, " in str(said.value)
    # Nor is it one of the runs that are done.
    assert runs.done() == []


@pytest.mark.parametrize(("used", "said"), [("no", "float32"), ("bf16", "bf16")])
def test_the_record_says_which_precision_was_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: str, said: str
) -> None:
    AcceleratorState()
    monkeypatch.setitem(AcceleratorState._shared_state, "_mixed_precision", used)
    assert timekeeping.facts(tmp_path, 1, 1.0)["precision"] == said


def test_the_record_has_hashes_of_what_it_left() -> None:
    run = Run.of(BurnIn())
    (run.partial_folder / "model" / "deeper").mkdir(parents=True)
    left = {
        "rows.csv": "abc",
        "model/model.safetensors": "",
        "model/deeper/config.json": "",
        "model/weights.bin": "no file that anything reads",
        "log.txt": "of this machine",
        "facts.json": json.dumps(FACTS),
        "notebook.ipynb": "",
    }
    for name, content in left.items():
        (run.partial_folder / name).write_text(content)
    run.finish(run.partial_folder / "notebook.ipynb", 1.0)
    # FIPS 180-2, B.1, and the hash of nothing.
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert run.record().files_sha256 == {
        "rows.csv": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "model/model.safetensors": nothing,
        "model/deeper/config.json": nothing,
    }


def test_a_page_out_of_date_keeps_what_was_trained() -> None:
    run = Run.of(Finetune())
    write_record(run, page="older")
    (run.folder / runs.ROWS_FILE).write_text("kept")
    assert run.is_done() and not run.is_current()
    run.reopen()
    assert not run.is_done()
    assert (run.partial_folder / runs.ROWS_FILE).read_text() == "kept"


def _done_meanwhile(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Have another process do a run while this one waits for its lock; gives those so done."""
    done: list[Run] = []

    @contextmanager
    def only_here(run: Run, **_: bool) -> Iterator[None]:
        write_record(run)
        run.model_folder.mkdir(exist_ok=True)
        (run.folder / runs.ROWS_FILE).write_text(",".join(rows.COLUMNS))
        done.append(run)
        yield

    monkeypatch.setattr(Run, "only_here", only_here)
    return done


def _trained(run: Run) -> None:
    run.work()


def _stacked(run: Run) -> None:
    stacking.train([run.parameters], 2)


def _executed(run: Run) -> None:
    assert not execution.execute(run)


def _executed_in_order(run: Run) -> None:
    execution.execute_in_order([run], models_of=[run])


@pytest.mark.parametrize("does", [_trained, _stacked, _executed, _executed_in_order])
def test_what_was_done_while_one_waited_is_not_done_again(
    monkeypatch: pytest.MonkeyPatch, does: Callable[[Run], None]
) -> None:
    run = Run.of(BurnIn(text=("lab:0:300",)))
    done = _done_meanwhile(monkeypatch)
    does(run)
    assert done == [run] and run.is_whole() and not run.partial_folder.exists()


def _saved_again(page: Path) -> None:
    page.write_text(page.read_text() + "\n")


def _cut_off(page: Path) -> None:
    page.write_text("{")


def _renamed(page: Path) -> None:
    page.rename(page.with_name("Untitled.ipynb"))


@pytest.mark.parametrize("spoil", [_saved_again, _cut_off, _renamed, Path.unlink])
def test_a_page_that_was_altered_is_made_anew_from_what_was_trained(
    spoil: Callable[[Path], None],
) -> None:
    run = finished(PRUNED)
    assert run.is_current()
    spoil(run.folder / runs.NOTEBOOK_FILE)
    assert run.is_done() and not run.is_current()
    assert runs.to_execute([run]) == [run]
    assert run.is_trained()
    hashes = runs.file_hashes(run.folder)
    run.reopen()
    assert runs.file_hashes(run.partial_folder) == hashes


def test_all_notebooks_are_looked_at_before_the_first_is_executed(tmp_path: Path) -> None:
    (tmp_path / "notebooks").unlink()
    shutil.copytree(Path(__file__).parents[2] / "notebooks", tmp_path / "notebooks")
    file = tmp_path / "notebooks" / "prune_pretrain.ipynb"
    file.write_text(file.read_text().replace('"parameters"', '"params"'))
    with pytest.raises(UserError, match=f'{file} has no tag "parameters"'):
        execution.execute_in_order([Run.of(BURN_IN), Run.of(PRUNED)])


TASKS = tuple(f"a_task_of_ones_own_{number}" for number in range(12))


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (PruneAfterFinetune(task=("cola", "sst2")), "cola-sst2-0.50-seed0"),
        (BurnIn(), "fresh-seed0"),
    ],
)
def test_a_short_name_says_all(parameters: BurnIn, name: str) -> None:
    assert Run.of(parameters).slug == name


def test_runs_with_long_names_can_be_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "identity", {})
    named = [
        *(PruneAfterFinetune(task=task, sparsity=0.9) for task in (TASKS, ("\N{SNOWMAN}" * 85,))),
        BurnIn(model="m" * 255),
    ]
    for parameters in named:
        run = Run.of(parameters)
        assert run.slug.endswith(("0.90-seed0", "-seed0"))
        with run.only_here():
            run.start_or_go_on()
            # As runs that train as one have it.
            run.partial_folder.with_name(f"together-{run.partial_folder.name}").mkdir()
            run.folder.mkdir(parents=True)
