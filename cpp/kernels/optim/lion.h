// Lion:
//   p = shrink p - lr sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
// The sign of 0 is 0, that of NaN is NaN. Every element is read and written once: 20 bytes of float32.
// Source: Chen et al., "Symbolic discovery of optimization algorithms", arXiv:2302.06675, 2023.
#pragma once

#include "kernels/optim/gradient.h"

FASTNORM_TARGET_BEGIN

template <class T>
void lion_update(const LionUpdate& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;
    T* parameter = static_cast<T*>(task.parameter);
    C* mean = static_cast<C*>(task.mean);
    const V beta1 = broadcast<V>(C(task.beta1)), beta2 = broadcast<V>(C(task.beta2));
    const V rest1 = broadcast<V>(C(1 - task.beta1)), rest2 = broadcast<V>(C(1 - task.beta2));
    const V lr = broadcast<V>(C(task.lr)), shrink = broadcast<V>(C(task.shrink)), zero = broadcast<V>(0);
    for_columns<native<C>>(begin, end, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
        const V p = load_columns<V>(parameter + i, step), g = load_gradient<T, V>(task, i, step);
        const V m = load_columns<V>(mean + i, step);
        const V direction = mul_add(beta1, m, rest1 * g);
        store_columns(mean + i, advanced(beta2, m, rest2 * g), step);
        const V forward = select(direction > zero, lr, direction);
        const V update = select(direction < zero, -lr, forward);
        store_columns(parameter + i, shrink * p - update, step);
    });
}

FASTNORM_TARGET_END
