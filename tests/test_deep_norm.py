"""DeepNet's constants and initialisation against the paper's table."""

from __future__ import annotations

import math
from typing import Any

import fastnorm
import numpy as np
import pytest
from ops import without_addresses

GOLDEN = [  # layers of either kind alone, alpha, beta
    (6, 1.8612097, 0.3799178),
    (12, 2.2133638, 0.3194716),
    (18, 2.4494897, 0.2886751),
    (24, 2.6321480, 0.2686425),
    (100, 3.7606031, 0.1880302),
    (1000, 6.6874030, 0.1057371),
]


@pytest.mark.parametrize(("layers", "alpha", "beta"), GOLDEN)
def test_one_stack(layers: int, alpha: float, beta: float) -> None:
    encoder = fastnorm.deep_norm_constants(encoder_layers=layers)
    decoder = fastnorm.deep_norm_constants(decoder_layers=np.int64(layers))  # type: ignore[arg-type]
    assert encoder.encoder is not None
    assert encoder.decoder is None
    assert decoder == (None, encoder.encoder)
    np.testing.assert_allclose(encoder.encoder, (alpha, beta), rtol=0, atol=0.51e-7)
    # The paper's condition: the update of the model does not grow with the depth.
    assert math.isclose(2 * layers * 2 * encoder.encoder.beta**2 / encoder.encoder.alpha**2, 1)


def test_encoder_and_decoder() -> None:
    encoder, decoder = fastnorm.deep_norm_constants(6, 6)
    assert encoder is not None
    assert decoder is not None
    np.testing.assert_allclose((encoder.alpha, encoder.beta), (1.4179381, 0.4969892), rtol=0, atol=0.51e-7)
    np.testing.assert_allclose((decoder.alpha, decoder.beta), (2.0597671, 0.3432945), rtol=0, atol=0.51e-7)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (6, 6), (18, 6), (100, 100), (3, 50)])
def test_factors_of_the_encoder(n: int, m: int) -> None:
    """0.81 and 0.87, not the inverse of 0.87 that one widespread implementation multiplies with."""
    encoder, decoder = fastnorm.deep_norm_constants(n, m)
    assert encoder is not None
    assert decoder is not None
    depth = (n**4 * m) ** (1 / 16)
    assert math.isclose(encoder.alpha / depth, 0.81)
    assert math.isclose(encoder.beta * depth, 0.87)
    assert math.isclose(decoder.alpha**4, 3 * m)
    assert math.isclose(decoder.beta**-4, 12 * m)


def test_bad_layers() -> None:
    with pytest.raises(ValueError, match="needs at least one"):
        fastnorm.deep_norm_constants()
    for name in ("encoder_layers", "decoder_layers"):
        for value, error in (
            (0, ValueError),
            (-1, ValueError),
            (6.0, TypeError),
            (True, TypeError),
            ("6", TypeError),
        ):
            with pytest.raises(error, match=name):
                fastnorm.deep_norm_constants(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(400, 300), (300, 400), (2, 150, 300)], ids=str)
def test_law_of_the_weights(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """Normal, of the deviation beta * sqrt(2 / (fan_in + fan_out)); five deviations of each statistic are
    allowed.
    """
    beta = 0.38
    weight = fastnorm.deep_norm_init(rng, shape, beta)
    assert weight.dtype == np.float32
    assert weight.shape == shape
    z = weight.astype(np.float64).ravel() / (beta * math.sqrt(2 / (shape[-2] + shape[-1])))
    n = z.size
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / n)
    # A uniform law of this deviation has a fourth moment of 1.8 and ends at sqrt(3).
    assert abs(np.mean(z**4) - 3) < 5 * math.sqrt(96 / n)
    for edge in (-2.0, -1.0, 0.0, 1.0, 2.0):
        share = 0.5 * math.erfc(-edge / math.sqrt(2))
        assert abs(np.mean(z <= edge) - share) < 5 * math.sqrt(share * (1 - share) / n)


def test_init_follows_the_generator() -> None:
    first, second = (
        fastnorm.deep_norm_init(np.random.default_rng(3), (4, 5), 1.0, dtype=np.float64) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float64
    assert not fastnorm.deep_norm_init(np.random.default_rng(3), (4, 5), 0.0).any()


BAD_INIT: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"rng": 3}, TypeError),
    ({"rng": np.random.RandomState(3)}, TypeError),
    ({"shape": (5,)}, ValueError),
    ({"shape": ()}, ValueError),
    ({"shape": (3, -1)}, ValueError),
    ({"shape": 5}, TypeError),
    ({"shape": (3.0, 4.0)}, TypeError),
    ({"beta": "1"}, TypeError),
    ({"beta": None}, TypeError),
    ({"beta": True}, TypeError),
    ({"beta": -1.0}, ValueError),
    ({"beta": math.nan}, ValueError),
    ({"dtype": np.int32}, TypeError),
]


@pytest.mark.parametrize(("bad", "error"), BAD_INIT, ids=without_addresses)
def test_bad_init(bad: dict[str, Any], error: type[Exception]) -> None:
    arguments: dict[str, Any] = {"rng": np.random.default_rng(0), "shape": (3, 4), "beta": 1.0, **bad}
    with pytest.raises(error, match=next(iter(bad))):
        fastnorm.deep_norm_init(**arguments)


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^deep_norm_constants: encoder_layers is 1000"):
        fastnorm.deep_norm_constants(10**400)
    assert math.isfinite(fastnorm.deep_norm_constants(2**63 - 1, 2**63 - 1).encoder.alpha)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"^deep_norm_init: beta is 1000"):
        fastnorm.deep_norm_init(np.random.default_rng(0), (2, 2), 10**400)
    with pytest.raises(
        ValueError, match=r"^deep_norm_init: shape is \(2, 4611686018427387904\), needs at most"
    ):
        fastnorm.deep_norm_init(np.random.default_rng(0), (2, 2**62), 1.0)
