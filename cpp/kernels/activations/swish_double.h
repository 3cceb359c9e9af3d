// swish and its derivatives in double arithmetic, of any Vec<double, N> x and beta.
//
// As swish(x, -beta) is -swish(-x, beta), the functions of t = |beta x| of logistic_double.h do: with u = x
// or, for beta < 0, -x,
//
//   y = +-(max(u, 0) - |u| S(t)),  dy/dx = D(t) for u < 0, 1 - D(t) for u >= 0
//   dy/dbeta = x^2 S(t) (1 - S(t))
//
// Limits: beta = inf gives relu, beta = 0 gives x/2, infinite x included (0 times infinity counts as beta x =
// 0); where exp(-t) vanishes, products with it vanish. NaN in x or beta gives NaN.
#pragma once

#include "kernels/activations/logistic_double.h"

FASTNORM_TARGET_BEGIN

template <template <class> class A, int N>
struct SwishDouble {
    using V = Vec<double, N>;
    using M = A<V>;
    using Number = typename M::Number;
    using F = LogisticDouble<A, N>;

    static constexpr bool is_plain = sizeof(Number) == sizeof(V);
    // t from which x S(t), or dy x^2 S(t), vanishes for every finite x and dy of the type (all but the
    // largest doubles).
    static constexpr double last_t = is_plain ? 300 : 1460, last_bell = is_plain ? 400 : 2760;

    static FASTNORM_INLINE V turned(V x, V beta) { return select(beta < broadcast<V>(0), -x, x); }
    // |x|, at most the largest number of the type.
    static FASTNORM_INLINE V magnitude(V x) {
        return min(broadcast<V>(is_plain ? 0x1.fffffep127 : 0x1.fffffffffffffp1023), abs(x));
    }

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

    // g x^2 S (1 - S): half of the power of two goes to either x, so that no product overflows or vanishes
    // before all do.
    static FASTNORM_INLINE V beta_term(V g, V x, V beta) {
        const Number t = argument(x, beta, last_bell);
        const auto bell = F::scaled_bell(t);
        const V magic = broadcast<V>(Reduction<double>::magic),
                half = mul_add(bell.n, broadcast<V>(0.5), magic) - magic;
        const V factor = magnitude(x);
        const V term = ((g * bell.number) * scale(factor, half)) * scale(factor, bell.n - half);
        return select(M::rounded(t) == broadcast<V>(last_bell), g * broadcast<V>(0), term);
    }
};

// beta_term of floats.
template <int N>
FASTNORM_OUTLINE Vec<double, N> wide_swish_beta_term(Vec<float, N> g, Vec<float, N> x, Vec<float, N> beta) {
    return SwishDouble<PlainArithmetic, N>::beta_term(to_double(g), to_double(x), to_double(beta));
}

FASTNORM_TARGET_END
