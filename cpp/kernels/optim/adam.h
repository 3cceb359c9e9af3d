// Adam, with bias corrections in step_size and second_scale (tasks/optim.h):
//   g += weight_decay p;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   p = shrink p - step_size m / (sqrt(v) second_scale + eps)
// Every element is read and written once: 28 bytes of float32. Source: Kingma and Ba, "Adam", 2014; decoupled
// decay: Loshchilov and Hutter, 2017.
#pragma once

#include "kernels/optim/gradient.h"

FASTNORM_TARGET_BEGIN

template <class T>
void adam_update(const AdamUpdate& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;
    T* parameter = static_cast<T*>(task.parameter);
    C* first = static_cast<C*>(task.first);
    C* second = static_cast<C*>(task.second);
    const V beta1 = broadcast<V>(C(task.beta1)), beta2 = broadcast<V>(C(task.beta2));
    const V rest1 = broadcast<V>(C(1 - task.beta1)), rest2 = broadcast<V>(C(1 - task.beta2));
    const V step_size = broadcast<V>(C(task.step_size)), second_scale = broadcast<V>(C(task.second_scale));
    const V eps = broadcast<V>(C(task.eps)), shrink = broadcast<V>(C(task.shrink));
    for_columns<native<C>>(begin, end, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
        const V p = load_columns<V>(parameter + i, step);
        const V g = decayed(task, load_gradient<T, V>(task, i, step), p);
        const V m = advanced(beta1, load_columns<V>(first + i, step), rest1 * g);
        const V v = advanced(beta2, load_columns<V>(second + i, step), rest2 * g * g);
        store_columns(first + i, m, step);
        store_columns(second + i, v, step);
        const V denominator = mul_add(sqrt(v), second_scale, eps);
        store_columns(parameter + i, shrink * p - step_size * m / denominator, step);
    });
}

FASTNORM_TARGET_END
