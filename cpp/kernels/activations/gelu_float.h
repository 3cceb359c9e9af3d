// The three forms of gelu and their derivatives in float, of any Vec<float, N>, for targets with fused
// multiply-add.
//
// gelu(x) = max(x, 0) - t S(t), t = |x|, as in gelu_double.h. 2 t S(t) is a piecewise polynomial, relatively
// accurate up to far_t; from there on it serves only for x > 0, up to a t after which max(x, 0) - t S(t)
// rounds to x. Likewise the derivative, D(t) for x < 0 and 1 - D(t) for x >= 0, which is relatively accurate
// at its zero because a piece has its center there.
//
// For x < -far_t, computed only where a lane needs it, with e = exp(-z) and z a sum of two:
//   none             z = t^2/2: t S = (c - r) e, D = ((c - r)/t - c t) e, c = 1/sqrt(2 pi), r = c - t R(t) a
//                    polynomial in u = 1/t^2 times u
//   tanh, sigmoid    S = e - e^2 but for 2^-36 of it, D = (1 - t z') e - (1 - 2 t z') e^2
//
// Error over all inputs: docs/accuracy.md. One rounding of t S(t), for x > 0 a second one that is at
// most half as large, and about 0.2 ULP from the polynomial's inner roundings.
#pragma once

#include "kernels/activations/far_tail.h"
#include "kernels/activations/gelu_double.h"

FASTNORM_TARGET_BEGIN

template <Approximation form>
struct GeluPieces;
template <>
struct GeluPieces<Approximation::none> {
    static constexpr const auto& tail = none_tail;
    static constexpr const auto& slope = none_slope;
};
template <>
struct GeluPieces<Approximation::tanh> {
    static constexpr const auto& tail = tanh_tail;
    static constexpr const auto& slope = tanh_slope;
};
template <>
struct GeluPieces<Approximation::sigmoid> {
    static constexpr const auto& tail = sigmoid_tail;
    static constexpr const auto& slope = sigmoid_slope;
};

// A constant as the sum of two floats.
template <class V>
FASTNORM_INLINE Pair<V> float_pair(SplitConstant c) {
    return {broadcast<V>(float(c.hi)), broadcast<V>(float(c.hi - double(float(c.hi))))};
}

// gelu or its derivative at x = -t, t > 4.4.
template <bool derivative, class V>
FASTNORM_INLINE V gelu_far_tail_none(V t) {
    const Pair<V> c = float_pair<V>(GeluForm<Approximation::none>::density), square = product(t, t);
    const V inverse = broadcast<V>(1) / t, u = inverse * inverse, half = broadcast<V>(-0.5f);
    const V rest = u * polynomial(u, mills_rest_series);
    Pair<V> a;
    if constexpr (derivative) {
        const Pair<V> linear = product(t, c.hi);
        a = fast_two_sum(-linear.hi, (c.hi - rest) * inverse);
        a.lo = a.lo - mul_add(t, c.lo, linear.lo);
    } else {
        a = fast_two_sum(-c.hi, rest);
        a.lo = a.lo - c.lo;
    }
    return far_tail(square.hi * half, square.lo * half, a.hi, a.lo, broadcast<V>(0));
}
template <Approximation form, bool derivative, class V>
FASTNORM_INLINE V gelu_far_tail_logistic(V t) {
    const Pair<V> linear = float_pair<V>(GeluForm<form>::linear);
    Pair<V> z, slope;  // z and t z'
    if constexpr (form == Approximation::tanh) {
        const Pair<V> b = float_pair<V>(GeluForm<form>::cubic), square = product(t, t);
        Pair<V> cubic = product(square, b.hi);
        cubic.lo = mul_add(square.hi, b.lo, cubic.lo);
        z = product(pair_sum(cubic, linear), t);
        slope = pair_sum(z, product(Pair<V>{cubic.hi + cubic.hi, cubic.lo + cubic.lo}, t));
    } else {
        z = product(linear, t);
        slope = z;
    }
    if constexpr (derivative) {
        const V one = broadcast<V>(1);
        const Pair<V> a = fast_two_sum(-slope.hi, one);
        return far_tail(-z.hi, -z.lo, a.hi, a.lo - slope.lo, slope.hi + slope.hi - one);
    } else {
        return far_tail(-z.hi, -z.lo, -t, broadcast<V>(0), t);
    }
}

// result, but for x < -far_t the far tail; rare, so kept out of the loops.
template <Approximation form, bool derivative, int N>
FASTNORM_RARE Vec<float, N> with_far_tail(Vec<float, N> x, Vec<float, N> result, float far_t) {
    if constexpr (N > native<float>) {
        const Vec<float, N / 2> lo = with_far_tail<form, derivative>(x.lo, result.lo, far_t);
        return {lo, with_far_tail<form, derivative>(x.hi, result.hi, far_t)};
    } else {
        using V = Vec<float, N>;
        const auto is_far = x < broadcast<V>(-far_t);
        if (!any(is_far)) return result;
        // From there on everything has vanished.
        constexpr float end = form == Approximation::sigmoid ? 100 : 15;
        const V t = min(broadcast<V>(end), -x);
        V far;
        if constexpr (form == Approximation::none) {
            far = gelu_far_tail_none<derivative>(t);
        } else {
            far = gelu_far_tail_logistic<form, derivative>(t);
        }
        return select(is_far, far, result);
    }
}

template <Approximation form, int N>
FASTNORM_INLINE Vec<float, N> gelu_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    constexpr const auto& table = GeluPieces<form>::tail;
    const V t = min(broadcast<V>(table.last_t), abs(x));
    const V twice = piecewise<table, true>(t);
    const V result = negative_mul_add(twice, broadcast<V>(0.5f), max(broadcast<V>(-0.0f), x));
    if (any(x < broadcast<V>(-table.far_t))) return with_far_tail<form, false>(x, result, table.far_t);
    return result;
}

template <Approximation form, int N>
FASTNORM_INLINE Vec<float, N> gelu_derivative_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    constexpr const auto& table = GeluPieces<form>::slope;
    const V t = min(broadcast<V>(table.last_t), abs(x));
    const V slope = piecewise<table, false>(t);
    const V result = one_minus_where(x >= broadcast<V>(0), slope);
    if (any(x < broadcast<V>(-table.far_t))) return with_far_tail<form, true>(x, result, table.far_t);
    return result;
}

FASTNORM_TARGET_END
