"""The command, from the smallest case to the page."""

import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from bertprune.base.machine import processor_in_full
from bertprune.base.shown import Prose, Sentence
from bertprune.cli import main
from bertprune.experiments import studies
from bertprune.experiments.execution import chapters_of
from bertprune.model.precision import BF16
from bertprune.speed.bench import benchmark, published_benchmark, timing
from bertprune.speed.bench.benchmark import Case
from bertprune.speed.bench.quantities import (
    AGAINST_BF16,
    DYNAMIC,
    FASTER,
    GROUPED,
    NNCF,
    OFF,
    OFF_AT_ZERO,
    OFF_WITH_TIES,
    ONE_AFTER_ANOTHER,
    OURS,
    PADDED,
    TORCH_PRUNE,
    TRAINER,
)
from bertprune.speed.bench.rival import has_nncf
from bertprune.speed.bench.timing import Row, Setting, as_table

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without anything measured."""
    (tmp_path / "notebooks").symlink_to(PROJECT / "notebooks")
    (tmp_path / "book").mkdir()
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    return tmp_path


def test_from_the_command_to_the_page(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any processor can, if slowly.
    monkeypatch.setattr(timing, "bf16_instructions", lambda: ["of some kind"])
    file = root / "here" / "bench.csv"
    assert main(["bench", "tiny", "--repeats", "1", "--threads", "1", "--csv", str(file)]) == 0
    rows = published_benchmark.read_rows(file)
    assert (rows.case == "tiny").all()
    assert (rows.threads == 1).all()
    assert rows.value.notna().all()
    sides = set(rows.side[rows.quantity == FASTER])
    found = {NNCF} if has_nncf() else set()
    assert sides - found == {ONE_AFTER_ANOTHER, TORCH_PRUNE, TRAINER, PADDED, DYNAMIC, GROUPED}
    assert set(rows.processor) == {processor_in_full()}
    in_bf16 = rows[rows.precision == "bf16"]
    assert {TRAINER, PADDED, DYNAMIC} < set(in_bf16.side[in_bf16.quantity == FASTER])
    assert {OURS, TRAINER, PADDED} < set(rows.side[rows.quantity == AGAINST_BF16])
    off = rows[rows.quantity.isin([OFF, OFF_WITH_TIES, OFF_AT_ZERO])].groupby("side").value.max()
    assert off[OURS] == off[TORCH_PRUNE] == 0
    assert not has_nncf() or off[NNCF] > 0
    assert "tiny: all of it" in capsys.readouterr().out
    assert not (root / "book" / "published").exists()


def measured(setting: Setting) -> Iterator[Row]:
    yield setting.row("bertprune", "time", "s", [1.0, 2.0])
    yield setting.row("Trainer + torch.nn.utils.prune", FASTER, "×", [5.0, 6.0])


def stopped(setting: Setting) -> Iterator[Row]:
    raise KeyboardInterrupt


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases that take no time."""
    made = {
        "pretrain-L2": Case("one", measured),
        "on-gpu": Case("two", stopped, needs_gpu=True),
        "of-package": Case("three", measured, package="not_installed"),
        "stopped": Case("four", stopped),
    }
    monkeypatch.setattr(benchmark, "CASES", made)


@pytest.mark.usefixtures("quick")
def test_what_is_finished_is_kept(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 130
    file = root / "runs" / "bench" / "measured.csv"
    assert list(published_benchmark.read_rows(file).value) == [1.5, 5.5] * 2
    said = capsys.readouterr()
    assert str(file) in said.err
    assert "not measured: no GPU" in said.out
    assert "not_installed: not measured: not installed" in said.out


@pytest.mark.usefixtures("quick")
def test_the_page_of_what_was_published(root: Path) -> None:
    assert main(["bench", "pretrain-L2", "on-gpu", "--publish", "--threads", "1"]) == 0
    facts = json.loads((root / "book" / "published" / "bench.json").read_text())
    (machine,) = facts
    # Without a GPU the other was not measured.
    assert list(facts[machine]["cases"]) == ["pretrain-L2"]
    assert facts[machine]["threads"] == 1
    shown = _cells_of_the_page()
    machines, bars = (one.table for one in shown if isinstance(one, Prose))
    assert dict(machines.loc["threads"]) == {machine: "1"}
    # A Series would be shown with its name and dtype.
    assert not any(isinstance(one, pd.Series) for one in shown)
    assert bars[machine].iloc[0] == "5.50 (5.00 to 6.00): yes" and "–" in set(bars[machine])
    (said,) = (one for one in shown if isinstance(one, Sentence))
    assert "1 are met" in said and "of a machine: none" in said


@pytest.mark.usefixtures("root")
def test_ratios_of_both_precisions_stand_side_by_side() -> None:
    def rows(precision: str, **of_side: list[float]) -> list[Row]:
        one = Setting(case="pretrain-L4", precision=precision)
        names = {"same": FASTER, "bf16": AGAINST_BF16}
        return [one.row(TRAINER, names[name], "×", values) for name, values in of_side.items()]

    made = [*rows(BF16, same=[3.0]), *rows("float32", same=[2.0, 4.0], bf16=[9.0])]
    facts = published_benchmark.facts(["pretrain-L4"], threads=2, gpu="", phrases="made up")
    published_benchmark.publish(as_table(made), facts)
    found = published_benchmark.read().ratios()
    assert found[["precision", FASTER, AGAINST_BF16]].values.tolist() == [
        [BF16, "3.00", "–"],
        ["float32", "3.00 (2.00 to 4.00)", "–"],
        ["float32", "–", "9.00"],
    ]


def publish(case: str, value: float, threads: int = 2, **of_machine: str) -> pd.DataFrame:
    """The rows that are published once one of `case` is measured on the machine."""
    rows = [Setting(case=case, threads=threads).row("bertprune", FASTER, "×", [value])]
    facts = published_benchmark.facts([case], threads=threads, gpu="", phrases="made up")
    facts |= of_machine
    published_benchmark.publish(as_table(rows).assign(processor=facts["cpu"]), facts)
    return published_benchmark.read().rows


@pytest.mark.usefixtures("root")
def test_cases_of_one_machine_are_published_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def published(case: str, value: float, threads: int) -> dict[str, float]:
        rows = publish(case, value, threads)
        (facts,) = published_benchmark.read().facts.values()
        assert set(facts["cases"]) == set(rows.case)
        return dict(zip(rows.case, rows.value, strict=True))

    assert published("masks", 1.0, threads=2) == {"masks": 1.0}
    assert published("data", 2.0, threads=2) == {"masks": 1.0, "data": 2.0}
    assert published("masks", 3.0, threads=2) == {"data": 2.0, "masks": 3.0}
    # Of one thread and of two, there is no comparing.
    assert published("data", 4.0, threads=1) == {"data": 4.0}
    # Nor of threads that sleep while they wait, as they do in tests, and of those that spin.
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert published("masks", 5.0, threads=1) == {"masks": 5.0}


@pytest.mark.usefixtures("root")
def test_what_was_measured_on_another_machine_stays() -> None:
    publish("masks", 1.0, cpu="abacus")
    publish("masks", 2.0, cpu="slide rule")
    rows = publish("masks", 3.0, cpu="slide rule", gpu="loom")
    machines = ["abacus", "slide rule", "loom"]
    assert list(rows.machine) == machines and list(rows.value) == [1.0, 2.0, 3.0]
    # What ran on the processor is called by its name, whatever GPU was beside it.
    assert list(rows.device) == ["abacus", "slide rule", "slide rule"]
    # A machine that is measured again keeps its place and the others theirs.
    assert sorted(publish("masks", 4.0, cpu="abacus").value) == [2.0, 3.0, 4.0]
    found = published_benchmark.read()
    assert list(found.machines()) == list(found.facts) == machines
    met = found.bars().loc["new masks for BERT-Base at 50 %"]
    assert met["slide rule"] == "–" and met["asked"] == "≥ 5.00"


def _cells_of_the_page() -> list[object]:
    """What the last line of each cell of the page shows."""
    cells = nbformat.read(PROJECT / "notebooks" / "bench.ipynb", as_version=4).cells
    space: dict[str, object] = {}
    shown = []
    for cell in cells:
        if cell.cell_type == "code":
            *before, last = cell.source.split("\n")
            exec("\n".join(before), space)
            shown.append(eval(last, space) if "=" not in last else None)
    return shown


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["masts"], "unknown case 'masts': did you mean 'masks'?"),
        (["masks", "--repeats", "0"], "'--repeats': 0 is not in the range x>=1"),
        (["masks", "--threads", "-1"], "'--threads': -1 is not in the range x>=1"),
        (["masks", "--task-data", "nowhere/at/all"], "nowhere/at/all"),
    ],
)
def test_mistakes(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_nothing_published_is_no_page(root: Path) -> None:
    assert "bench" not in [chapter.notebook for chapter in chapters_of(studies.load("glue-tiny"))]
    (root / "book" / "published").mkdir()
    (root / "book" / "published" / "bench.json").touch()
    assert "bench" in [chapter.notebook for chapter in chapters_of(studies.load("glue-tiny"))]


def test_a_list_of_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(benchmark.CASES)
