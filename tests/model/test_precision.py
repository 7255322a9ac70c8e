"""What "auto" comes to: by the hardware, and by the size of the model."""

import pytest

from bertprune.model import precision
from bertprune.model.precision import BF16, FLOAT32, precision_of
from bertprune.protocol.notebook_parameters import BurnIn, Finetune


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with bf16, and no GPU."""
    monkeypatch.setattr(precision, "has_gpu", lambda: False)
    monkeypatch.setattr(precision, "has_native_bf16", lambda: True)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        (BurnIn(model="", layers=2, hidden_size=64), FLOAT32),
        (BurnIn(model="", layers=2, hidden_size=128), BF16),
        # 2 x 64, whatever a fresh model would have.
        (Finetune(model="lab", hidden_size=384), FLOAT32),
        (BurnIn(model="google-bert/bert-base-uncased"), BF16),
        # Not known without a network.
        (BurnIn(model="somebody/bert"), BF16),
    ],
)
def test_a_processor_with_bf16_takes_it_for_large_models(parameters: BurnIn, found: str) -> None:
    assert precision_of(parameters) == found


def test_a_gpu_takes_bf16_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_gpu", lambda: True)
    for has_it, found in ((True, BF16), (False, FLOAT32)):
        monkeypatch.setattr(precision, "has_native_bf16", lambda has_it=has_it: has_it)
        assert precision_of(BurnIn(hidden_size=64)) == found


@pytest.mark.parametrize("has_it", [True, False])
def test_what_is_ordered_is_done(monkeypatch: pytest.MonkeyPatch, has_it: bool) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda: has_it)
    for asked in (FLOAT32, BF16):
        assert precision_of(BurnIn(hidden_size=384, model="", precision=asked)) == asked
