// gelu in three forms and its gradient: y = gelu(x), dx = dy * gelu'(x), element by element.
//
//   none     x Phi(x), Phi the normal distribution function         constants: exact
//   tanh     x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))             0.044715 and sqrt(2/pi) exact
//   sigmoid  x sigmoid(1.702 x)                                     1.702 exact
//
// Maximum error against exact values: float32 below 1 ULP, derivative below 2 ULP over all inputs; float64
// 0.8 ULP (dense samples). Half types compute in float and round once more. NaN gives NaN; gelu(-inf) = -0,
// gelu(inf) = inf; the derivative tends to -0 and 1. Subnormal results are kept.
#pragma once

#include "kernels/loops/elementwise.h"
#include "kernels/activations/gelu_float.h"

FASTNORM_TARGET_BEGIN

template <Approximation form, class T, int N>
FASTNORM_INLINE Vec<T, N> gelu(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return gelu_double<PairGelu, form>(x);
    } else if constexpr (has_fma) {
        return gelu_float<form>(x);
    } else {
        return to_float(gelu_double<PlainGelu, form>(to_double(x)));
    }
}

template <Approximation form, class T, int N>
FASTNORM_INLINE Vec<T, N> gelu_derivative(Vec<T, N> x) {
    if constexpr (sizeof(T) == 8) {
        return gelu_derivative_double<PairGelu, form>(x);
    } else if constexpr (has_fma) {
        return gelu_derivative_float<form>(x);
    } else {
        return to_float(gelu_derivative_double<PlainGelu, form>(to_double(x)));
    }
}

template <Approximation form, class T>
void gelu_map(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 1, 1>(task, begin, end, scratch, [](auto x) FASTNORM_INLINE_LAMBDA { return gelu<form>(x); });
}
template <Approximation form, class T>
void gelu_backward_map(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return dy * gelu_derivative<form>(x);
    });
}

#define FASTNORM_GELU(name, form)                                                                        \
    template <class T>                                                                                   \
    void name##_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {  \
        gelu_map<Approximation::form, T>(task, begin, end, scratch);                                     \
    }                                                                                                    \
    template <class T>                                                                                   \
    void name##_backward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) { \
        gelu_backward_map<Approximation::form, T>(task, begin, end, scratch);                            \
    }
FASTNORM_GELU(gelu, none)
FASTNORM_GELU(gelu_tanh, tanh)
FASTNORM_GELU(gelu_sigmoid, sigmoid)
#undef FASTNORM_GELU

FASTNORM_TARGET_END
