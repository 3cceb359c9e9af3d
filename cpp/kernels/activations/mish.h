// mish and its gradient, element by element:
//
//   y = x tanh(log(1 + e^x)),  dx = dy * mish'(x)
//
// With w = e^x and q = w (w + 2), of which no sum cancels:
//
//   tanh(log(1 + w)) = q/(q + 2)
//   mish'(x) = w N/(q + 2)^2,  N = (w + 2) (q + 2) + 4 x (1 + w)
//
// N has a zero x0 = -1.192..., with w0 = e^x0. Taking N(x0) = 0 from N and with d = x - x0, m = expm1(d), so
// that w = w0 (1 + m):
//
//   N = m (A + m (B + m w0^3)) + 4 d (1 + w),  A = 3 w0^3 + 8 w0^2 + 6 w0 + 4 x0 w0,  B = 3 w0^3 + 4 w0^2
//
// m and d have one sign and A is more than twice B, so this keeps its digits through the zero and in both
// tails, with one exponential.
//
// In float y is x times a piecewise polynomial that is kept as the sum of two, so that the product is rounded
// once; the derivative is another one. Before their first t a few terms of the powers of e = e^x do: y = x (e
// - e^2/2) and mish' = (1 + x) e - (x + 1/2) e^2 but for e^3. These far tails are computed only where a lane
// needs them. Without fused multiply-add all is in double.
//
// Maximum error against exact values: float32 below 1 ULP, derivative below 2 ULP over all inputs
// (docs/accuracy.md); float64 below 1 ULP (dense samples). Half types compute in float and round once more.
// NaN gives NaN; mish(-inf) = -0, mish(inf) = inf; the derivative tends to -0 and 1. Subnormal results are
// kept.
#pragma once

#include "kernels/loops/elementwise.h"
#include "kernels/activations/logistic_float.h"
#include "kernels/tables/mish_coefficients.h"
#include "simd/arithmetic.h"

FASTNORM_TARGET_BEGIN

template <template <class> class A, int N>
struct MishDouble {
    using V = Vec<double, N>;
    using M = A<V>;
    using Number = typename M::Number;

    // x up to which every result rounds to zero, in float (Plain) or in double, and from which mish is x and
    // its derivative 1.
    static constexpr double first_x = sizeof(Number) == sizeof(V) ? -110 : -760, last_x = 30;

    static FASTNORM_INLINE V one() { return broadcast<V>(1); }
    static FASTNORM_INLINE V two() { return broadcast<V>(2); }
    static FASTNORM_INLINE Number constant(SplitConstant c) { return M::constant(c.hi, c.lo); }
    // max and min return their second operand for NaN, so that NaN passes through.
    static FASTNORM_INLINE V clamped(V x) { return min(broadcast<V>(last_x), max(broadcast<V>(first_x), x)); }
    // Where e^x underflows it no longer matters beside 1.
    static FASTNORM_INLINE V power(V n) { return power_of_two(max(n, broadcast<V>(-1000))); }

    static FASTNORM_INLINE V value(V x) {
        const V near = clamped(x);
        const auto e = M::exponential(M::number(near));
        const Number fraction = M::one_plus(e.s);
        const Number w = M::scaled(fraction, power(e.n)), w_plus_two = M::sum(w, two());
        const Number whole = M::sum(M::product(w, w_plus_two), two());
        const Number gate = M::quotient(M::product(fraction, w_plus_two), whole);
        const V y = M::times_power(M::rounded_product(gate, near), e.n);
        return select(x > broadcast<V>(last_x), x, copy_sign(y, x));
    }

    static FASTNORM_INLINE V derivative(V x) {
        const Number x0 = constant(MishZero::x), w0 = constant(MishZero::w);
        const Number d = M::normalised(M::sum(M::negative(x0), clamped(x)));
        const auto e = M::exponential(d);
        const V scale_of_e = power(e.n);
        const Number m = M::sum(M::scaled(e.s, scale_of_e), scale_of_e - one());
        const Number fraction = M::product(M::one_plus(e.s), w0), w = M::scaled(fraction, scale_of_e);
        const Number cubic = M::sum(M::product(constant(MishZero::cubic), m), constant(MishZero::quadratic));
        const Number of_m = M::product(M::sum(M::product(cubic, m), constant(MishZero::linear)), m);
        const Number of_d = M::product(M::scaled(d, broadcast<V>(4)), M::sum(w, one()));
        const Number whole = M::sum(M::product(w, M::sum(w, two())), two());
        const Number numerator = M::product(fraction, M::sum(of_m, of_d));
        return M::times_power(M::rounded(M::quotient(numerator, M::product(whole, whole))), e.n);
    }
};

template <int N>
FASTNORM_INLINE Vec<float, N> mish_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V first = broadcast<V>(mish_gate.first_t), zero = broadcast<V>(0);
    const V t = min(broadcast<V>(mish_gate.last_t), max(first, x));
    const Pair<V> gate = piecewise_pair<mish_gate>(t);
    // t for x: from the last t on the gate is 1, whatever x.
    V result = mul_add(x, gate.hi, t * gate.lo);
    const auto far = x < first, small = abs(x) < broadcast<V>(0x1p-100f);
    if (any(far | small)) {
        const V a = max(broadcast<V>(-150), x);
        const V tail = far_tail(x, zero, a, zero, a * broadcast<V>(-0.5f));
        // 3/5 x, in a place where the second product is not rounded to a multiple of 2^-149. With 3/5 as a
        // sum of positive numbers -0 stays what it is.
        const V up = x * broadcast<V>(0x1p64f);
        const V product = mul_add(up, broadcast<V>(0x1.333332p-1f), up * broadcast<V>(0x1.333334p-25f));
        result = select(far, tail, select(small, product * broadcast<V>(0x1p-64f), result));
    }
    return result;
}

template <int N>
FASTNORM_INLINE Vec<float, N> mish_derivative_float(Vec<float, N> x) {
    using V = Vec<float, N>;
    const V first = broadcast<V>(mish_slope.first_t), zero = broadcast<V>(0);
    const V t = min(broadcast<V>(mish_slope.last_t), max(first, x));
    const V result = piecewise_with_zero<mish_slope>(t);
    const auto far = x < first;
    if (any(far)) {
        const V a = max(broadcast<V>(-150), x);
        const V tail = far_tail(x, zero, a + broadcast<V>(1), zero, broadcast<V>(-0.5f) - a);
        return select(far, tail, result);
    }
    return result;
}

template <class T, int N>
FASTNORM_MATH Vec<T, N> mish(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return MishDouble<PairArithmetic, N>::value(x);
    } else if constexpr (has_fma) {
        return mish_float(x);
    } else {
        return to_float(MishDouble<PlainArithmetic, N>::value(to_double(x)));
    }
}

template <class T, int N>
FASTNORM_MATH Vec<T, N> mish_derivative(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return MishDouble<PairArithmetic, N>::derivative(x);
    } else if constexpr (has_fma) {
        return mish_derivative_float(x);
    } else {
        return to_float(MishDouble<PlainArithmetic, N>::derivative(to_double(x)));
    }
}

template <class T>
void mish_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 1, 1>(task, begin, end, scratch, [](auto x) FASTNORM_INLINE_LAMBDA { return mish(x); });
}
template <class T>
void mish_backward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return dy * mish_derivative(x);
    });
}

FASTNORM_TARGET_END
