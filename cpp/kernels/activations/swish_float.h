// swish and its derivatives in float, of any Vec<float, N> x and beta, for targets with fused multiply-add.
//
// The functions of t = |beta x| of swish_double.h as piecewise polynomials. The rounding of the product goes
// into t - center: |beta x| is t + lo. Lanes that have no piece (S: beyond 12.5 where beta x is negative, and
// 19.8 where it is positive; D and S (1 - S): beyond 20; NaN, 0 times infinity), and those whose beta is 1,
// which are silu's to the bit, are few and computed out of line: by silu.h, y on the left as a multiple of an
// exponential (far_tail.h), else in double.
//
// y is below 1 ULP and dy/dx below 1.2 (for all x and a few beta: docs/accuracy.md).
#pragma once

#include "kernels/activations/far_tail.h"
#include "kernels/activations/silu.h"
#include "kernels/activations/swish_double.h"
#include "kernels/tables/swish_coefficients.h"

FASTNORM_TARGET_BEGIN

// |beta x| as t + lo.
template <class V>
struct SwishArgument {
    V t, lo;

    FASTNORM_INLINE SwishArgument(V x, V beta) {
        const V a = abs(x), b = abs(beta);
        t = a * b;
        lo = mul_sub(a, b, t);
    }
};

// The lanes where z = beta x has a piece of the table, relatively accurate for z < 0, and beta is not 1.
template <const auto& table, class V>
FASTNORM_INLINE auto has_piece(V z, V beta) {
    return (z >= broadcast<V>(-table.far_t)) & (z <= broadcast<V>(table.last_t)) & (beta != broadcast<V>(1));
}

// Lanes beyond the last piece where y is x and its derivative 1.
template <const auto& table, class V>
FASTNORM_INLINE auto is_far_right(V z, V beta) {
    return (z > broadcast<V>(table.last_t)) & (z <= broadcast<V>(0x1.fffffep127f)) &
           (beta != broadcast<V>(1));
}

// Lanes beyond the pieces on the left where x (e - e^2), e = exp(z), is y but for 2^-36 of it: z has a rest
// and x e is rounded once, be it subnormal.
template <const auto& table, class V>
FASTNORM_INLINE auto is_far_left(V x, V z, V beta) {
    const V a = abs(x);
    return (z < broadcast<V>(-table.far_t)) & (z >= broadcast<V>(-150)) & (a > broadcast<V>(0x1p-20f)) &
           (a < broadcast<V>(0x1p20f)) & (beta != broadcast<V>(1));
}

template <int N>
FASTNORM_OUTLINE Vec<float, N> rare_swish(Vec<float, N> x, Vec<float, N> beta, Vec<float, N> y) {
    using V = Vec<float, N>;
    const V z = x * beta, zero = broadcast<V>(0);
    const auto is_usual = has_piece<logistic_tail>(z, beta), is_one = beta == broadcast<V>(1);
    const auto is_left = is_far_left<logistic_tail>(x, z, beta);
    const auto is_known = is_usual | is_far_right<logistic_tail>(z, beta) | is_left | is_one;
    V result = select(is_usual, y, x);
    if (any(is_left)) result = select(is_left, far_tail(z, mul_sub(x, beta, z), x, zero, -x), result);
    if (any(is_one)) result = select(is_one, silu(x), result);
    if (!any(!is_known)) return result;
    return select(
        is_known, result, to_float(SwishDouble<PlainArithmetic, N>::value(to_double(x), to_double(beta)))
    );
}

// y = |x| S or |x| (1 - S) with the sign of x; S and 1 - S are the floats nearest to them and the rests, so
// that y is rounded once. At 0 the rest is positive, so zeros keep their sign. The first order in lo does: d
// is exact, and S' = -S (1 - S) is about -S where lo counts.
template <int N>
FASTNORM_INLINE Vec<float, N> swish_float(Vec<float, N> x, Vec<float, N> beta) {
    using V = Vec<float, N>;
    if constexpr (N > native<float>) {
        return {swish_float(x.lo, beta.lo), swish_float(x.hi, beta.hi)};
    } else {
        const SwishArgument<V> a(x, beta);
        const V z = x * beta;
        const auto p = piece_of<logistic_tail>(a.t);
        const V d = a.t - p.center, slope = difference_quotient(p, d), one = broadcast<V>(1);
        const V tail = mul_add(slope, d, p.c[0]);
        const V rest = negative_mul_add(tail, a.lo, mul_add(slope, d, p.c[0] - tail));
        const auto positive = z > broadcast<V>(0);
        const V factor = select(positive, one - tail, tail);
        const V factor_rest = select(positive, ((one - factor) - tail) - rest, rest);
        const V y = mul_add(x, factor, x * factor_rest);
        return any(!has_piece<logistic_tail>(z, beta)) ? rare_swish(x, beta, y) : y;
    }
}

// D(t + lo). Its zero is a center; around it, what the roundings of d and of the slope take is made good.
template <class V, int degree>
FASTNORM_INLINE V swish_slope_at(const Piece<V, degree>& p, V near, V lo, V d) {
    const V bend = curvature(p, d), slope = mul_add(bend, d, p.c[1]);
    const V slope_rest = mul_add(bend, d, p.c[1] - slope);
    return mul_add(slope, d, mul_add(slope_rest, d, mul_add(slope, lo - (d - near), p.c[0])));
}

template <int N>
FASTNORM_OUTLINE Vec<float, N> rare_swish_derivative(
    Vec<float, N> x, Vec<float, N> beta, Vec<float, N> derivative
) {
    using V = Vec<float, N>;
    const V z = x * beta;
    const auto is_usual = has_piece<swish_slope>(z, beta), is_far = is_far_right<swish_slope>(z, beta);
    const auto is_one = beta == broadcast<V>(1);
    V result = select(is_usual, derivative, broadcast<V>(1));
    if (any(is_one)) result = select(is_one, silu_derivative(x), result);
    if (!any(!(is_usual | is_far | is_one))) return result;
    return select(
        is_usual | is_far | is_one, result,
        to_float(SwishDouble<PlainArithmetic, N>::derivative(to_double(x), to_double(beta)))
    );
}

// dy/dx.
template <int N>
FASTNORM_INLINE Vec<float, N> swish_derivative_float(Vec<float, N> x, Vec<float, N> beta) {
    using V = Vec<float, N>;
    if constexpr (N > native<float>) {
        return {swish_derivative_float(x.lo, beta.lo), swish_derivative_float(x.hi, beta.hi)};
    } else {
        const SwishArgument<V> a(x, beta);
        const V z = x * beta;
        const auto p = piece_of<swish_slope>(a.t);
        const V near = a.t - p.center;
        const V slope = swish_slope_at(p, near, a.lo, near + a.lo);
        const V derivative = select(z < broadcast<V>(0), slope, broadcast<V>(1) - slope);
        return any(!has_piece<swish_slope>(z, beta)) ? rare_swish_derivative(x, beta, derivative)
                                                     : derivative;
    }
}

// The gradients of an element for its dy = g: dx, and what it adds to that of its beta.
template <class V>
struct SwishGradients {
    V dx, beta_term;
};

// g x^2 (c0 + rest), rounded once: the factors g x and x (c0 + rest) are floats and their rests. They, not
// the product, may overflow or vanish: see is_accurate in swish_backward.h.
template <class V>
FASTNORM_INLINE V swish_beta_term_of(V g, V x, V c0, V rest) {
    const Pair<V> a = product(g, x), b = product(x, c0);
    return mul_add(a.hi, b.hi, mul_add(a.lo, b.hi, a.hi * mul_add(x, rest, b.lo)));
}

template <int N>
FASTNORM_OUTLINE Vec<float, N> rare_swish_beta_term(
    Vec<float, N> g, Vec<float, N> x, Vec<float, N> beta, Vec<float, N> term
) {
    return select(
        abs(x) * abs(beta) <= broadcast<Vec<float, N>>(swish_bell.last_t), term,
        to_float(wide_swish_beta_term(g, x, beta))
    );
}

// The two tables have the same pieces and centers.
template <int N>
FASTNORM_INLINE SwishGradients<Vec<float, N>> swish_gradients_float(
    Vec<float, N> g, Vec<float, N> x, Vec<float, N> beta
) {
    using V = Vec<float, N>;
    const SwishArgument<V> a(x, beta);
    const V z = x * beta;
    const auto p = piece_of<swish_slope>(a.t), q = piece_of<swish_bell>(a.t);
    const V near = a.t - p.center, d = near + a.lo;
    const V slope = swish_slope_at(p, near, a.lo, d);
    const V derivative = select(z < broadcast<V>(0), slope, broadcast<V>(1) - slope);
    const V term = swish_beta_term_of(g, x, q.c[0], difference_quotient(q, d) * d);
    if (!any(!has_piece<swish_slope>(z, beta))) return {g * derivative, term};
    return {g * rare_swish_derivative(x, beta, derivative), rare_swish_beta_term(g, x, beta, term)};
}

// The same where beta is 1: dx has the bits of silu's.
template <int N>
FASTNORM_INLINE SwishGradients<Vec<float, N>> silu_gradients_float(Vec<float, N> g, Vec<float, N> x) {
    using V = Vec<float, N>;
    const V t = abs(x), last = broadcast<V>(swish_bell.last_t);
    const auto q = piece_of<swish_bell>(min(last, t));
    const V d = t - q.center;
    const V term = swish_beta_term_of(g, x, q.c[0], difference_quotient(q, d) * d);
    const V dx = g * silu_derivative(x);
    return {dx, any(!(t <= last)) ? rare_swish_beta_term(g, x, broadcast<V>(1), term) : term};
}

FASTNORM_TARGET_END
