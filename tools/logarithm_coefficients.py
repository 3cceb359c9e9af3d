"""Compute the series of cpp/simd/logarithm.h with mpmath and print them as the source holds them.

    python tools/logarithm_coefficients.py

With s = n/(2 + n), log(1 + n) = 2 atanh(s) = 2 s + s R(s^2), and R(z) = z (2/3 + 2/5 z + ...). The series is
that of R(z)/z on the interval that n in [sqrt(1/2) - 1, sqrt(2) - 1] makes of z = s^2; for softplus, whose n
is an exponential in [0, 1], on [0, 1/9].
"""

import mpmath as mp
from gelu_coefficients import cpp_array, powers
from mpmath import mpf


def remainder_factor(z: mpf) -> mpf:
    """(2 atanh(s) - 2 s)/(s z) for z = s^2."""
    if z < mpf(2) ** -40:
        return mpf(2) / 3 + z * 2 / 5
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / (s * z)


def logarithm_series(largest_n: mpf, degree: int) -> list[mpf]:
    """Its polynomial on all z up to that of an n."""
    largest = (largest_n / (2 + largest_n)) ** 2 * mpf("1.001")
    return powers(remainder_factor, mpf(0), largest, degree)


if __name__ == "__main__":
    root = mp.sqrt(2) - 1
    print(cpp_array("logarithm_series", logarithm_series(root, 6)), end="")
    print(cpp_array("logarithm_series_single", logarithm_series(root, 3), "float"), end="")
    print(cpp_array("softplus_series", logarithm_series(mpf(1), 10)), end="")
    print(cpp_array("softplus_series_single", logarithm_series(mpf(1), 4), "float"), end="")
