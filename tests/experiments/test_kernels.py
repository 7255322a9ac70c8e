"""Forked kernels: what each has of its own, how they fail, and that none is left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from jupyter_client.kernelspec import KernelSpec
from nbformat.v4 import new_code_cell, new_notebook

from bertprune.base.errors import UserError
from bertprune.experiments import execution, kernels
from bertprune.experiments.runs import Run
from bertprune.protocol.notebook_parameters import BurnIn

from ..finished import FACTS

pytestmark = pytest.mark.skipif(not kernels.can_fork(), reason="kernels are not forked here")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERTPRUNE_ROOT", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "text.txt").write_text("A document.\n")
    return tmp_path


def _write(project: Path, *cells: str) -> None:
    """Make `cells` the notebook of burn-in."""
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in ("", *cells)])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(notebook, project / "notebooks" / "burn_in.ipynb")


def _run() -> Run:
    return Run.of(BurnIn(text=("text.txt",)))


def _execute(project: Path, *cells: str, threads: int = 1, forked: bool = True) -> str:
    """Execute `cells`; gives what the kernel said."""
    # A result is not what the tests are about.
    (project / "facts.json").write_text(json.dumps(FACTS))
    facts = f"import os, shutil; shutil.copy('facts.json', '{_run().partial_folder}')"
    _write(project, facts, *cells)
    execution.execute(_run(), threads=threads, forked=forked)
    return (_run().folder / "log.txt").read_text()


def test_has_its_own_surroundings(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "import torch; print(os.environ.get('WHO'), torch.get_num_threads(), os.getcwd())"
    monkeypatch.setenv("WHO", "first")
    assert f"first 3 {project}" in _execute(project, asked, threads=3)
    monkeypatch.delenv("WHO")
    # Another notebook, so that the same run has another page.
    said = _execute(project, asked, "print(os.getsid(0) == os.getpid())", threads=2)
    assert f"None 2 {project}\nTrue" in said


def test_reads_this_package_anew(project: Path) -> None:
    """The nursery must not hold code that has changed since."""
    said = _execute(
        project, "import sys; print([m for m in sys.modules if m.startswith('bertprune')])"
    )
    assert "['bertprune', 'bertprune.experiments', 'bertprune.experiments.kernels']" in said


def test_is_warm(project: Path) -> None:
    asked = f"import sys; print('missing:', set({kernels._IMPORTED_ONCE}) - set(sys.modules))"
    assert "missing: set()" in _execute(project, asked)


def test_computes_with_threads(project: Path) -> None:
    cell = "import torch; x = torch.ones(600, 600, requires_grad=True); (x @ x).sum().backward()"
    assert "1200.0" in _execute(project, cell, "print(x.grad[0, 0].item())", threads=2)


def test_draws_as_any_kernel(project: Path) -> None:
    _execute(project, "import matplotlib.pyplot as plt; plt.plot([1, 2]); print('drawn')")
    notebook = nbformat.read(_run().folder / "notebook.ipynb", as_version=4)
    assert any("image/png" in output.get("data", {}) for output in notebook.cells[-1].outputs)


ON_THE_WAY = "import pandas; pandas.set_option('display.max_rows', 4); met = 'a {} file'"
SETTINGS = {
    "home/.ipython/profile_default/startup/00.py": ON_THE_WAY.format("startup"),
    "home/.ipython/profile_default/ipython_config.py": "c.InteractiveShellApp.exec_lines = ['1/0']",
    "home/.ipython/profile_default/ipython_kernel_config.json": (
        '{"InteractiveShell": {"ast_node_interactivity": "none"}}'
    ),
    "ipython_config.py": "c.InlineBackend.rc = {'font.size': 40.0}",
    "startup.py": ON_THE_WAY.format("Python"),
    "home/.config/matplotlib/matplotlibrc": "text.usetex: True",
    "given.rc": "svg.fonttype: none",
    "matplotlibrc": "timezone: Asia/Tokyo\nfont.size: 39",
    "home/.local/share/jupyter/kernels/python3/kernel.json": (
        '{"argv": ["false"], "language": "R", "display_name": "R"}'
    ),
    "home/.jupyter/jupyter_config.py": "1/0",
}
VARIABLES = {
    "PYTHONSTARTUP": "startup.py",
    "MATPLOTLIBRC": "given.rc",
    "MPLBACKEND": "agg",
    "PANDAS_FUTURE_INFER_STRING": "0",
    "JUPYTER_DEFAULT_PROVISIONER_NAME": "none-such",
    "JUPYTER_PATH": "home/.local/share/jupyter",
    "IPYTHON_SUPPRESS_CONFIG_ERRORS": "nonsense",
}
ASKED = """
import matplotlib as mpl, matplotlib.pyplot as plt, pandas as pd, seaborn
print("met:", globals().get("met"), pd.get_option("display.max_rows"), pd.Series(["a"]).dtype)
print("changed:", [n for n in mpl.rcParamsDefault if n != "backend" and
    mpl.rcParams[n] != mpl.rcParamsDefault[n]], mpl.rcParams["timezone"])
"""


@pytest.mark.parametrize("forked", [True, False])
def test_reads_nobodys_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch, forked: bool
) -> None:
    for name, content in SETTINGS.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, str(project / value) if (project / value).exists() else value)
    monkeypatch.setenv("HOME", str(project / "home"))
    for name in ("IPYTHONDIR", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    # One that was started before these were there, and in another folder, would prove nothing.
    monkeypatch.setattr(kernels, "_nursery", kernels._Nursery())
    monkeypatch.chdir(project)
    said = _execute(project, ASKED, "1\n2", "plt.plot([1, 2]); plt.show()", forked=forked)
    assert f"met: None 60 {pd.Series(['a']).dtype}" in said and "changed: [] UTC" in said
    *_, shown, drawn = nbformat.read(_run().folder / "notebook.ipynb", as_version=4).cells
    assert [output.data["text/plain"] for output in shown.outputs] == ["2"]
    assert "image/png" in drawn.outputs[-1].data
    # Nor does it leave anything in a user's folder: the history of what was executed, say.
    left = {str(file.relative_to(project)) for file in (project / "home").rglob("*.*")}
    assert {name for name in left if "ipython" in name or "jupyter" in name} <= {
        str(folder) for name in SETTINGS for folder in (Path(name), *Path(name).parents)
    }


LONG = "a-folder-of-a-job-on-a-cluster"


@pytest.mark.parametrize(
    "place", [f"{LONG}/{LONG}/{LONG}", "\N{SNOWMAN}" * 40, "there/is/none/such", "short"]
)
def test_where_temporary_files_are_makes_no_difference(
    project: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if "none" not in place:
        (project / place).mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(project / place))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert "alive" in _execute(project, "print('alive')")
    assert not [*project.glob(f"{place}/bertprune-*")]


def test_no_place_for_sockets(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(project / ("x" * 100)))
    monkeypatch.setattr(execution, "_SHORT_PLACES", ())
    with pytest.raises(UserError, match="at most 75 bytes, which .*xx has not: .* in TMPDIR"):
        _execute(project)


def test_standard_error_goes_to_the_log(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = _execute(
        project, "os.write(2, b'from the depths'); import sys; print('x', file=sys.stderr)"
    )
    assert "from the depths" in said
    assert capfd.readouterr() == ("", "")


def test_error_is_reported(project: Path) -> None:
    _write(project, "raise ValueError('out of luck')")
    with pytest.raises(UserError, match="failed: ValueError: out of luck"):
        execution.execute(_run(), forked=True)


def test_interrupt(project: Path) -> None:
    _write(project, "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        execution.execute(_run(), forked=True)


def test_killed(project: Path) -> None:
    _write(project, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(UserError, match="its kernel was killed, perhaps for lack of memory"):
        execution.execute(_run(), forked=True)
    assert "alive" in _execute(project, "print('alive')")


def test_dead_at_its_start(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For lack of memory or of files that it may open, say."""
    spec = KernelSpec(argv=[sys.executable, "-c", "raise SystemExit('no room')"])
    monkeypatch.setattr(kernels, "_SPEC", spec)
    _write(project, "1")
    with pytest.raises(UserError, match=r"its kernel was killed, .* \(log: .*log.txt\)"):
        execution.execute(_run())
    assert "no room" in (_run().partial_folder / "log.txt").read_text()


def test_a_lost_nursery_is_no_loss(project: Path) -> None:
    def nursery_of_a_kernel(*cells: str) -> int:
        # A kernel that is slow to end also tells the log that it was asked to.
        numbers = re.findall(r"^\d+$", _execute(project, *cells), flags=re.MULTILINE)
        return int(numbers[-1])

    first = nursery_of_a_kernel("print(os.getppid())")
    os.kill(first, signal.SIGKILL)
    assert nursery_of_a_kernel("print(os.getppid())", "") != first


def test_nothing_is_left_of_a_killed_worker(project: Path) -> None:
    _write(
        project,
        "import os, pathlib, time",
        "pathlib.Path('pids').write_text(f'{os.getpid()} {os.getppid()}'); time.sleep(600)",
    )
    code = (
        "from bertprune.experiments import execution\n"
        "from bertprune.experiments.runs import Run\n"
        "from bertprune.protocol.notebook_parameters import BurnIn\n"
        "execution.execute(Run.of(BurnIn(text=('text.txt',))), forked=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as worker:
        while not (project / "pids").exists():
            assert worker.poll() is None
            time.sleep(0.1)
        worker.kill()
    left = [Path("/proc", pid) for pid in (project / "pids").read_text().split()]
    patience = time.monotonic() + 10
    while any(process.exists() for process in left):
        assert time.monotonic() < patience
        time.sleep(0.1)
