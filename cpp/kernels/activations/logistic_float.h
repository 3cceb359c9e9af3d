// sigmoid, tanh, silu and their derivatives in float, of any Vec<float, N>, for targets with fused
// multiply-add.
//
// The functions of t of logistic_double.h, S, S (1 - S), 2 t S, D and tanh, as piecewise polynomials up to t
// = 20 (tanh: 9.02, from where on it is 1). From there on S = e = exp(-t) but for 2^-28 of it, and the others
// are multiples of e likewise; these far tails are computed only where a lane needs them. (For x > 0 the
// results are 1 or x there.)
//
// Error over all inputs: docs/accuracy.md. One rounding of the polynomial, 0.2 ULP from its inner roundings,
// and for 1 - S and x - t S a second rounding beside which the first counts half.
#pragma once

#include "kernels/tables/logistic_coefficients.h"
#include "simd/math.h"

FASTNORM_TARGET_BEGIN

// e = exp(-t) as (1 + s) 2^n, t > 20 and clamped where everything has vanished, in pieces for one rounding:
// multiple(a) is a e 2^power.
template <class V>
class FarTail {
public:
    explicit FASTNORM_INLINE FarTail(V t) : e_(exponential(-min(broadcast<V>(150), t))) {}

    FASTNORM_INLINE V multiple(V a, float power = 0) const {
        const V whole = broadcast<V>(1) + e_.s;
        const V rest = e_.s - (whole - broadcast<V>(1));
        return scale(mul_add(a, whole, a * rest), e_.n + broadcast<V>(power));
    }

private:
    Exponential<V, V> e_;
};

// The same of e = exp(x + lo), x < -8, with two terms: (a + a_lo) e + b e^2, the low parts far below 1. s is
// kept as the sum of two: its rounding would show where a is near a power of two from below.
template <class V>
FASTNORM_INLINE V far_tail(V x, V lo, V a, V a_lo, V b) {
    using R = Reduction<float>;
    const V near = max(broadcast<V>(-150), x), one = broadcast<V>(1);
    const V n = whole_powers(near);
    const V high = negative_mul_add(n, broadcast<V>(R::ln2_high), near);
    const V low = mul_add(n, broadcast<V>(-R::ln2_low), select(near == x, lo, broadcast<V>(0)));
    const V r = high + low;
    const Pair<V> s = fast_two_sum(high, mul_add(r * r, polynomial(r, exponential_series_single), low));
    const Pair<V> whole = fast_two_sum(one, s.hi);
    const V more = mul_add(b, scale(whole.hi, n), a_lo);
    return scale(mul_add(a, whole.hi, mul_add(more, whole.hi, a * (whole.lo + s.lo))), n);
}

template <int N>
FASTNORM_INLINE Vec<float, N> sigmoid_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V t = abs(x), last = broadcast<V>(logistic_tail.last_t);
    const V tail = piecewise<logistic_tail, false>(min(last, t));
    const V result = select(x < broadcast<V>(0), tail, broadcast<V>(1) - tail);
    const auto far = x < -last;
    if (any(far)) return select(far, FarTail<V>(t).multiple(broadcast<V>(1)), result);
    return result;
}

// S (1 - S) times 2^power at any t >= 0.
template <int N>
FASTNORM_INLINE Vec<float, N> bell_float(Vec<float, N> t, float power) {
    using V = Vec<float, N>;
    const V last = broadcast<V>(logistic_bell.last_t);
    const V bell = piecewise<logistic_bell, false>(min(last, t));
    const V result = power == 0 ? bell : bell * broadcast<V>(4);
    const auto far = t > last;
    if (any(far)) return select(far, FarTail<V>(t).multiple(broadcast<V>(1), power), result);
    return result;
}
template <int N>
FASTNORM_INLINE Vec<float, N> sigmoid_derivative_float(Vec<float, N> x) {
    return bell_float(abs(x), 0);
}
template <int N>
FASTNORM_INLINE Vec<float, N> tanh_derivative_float(Vec<float, N> x) {
    return bell_float(abs(x) + abs(x), 2);
}

template <int N>
FASTNORM_INLINE Vec<float, N> tanh_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    return copy_sign(piecewise<tanh_pieces, true>(min(broadcast<V>(tanh_pieces.last_t), abs(x))), x);
}

template <int N>
FASTNORM_INLINE Vec<float, N> silu_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V t = abs(x), last = broadcast<V>(silu_tail.last_t);
    const V twice = piecewise<silu_tail, true>(min(last, t));
    const V result = negative_mul_add(twice, broadcast<V>(0.5f), max(broadcast<V>(-0.0f), x));
    const auto far = x < -last;
    if (any(far)) return select(far, FarTail<V>(t).multiple(max(broadcast<V>(-150), x)), result);
    return result;
}

template <int N>
FASTNORM_INLINE Vec<float, N> silu_derivative_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V t = abs(x), last = broadcast<V>(silu_slope.last_t);
    const V slope = piecewise<silu_slope, false>(min(last, t));
    const V result = select(x < broadcast<V>(0), slope, broadcast<V>(1) - slope);
    const auto far = x < -last;
    if (any(far)) {
        const V factor = broadcast<V>(1) + max(broadcast<V>(-150), x);
        return select(far, FarTail<V>(t).multiple(factor), result);
    }
    return result;
}

FASTNORM_TARGET_END
