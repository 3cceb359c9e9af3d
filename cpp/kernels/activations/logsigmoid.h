// logsigmoid and its gradient, element by element:
//
//   y = log(1/(1 + e^-x)) = -softplus(-x),  dx = dy * sigmoid(-x)
//
// Errors, bits and special values are those of softplus and its derivative at -x, without a threshold:
// logsigmoid(-inf) = -inf, logsigmoid(inf) = -0.
#pragma once

#include <limits>

#include "kernels/activations/softplus.h"

FASTNORM_TARGET_BEGIN

// softplus with beta 1, nowhere linear by a threshold.
template <class C>
FASTNORM_INLINE auto mirrored_logsigmoid() {
    constexpr C never = std::numeric_limits<C>::infinity();
    if constexpr (sizeof(C) == 4 && has_fma) {
        return SoftplusUnit(never);
    } else {
        return SoftplusWide<C>(1, never);
    }
}

template <class T, int N>
FASTNORM_MATH Vec<T, N> logsigmoid(Vec<T, N> x) {
    return -mirrored_logsigmoid<T>().value(-x);
}
template <class T, int N>
FASTNORM_MATH Vec<T, N> logsigmoid_derivative(Vec<T, N> x) {
    return mirrored_logsigmoid<T>().derivative(-x);
}

template <class T>
void logsigmoid_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 1, 1>(task, begin, end, scratch, [](auto x) FASTNORM_INLINE_LAMBDA { return logsigmoid(x); });
}
template <class T>
void logsigmoid_backward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return dy * logsigmoid_derivative(x);
    });
}

FASTNORM_TARGET_END
