// The three forms of gelu and their derivatives in float, of any Vec<float, N>, for targets with fused
// multiply-add.
//
// gelu(x) = max(x, 0) - t S(t), t = |x|, as in gelu_double.h. 2 t S(t) is a piecewise polynomial up to a t
// after which max(x, 0) - t S(t) rounds to x for x > 0; for x < 0 beyond it the double evaluation is taken,
// and only there is it computed, if a lane needs it. Likewise the derivative, D(t) for x < 0 and 1 - D(t) for
// x >= 0, which is relatively accurate at its zero because a piece has its center there.
//
// Error over all inputs: docs/accuracy.md. One rounding of t S(t), for x > 0 a second one that is at
// most half as large, and about 0.2 ULP from the polynomial's inner roundings; below the last piece 0.5 ULP.
#pragma once

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

// result, but for x < -far_t the double evaluation; rare, so kept out of the loops.
template <Approximation form, bool derivative, int N>
FASTNORM_RARE Vec<float, N> with_far_tail(Vec<float, N> x, Vec<float, N> result, float far_t) {
    if constexpr (N > native<float>) {
        const Vec<float, N / 2> lo = with_far_tail<form, derivative>(x.lo, result.lo, far_t);
        return {lo, with_far_tail<form, derivative>(x.hi, result.hi, far_t)};
    } else {
        using V = Vec<float, N>;
        const auto wide = to_double(x);
        const V far = to_float(
            derivative ? gelu_derivative_double<PlainGelu, form>(wide) : gelu_double<PlainGelu, form>(wide)
        );
        return select(x < broadcast<V>(-far_t), far, result);
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
    const V result = select(x < broadcast<V>(0), slope, broadcast<V>(1) - slope);
    if (any(x < broadcast<V>(-table.far_t))) return with_far_tail<form, true>(x, result, table.far_t);
    return result;
}

FASTNORM_TARGET_END
