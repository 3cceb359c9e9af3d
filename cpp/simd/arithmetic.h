// Two arithmetics of double Vecs under one interface: a function written over either is evaluated with plain
// doubles for results that are then rounded to float (relative error below 2^-33), and with Pairs for float64
// results (error below 1 ULP: the final rounding and about 0.1).
#pragma once

#include "simd/math.h"

FASTNORM_TARGET_BEGIN

// Plain doubles.
template <class V>
struct PlainArithmetic {
    using Number = V;
    static FASTNORM_INLINE V constant(double hi, double) { return broadcast<V>(hi); }
    static FASTNORM_INLINE V number(V a) { return a; }
    static FASTNORM_INLINE V negative(V a) { return -a; }
    static FASTNORM_INLINE V sum(V a, V b) { return a + b; }
    static FASTNORM_INLINE V product(V a, V b) { return a * b; }
    static FASTNORM_INLINE V one_plus(V a) { return broadcast<V>(1) + a; }
    static FASTNORM_INLINE V reciprocal(V a) { return broadcast<V>(1) / a; }
    static FASTNORM_INLINE V quotient(V a, V b) { return a / b; }
    static FASTNORM_INLINE V scaled(V a, V power) { return a * power; }
    static FASTNORM_INLINE V normalised(V a) { return a; }
    static FASTNORM_INLINE V rounded(V a) { return a; }
    static FASTNORM_INLINE V rounded_product(V a, V b) { return a * b; }
    static FASTNORM_INLINE auto exponential(V x) { return exponential_for_float(x); }
    static FASTNORM_INLINE V times_power(V a, V n) { return a * power_of_two(n); }
};

// Pairs; where an operand is known to be a single Vec its zero is not carried along.
template <class V>
struct PairArithmetic {
    using Number = Pair<V>;
    static FASTNORM_INLINE Pair<V> constant(double hi, double lo) {
        return {broadcast<V>(hi), broadcast<V>(lo)};
    }
    static FASTNORM_INLINE Pair<V> number(V a) { return {a, broadcast<V>(0)}; }
    static FASTNORM_INLINE Pair<V> negative(Pair<V> a) { return {-a.hi, -a.lo}; }
    static FASTNORM_INLINE Pair<V> sum(Pair<V> a, Pair<V> b) { return pair_sum(a, b); }
    static FASTNORM_INLINE Pair<V> sum(Pair<V> a, V b) {
        const Pair<V> result = two_sum(a.hi, b);
        return {result.hi, result.lo + a.lo};
    }
    static FASTNORM_INLINE Pair<V> sum(V a, V b) { return two_sum(a, b); }
    // For |a| <= 1.
    static FASTNORM_INLINE Pair<V> one_plus(Pair<V> a) {
        const Pair<V> result = fast_two_sum(broadcast<V>(1), a.hi);
        return {result.hi, result.lo + a.lo};
    }
    template <class A, class B>
    static FASTNORM_INLINE Pair<V> product(A a, B b) {
        return fastnorm::FASTNORM_TARGET::product(a, b);
    }
    static FASTNORM_INLINE auto exponential(Pair<V> x) { return fastnorm::FASTNORM_TARGET::exponential(x); }
    static FASTNORM_INLINE Pair<V> reciprocal(Pair<V> a) { return fastnorm::FASTNORM_TARGET::reciprocal(a); }
    static FASTNORM_INLINE Pair<V> quotient(Pair<V> a, Pair<V> b) {
        return fastnorm::FASTNORM_TARGET::quotient(a, b);
    }
    static FASTNORM_INLINE Pair<V> scaled(Pair<V> a, V power) { return {a.hi * power, a.lo * power}; }
    static FASTNORM_INLINE Pair<V> normalised(Pair<V> a) { return fast_two_sum(a.hi, a.lo); }
    static FASTNORM_INLINE V rounded(Pair<V> a) { return a.hi + a.lo; }
    static FASTNORM_INLINE V rounded_product(Pair<V> a, V b) {
        if constexpr (has_fma) {
            return mul_add(a.hi, b, a.lo * b);
        } else {
            return rounded(product(a, b));
        }
    }
    // Rounds once more where the result is subnormal.
    static FASTNORM_INLINE V times_power(V a, V n) { return scale(a, n); }
};

FASTNORM_TARGET_END
