// Elementary functions of Vecs, and the arithmetic of pairs they and the kernels are built from.
//
// A Pair is an unevaluated sum hi + lo of two Vecs. Operations on pairs keep about twice the precision of the element
// type (relative error near 2^-102 in double); hi need not be the sum rounded, but lo is of its rounding's size.
//
//   function             valid for            maximum error
//   exp(x)               every x              0.9 ULP in float, 0.9 ULP in double; subnormal results rounded once more
//   exponential(x)       |x| <= 700 (100)     exp(x) = 2^n (1 + s): the parts, before the roundings of 1 + s and of 2^n
//   exponential_pair(x)  |x| <= 2000          the same from a pair in double, s a pair: relative error 2^-56 of 1 + s
//
// Lanes are independent and no operation depends on the register width, so every target with fused multiply-add gives
// the same bits.
#pragma once

#include "simd/vec.h"

FASTNORM_TARGET_BEGIN

// ---- pairs ---------------------------------------------------------------------------------------------------------

template <class V>
struct Pair {
    V hi, lo;
};

// a + b exactly, for |a| >= |b| (or a = 0).
template <class V>
FASTNORM_INLINE Pair<V> fast_two_sum(V a, V b) {
    const V sum = a + b;
    return {sum, (a - sum) + b};
}

// a + b exactly.
template <class V>
FASTNORM_INLINE Pair<V> two_sum(V a, V b) {
    const V sum = a + b;
    const V b_part = sum - a;
    return {sum, (a - (sum - b_part)) + (b - b_part)};
}

// a * b exactly.
template <class V>
FASTNORM_INLINE Pair<V> product(V a, V b) {
    Pair<V> result;
    result.hi = two_product(a, b, result.lo);
    return result;
}
template <class V>
FASTNORM_INLINE Pair<V> product(Pair<V> a, V b) {
    Pair<V> result = product(a.hi, b);
    result.lo = mul_add(a.lo, b, result.lo);
    return result;
}
template <class V>
FASTNORM_INLINE Pair<V> product(Pair<V> a, Pair<V> b) {
    Pair<V> result = product(a.hi, b.hi);
    result.lo = mul_add(a.hi, b.lo, mul_add(a.lo, b.hi, result.lo));
    return result;
}

template <class V>
FASTNORM_INLINE Pair<V> sum(Pair<V> a, Pair<V> b) {
    Pair<V> result = two_sum(a.hi, b.hi);
    result.lo = result.lo + (a.lo + b.lo);
    return result;
}

// a / b with one division. The remainder a - quotient * b is exact but for its last bits.
template <class V>
FASTNORM_INLINE Pair<V> quotient(Pair<V> a, Pair<V> b) {
    const V inverse = broadcast<V>(1) / b.hi;
    const V hi = a.hi * inverse;
    const Pair<V> back = product(hi, b.hi);
    const V remainder = ((a.hi - back.hi) - back.lo) + negative_mul_add(hi, b.lo, a.lo);
    return {hi, remainder * inverse};
}

// ---- polynomials ---------------------------------------------------------------------------------------------------

// c[First] + c[First + Step] x + c[First + 2 Step] x^2 + ..., by Horner's rule.
template <int First, int Step, int N, class V>
FASTNORM_INLINE V horner(V x, const element_t<V> (&c)[N]) {
    if constexpr (First + Step >= N) {
        return broadcast<V>(c[First]);
    } else {
        return mul_add(horner<First + Step, Step>(x, c), x, broadcast<V>(c[First]));
    }
}

// c[First] + c[First + 1] x + ...; long ones as even and odd part, which halves the chain of dependent operations.
template <int First = 0, int N, class V>
FASTNORM_INLINE V polynomial(V x, const element_t<V> (&c)[N]) {
    if constexpr (N - First <= 6) {
        return horner<First, 1>(x, c);
    } else {
        const V square = x * x;
        return mul_add(horner<First + 1, 2>(square, c), x, horner<First, 2>(square, c));
    }
}

// ---- exponentials --------------------------------------------------------------------------------------------------

// (exp(r) - 1 - r) / r^2 for |r| <= ln(2)/2, lowest power first; made by tools/gelu_coefficients.py.
constexpr double exponential_series[] = {
    0x1.0000000000000p-1,  0x1.5555555555557p-3,  0x1.5555555555557p-5,  0x1.11111111100bdp-7,
    0x1.6c16c16c15a47p-10, 0x1.a01a01abf881cp-13, 0x1.a01a01a9f7442p-16, 0x1.71de01fd535cdp-19,
    0x1.27e4d3f4d165cp-22, 0x1.af4e560b572dbp-26, 0x1.1f7f6b080fb0cp-29,
};
constexpr double exponential_series_short[] = {
    0x1.fffffffffe026p-2,  0x1.555555676d035p-3,  0x1.55555565df388p-5,  0x1.1110c5eb9c394p-7,
    0x1.6c166b8e135b1p-10, 0x1.a1520cbd4f372p-13, 0x1.a137448421eafp-16,
};

// exp(x) = 2^n (1 + s) with integral n and s between -0.30 and 0.42.
template <class Number, class V>
struct Exponential {
    V n;
    Number s;
};

// Cody and Waite's reduction: ln(2) = ln2_high + ln2_low, ln2_high so short that n * ln2_high is exact.
template <class V>
FASTNORM_INLINE V whole_powers(V x) {
    const V magic = broadcast<V>(0x1.8p52);
    return mul_add(x, broadcast<V>(0x1.71547652b82fep+0), magic) - magic;
}

// Relative error of 1 + s below 2^-37: for results that are rounded to float.
template <int N>
FASTNORM_INLINE Exponential<Vec<double, N>, Vec<double, N>> exponential(Vec<double, N> x) {
    using V = Vec<double, N>;
    const V n = whole_powers(x);
    const V r =
        negative_mul_add(n, broadcast<V>(0x1.a39ef35793c76p-33), negative_mul_add(n, broadcast<V>(0x1.62e42feep-1), x));
    return {n, mul_add(r * r, polynomial(r, exponential_series_short), r)};
}

// Relative error of 1 + s below 2^-56.
template <int N>
FASTNORM_INLINE Exponential<Pair<Vec<double, N>>, Vec<double, N>> exponential(Pair<Vec<double, N>> x) {
    using V = Vec<double, N>;
    const V n = whole_powers(x.hi);
    const Pair<V> r = two_sum(
        negative_mul_add(n, broadcast<V>(0x1.62e42feep-1), x.hi),
        negative_mul_add(n, broadcast<V>(0x1.a39ef35793c76p-33), x.lo)
    );
    const V rest = mul_add(r.hi * r.hi, polynomial(r.hi, exponential_series), mul_add(r.hi, r.lo, r.lo));
    return {n, fast_two_sum(r.hi, rest)};
}

// 2^n for integral n, where it is a normal number.
template <int N>
FASTNORM_INLINE Vec<double, N> power_of_two(Vec<double, N> n) {
    using V = Vec<double, N>;
    if constexpr (has_scale) {
        return scale(broadcast<V>(1), n);
    } else {
        return from_bits((as_bits(n + broadcast<V>(0x1.8p52)) << 52) + as_bits(broadcast<V>(1)));
    }
}

FASTNORM_TARGET_END
