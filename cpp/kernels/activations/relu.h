// relu and its gradient, element by element:
//
//   y = max(x, 0),  dx = dy where x > 0, else 0
//
// Exact. NaN gives NaN, in the gradient too; relu(-0) = -0.
#pragma once

#include "kernels/loops/elementwise.h"

FASTNORM_TARGET_BEGIN

// max returns its second operand for NaN and for zeros of either sign.
template <class V>
FASTNORM_INLINE V relu(V x) {
    return max(broadcast<V>(0), x);
}

// dy as far as it passes: selected, not multiplied, so that an infinite dy does not make NaN where nothing
// passes.
template <class V>
FASTNORM_INLINE V relu_gradient(V dy, V x) {
    const V zero = broadcast<V>(0);
    return select(x > zero, dy, select(x <= zero, zero, x));
}

template <class T>
void relu_forward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 1, 1>(task, begin, end, scratch, [](auto x) FASTNORM_INLINE_LAMBDA { return relu(x); });
}
template <class T>
void relu_backward(const Elementwise& task, std::int64_t begin, std::int64_t end, void* scratch) {
    map<T, 2, 1>(task, begin, end, scratch, [](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return relu_gradient(dy, x);
    });
}

FASTNORM_TARGET_END
