// sigmoid, tanh, silu and their derivatives in float, of any Vec<float, N>, for targets with fused
// multiply-add.
//
// The functions of t of logistic_double.h, S, S (1 - S), 2 t S, D and tanh, as piecewise polynomials,
// relatively accurate up to far_t = 12.5 (tanh: 9.02, from where on it is 1). Beyond it S = e - e^2 but for
// 2^-36 of it, e = exp(-t), and the others likewise; these far tails are computed only where a lane needs
// them.
//
// Error over all inputs: docs/accuracy.md. One rounding of the polynomial, 0.2 ULP from its inner roundings,
// and for 1 - S and x - t S a second rounding beside which the first counts half.
#pragma once

#include "kernels/activations/far_tail.h"
#include "kernels/tables/logistic_coefficients.h"

FASTNORM_TARGET_BEGIN

// a e + b e^2, as it depends on t.
template <class V>
struct Terms {
    V a, b;
};

// value, but from far_t on the sum of such terms.
template <const auto& table, class V, class TermsOf>
FASTNORM_INLINE V with_far_terms(V t, V value, TermsOf terms_of) {
    const auto far = t > broadcast<V>(table.far_t);
    if (!any(far)) return value;
    // From there on everything has vanished.
    const V near = min(broadcast<V>(150), t), zero = broadcast<V>(0);
    const Terms<V> terms = terms_of(near);
    return select(far, far_tail(-near, zero, terms.a, zero, terms.b), value);
}

template <int N>
FASTNORM_INLINE Vec<float, N> sigmoid_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V t = abs(x);
    const V tail = with_far_terms<logistic_tail>(
        t, piecewise<logistic_tail, false, false>(t),
        [](V) FASTNORM_INLINE_LAMBDA { return Terms<V>{broadcast<V>(1), broadcast<V>(-1)}; }
    );
    return one_minus_where(x >= broadcast<V>(0), tail);
}

// S (1 - S) times a power of two at any t >= 0.
template <int N>
FASTNORM_INLINE Vec<float, N> bell_float(Vec<float, N> t, float factor) {
    using V = Vec<float, N>;
    const V bell = piecewise<logistic_bell, false, false>(t);
    const V result = factor == 1 ? bell : bell * broadcast<V>(factor);
    return with_far_terms<logistic_bell>(t, result, [factor](V) FASTNORM_INLINE_LAMBDA {
        return Terms<V>{broadcast<V>(factor), broadcast<V>(-2 * factor)};
    });
}
template <int N>
FASTNORM_INLINE Vec<float, N> sigmoid_derivative_float(Vec<float, N> x) {
    return bell_float(abs(x), 1);
}
template <int N>
FASTNORM_INLINE Vec<float, N> tanh_derivative_float(Vec<float, N> x) {
    return bell_float(abs(x) + abs(x), 4);
}

template <int N>
FASTNORM_INLINE Vec<float, N> tanh_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    return copy_sign(piecewise<tanh_pieces, true>(min(broadcast<V>(tanh_pieces.last_t), abs(x))), x);
}

template <int N>
FASTNORM_INLINE Vec<float, N> silu_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V t = abs(x);
    const V twice =
        with_far_terms<silu_tail>(t, piecewise<silu_tail, true, false>(t), [](V near) FASTNORM_INLINE_LAMBDA {
            return Terms<V>{near + near, -(near + near)};
        });
    return negative_mul_add(twice, broadcast<V>(0.5f), max(broadcast<V>(-0.0f), x));
}

template <int N>
FASTNORM_INLINE Vec<float, N> silu_derivative_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V t = abs(x);
    const V slope = with_far_terms<silu_slope>(
        t, piecewise<silu_slope, false, false>(t), [](V near) FASTNORM_INLINE_LAMBDA {
            const V a = broadcast<V>(1) - near;
            return Terms<V>{a, near - a};
        }
    );
    return one_minus_where(x >= broadcast<V>(0), slope);
}

FASTNORM_TARGET_END
