"""Products by either library: the same but for rounding, and which one is taken."""

from collections.abc import Iterator
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bertprune.model import products
from bertprune.model.products import Share

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN"
)


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    products.share_of_one_dnn.cache_clear()
    yield
    products.share_of_one_dnn.cache_clear()


@pytest.fixture
def small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_LEAST_MULTIPLICATIONS", 0)


def _given(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (3, 5, 24), (40, 24), (40,)
    x, weight, bias = (torch.randn(*shape, generator=generator) for shape in shapes)
    return x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


@pytest.mark.usefixtures("small_counts")
@pytest.mark.parametrize("share", list(Share))
def test_value_and_gradients_are_those_of_float64(
    monkeypatch: pytest.MonkeyPatch, share: Share
) -> None:
    monkeypatch.setattr(products, "share_of_one_dnn", lambda: share)
    given, exact = _given(), [one.detach().double().requires_grad_() for one in _given()]
    found = products.linear(*given)
    expected = functional.linear(*exact)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    above = torch.linspace(-1, 1, found.numel()).view(found.shape)
    found.backward(above)
    expected.backward(above.double())
    for one, other in zip(given, exact, strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("small_counts")
@pytest.mark.parametrize("share", [Share.PASSES, Share.ALL])
def test_the_same_product_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, share: Share
) -> None:
    monkeypatch.setattr(products, "share_of_one_dnn", lambda: share)
    first, *others = (products.linear(*_given()) for _ in range(3))
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("processor", "capability", "share"),
    [
        (("AuthenticAMD", 25), "AVX512", Share.PASSES),
        (("AuthenticAMD", 26), "AVX512", Share.ALL),
        # Zen 3 is of the same family, without AVX-512.
        (("AuthenticAMD", 25), "AVX2", Share.NONE),
        (("AuthenticAMD", 23), "AVX2", Share.NONE),
        (("GenuineIntel", 6), "AVX512", Share.NONE),
        (("", 0), "DEFAULT", Share.NONE),
    ],
)
def test_the_library_follows_from_the_processor(
    monkeypatch: pytest.MonkeyPatch, processor: tuple[str, int], capability: str, share: Share
) -> None:
    monkeypatch.setattr(products, "processor_family", lambda: processor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert products.share_of_one_dnn() is share


@pytest.mark.parametrize(
    ("rows", "kind", "is_taken"),
    [(4, torch.float32, True), (3, torch.float32, False), (4, torch.float64, False)],
)
def test_only_large_products_in_float32_go_to_one_dnn(
    monkeypatch: pytest.MonkeyPatch, rows: int, kind: torch.dtype, is_taken: bool
) -> None:
    monkeypatch.setattr(products, "share_of_one_dnn", lambda: Share.ALL)
    monkeypatch.setattr(products, "_LEAST_MULTIPLICATIONS", 4 * 6 * 5)
    one_dnn = MagicMock(wraps=products.one_dnn_product)
    monkeypatch.setattr(products, "one_dnn_product", one_dnn)
    x, weight, bias = torch.ones(rows, 6), torch.ones(5, 6), torch.ones(5)
    found = products.linear(x.to(kind), weight.to(kind), bias.to(kind))
    assert found.tolist() == [[7.0] * 5] * rows
    assert one_dnn.called is is_taken


def test_mixed_precision_stays_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "share_of_one_dnn", lambda: Share.ALL)
    monkeypatch.setattr(products, "_LEAST_MULTIPLICATIONS", 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(*_given()).dtype == torch.bfloat16
