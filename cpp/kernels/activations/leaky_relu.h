// leaky_relu and its gradient, element by element, with a slope a:
//
//   y = x where x > 0, else a x;  dx = dy where x > 0, else a dy
//
// Each is one product, rounded once; a is rounded to the compute type. NaN gives NaN, in the gradient too.
#pragma once

#include "kernels/loops/elementwise.h"
#include "tasks/activations.h"

FASTNORM_TARGET_BEGIN

constexpr double leaky_relu_slope = 0.01;  // the default

template <class V>
FASTNORM_INLINE V leaky_relu(V x, element_t<V> slope = element_t<V>(leaky_relu_slope)) {
    return select(x > broadcast<V>(0), x, x * broadcast<V>(slope));
}

template <class V>
FASTNORM_INLINE V leaky_relu_gradient(V dy, V x, element_t<V> slope = element_t<V>(leaky_relu_slope)) {
    const V zero = broadcast<V>(0);
    return select(x > zero, dy, select(x <= zero, dy * broadcast<V>(slope), x));
}

template <class T>
void leaky_relu_forward(
    const ParametricActivation& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    const auto slope = compute_t<T>(task.parameters[0]);
    map<T, 1, 1>(task, begin, end, scratch, [slope](auto x) FASTNORM_INLINE_LAMBDA {
        return leaky_relu(x, slope);
    });
}
template <class T>
void leaky_relu_backward(
    const ParametricActivation& task, std::int64_t begin, std::int64_t end, void* scratch
) {
    const auto slope = compute_t<T>(task.parameters[0]);
    map<T, 2, 1>(task, begin, end, scratch, [slope](auto dy, auto x) FASTNORM_INLINE_LAMBDA {
        return leaky_relu_gradient(dy, x, slope);
    });
}

FASTNORM_TARGET_END
