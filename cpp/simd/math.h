// Elementary functions of Vecs, and the arithmetic of pairs they and the kernels are built from.
//
// A Pair is an unevaluated sum hi + lo of two Vecs. Operations on pairs keep about twice the precision of the
// element type (relative error near 2^-102 in double); hi need not be the sum rounded, but lo is of its
// rounding's size.
//
//   function                   valid for      maximum error (with fused multiply-add)
//   exp(Vec<float>)            every x        0.88 ULP over all inputs, subnormal results included
//   exp(Vec<double>)           every x        0.92 ULP
//   exponential(Vec)           |x| <= 2^20    exp(x) = 2^n (1 + s) as n and s: 0.3 ULP of 1 + s before it
//                                             is rounded
//   exponential(Pair)          |x| <= 2^20    in double, s a pair: 1 + s to 2^-56 relatively, s itself to
//                                             2^-53
//   exponential_for_float      |x| <= 2^20    in double: 1 + s to 2^-37
//   power_of_two(n)            normal results exact
//
// Lanes are independent and no operation depends on the register width, so every target with fused
// multiply-add gives the same bits.
#pragma once

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

// ---- pairs ------------------------------------------------------------------------------------------------

template <class V>
struct Pair {
    V hi, lo;
};

// A constant as the double nearest to it and the double nearest to the rest.
struct SplitConstant {
    double hi, lo;
};

// a + b exactly, for |a| >= |b| (or a = 0).
template <class V>
FASTNORM_MATH Pair<V> fast_two_sum(V a, V b) {
    const V sum = a + b;
    return {sum, (a - sum) + b};
}

// a + b exactly.
template <class V>
FASTNORM_MATH Pair<V> two_sum(V a, V b) {
    const V sum = a + b;
    const V b_part = sum - a;
    return {sum, (a - (sum - b_part)) + (b - b_part)};
}

// a * b exactly.
template <class V>
FASTNORM_MATH Pair<V> product(V a, V b) {
    Pair<V> result;
    result.hi = two_product(a, b, result.lo);
    return result;
}
template <class V>
FASTNORM_MATH Pair<V> product(Pair<V> a, V b) {
    Pair<V> result = product(a.hi, b);
    result.lo = mul_add(a.lo, b, result.lo);
    return result;
}
template <class V>
FASTNORM_MATH Pair<V> product(Pair<V> a, Pair<V> b) {
    Pair<V> result = product(a.hi, b.hi);
    result.lo = mul_add(a.hi, b.lo, mul_add(a.lo, b.hi, result.lo));
    return result;
}

template <class V>
FASTNORM_MATH Pair<V> pair_sum(Pair<V> a, Pair<V> b) {
    Pair<V> result = two_sum(a.hi, b.hi);
    result.lo = result.lo + (a.lo + b.lo);
    return result;
}

// 1 / a. The remainder 1 - a * reciprocal is exact but for its last bits.
template <class V>
FASTNORM_MATH Pair<V> reciprocal(Pair<V> a) {
    const V hi = broadcast<V>(1) / a.hi;
    V remainder;
    if constexpr (has_fma) {
        remainder = negative_mul_add(hi, a.hi, broadcast<V>(1));
    } else {
        const Pair<V> back = product(hi, a.hi);
        remainder = (broadcast<V>(1) - back.hi) - back.lo;
    }
    return {hi, negative_mul_add(hi, a.lo, remainder) * hi};
}

// a / b with one division. The remainder a - quotient * b is exact but for its last bits.
template <class V>
FASTNORM_MATH Pair<V> quotient(Pair<V> a, Pair<V> b) {
    const V inverse = broadcast<V>(1) / b.hi;
    const V hi = a.hi * inverse;
    const Pair<V> back = product(hi, b.hi);
    const V remainder = ((a.hi - back.hi) - back.lo) + negative_mul_add(hi, b.lo, a.lo);
    return {hi, remainder * inverse};
}

// ---- polynomials ------------------------------------------------------------------------------------------

// c[First] + c[First + Step] x + c[First + 2 Step] x^2 + ..., by Horner's rule.
template <int First, int Step, int N, class V>
FASTNORM_MATH V horner(V x, const element_t<V> (&c)[N]) {
    if constexpr (First + Step >= N) {
        return broadcast<V>(c[First]);
    } else {
        return mul_add(horner<First + Step, Step>(x, c), x, broadcast<V>(c[First]));
    }
}

// c[First] + c[First + 1] x + ...; long ones as even and odd part, which halves the chain of dependent
// operations.
template <int First = 0, int N, class V>
FASTNORM_MATH V polynomial(V x, const element_t<V> (&c)[N]) {
    if constexpr (N - First <= 6) {
        return horner<First, 1>(x, c);
    } else {
        const V square = x * x;
        return mul_add(horner<First + 1, 2>(square, c), x, horner<First, 2>(square, c));
    }
}

// ---- exponentials -----------------------------------------------------------------------------------------

// (exp(r) - 1 - r) / r^2 for |r| <= ln(2)/2, lowest power first; made by `tools/gelu_coefficients.py
// exponential`.
constexpr double exponential_series[] = {
    0x1p-1,
    0x1.5555555555557p-3,
    0x1.5555555555557p-5,
    0x1.11111111100bdp-7,
    0x1.6c16c16c15a47p-10,
    0x1.a01a01abf881cp-13,
    0x1.a01a01a9f7442p-16,
    0x1.71de01fd535cdp-19,
    0x1.27e4d3f4d165cp-22,
    0x1.af4e560b572dbp-26,
    0x1.1f7f6b080fb0cp-29,
};
constexpr double exponential_series_short[] = {
    0x1.fffffffffe026p-2,  0x1.555555676d035p-3,  0x1.55555565df388p-5,  0x1.1110c5eb9c394p-7,
    0x1.6c166b8e135b1p-10, 0x1.a1520cbd4f372p-13, 0x1.a137448421eafp-16,
};
constexpr float exponential_series_single[] = {
    0x1p-1f, 0x1.555556p-3f, 0x1.5554e8p-5f, 0x1.1110c6p-7f, 0x1.6d43b4p-10f, 0x1.a1520cp-13f,
};

// exp(x) = 2^n (1 + s) with integral n and s between -0.30 and 0.42.
template <class Number, class V>
struct Exponential {
    V n;
    Number s;
};

// Cody and Waite's reduction: ln(2) = ln2_high + ln2_low, ln2_high so short that n * ln2_high is exact for
// every n.
template <class T>
struct Reduction;
template <>
struct Reduction<float> {
    static constexpr float magic = 0x1.8p23f, reciprocal = 0x1.715476p+0f;
    static constexpr float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;
};
template <>
struct Reduction<double> {
    static constexpr double magic = 0x1.8p52, reciprocal = 0x1.71547652b82fep+0;
    static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
};

// The integer nearest to x / ln(2): adding the large number leaves no bits for a fraction.
template <class V>
FASTNORM_MATH V whole_powers(V x) {
    using R = Reduction<element_t<V>>;
    return mul_add(x, broadcast<V>(R::reciprocal), broadcast<V>(R::magic)) - broadcast<V>(R::magic);
}

// exp(x) from the series, highest power first towards r = x - n ln(2). The first part of r is exact; the
// second is added to the higher powers first, so that s is rounded once at its own size.
template <class V, int N>
FASTNORM_MATH Exponential<V, V> exponential_by_series(V x, const element_t<V> (&series)[N]) {
    using R = Reduction<element_t<V>>;
    const V n = whole_powers(x);
    const V high = negative_mul_add(n, broadcast<V>(R::ln2_high), x);
    const V low = n * broadcast<V>(-R::ln2_low);
    const V r = high + low;
    return {n, high + mul_add(r * r, polynomial(r, series), low)};
}

template <int N>
FASTNORM_MATH Exponential<Vec<float, N>, Vec<float, N>> exponential(Vec<float, N> x) {
    return exponential_by_series(x, exponential_series_single);
}
template <int N>
FASTNORM_MATH Exponential<Vec<double, N>, Vec<double, N>> exponential(Vec<double, N> x) {
    return exponential_by_series(x, exponential_series);
}
template <int N>
FASTNORM_MATH Exponential<Vec<double, N>, Vec<double, N>> exponential_for_float(Vec<double, N> x) {
    return exponential_by_series(x, exponential_series_short);
}
template <int N>
FASTNORM_MATH Exponential<Pair<Vec<double, N>>, Vec<double, N>> exponential(Pair<Vec<double, N>> x) {
    using V = Vec<double, N>;
    using R = Reduction<double>;
    const V n = whole_powers(x.hi);
    // Where n = 0 the second is x.lo; else the first is either larger or too small to matter beside 1.
    const Pair<V> r = fast_two_sum(
        negative_mul_add(n, broadcast<V>(R::ln2_high), x.hi),
        negative_mul_add(n, broadcast<V>(R::ln2_low), x.lo)
    );
    const V rest = mul_add(r.hi * r.hi, polynomial(r.hi, exponential_series), mul_add(r.hi, r.lo, r.lo));
    return {n, fast_two_sum(r.hi, rest)};
}

// exp(x). NaN gives NaN; beyond the ends, where results round to 0 and infinity, x is taken for the end.
template <class T, int N>
FASTNORM_MATH Vec<T, N> exp(Vec<T, N> x) {
    using V = Vec<T, N>;
    const V lowest = broadcast<V>(sizeof(T) == 4 ? T(-105) : T(-746)),
            highest = broadcast<V>(sizeof(T) == 4 ? T(89) : T(710));
    const auto e = exponential(min(highest, x));
    return scale_or_zero(x < lowest, broadcast<V>(1) + e.s, e.n);
}

// 2^n for integral n, where it is a normal number.
template <int N>
FASTNORM_MATH Vec<double, N> power_of_two(Vec<double, N> n) {
    using V = Vec<double, N>;
    if constexpr (has_scale) {
        return scale(broadcast<V>(1), n);
    } else {
        return from_bits((as_bits(n + broadcast<V>(0x1.8p52)) << 52) + as_bits(broadcast<V>(1)));
    }
}

FASTNORM_TARGET_END
