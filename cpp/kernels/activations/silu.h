// silu and its gradient, element by element:
//
//   y = x sigmoid(x),  dx = dy * (s + x s (1 - s)), s = sigmoid(x)
//
// Maximum error against exact values: float32 below 1 ULP, derivative below 2 ULP over all inputs
// (docs/accuracy.md); float64 below 1 ULP (dense samples). Half types compute in float and round once more.
// NaN gives NaN; silu(-inf) = -0, silu(inf) = inf; the derivative tends to -0 and 1. Subnormal results are
// kept.
#pragma once

#include "kernels/loops/elementwise.h"
#include "kernels/activations/logistic_double.h"
#include "kernels/activations/logistic_float.h"

FASTNORM_TARGET_BEGIN

template <class T, int N>
FASTNORM_INLINE Vec<T, N> silu(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return silu_double<PairArithmetic>(x);
    } else if constexpr (has_fma) {
        return silu_float(x);
    } else {
        return to_float(silu_double<PlainArithmetic>(to_double(x)));
    }
}

template <class T, int N>
FASTNORM_INLINE Vec<T, N> silu_derivative(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return silu_derivative_double<PairArithmetic>(x);
    } else if constexpr (has_fma) {
        return silu_derivative_float(x);
    } else {
        return to_float(silu_derivative_double<PlainArithmetic>(to_double(x)));
    }
}

// With a name, for swish to share the loop.
struct Silu {
    template <class V>
    FASTNORM_INLINE V operator()(V x) const {
        return silu(x);
    }
};

template <class T>
void silu_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 1, 1>(task, begin, end, scratch, Silu());
}
template <class T>
void silu_backward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return dy * silu_derivative(x);
    });
}

FASTNORM_TARGET_END
