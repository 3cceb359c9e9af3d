// The three forms of gelu and their derivatives in double arithmetic, of any Vec<double, N>.
//
// With t = |x| every form is gelu(x) = max(x, 0) - t S(t), S(t) = 1 - cdf(t) the form's tail, which decreases
// from 1/2 and is never computed as a difference. The derivative is D(t) for x < 0 and 1 - D(t) for x >= 0, D
// = S + t S'. D has a zero at some t0 near 0.75, so it is written with a factor that vanishes there exactly:
//
//   none     S = R(t) exp(-t^2/2), R(t) = exp(t^2/2) erfc(t/sqrt(2))/2; D = (t0 - t) U(t) exp(-t^2/2), where
//            (t0 - t) U(t) = R(t) - t/sqrt(2 pi). R(t) (t + 4) and U are polynomials in q = (t - 4)/(t + 4).
//   tanh     S = e/(1 + e), e = exp(-z), z = a t + b t^3, a = sqrt(8/pi), b = 0.044715 a
//   sigmoid  S = e/(1 + e), e = exp(-z), z = a t,         a = 1.702
//            both: D = e (1 + e - t z')/(1 + e)^2, and as 1 + e(t0) = t0 z'(t0), with d = t - t0, e0 = e(t0):
//            1 + e - t z' = e0 expm1(-d Z) - d W, Z = (z(t) - z(t0))/d, W = (t z'(t) - t0 z'(t0))/d;
//            Z and W are polynomials in t, the two terms have one sign, and e = e0 exp(-d Z) needs no second
//            exponential.
//
// Evaluated in both arithmetics of simd/arithmetic.h.
#pragma once

#include "kernels/tables/gelu_coefficients.h"
#include "simd/arithmetic.h"

FASTNORM_TARGET_BEGIN

// ---- the two arithmetics, and what gelu needs of each -----------------------------------------------------

template <class V>
struct PlainGelu : PlainArithmetic<V> {
    static FASTNORM_INLINE V mills(V q) { return polynomial(q, mills_series_short); }
    static FASTNORM_INLINE V slope(V q) { return polynomial(q, slope_series_short); }
    // t from which every result rounds to zero in float.
    static constexpr double last_t(Approximation form) {
        return form == Approximation::none ? 14.6 : form == Approximation::tanh ? 11.2 : 66.0;
    }
};

template <class V>
struct PairGelu : PairArithmetic<V> {
    using M = PairArithmetic<V>;
    static FASTNORM_INLINE Pair<V> mills(Pair<V> q) { return series(q, mills_series, mills_series_low); }
    static FASTNORM_INLINE Pair<V> slope(Pair<V> q) { return series(q, slope_series, slope_series_low); }
    static constexpr double last_t(Approximation form) {
        return form == Approximation::none ? 38.7 : form == Approximation::tanh ? 22.0 : 450.0;
    }

private:
    // c0 + q (c1 + ... + q (plain arithmetic)), the coefficients that `low` completes in pairs.
    template <int First = 0, int N, int Exact>
    static FASTNORM_INLINE Pair<V> series(Pair<V> q, const double (&c)[N], const double (&low)[Exact]) {
        if constexpr (First == Exact - 1) {
            return M::sum(M::product(q.hi, polynomial<Exact>(q.hi, c)), M::constant(c[First], low[First]));
        } else {
            return M::sum(M::product(q, series<First + 1>(q, c, low)), M::constant(c[First], low[First]));
        }
    }
};

// ---- the three forms --------------------------------------------------------------------------------------

template <template <class> class A, Approximation form, int N>
struct GeluDouble {
    using V = Vec<double, N>;
    using M = A<V>;
    using Number = typename M::Number;
    using Form = GeluForm<form>;

    static FASTNORM_INLINE Number constant(SplitConstant c) { return M::constant(c.hi, c.lo); }
    static FASTNORM_INLINE V one() { return broadcast<V>(1); }

    // exp(-t^2/2), and q = (t - 4)/(t + 4) = 1 - 8/(t + 4).
    static FASTNORM_INLINE auto gaussian(V t) {
        return M::exponential(M::product(t * broadcast<V>(-0.5), t));
    }
    static FASTNORM_INLINE Number inverse(V t) { return M::reciprocal(M::sum(t, broadcast<V>(4))); }
    static FASTNORM_INLINE Number mapped(Number inverse) {
        return M::sum(M::scaled(inverse, broadcast<V>(-8)), one());
    }

    // t S(t).
    static FASTNORM_INLINE V tail(V t) {
        if constexpr (form == Approximation::none) {
            const auto e = gaussian(t);
            const Number r = inverse(t);
            const Number cdf = M::product(M::product(M::mills(mapped(r)), r), M::one_plus(e.s));
            return M::times_power(M::rounded_product(cdf, t), e.n);
        } else {
            Number factor = constant(Form::linear);
            if constexpr (form == Approximation::tanh) {
                factor = M::sum(M::product(constant(Form::cubic), M::product(t, t)), factor);
            }
            const auto e = M::exponential(M::product(factor, -t));
            const Number fraction = M::one_plus(e.s);
            const Number whole = M::one_plus(M::scaled(fraction, power(e.n)));
            return M::times_power(M::rounded_product(M::quotient(fraction, whole), t), e.n);
        }
    }

    // D(t).
    static FASTNORM_INLINE V slope(V t) {
        const Number distance = M::normalised(M::sum(constant(Form::zero), -t));  // -d
        if constexpr (form == Approximation::none) {
            const auto e = gaussian(t);
            const Number polynomials = M::product(distance, M::slope(mapped(inverse(t))));
            return M::times_power(M::rounded(M::product(polynomials, M::one_plus(e.s))), e.n);
        } else {
            Number z = constant(Form::linear), w = z;  // Z and W
            if constexpr (form == Approximation::tanh) {
                const Number squares = M::sum(
                    M::sum(M::product(t, t), M::product(constant(Form::zero), t)),
                    constant(Form::zero_squared)
                );
                const Number cubic = M::product(constant(Form::cubic), squares);
                z = M::sum(cubic, z);
                w = M::sum(M::product(cubic, broadcast<V>(3)), w);
            }
            const auto e = M::exponential(M::product(distance, z));
            const V scale_of_e = power(e.n);
            // e0 expm1(-d Z) and with it e = e0 + e0 expm1(-d Z)
            const Number expm1 = M::sum(M::scaled(e.s, scale_of_e), scale_of_e - one());
            const Number grown = M::product(constant(Form::e_at_zero), expm1);
            const Number whole = M::one_plus(M::sum(grown, constant(Form::e_at_zero)));
            const Number vanishing = M::sum(M::product(distance, w), grown);
            const Number fraction = M::product(M::one_plus(e.s), constant(Form::e_at_zero));
            const Number result = M::quotient(M::product(fraction, vanishing), M::product(whole, whole));
            return M::times_power(M::rounded(result), e.n);
        }
    }

    // Where e underflows it no longer matters beside 1.
    static FASTNORM_INLINE V power(V n) { return power_of_two(max(n, broadcast<V>(-1000))); }
};

// ---- of x -------------------------------------------------------------------------------------------------

// max returns its second operand for NaN and for zeros of either sign: -0 and NaN pass through, and results
// that vanish for x < 0 are -0.
template <template <class> class A, Approximation form, int N>
FASTNORM_INLINE Vec<double, N> gelu_double(Vec<double, N> x) {
    using V = Vec<double, N>;
    const V t = min(broadcast<V>(A<V>::last_t(form)), abs(x));
    return max(broadcast<V>(-0.0), x) - GeluDouble<A, form, N>::tail(t);
}

template <template <class> class A, Approximation form, int N>
FASTNORM_INLINE Vec<double, N> gelu_derivative_double(Vec<double, N> x) {
    using V = Vec<double, N>;
    const V t = min(broadcast<V>(A<V>::last_t(form)), abs(x));
    const V slope = GeluDouble<A, form, N>::slope(t);
    return select(x < broadcast<V>(0), slope, broadcast<V>(1) - slope);
}

FASTNORM_TARGET_END
