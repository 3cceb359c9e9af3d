// RMSprop:
//   g += weight_decay p;  v = alpha v + (1 - alpha) g^2;  m = alpha m + (1 - alpha) g where it is centred
//   u = g / (sqrt(v - m^2) + eps);  b = momentum b + u;  p -= lr b, or lr u without momentum
// Every element is read and written once: 20 bytes of float32, 8 more for each of m and b. Source: Tieleman
// and Hinton, "Neural networks for machine learning", lecture 6.5, 2012; centred: Graves, arXiv:1308.0850,
// 2013.
#pragma once

#include "kernels/optim/gradient.h"

FASTNORM_TARGET_BEGIN

template <class T>
void rmsprop_update(const RmspropUpdate& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;
    T* parameter = static_cast<T*>(task.parameter);
    C* square = static_cast<C*>(task.square);
    C* mean = static_cast<C*>(task.mean);
    C* velocity = static_cast<C*>(task.velocity);
    const V alpha = broadcast<V>(C(task.alpha)), rest = broadcast<V>(C(1 - task.alpha));
    const V lr = broadcast<V>(C(-task.lr)), momentum = broadcast<V>(C(task.momentum));
    const V eps = broadcast<V>(C(task.eps)), zero = broadcast<V>(0);
    for_columns<native<C>>(begin, end, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
        const V p = load_columns<V>(parameter + i, step);
        const V g = decayed(task, load_gradient<T, V>(task, i, step), p);
        V v = advanced(alpha, load_columns<V>(square + i, step), rest * g * g);
        store_columns(square + i, v, step);
        if (mean) {
            const V m = advanced(alpha, load_columns<V>(mean + i, step), rest * g);
            store_columns(mean + i, m, step);
            v = mul_add(-m, m, v);
            v = select(v < zero, zero, v);  // what rounding leaves of a gradient that hardly varies
        }
        V u = g / (sqrt(v) + eps);
        if (velocity) {
            u = advanced(momentum, load_columns<V>(velocity + i, step), u);
            store_columns(velocity + i, u, step);
        }
        store_columns(parameter + i, mul_add(lr, u, p), step);
    });
}

FASTNORM_TARGET_END
