"""The page "In your own code": what it says is run as a reader would, and prints what it says."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "book" / "own_code.md").read_text(encoding="utf-8")
PIECES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHIPS = re.findall(r"^bertprune (ship .*)$", PAGE, re.MULTILINE)
PRINTED = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)

# What the page claims of the model, after the piece of code that it is about.
ZEROS = "sum(int((one == 0).sum()) for one in prunable_matrices(model).values())"
CHECKS = {
    "Trainer(": f"assert {ZEROS} == zeros",
    "optimizer.step()\nend()": f"assert {ZEROS} == zeros",
    "model, masks)": f"assert {ZEROS} >= round(0.6 * weights) - len(matrices)",
    'load_classifier("mine"': f"assert {ZEROS} >= round(0.6 * weights) - len(matrices)",
    "pruner.check": f"assert {ZEROS} >= round(0.6 * weights) - len(matrices)",
}
# What it says of the folders that are given away: they can be loaded, and have the same zeros.
GIVEN = f"""
from transformers import AutoModelForSequenceClassification
zeros = {ZEROS}
model = bertprune.load_classifier("given", labels=2)
assert {ZEROS} == zeros and Path("given/README.md").exists()
model = AutoModelForSequenceClassification.from_pretrained("given-dense")
assert {ZEROS} == zeros
"""


def test_each_piece_is_at_most_ten_lines() -> None:
    assert len(PIECES) == 8
    assert max(piece.count("\n") for piece in PIECES) <= 10


def test_the_pieces_run_after_each_other(tmp_path: Path) -> None:
    (tmp_path / "book").symlink_to(PROJECT / "book")
    lines = []
    for piece in PIECES:
        found = [check for what, check in CHECKS.items() if what in piece]
        lines += [piece, *found]
    assert len(lines) == len(PIECES) + len(CHECKS)
    assert len(SHIPS) == 3
    has_onnx = find_spec("onnxscript") is not None
    lines.append("from bertprune.cli import main")
    lines += [
        f"assert main({shlex.split(line, comments=True)}) == 0"
        for line in SHIPS
        if has_onnx or "--onnx" not in line
    ]
    lines += [GIVEN, f"assert Path('given-onnx/model.onnx').exists() is {has_onnx}"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(printed in done.stdout for printed in PRINTED)
