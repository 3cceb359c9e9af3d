// SGD:
//   g += weight_decay p;  v = momentum v + g;  p -= lr v, or lr (g + momentum v) with Nesterov's
// Every element is read and written once: 16 bytes of float32 with momentum.
#pragma once

#include "kernels/optim/gradient.h"

FASTNORM_TARGET_BEGIN

template <class T>
void sgd_update(const SgdUpdate& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;
    T* parameter = static_cast<T*>(task.parameter);
    C* velocity = static_cast<C*>(task.velocity);
    const V lr = broadcast<V>(C(-task.lr)), momentum = broadcast<V>(C(task.momentum));
    for_columns<native<C>>(begin, end, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
        const V p = load_columns<V>(parameter + i, step);
        V g = decayed(task, load_gradient<T, V>(task, i, step), p);
        if (velocity) {
            const V v = advanced(momentum, load_columns<V>(velocity + i, step), g);
            store_columns(velocity + i, v, step);
            g = task.nesterov ? mul_add(momentum, v, g) : v;
        }
        store_columns(parameter + i, mul_add(lr, g, p), step);
    });
}

FASTNORM_TARGET_END
