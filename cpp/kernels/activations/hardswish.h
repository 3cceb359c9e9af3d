// hardswish and its gradient, element by element:
//
//   y = x min(max(x + 3, 0), 6)/6,  dx = dy * (2x + 3)/6 where -3 < x < 3, 0 below and dy above
//
// x + 3 and its product with x are taken with the rests that they round away, and 1/6 is the sum of two
// numbers, so that y is rounded once: below 0.51 ULP with fused multiply-add, else below 2 (float32, which
// then computes in double, below 0.51). In the derivative 2x + 3 is rounded too: below 1.5 ULP, and exact
// around its zero at -1.5. NaN gives NaN; hardswish(-inf) = -0, hardswish(inf) = inf.
// Source: Howard et al., "Searching for MobileNetV3", arXiv:1905.02244 (2019).
#pragma once

#include "kernels/loops/elementwise.h"
#include "simd/math.h"

FASTNORM_TARGET_BEGIN

template <class C>
struct Sixth {
    static constexpr C hi = C(1) / 6;
    // Below this y is x/2, whose rests would be subnormal.
    static constexpr C small = sizeof(C) == 4 ? C(0x1p-40) : C(0x1p-80);
    static constexpr C lo = sizeof(C) == 4 ? C(1.0 / 6 - double(hi)) : C(0x1.5555555555555p-57);
};

template <class V>
FASTNORM_INLINE V hardswish_of(V x) {
    using C = element_t<V>;
    const V hi = broadcast<V>(Sixth<C>::hi), lo = broadcast<V>(Sixth<C>::lo), three = broadcast<V>(3);
    // max and min return their second operand for NaN.
    const V near = min(three, max(-three, x));
    const Pair<V> sum = fast_two_sum(three, near);
    V rest;
    const V whole = two_product(near, sum.hi, rest);
    rest = mul_add(near, sum.lo, rest);
    const V y = mul_add(whole, hi, mul_add(whole, lo, rest * hi));
    const V curved = select(abs(x) < broadcast<V>(Sixth<C>::small), x * broadcast<V>(C(0.5)), y);
    return select(x >= three, x, copy_sign(curved, x));
}
template <class V>
FASTNORM_INLINE V hardswish_derivative_of(V x) {
    using C = element_t<V>;
    const V three = broadcast<V>(3), sum = mul_add(x, broadcast<V>(2), three);
    const V slope = mul_add(sum, broadcast<V>(Sixth<C>::hi), sum * broadcast<V>(Sixth<C>::lo));
    return select(x >= three, broadcast<V>(1), select(x <= -three, broadcast<V>(0), slope));
}

template <class T, int N>
FASTNORM_MATH Vec<T, N> hardswish(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8 || has_fma) {
        return hardswish_of(x);
    } else {
        return to_float(hardswish_of(to_double(x)));
    }
}
template <class T, int N>
FASTNORM_MATH Vec<T, N> hardswish_derivative(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8 || has_fma) {
        return hardswish_derivative_of(x);
    } else {
        return to_float(hardswish_derivative_of(to_double(x)));
    }
}

template <class T>
void hardswish_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 1, 1>(task, begin, end, scratch, [](auto x) FASTNORM_INLINE_LAMBDA { return hardswish(x); });
}
template <class T>
void hardswish_backward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return dy * hardswish_derivative(x);
    });
}

FASTNORM_TARGET_END
