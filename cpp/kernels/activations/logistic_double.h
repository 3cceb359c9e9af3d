// sigmoid, tanh, silu and their derivatives in double arithmetic, of any Vec<double, N>.
//
// With t >= 0, e = exp(-t) and S(t) = sigmoid(-t) = e/(1 + e), which is never computed as a difference:
//
//   sigmoid   S(t) for x = -t, 1 - S(t) for x = t       derivative: e/(1 + e)^2 on both sides
//   silu      max(x, 0) - t S(t), t = |x|               derivative: D(t) for x = -t, 1 - D(t) for x = t
//   tanh      -m/(2 + m) for t = |x|, m = expm1(-2t)    derivative: 4 e/(1 + e)^2 at 2t
//
// D = S - t S (1 - S) = e (1 + e - t)/(1 + e)^2 has a zero t0 = 1.278..., and as 1 + e(t0) = t0, with d = t -
// t0 and e0 = e(t0): 1 + e - t = e0 expm1(-d) - d. The two terms have one sign, and e = e0 exp(-d) needs no
// second exponential.
//
// Evaluated in both arithmetics of simd/arithmetic.h; t is a Vec or a Number.
#pragma once

#include "kernels/tables/logistic_coefficients.h"
#include "simd/arithmetic.h"

FASTNORM_TARGET_BEGIN

template <template <class> class A, int N>
struct LogisticDouble {
    using V = Vec<double, N>;
    using M = A<V>;
    using Number = typename M::Number;

    // t from which every result rounds to its limit: in float (Plain) or in double.
    static constexpr double last_t = sizeof(Number) == sizeof(V) ? 110 : 760;

    static FASTNORM_INLINE V one() { return broadcast<V>(1); }

    // S(t) times x.
    static FASTNORM_INLINE V tail_times(Number t, V x) {
        const auto e = M::exponential(M::negative(t));
        const Number fraction = M::one_plus(e.s);
        const Number whole = M::one_plus(M::scaled(fraction, power(e.n)));
        // Where x is so large that the product might overflow before it is scaled down, part of that comes
        // first.
        const V shift = select(abs(x) > broadcast<V>(0x1p900), broadcast<V>(-1000), broadcast<V>(0));
        const V scaled = x * power_of_two(shift);
        return M::times_power(M::rounded_product(M::quotient(fraction, whole), scaled), e.n - shift);
    }
    static FASTNORM_INLINE V tail(Number t) { return tail_times(t, one()); }

    // S(t) (1 - S(t)) as a number times 2^n.
    struct Scaled {
        V number, n;
    };
    static FASTNORM_INLINE Scaled scaled_bell(Number t) {
        const auto e = M::exponential(M::negative(t));
        const Number fraction = M::one_plus(e.s);
        const Number whole = M::one_plus(M::scaled(fraction, power(e.n)));
        return {M::rounded(M::quotient(fraction, M::product(whole, whole))), e.n};
    }
    // The same times 2^n.
    static FASTNORM_INLINE V bell(Number t, double n) {
        const Scaled result = scaled_bell(t);
        return M::times_power(result.number, result.n + broadcast<V>(n));
    }

    // D(t).
    static FASTNORM_INLINE V slope(Number t) {
        const Number e0 = M::constant(SiluZero::e.hi, SiluZero::e.lo);
        const Number distance =
            M::normalised(M::sum(M::constant(SiluZero::t.hi, SiluZero::t.lo), M::negative(t)));  // -d
        const auto e = M::exponential(distance);
        const V scale_of_e = power(e.n);
        const Number grown =
            M::product(e0, M::sum(M::scaled(e.s, scale_of_e), scale_of_e - one()));  // e0 expm1(-d)
        const Number whole = M::one_plus(M::sum(grown, e0));
        const Number fraction = M::product(M::one_plus(e.s), e0);
        const Number result =
            M::quotient(M::product(fraction, M::sum(distance, grown)), M::product(whole, whole));
        return M::times_power(M::rounded(result), e.n);
    }

    // tanh(t); t itself where the rest does not show.
    static FASTNORM_INLINE V tanh(V t) {
        const V small = broadcast<V>(0x1p-28);
        const auto e = M::exponential(M::number(max(small, t) * broadcast<V>(-2)));
        const V scale_of_e = power(e.n);
        const Number m = M::sum(M::scaled(e.s, scale_of_e), scale_of_e - one());
        return select(t < small, t, -M::rounded(M::quotient(m, M::sum(m, broadcast<V>(2)))));
    }

private:
    // Where e underflows it no longer matters beside 1.
    static FASTNORM_INLINE V power(V n) { return power_of_two(max(n, broadcast<V>(-1000))); }
};

// ---- of x -------------------------------------------------------------------------------------------------

// min returns its second operand for NaN, so that NaN passes through; likewise max for NaN and for zeros of
// either sign, and silu of x < 0 that vanishes is -0.

template <template <class> class A, int N>
FASTNORM_INLINE Vec<double, N> sigmoid_double(Vec<double, N> x) {
    using V = Vec<double, N>;
    using F = LogisticDouble<A, N>;
    const V tail = F::tail(A<V>::number(min(broadcast<V>(F::last_t), abs(x))));
    return select(x < broadcast<V>(0), tail, broadcast<V>(1) - tail);
}

template <template <class> class A, int N>
FASTNORM_INLINE Vec<double, N> sigmoid_derivative_double(Vec<double, N> x) {
    using V = Vec<double, N>;
    using F = LogisticDouble<A, N>;
    return F::bell(A<V>::number(min(broadcast<V>(F::last_t), abs(x))), 0);
}

template <template <class> class A, int N>
FASTNORM_INLINE Vec<double, N> silu_double(Vec<double, N> x) {
    using V = Vec<double, N>;
    using F = LogisticDouble<A, N>;
    const V t = min(broadcast<V>(F::last_t), abs(x));
    return max(broadcast<V>(-0.0), x) - F::tail_times(A<V>::number(t), t);
}

template <template <class> class A, int N>
FASTNORM_INLINE Vec<double, N> silu_derivative_double(Vec<double, N> x) {
    using V = Vec<double, N>;
    using F = LogisticDouble<A, N>;
    const V slope = F::slope(A<V>::number(min(broadcast<V>(F::last_t), abs(x))));
    return select(x < broadcast<V>(0), slope, broadcast<V>(1) - slope);
}

template <template <class> class A, int N>
FASTNORM_INLINE Vec<double, N> tanh_double(Vec<double, N> x) {
    using V = Vec<double, N>;
    using F = LogisticDouble<A, N>;
    return copy_sign(F::tanh(min(broadcast<V>(F::last_t), abs(x))), x);
}

template <template <class> class A, int N>
FASTNORM_INLINE Vec<double, N> tanh_derivative_double(Vec<double, N> x) {
    using V = Vec<double, N>;
    using F = LogisticDouble<A, N>;
    return F::bell(A<V>::number(min(broadcast<V>(F::last_t), abs(x) + abs(x))), 2);
}

FASTNORM_TARGET_END
