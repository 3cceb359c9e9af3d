// sigmoid, tanh, silu and their derivatives in float, of any Vec<float, N>, for targets with fused
// multiply-add.
//
// The functions of t of logistic_double.h, S, S (1 - S), 2 t S, D and tanh, as piecewise polynomials,
// relatively accurate up to far_t = 12.5 (tanh: 9.02, from where on it is 1). Beyond it S = e - e^2 but for
// 2^-36 of it, e = exp(-t), and the others likewise; these far tails are computed only where a lane needs
// them. For x > 0, where S counts beside 1, the polynomials serve up to t = 18.
//
// Error over all inputs: docs/accuracy.md. One rounding of the polynomial, 0.2 ULP from its inner roundings,
// and for 1 - S and x - t S a second rounding beside which the first counts half.
#pragma once

#include "kernels/activations/far_tail.h"
#include "kernels/tables/logistic_coefficients.h"

FASTNORM_TARGET_BEGIN

template <int N>
FASTNORM_INLINE Vec<float, N> sigmoid_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V one = broadcast<V>(1);
    const V tail = piecewise<logistic_tail, false>(min(broadcast<V>(logistic_tail.last_t), abs(x)));
    const V result = select(x < broadcast<V>(0), tail, one - tail);
    const auto far = x < broadcast<V>(-logistic_tail.far_t);
    if (any(far)) return select(far, far_tail(x, one, -one), result);
    return result;
}

// S (1 - S) times a power of two at any t >= 0.
template <int N>
FASTNORM_INLINE Vec<float, N> bell_float(Vec<float, N> t, float factor) {
    using V = Vec<float, N>;
    const V bell = piecewise<logistic_bell, false>(min(broadcast<V>(logistic_bell.last_t), t));
    const V result = factor == 1 ? bell : bell * broadcast<V>(factor);
    const auto far = t > broadcast<V>(logistic_bell.far_t);
    if (any(far)) {
        return select(far, far_tail(-t, broadcast<V>(factor), broadcast<V>(-2 * factor)), result);
    }
    return result;
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
    const V twice = piecewise<silu_tail, true>(min(broadcast<V>(silu_tail.last_t), abs(x)));
    const V result = negative_mul_add(twice, broadcast<V>(0.5f), max(broadcast<V>(-0.0f), x));
    const auto far = x < broadcast<V>(-silu_tail.far_t);
    if (any(far)) {
        const V near = max(broadcast<V>(-150), x);
        return select(far, far_tail(x, near, -near), result);
    }
    return result;
}

template <int N>
FASTNORM_INLINE Vec<float, N> silu_derivative_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V one = broadcast<V>(1);
    const V slope = piecewise<silu_slope, false>(min(broadcast<V>(silu_slope.last_t), abs(x)));
    const V result = select(x < broadcast<V>(0), slope, one - slope);
    const auto far = x < broadcast<V>(-silu_slope.far_t);
    if (any(far)) {
        const V near = max(broadcast<V>(-150), x), a = one + near;
        return select(far, far_tail(x, a, -(a + near)), result);
    }
    return result;
}

FASTNORM_TARGET_END
