// elu and its gradient, element by element, with a factor a:
//
//   y = x where x >= 0, else a (e^x - 1);  dx = dy where x > 0, else dy a e^x
//
// With e^x = 2^n (1 + s), e^x - 1 = 2^n s + (2^n - 1), where 2^n - 1 is exact and s rounded at its own size:
// nothing cancels near 0, where n = 0.
//
// Maximum error against exact values: float32 below 1 ULP, derivative below 2 ULP over all inputs
// (docs/accuracy.md), values below 2 where a, which is rounded to the compute type, is no power of two. Half
// types compute in float and round once more. NaN gives NaN; elu(-inf) = -a; elu(-0) = -0.
#pragma once

#include "kernels/loops/elementwise.h"
#include "simd/math.h"
#include "tasks/activations.h"

FASTNORM_TARGET_BEGIN

template <class V>
FASTNORM_INLINE V elu(V x, element_t<V> alpha = 1) {
    using C = element_t<V>;
    const V zero = broadcast<V>(0), one = broadcast<V>(1);
    // From `lowest` on the result is -a.
    const V lowest = broadcast<V>(sizeof(C) == 4 ? C(-30) : C(-50));
    const auto e = exponential(max(lowest, min(zero, x)));
    const V power = scale(one, e.n);
    return select(x >= zero, x, broadcast<V>(alpha) * mul_add(power, e.s, power - one));
}

template <class V>
FASTNORM_INLINE V elu_derivative(V x, element_t<V> alpha = 1) {
    const V zero = broadcast<V>(0);
    return select(x > zero, broadcast<V>(1), broadcast<V>(alpha) * exp(min(zero, x)));
}

template <class T>
void elu_forward(const ParametricActivation& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const auto alpha = compute_t<T>(task.parameters[0]);
    map<T, 1, 1>(task, begin, end, scratch, [alpha](auto x) FASTNORM_INLINE_LAMBDA { return elu(x, alpha); });
}
template <class T>
void elu_backward(const ParametricActivation& task, std::int64_t begin, std::int64_t end, void* scratch) {
    const auto alpha = compute_t<T>(task.parameters[0]);
    map<T, 2, 1>(task, begin, end, scratch, [alpha](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return dy * elu_derivative(x, alpha);
    });
}

FASTNORM_TARGET_END
