// sigmoid and its gradient, element by element:
//
//   y = 1/(1 + exp(-x)),  dx = dy * y (1 - y), computed from x or from y where that is given
//
// Maximum error against exact values: float32 below 1 ULP, derivative below 2 ULP over all inputs
// (docs/accuracy.md); float64 below 1 ULP (dense samples). Half types compute in float and round once more.
// NaN gives NaN, the limits are 0 and 1, those of the derivative 0. Subnormal results are kept.
#pragma once

#include "kernels/loops/elementwise.h"
#include "kernels/activations/logistic_double.h"
#include "kernels/activations/logistic_float.h"

FASTNORM_TARGET_BEGIN

template <class T, int N>
FASTNORM_MATH Vec<T, N> sigmoid(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return sigmoid_double<PairArithmetic>(x);
    } else if constexpr (has_fma) {
        return sigmoid_float(x);
    } else {
        return to_float(sigmoid_double<PlainArithmetic>(to_double(x)));
    }
}

template <class T, int N>
FASTNORM_MATH Vec<T, N> sigmoid_derivative(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return sigmoid_derivative_double<PairArithmetic>(x);
    } else if constexpr (has_fma) {
        return sigmoid_derivative_float(x);
    } else {
        return to_float(sigmoid_derivative_double<PlainArithmetic>(to_double(x)));
    }
}

template <class T>
void sigmoid_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 1, 1>(task, begin, end, scratch, [](auto x) FASTNORM_INLINE_LAMBDA { return sigmoid(x); });
}
template <class T>
void sigmoid_backward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return dy * sigmoid_derivative(x);
    });
}
template <class T>
void sigmoid_backward_from_result(
    const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto y) FASTNORM_INLINE_LAMBDA {
        return (dy * y) * (broadcast<decltype(y)>(1) - y);
    });
}

FASTNORM_TARGET_END
