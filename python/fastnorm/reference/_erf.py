"""The normal distribution function and the exact gelu in float64, with full relative accuracy in the negative
tail.

With t = abs(x), E = exp(-t^2/2) and R(t) = exp(t^2/2) Phi(-t) (the Mills ratio over sqrt(2 pi)),

    Phi(-t)  = E R(t)                          Phi(t)   = 1 - Phi(-t)
    gelu(x)  = max(x, 0) - t R(t) E            both signs, nothing cancels
    gelu'(x) = D or 1 - D,  D = E (R(t) - t/sqrt(2 pi)) = E (t0 - t) U(t)

where -t0 is the zero of gelu' and U is smooth and positive. R(t) (t + 4) and U(t) are Chebyshev series in
s = 2 w 44/40 - 1, w = t/(t + 4), for t in [0, 40]; beyond 38.7 every result rounds to zero. The truncated
series are
within 2^-58 of the functions, relatively; ``tools/gelu_coefficients.py`` computes them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["gelu", "gelu_derivative", "normal_cdf", "normal_pdf"]

Array = npt.NDArray[np.float64]

_LAST_T = 40.0  # everything is zero from here on; the series end here

# tables made by tools/gelu_coefficients.py twin
_MILLS = np.array(
    [
        1.0116209083845082,
        -0.740503289573893,
        0.20276522118270388,
        -0.040086957810304906,
        0.004964958192919156,
        -0.00013719513552276624,
        -7.064193792299631e-05,
        9.068684489786225e-06,
        9.452958495671412e-07,
        -2.5907153498066024e-07,
        -1.7511187712111e-08,
        7.253102800813902e-09,
        5.599350409731177e-10,
        -2.093554638633177e-10,
        -2.5350009608556438e-11,
        5.767582780062746e-12,
        1.2269620601946945e-12,
        -1.199274876328749e-13,
        -5.547203063261898e-14,
        -5.025379560193225e-16,
        2.139929591189901e-15,
        2.5702082278810273e-16,
        -5.846333570925396e-17,
        -1.8414729757815877e-17,
        5.92678763093594e-20,
        8.297842364111564e-19,
        1.2191027039004443e-19,
    ]
)
_SLOPE = np.array(
    [
        0.5030672078802043,
        -0.12307452334570393,
        0.03179207221051058,
        -0.00624563924242144,
        0.000849583785587245,
        -5.5104926439945436e-05,
        -4.8770074234304016e-06,
        1.286480416570301e-06,
        1.5011114031088223e-09,
        -2.56352931147577e-08,
        6.895355140472836e-10,
        5.982364339874008e-10,
        -1.519043635993743e-11,
        -1.6424054971791708e-11,
        -8.267673726289095e-14,
        4.892476654948801e-13,
        2.980958130129542e-14,
        -1.4038909205495912e-14,
        -2.0978728973052174e-15,
        3.1272235546958425e-16,
        1.0670377168265437e-16,
        -5.109565373372795e-19,
        -4.191884683586797e-18,
        -4.922881312831948e-19,
        1.0717406283408684e-19,
    ]
)
_ZERO_HIGH = 0.7517915246935645  # t0 = 0.75179152469356445745790...
_ZERO_LOW = -1.4956759177009883e-17
_PDF_AT_ZERO = 0.3989422804014327  # 1/sqrt(2 pi)


def _chebyshev(coefficients: Array, t: Array) -> Array:
    """Clenshaw's sum at s(t)."""
    twice_s = (t / (t + 4.0)) * 4.4 - 2.0
    latest = np.zeros_like(t)
    before = np.zeros_like(t)
    for coefficient in coefficients[:0:-1]:
        latest, before = twice_s * latest - before + coefficient, latest
    return np.asarray(0.5 * twice_s * latest - before + coefficients[0])


def _times_gaussian(factor: Array, t: Array) -> Array:
    """factor * exp(-t^2/2), rounded once where the result is subnormal.

    The exponent is -z^2/2 - (t - z)(t + z)/2 with z = t rounded to 8 fractional bits: the first part is exact
    and the second small, so the rounding of t^2 (up to 745 ulp of the result otherwise) never shows.
    """
    z = np.round(t * 256.0) * (1.0 / 256.0)
    small = np.exp((z - t) * (z + t) * 0.5)
    far = t > 30.0
    # exp(300 - z^2/2) keeps the intermediate normal; exp(-300) brings it back in the last multiplication
    large = np.exp(np.where(far, 300.0, 0.0) - 0.5 * (z * z))
    return np.asarray((factor * small * large) * np.where(far, 5.148200222412013e-131, 1.0))


def _split(x: npt.ArrayLike) -> tuple[Array, Array]:
    """x and t = min(abs(x), 40) as float64."""
    values = np.asarray(x, dtype=np.float64)
    return values, np.asarray(np.minimum(np.abs(values), _LAST_T))


def _mills(t: Array) -> Array:
    """R(t) = exp(t^2/2) Phi(-t)."""
    return np.asarray(_chebyshev(_MILLS, t) / (t + 4.0))


def normal_pdf(x: npt.ArrayLike) -> Array:
    """Density of the standard normal distribution, relative error below 5e-16 (subnormal results: one
    rounding).
    """
    values, t = _split(x)
    with np.errstate(under="ignore"):
        return _times_gaussian(np.full_like(values, _PDF_AT_ZERO), t)


def normal_cdf(x: npt.ArrayLike) -> Array:
    """Distribution function Phi of the standard normal distribution.

    Parameters
    ----------
    x : array_like
        Converted to float64. Infinities give 0 and 1, NaN gives NaN.

    Returns
    -------
    ndarray of float64
        Relative error below 1e-15 on both sides; subnormal results are rounded once.
    """
    values, t = _split(x)
    with np.errstate(under="ignore"):
        tail = _times_gaussian(_mills(t), t)
    return np.asarray(np.where(values > 0.0, 1.0 - tail, tail))


def gelu(x: npt.ArrayLike) -> Array:
    """x Phi(x) in float64, relative error below 1e-15; the negative tail ends in -0.0."""
    values, t = _split(x)
    with np.errstate(under="ignore"):
        tail = _times_gaussian(t * _mills(t), t)
    return np.asarray(np.where(np.signbit(values), -tail, values - tail))


def gelu_derivative(x: npt.ArrayLike) -> Array:
    """Phi(x) + x Phi'(x) in float64, relative error below 1.2e-15 also around its zero at -t0 and in the
    tail.
    """
    values, t = _split(x)
    with np.errstate(under="ignore"):
        tail = _times_gaussian(((_ZERO_HIGH - t) + _ZERO_LOW) * _chebyshev(_SLOPE, t), t)
    return np.asarray(np.where(values > 0.0, 1.0 - tail, tail))
