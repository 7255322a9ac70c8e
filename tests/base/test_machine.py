"""What a machine is called in records and tables, and how much of it may be used."""

import getpass
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bertprune.base import machine


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    for asked in (machine.device_name, machine.gpu_name, machine.processor_in_full):
        asked.cache_clear()
    yield
    for asked in (machine.device_name, machine.gpu_name, machine.processor_in_full):
        asked.cache_clear()


def test_a_machine_without_a_gpu_is_called_by_its_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.gpu_name() == ""
    assert machine.device_name() == machine.processor() != ""


def test_one_with_a_gpu_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Abacus 9000")
    assert machine.device_name() == machine.gpu_name() == "Abacus 9000"


def test_where_the_system_does_not_say_the_architecture_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "exists", lambda file: False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert machine.processor() == platform.machine()


def cpuinfo(**facts: str) -> str:
    """What Linux says of a processor."""
    return "\n".join(f"{name.replace('_', ' ')}\t: {fact}" for name, fact in facts.items())


@pytest.mark.parametrize(
    ("told", "called", "bf16"),
    [
        (
            cpuinfo(cpu_family="25", model="17", model_name="AMD: 9", flags="fpu avx512f avx2"),
            "AMD: 9 (family 25, model 17), avx512f",
            [],
        ),
        (
            cpuinfo(cpu_family="25", model="17", model_name="AMD", flags="avx512f avx512_bf16"),
            "AMD (family 25, model 17), avx512_bf16",
            ["avx512_bf16"],
        ),
        (
            cpuinfo(cpu_family="6", model="143", model_name="Xeon", flags="amx_bf16 avx512_bf16"),
            "Xeon (family 6, model 143), avx512_bf16, amx_bf16",
            ["avx512_bf16", "amx_bf16"],
        ),
        (cpuinfo(Features="fp asimd bf16"), "some Arm, asimd", []),
        ("", "some Arm", []),
    ],
)
def test_processors_that_are_called_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, called: str, bf16: list[str]
) -> None:
    (tmp_path / "cpuinfo").write_text(told, encoding="utf-8")
    monkeypatch.setattr(machine, "_CPU_MODELS", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "some Arm")
    assert machine.processor_in_full() == called
    assert machine.bf16_instructions() == bf16


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a system of 8 cores, to all of which this process is bound, tells of its groups."""
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


def _tell(system: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (system / name).parent.mkdir(parents=True, exist_ok=True)
        (system / name).write_text(f"{text}\n", encoding="utf-8")


def version_2(own: str, limits: dict[str, str]) -> dict[str, str]:
    files = {f"groups/{group}/cpu.max": limit for group, limit in limits.items()}
    return {"own": f"0::{own}", **files}


def version_1(own: str, quotas: dict[str, str]) -> dict[str, str]:
    files = {"own": own}
    for group, quota in quotas.items():
        files[f"groups/cpu/{group}/cpu.cfs_quota_us"] = quota
        files[f"groups/cpu/{group}/cpu.cfs_period_us"] = "100000"
    return files


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        (version_2("/", {"": "max 100000"}), 8),
        (version_2("/", {"": "200000 100000"}), 2),
        (version_2("/", {"": "150000 100000"}), 2),
        (version_2("/", {"": "10000 100000"}), 1),
        (version_2("/", {"": "6400000 100000"}), 8),
        # The group itself, one around it, and one that it is not in.
        (version_2("/a/b", {"a/b": "300000 100000"}), 3),
        (version_2("/a/b", {"a/b": "max 100000", "a": "50000 10000"}), 5),
        (version_2("/a", {"b": "100000 100000"}), 8),
        # Where each controller has groups of its own.
        (version_1("2:memory:/m\n1:cpu,cpuacct:/c\n0::/", {"c": "400000", "m": "100000"}), 4),
        (version_1("1:cpu:/not/seen/from/inside", {"": "200000"}), 2),
        (version_1("1:cpu:/", {"": "-1"}), 8),
    ],
)
def test_cores_that_a_group_may_use(system: Path, files: dict[str, str], cores: int) -> None:
    _tell(system, files)
    assert machine.usable_cores() == cores


@pytest.mark.parametrize(("bound", "cores"), [({0}, 1), ({1, 5, 7}, 3), (set(range(6)), 4)])
def test_cores_that_a_process_is_bound_to(
    system: Path, monkeypatch: pytest.MonkeyPatch, bound: set[int], cores: int
) -> None:
    _tell(system, version_2("/", {"": "400000 100000"}))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: bound)
    assert machine.usable_cores() == cores


def test_where_no_process_is_bound(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.usable_cores() == 8


def test_nothing_else_counts_cores() -> None:
    modules = Path(machine.__file__).parents[1].rglob("*.py")
    texts = {file.name: file.read_text(encoding="utf-8") for file in modules}
    assert [name for name, text in texts.items() if "cpu_count" in text] == ["machine.py"]


PREPARED = (
    "import os, sys; from pathlib import Path; from bertprune.base.machine import prepare_process\n"
    "prepare_process(Path('/of/nobody'))\n"
)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_are_open_and_no_file_takes_their_place(tmp_path: Path, closed: str) -> None:
    code = PREPARED + (
        "file = open('file', 'w'); print('to nobody'); print('to nobody', file=sys.stderr)\n"
        "file.write(f'{file.fileno() > 2} {os.system(\"echo to nobody; : <&0 >&1 2>&2\")}')"
    )
    command = f'exec "$0" -c "$1" {closed}'
    subprocess.run(["sh", "-c", command, sys.executable, code], cwd=tmp_path, check=True)
    assert (tmp_path / "file").read_text() == "True 0"


def test_nothing_is_said_where_nobody_reads(tmp_path: Path) -> None:
    command = '{ "$0" -c "$1" 2>said; echo $? >code; } | true'
    code = PREPARED + "import time; time.sleep(0.2); print('to nobody')"
    # What is printed is written at the end, as by default.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    shell = ["sh", "-c", command, sys.executable, code]
    subprocess.run(shell, cwd=tmp_path, env=buffered, check=True)
    assert ((tmp_path / "said").read_text(), (tmp_path / "code").read_text()) == ("", "0\n")


def test_python_without_docstrings_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "bertprune", "status", "ci"],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: Python leaves out docstrings") and "-OO" in done.stderr


@pytest.mark.parametrize("home", ["/given", None])
def test_a_user_whom_the_system_does_not_know(
    monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        # Set first, so that it is put back as it was.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    if home:
        monkeypatch.setenv("HOME", home)
    machine.prepare_process(Path("/of/nobody"))
    assert Path.home() == Path(home or "/of/nobody") == Path("~").expanduser()
    assert getpass.getuser() == "nobody"
