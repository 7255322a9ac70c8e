"""Fingerprints of code: what counts, and what does not."""

from pathlib import Path

from bertprune.base import fingerprint


def test_code_counts_comments_do_not(tmp_path: Path) -> None:
    source = '"""Doc."""\nx = 1  # one\n\n\ndef f() -> int:\n    """More."""\n    return x\n'
    file = tmp_path / "module.py"

    def key(text: str) -> str:
        file.write_text(text)
        return fingerprint._module_source(file, hash(text))[1]

    original = key(source)
    assert key("x = 1\ndef f() -> int:\n    return x  # it\n") == original
    assert key(source.replace("x = 1", "x = 2")) != original
    assert key(source.replace("return x", "return 'x'")) != original


def test_code_of_fine_tuning_is_not_that_of_pre_training() -> None:
    reached = (
        fingerprint.code_key("bertprune.training.finetuning"),
        fingerprint.code_key("bertprune.training.pretraining"),
    )
    assert reached[0] != reached[1]
