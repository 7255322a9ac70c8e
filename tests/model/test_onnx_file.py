"""An ONNX file gives the model's logits for batches of any size, and has its zeros."""

from pathlib import Path

import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedModel

from bertprune.base.errors import UserError
from bertprune.model.onnx_file import INPUTS, ONNX_FILE, save_onnx
from bertprune.pruning.matrices import prunable_matrices

from ..finished import TINY
from ..models import pruned_model


def classifier() -> PreTrainedModel:
    model, _ = pruned_model(TINY, 0.6)
    tuned = BertForSequenceClassification(model.config)
    tuned.bert.load_state_dict(model.bert.state_dict())
    return tuned


@pytest.mark.parametrize("kind", ["pre-training heads", "classifier"])
def test_onnx_runtime_gives_the_models_logits(tmp_path: Path, kind: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    model = classifier() if kind == "classifier" else pruned_model(TINY, 0.6)[0]
    save_onnx(model, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / ONNX_FILE)
    assert [one.name for one in session.get_inputs()] == list(INPUTS)
    for size in ((1, 1), (3, 2), (2, TINY.max_length_tokens)):
        given = {
            "input_ids": torch.randint(TINY.vocabulary_size, size),
            "attention_mask": (torch.arange(size[1]) <= size[1] // 2).long().repeat(size[0], 1),
            "token_type_ids": torch.randint(2, size),
        }
        with torch.no_grad():
            expected = model(**given)
        found = session.run(None, {name: values.numpy() for name, values in given.items()})
        assert [one.name for one in session.get_outputs()] == list(expected)
        for name, logits in zip(expected, found, strict=True):
            torch.testing.assert_close(
                torch.from_numpy(logits), expected[name], rtol=0, atol=1e-4, msg=name
            )
    stored = {
        one.name: onnx.numpy_helper.to_array(one)
        for one in onnx.load(tmp_path / ONNX_FILE).graph.initializer
    }
    # The words are there under the name of the decoder that shares them.
    shared = {"bert.embeddings.word_embeddings.weight": "cls.predictions.decoder.weight"}
    for name, weight in prunable_matrices(model).items():
        full = f"bert.{name}"
        values = stored[full if full in stored else shared[full]]
        assert torch.equal(torch.from_numpy(values.copy()), weight.detach()), name
        assert (values == 0).mean() == pytest.approx(0.6, abs=0.01)


def test_without_its_packages_onnx_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertprune.model.onnx_file.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install -e '\.\[onnx\]' brings them"):
        save_onnx(pruned_model(TINY, 0.6)[0], tmp_path)
