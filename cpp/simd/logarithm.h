// Natural logarithms of Vecs.
//
//   function        valid for                          maximum error (with fused multiply-add)
//   log(Vec)        normal x > 0, infinity, NaN        0.8 ULP in float and double
//   log1p(Vec)      x >= 0, infinity, NaN              1.4 ULP, at every size of x; 0.8 for x <= 0.4
//
// As in simd/math.h, lanes are independent and every target with fused multiply-add gives the same bits.
#pragma once

#include <limits>

#include "simd/math.h"

FASTNORM_TARGET_BEGIN

// (2 atanh(s) - 2 s)/(s z), z = s^2, where 1 + n = (1 + s)/(1 - s) lies between sqrt(1/2) and sqrt(2), lowest
// power first; made by tools/logarithm_coefficients.py.
constexpr double logarithm_series[] = {
    0x1.5555555555558p-1, 0x1.9999999995219p-2, 0x1.2492492e0644ep-2, 0x1.c71c62cbfea3fp-3,
    0x1.7462bba41c635p-3, 0x1.39fd807189bb6p-3, 0x1.2b62ca3da2e33p-3,
};
constexpr float logarithm_series_single[] = {
    0x1.555556p-1f,
    0x1.9999ecp-2f,
    0x1.245c0cp-2f,
    0x1.ddd996p-3f,
};

// How a number of the type is laid out, and ln(2) = ln2_high + ln2_low, ln2_high so short that k ln2_high is
// exact.
template <class T>
struct LogarithmLayout;
template <>
struct LogarithmLayout<float> {
    static constexpr int mantissa_bits = 23;
    static constexpr std::int64_t mantissa = 0x7fffff, bias = 127;
    static constexpr float root_half = 0x1.6a09e6p-1f, whole = 0x1p23f,
                           infinity = std::numeric_limits<float>::infinity();
    static constexpr float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;
};
template <>
struct LogarithmLayout<double> {
    static constexpr int mantissa_bits = 52;
    static constexpr std::int64_t mantissa = 0xfffffffffffff, bias = 1023;
    static constexpr double root_half = 0x1.6a09e667f3bcdp-1, whole = 0x1p52,
                            infinity = std::numeric_limits<double>::infinity();
    static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
};

template <class V>
FASTNORM_INLINE V logarithm_polynomial(V z) {
    using T = element_t<V>;
    if constexpr (sizeof(T) == 4) {
        return polynomial(z, logarithm_series_single);
    } else {
        return polynomial(z, logarithm_series);
    }
}

// log(x + rest), or log(x), for normal x and a rest below its last bit. x = 2^k f, f between sqrt(1/2) and
// sqrt(2); with n = f - 1 (exact) plus the scaled rest, log(1 + n) = n - (n^2/2 - s (n^2/2 + R)), where s =
// n/(2 + n): n itself is not rounded, all that is added to it is smaller.
template <bool has_rest, class V>
FASTNORM_INLINE V logarithm(V x, V rest) {
    using T = element_t<V>;
    using L = LogarithmLayout<T>;
    const auto root_bits = as_bits(broadcast<V>(L::root_half));
    // The exponent field goes up by one where the mantissa reaches that of sqrt(1/2).
    const auto moved = as_bits(x) + (as_bits(broadcast<V>(T(1))) - root_bits);
    const auto exponent = moved >> L::mantissa_bits;
    const V f = from_bits((moved & broadcast_bits<V>(L::mantissa)) + root_bits);
    const V k = from_bits(exponent | as_bits(broadcast<V>(L::whole))) - broadcast<V>(L::whole + T(L::bias));
    V n = f - broadcast<V>(T(1));
    if constexpr (has_rest) {
        n = mul_add(rest, from_bits((broadcast_bits<V>(2 * L::bias) - exponent) << L::mantissa_bits), n);
    }
    const V s = n / (broadcast<V>(T(2)) + n);
    const V z = s * s;
    const V half_square = broadcast<V>(T(0.5)) * n * n;
    const V inner =
        mul_add(k, broadcast<V>(L::ln2_low), s * mul_add(z, logarithm_polynomial(z), half_square));
    const V result = mul_add(k, broadcast<V>(L::ln2_high), n - (half_square - inner));
    return select(x < broadcast<V>(L::infinity), result, x);
}

template <class T, int N>
FASTNORM_INLINE Vec<T, N> log(Vec<T, N> x) {
    return logarithm<false>(x, x);
}

// log(1 + x): the rounding error of 1 + x is made good.
template <class T, int N>
FASTNORM_INLINE Vec<T, N> log1p(Vec<T, N> x) {
    const Pair<Vec<T, N>> one_plus = two_sum(broadcast<Vec<T, N>>(T(1)), x);
    return logarithm<true>(one_plus.hi, one_plus.lo);
}

// The same R(z) = (2 atanh(s) - 2 s)/(s z) for n in [0, 1], an exponential: log(1 + n) = 2 s + s z R(z), s =
// n/(2 + n). Made by tools/logarithm_coefficients.py.
constexpr double softplus_series[] = {
    0x1.5555555555555p-1, 0x1.9999999999941p-2, 0x1.249249249a0ccp-2, 0x1.c71c71beaa669p-3,
    0x1.745d199fc5351p-3, 0x1.3b134fb6f94e4p-3, 0x1.111ae09ce68aep-3, 0x1.e09f4cb296236p-4,
    0x1.bc53a8a0ea6f6p-4, 0x1.32688a1d29a85p-4, 0x1.408c12ff2dc96p-3,
};
constexpr float softplus_series_single[] = {
    0x1.555556p-1f, 0x1.9998dp-2f, 0x1.24c9ecp-2f, 0x1.bc75ccp-3f, 0x1.dc0ecep-3f,
};
template <int N>
FASTNORM_INLINE Vec<float, N> softplus_polynomial(Vec<float, N> z) {
    return polynomial(z, softplus_series_single);
}
template <int N>
FASTNORM_INLINE Vec<double, N> softplus_polynomial(Vec<double, N> z) {
    return polynomial(z, softplus_series);
}

FASTNORM_TARGET_END
