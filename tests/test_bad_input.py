"""What a user can get wrong: one clear error each, exit code 2, before any work, nothing lost."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from safetensors import SafetensorError
from transformers import BertTokenizer

from bertprune import cli
from bertprune.data.tokenizer import SPECIAL_TOKENS, load_tokenizer
from bertprune.experiments import execution, studies
from bertprune.experiments.runs import Run
from bertprune.model.loading import fresh_model
from bertprune.model.shape import Shape
from bertprune.protocol import notebook_parameters

from .finished import full_disk_for

Refused = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of its own, in which no kernel may start."""

    def no_kernel(*_: object, **__: object) -> None:
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(execution, "_execute_notebook", no_kernel)
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    (tmp_path / "notebooks").symlink_to(Path(__file__).parents[1] / "notebooks")
    return tmp_path


@pytest.fixture
def refused(project: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Give a command that must be refused, and get what it said."""

    def refuse(*arguments: str) -> str:
        before = sorted(project.rglob("*"))
        assert cli.main(arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1 and "Traceback" not in said
        assert sorted(project.rglob("*")) == before
        return said

    return refuse


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run finetune -p task sst", "unknown task 'sst': did you mean 'sst2'?"),
        ("run burn_in -p burn_in_seed 010", 'burn_in_seed must be a whole number, got "010"'),
        ("run burn_in -p burn_in_steps 1_000", 'must be a whole number, got "1_000"'),
        ("sweep ci --set burn_in_steps=1:30", 'must be a whole number, got "1:30"'),
        ("sweep ci --set 'seed=[0x10]'", 'must be a whole number, got "0x10"'),
        ("run finetune -p sparsity .inf", "must be at least 0, at most 1, got inf"),
        ("run finetune -p task ~", "task must be a text, got None"),
        ("run finetune -p task no", "unknown task 'no'"),
        ("run finetune -p sparsity half", 'sparsity must be a number, got "half"'),
        ("run prune_pretrain -p sparsity 1.2", "sparsity must be at least 0, at most 1, got 1.2"),
        ("run finetune -p learning_rate 1e-3", "did you mean 'learning_rates'?"),
        ("run prune_pretrian", "did you mean 'prune_pretrain'?"),
        # A sweep checks every run before it starts.
        ("sweep ci --set 'task=[sst2, colla]'", "unknown task 'colla': did you mean 'cola'?"),
        ("swep", "No such command 'swep'. Did you mean 'sweep'?"),
        ("sweep ci --worker 1", "No such option '--worker'. Did you mean '--workers'?"),
        ("sweep ci --workers 2 --cluster local:2", "--workers is about this machine"),
        ("sweep ci --threads 0", "'--threads': 0 is not in the range x>=1"),
        ("sweep ci --workers 0", "'--workers': 0 is not in the range x>=1"),
        ("sweep ci --at-once two", "'--at-once': 'two' is not a valid integer"),
        ("run", "Missing argument 'NOTEBOOK'"),
        ("", "Missing command"),
        # An empty value is one.
        ("cost ci --device ''", "unknown device ''"),
        ("results ci --csv ''", "the name of a file to write is empty"),
        ("run finetune --study ''", "unknown study ''"),
        ("ship lab ~nouser/x", "~nouser/x: there is no such user"),
        ("ship ~nouser/x x", "~nouser/x: there is no such user"),
        ("import ~nouser/x", "~nouser/x: there is no such user"),
    ],
)
def test_command_lines(refused: Refused, command: str, said: str) -> None:
    assert said in refused(*shlex.split(command))


@pytest.mark.parametrize(
    ("file", "content", "command", "said"),
    [
        ("empty.txt", "", "run burn_in -p text empty.txt", "empty.txt is empty"),
        ("gpt/config.json", "{}", "run finetune -p model gpt", "gpt is not a BERT"),
        ("my.yaml", "title: Mine\ngird: {}", "sweep my.yaml", "my.yaml: unknown key 'gird'"),
    ],
)
def test_files(
    refused: Refused, project: Path, file: str, content: str, command: str, said: str
) -> None:
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_text(content)
    assert said in refused(*command.split())


def test_label_out_of_range(refused: Refused, project: Path) -> None:
    folder = project / "glue" / "sst2"
    folder.mkdir(parents=True)
    frame = pd.DataFrame({"sentence": ["One.", "Two.", "Three."], "label": [0, 1, 2]})
    for split in ("train", "validation"):
        frame.to_parquet(folder / f"{split}.parquet")
    said = refused("run", "finetune", "-p", "task_data", "glue")
    assert "train.parquet, row 2: label 2" in said and "0 to 1" in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run burn_in -p model BERT -p tokenizer lab", "vocabulary is {}, but the model has"),
        ("run burn_in -p model BERT -p max_length_tokens 40", "max_length_tokens is 40, but"),
        ("run burn_in -p model ONE", "config.json: type_vocab_size is 1, it must be at least 2"),
        ("sweep ci --set model=BERT --set tokenizer=lab", "vocabulary is {}, but the model has"),
    ],
)
def test_a_model_that_does_not_fit(
    refused: Refused, project: Path, command: str, said: str
) -> None:
    for name, types in (("BERT", 2), ("ONE", 1)):
        model = fresh_model(Shape(1, 16, 2, 90, 32), seed=0)
        model.config.type_vocab_size = types
        model.save_pretrained(project / name)
        words = dict(zip([*SPECIAL_TOKENS, "net"], range(6), strict=True))
        BertTokenizer(vocab=words).save_pretrained(project / name)
    assert said.format(len(load_tokenizer("lab"))) in refused(*shlex.split(command))


@pytest.mark.parametrize("name", ["text", "task_data", "model", "tokenizer"])
def test_missing_folder(refused: Refused, name: str) -> None:
    said = refused("run", "finetune", "-p", name, "./nowhere")
    assert "nowhere" in said and ("there is no" in said or "no name of" in said)


SMALL = {"text": "lab:0:300", "dev_share": 0.1, "burn_in_steps": 1}
TRAIN = ("train", "burn_in", *(part for item in SMALL.items() for part in ("-p", *map(str, item))))


def _failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Give a command that must fail while it works, and get its error."""
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said[said.index("error: ") :]


def test_corrupt_cache(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(TRAIN) == 0
    (tokens,) = project.glob("cache/corpora/*/tokens")
    content = bytearray(tokens.read_bytes())
    content[len(content) // 2] ^= 1
    tokens.write_bytes(content)
    said = _failed(capsys, *TRAIN, "-p", "burn_in_seed", "1")
    assert str(tokens.parent) in said and "delete this folder" in said
    # Nothing is thrown away behind the user's back.
    assert tokens.read_bytes() == bytes(content)


def test_full_disk_beforehand(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))(10**9, 10**9, 100)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    said = _failed(capsys, *TRAIN)
    assert "needs about" in said and "free some space" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("file", ["checkpoint.pt", "rows.csv"])
def test_full_disk_while_saving(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:
    monkeypatch.setattr("bertprune.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    run = Run.of(notebook_parameters.parse(notebook_parameters.BurnIn, SMALL))
    run.partial_folder.mkdir(parents=True)
    with monkeypatch.context() as full:
        full_disk_for(file, full)
        said = _failed(capsys, *TRAIN)
    assert "no space left on the disk while writing" in said and "finished runs" in said
    assert not (run.partial_folder / "rows.csv").exists()
    # With room again, the same command ends well.
    assert cli.main(TRAIN) == 0


def test_full_disk_as_safetensors_says_it(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("bertprune.model.loading.save_file", full)
    assert "no space left on the disk while writing" in _failed(capsys, *TRAIN)


@pytest.mark.parametrize(
    ("name", "value", "local"),
    [
        ("text", "wikimedia/wikipedia:20231101.en", "local folder"),
        ("task_data", "nyu-mll/glue", "local folder"),
        ("model", "google-bert/bert-base-uncased", "folder"),
    ],
)
def test_no_network(refused: Refused, name: str, value: str, local: str) -> None:
    said = refused("run", "finetune", "-p", name, value)
    assert value.split(":")[0] in said and "network" in said and local in said


@pytest.mark.parametrize(
    "command",
    ["results --csv", "ledger --csv", "ledger --of-paper --csv", "cost --csv", "export lab"],
)
def test_a_file_that_cannot_be_written(
    refused: Refused, project: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def no_work(*_: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr("bertprune.experiments.studies.load", no_work)
    monkeypatch.setattr("bertprune.evidence.paper.rows", no_work)
    nowhere = project / "nowhere" / "out.tar.gz"
    assert f"there is no folder {nowhere.parent}" in refused(*command.split(), str(nowhere))
    (project / "a-file").touch()
    assert "there is no folder" in refused(*command.split(), str(project / "a-file" / "out.tar.gz"))
    assert "is a folder: name a file" in refused(*command.split(), str(project))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written(refused: Refused, project: Path) -> None:
    (project / "theirs").mkdir()
    (project / "theirs" / "out.csv").touch(mode=0o400)
    (project / "theirs").chmod(0o500)
    for name in ("out.csv", "new.csv"):
        said = refused("ledger", "--of-paper", "--csv", str(project / "theirs" / name))
        assert f"{name} may not be written by you" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/theirs"), "Permission denied: /theirs"),
        (OSError("no device"), "no device"),
    ],
)
def test_what_the_system_refuses(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("bertprune.experiments.studies.load", refuse)
    assert refused("status", "ci") == f"error: {said}\n"


@pytest.mark.parametrize("command", [("status", "ci"), ("sweep", "ci", "--workers", "1")])
def test_damaged_record(refused: Refused, command: tuple[str, ...]) -> None:
    folder = studies.load("ci").plan()[0].folder
    folder.mkdir(parents=True)
    (folder / "record.json").write_text('{"id": ')
    said = refused(*command)
    assert f"the record {folder / 'record.json'} is damaged" in said
    assert f"delete the folder {folder}" in said
