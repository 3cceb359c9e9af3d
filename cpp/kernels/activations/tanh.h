// tanh and its gradient, element by element:
//
//   y = tanh(x),  dx = dy * (1 - y^2), computed from x as 1/cosh(x)^2 or from y where that is given
//
// Maximum error against exact values: float32 below 1 ULP, derivative below 2 ULP over all inputs
// (docs/accuracy.md); float64 below 1 ULP (dense samples). Half types compute in float and round once more.
// NaN gives NaN, the limits are -1 and 1, those of the derivative 0; tanh(-0) = -0. Subnormal results are
// kept.
#pragma once

#include "kernels/loops/elementwise.h"
#include "kernels/activations/logistic_double.h"
#include "kernels/activations/logistic_float.h"

FASTNORM_TARGET_BEGIN

template <class T, int N>
FASTNORM_INLINE Vec<T, N> tanh(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return tanh_double<PairArithmetic>(x);
    } else if constexpr (has_fma) {
        return tanh_float(x);
    } else {
        return to_float(tanh_double<PlainArithmetic>(to_double(x)));
    }
}

template <class T, int N>
FASTNORM_INLINE Vec<T, N> tanh_derivative(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return tanh_derivative_double<PairArithmetic>(x);
    } else if constexpr (has_fma) {
        return tanh_derivative_float(x);
    } else {
        return to_float(tanh_derivative_double<PlainArithmetic>(to_double(x)));
    }
}

template <class T>
void tanh_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 1, 1>(task, begin, end, scratch, [](auto x) FASTNORM_INLINE_LAMBDA { return tanh(x); });
}
template <class T>
void tanh_backward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return dy * tanh_derivative(x);
    });
}
template <class T>
void tanh_backward_from_result(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto y) FASTNORM_INLINE_LAMBDA {
        const auto one = broadcast<decltype(y)>(1);
        return dy * ((one - y) * (one + y));
    });
}

FASTNORM_TARGET_END
