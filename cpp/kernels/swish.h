// swish with a parameter: y = x sigmoid(beta x), dy/dx = s + z s (1 - s); z = beta x, s = sigmoid(z).
//
// As swish(x, -beta) is -swish(-x, beta), the functions of t = |z| of logistic_double.h do: with u = x or, for beta < 0,
// -x,
//
//   y = +-(max(u, 0) - |u| S(t)),  dy/dx = D(t) for u < 0, 1 - D(t) for u >= 0
//
// All in double, where z is exact for float and a Pair for double: error 0.51 ULP in float32, below 2 ULP in float64.
// beta = 1 has the bits of silu. Limits: beta = inf gives relu, beta = 0 gives x/2, infinite x included (0 times
// infinity counts as z = 0); where exp(-t) vanishes, products with it vanish. NaN in x or beta gives NaN.
#pragma once

#include "kernels/silu.h"

FASTNORM_TARGET_BEGIN

template <template <class> class A, int N>
struct SwishDouble {
    using V = Vec<double, N>;
    using M = A<V>;
    using Number = typename M::Number;
    using F = LogisticDouble<A, N>;

    static constexpr bool is_plain = sizeof(Number) == sizeof(V);
    // t from which x S(t) vanishes for every finite x of the type.
    static constexpr double last_t = is_plain ? 300 : 1460;

    static FASTNORM_INLINE V turned(V x, V beta) { return select(beta < broadcast<V>(0), -x, x); }
    static FASTNORM_INLINE V magnitude(V x) { return min(broadcast<V>(0x1.fffffffffffffp1023), abs(x)); }

    // |beta x|, at most `last`.
    static FASTNORM_INLINE Number argument(V x, V beta, double last) {
        const V a = abs(beta), b = abs(x), zero = broadcast<V>(0), most = broadcast<V>(last);
        const V whole = a * b;
        const auto is_zero = is_nan(whole) & !is_nan(a) & !is_nan(b);
        const V t = select(is_zero, zero, min(most, whole));
        if constexpr (is_plain) {
            return t;
        } else {
            V rest;
            two_product(a, b, rest);
            return {t, select((whole < most) & !is_nan(rest), rest, zero)};
        }
    }

    static FASTNORM_INLINE V value(V x, V beta) {
        const V u = turned(x, beta);
        const Number t = argument(x, beta, last_t);
        const V y = max(broadcast<V>(-0.0), u) - F::tail_times(t, magnitude(x));
        return turned(select(M::rounded(t) == broadcast<V>(0), u * broadcast<V>(0.5), y), beta);
    }

    static FASTNORM_INLINE V derivative(V x, V beta) {
        const V slope = F::slope(argument(x, beta, F::last_t));
        return select(turned(x, beta) < broadcast<V>(0), slope, broadcast<V>(1) - slope);
    }
};

// silu_value where beta is 1, else swish_value.
template <class V, class Silu>
FASTNORM_INLINE V with_silu(V beta, V swish_value, Silu silu_value) {
    const auto is_one = beta == broadcast<V>(1);
    return any(is_one) ? select(is_one, silu_value(), swish_value) : swish_value;
}

template <class T, int N>
FASTNORM_INLINE Vec<T, N> swish(Vec<T, N> x, Vec<T, N> beta) {
    if constexpr (sizeof(T) == 8) {
        return SwishDouble<PairArithmetic, N>::value(x, beta);
    } else {
        const auto y = SwishDouble<PlainArithmetic, N>::value(to_double(x), to_double(beta));
        return with_silu(beta, to_float(y), [&]() FASTNORM_INLINE_LAMBDA { return silu(x); });
    }
}

// dy/dx.
template <class T, int N>
FASTNORM_INLINE Vec<T, N> swish_derivative(Vec<T, N> x, Vec<T, N> beta) {
    if constexpr (sizeof(T) == 8) {
        return SwishDouble<PairArithmetic, N>::derivative(x, beta);
    } else {
        const auto slope = SwishDouble<PlainArithmetic, N>::derivative(to_double(x), to_double(beta));
        return with_silu(beta, to_float(slope), [&]() FASTNORM_INLINE_LAMBDA { return silu_derivative(x); });
    }
}

FASTNORM_TARGET_END
