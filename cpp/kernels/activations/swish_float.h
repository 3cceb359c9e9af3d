// swish and its derivatives in float, of any Vec<float, N> x and beta, for targets with fused multiply-add.
//
// The functions of t = |beta x| of swish_double.h as piecewise polynomials; those of D are silu's. The
// rounding of the product goes into t - center: |beta x| is t + lo. Lanes that have no piece (S: beyond 12.5
// where beta x is negative, and 19.8 where it is positive; D and S (1 - S): beyond 13.2; NaN, 0 times
// infinity), and for y those whose beta is 1, which is silu's to the bit, are few and computed out of line:
// by silu.h, y on the left and D as multiples of an exponential (far_tail.h), else in double.
//
// y is below 1 ULP and dy/dx below 2 (for all x and a few beta: docs/accuracy.md).
#pragma once

#include "kernels/activations/far_tail.h"
#include "kernels/activations/silu.h"
#include "kernels/activations/swish_double.h"
#include "kernels/tables/swish_coefficients.h"

FASTNORM_TARGET_BEGIN

// z = beta x rounded, and |beta x| as t + lo.
template <class V>
struct SwishArgument {
    V z, t, lo;

    FASTNORM_INLINE SwishArgument(V x, V beta) : z(x * beta), t(abs(z)), lo(mul_sub(abs(x), abs(beta), t)) {}
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
        const auto p = piece_of<logistic_tail>(a.t);
        const V d = a.t - p.center, slope = difference_quotient(p, d), one = broadcast<V>(1);
        const V tail = mul_add(slope, d, p.c[0]);
        const V rest = negative_mul_add(tail, a.lo, mul_add(slope, d, p.c[0] - tail));
        const auto positive = a.z > broadcast<V>(0);
        const V factor = select(positive, one - tail, tail);
        const V factor_rest = select(positive, ((one - factor) - tail) - rest, rest);
        const V y = mul_add(x, factor, x * factor_rest);
        return any(!has_piece<logistic_tail>(a.z, beta)) ? rare_swish(x, beta, y) : y;
    }
}

// D(t + lo), near = t - center and d about near + lo. Its zero is a center; around it, what the rounding of d
// takes is made good.
template <class V, int degree>
FASTNORM_INLINE V swish_slope_at(const Piece<V, degree>& p, V near, V lo, V d) {
    const V slope = difference_quotient(p, d);
    return mul_add(slope, d, mul_add(slope, lo - (d - near), p.c[0]));
}

// Whether all lanes have a piece of D, which end where silu's do.
template <class V>
FASTNORM_INLINE bool are_near(V t) {
    return !any(!(t <= broadcast<V>(silu_slope.far_t)));
}

// The derivative where some lanes are not near, given that of the others.
template <int N>
FASTNORM_OUTLINE Vec<float, N> rare_swish_derivative(
    Vec<float, N> x, Vec<float, N> beta, Vec<float, N> derivative
) {
    using V = Vec<float, N>;
    const SwishArgument<V> a(x, beta);
    const V zero = broadcast<V>(0), one = broadcast<V>(1), t = min(broadcast<V>(150), a.t),
            from_one = one - t;
    const V lo = select(a.t <= t, a.lo, zero);
    const V slope = far_tail(-t, -lo, from_one, -lo, t - from_one);
    const V far = one_minus_where(a.z >= zero, slope);
    const V result = select(a.t <= broadcast<V>(silu_slope.far_t), derivative, far);
    if (!any(is_nan(a.t))) return result;
    return select(
        is_nan(a.t), to_float(SwishDouble<PlainArithmetic, N>::derivative(to_double(x), to_double(beta))),
        result
    );
}

// dy/dx. Where beta is 1 it has the bits of silu's, as lo is 0.
template <int N>
FASTNORM_INLINE Vec<float, N> swish_derivative_float(Vec<float, N> x, Vec<float, N> beta) {
    using V = Vec<float, N>;
    if constexpr (N > native<float>) {
        return {swish_derivative_float(x.lo, beta.lo), swish_derivative_float(x.hi, beta.hi)};
    } else {
        const SwishArgument<V> a(x, beta);
        const auto p = piece_of<silu_slope, false>(a.t);
        const V near = a.t - p.center;
        const V slope = swish_slope_at(p, near, a.lo, near + a.lo);
        const V derivative = one_minus_where(a.z >= broadcast<V>(0), slope);
        return are_near(a.t) ? derivative : rare_swish_derivative(x, beta, derivative);
    }
}

// The gradients of an element for its dy = g: dx, and what it adds to that of its beta.
template <class V>
struct SwishGradients {
    V dx, beta_term;
};

// g x^2 S (1 - S) at a distance d of the center of the piece q, rounded once: the factors g x and x S (1 - S)
// are floats and their rests. They, not the product, may overflow or vanish: see is_accurate in
// swish_backward.h.
template <class V, int degree>
FASTNORM_INLINE V swish_beta_term_of(V g, V x, const Piece<V, degree>& q, V d) {
    const V rest_of_c0 = q.center, rest = mul_add(difference_quotient(q, d), d, rest_of_c0);
    const Pair<V> a = product(g, x), b = product(x, q.c[0]);
    return mul_add(a.hi, b.hi, mul_add(a.lo, b.hi, a.hi * mul_add(x, rest, b.lo)));
}

template <int N>
FASTNORM_OUTLINE Vec<float, N> rare_swish_beta_term(
    Vec<float, N> g, Vec<float, N> x, Vec<float, N> beta, Vec<float, N> term
) {
    return select(
        abs(x * beta) <= broadcast<Vec<float, N>>(silu_slope.far_t), term,
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
    const auto p = piece_of<silu_slope, false>(a.t);
    const V near = a.t - p.center, d = near + a.lo;
    const V derivative = one_minus_where(a.z >= broadcast<V>(0), swish_slope_at(p, near, a.lo, d));
    const V term = swish_beta_term_of(g, x, piece_of<swish_bell, false>(a.t), d);
    if (are_near(a.t)) return {g * derivative, term};
    return {g * rare_swish_derivative(x, beta, derivative), rare_swish_beta_term(g, x, beta, term)};
}

// The same where beta is 1.
template <int N>
FASTNORM_INLINE SwishGradients<Vec<float, N>> silu_gradients_float(Vec<float, N> g, Vec<float, N> x) {
    using V = Vec<float, N>;
    const V t = abs(x), one = broadcast<V>(1);
    const auto p = piece_of<silu_slope, false>(t);
    const V d = t - p.center;
    const V slope = mul_add(difference_quotient(p, d), d, p.c[0]);
    const V derivative = one_minus_where(x >= broadcast<V>(0), slope);
    const V term = swish_beta_term_of(g, x, piece_of<swish_bell, false>(t), d);
    if (are_near(t)) return {g * derivative, term};
    return {g * rare_swish_derivative(x, one, derivative), rare_swish_beta_term(g, x, one, term)};
}

FASTNORM_TARGET_END
