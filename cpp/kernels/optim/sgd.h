// The optimisers: one pass over a parameter, its gradient and its state, all in the compute type.
//
//   SGD:   g += weight_decay p;  v = momentum v + g;  p -= lr v, or lr (g + momentum v) with Nesterov's
//   Adam:  g += weight_decay p;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//          p = shrink p - step_size m / (sqrt(v) second_scale + eps)
//
// Every element is read and written once: 16 bytes of float32 in SGD with momentum, 28 in Adam. A half
// parameter is rounded once.
#pragma once

#include "simd/rows.h"
#include "tasks/optim.h"

FASTNORM_TARGET_BEGIN

// The gradient of elements from i on, weight decay included. Without decay it does not see the parameter,
// which may be infinite.
template <class T, class Task, class V, class Step>
FASTNORM_INLINE V load_gradient(const Task& task, V p, V weight_decay, std::int64_t i, Step step) {
    V g;
    if (sizeof(T) == sizeof(compute_t<T>) || task.wide) {
        g = load_columns<V>(static_cast<const compute_t<T>*>(task.gradient) + i, step);
    } else {
        g = load_columns<V>(static_cast<const T*>(task.gradient) + i, step);
    }
    return task.weight_decay != 0 ? mul_add(weight_decay, p, g) : g;
}

template <class T>
void sgd_update(const SgdUpdate& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;
    T* parameter = static_cast<T*>(task.parameter);
    C* velocity = static_cast<C*>(task.velocity);
    const V lr = broadcast<V>(C(-task.lr)), momentum = broadcast<V>(C(task.momentum));
    const V weight_decay = broadcast<V>(C(task.weight_decay));
    for_columns<native<C>>(begin, end, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
        const V p = load_columns<V>(parameter + i, step);
        V g = load_gradient<T>(task, p, weight_decay, i, step);
        if (velocity) {
            const V v = mul_add(momentum, load_columns<V>(velocity + i, step), g);
            store_columns(velocity + i, v, step);
            g = task.nesterov ? mul_add(momentum, v, g) : v;
        }
        store_columns(parameter + i, mul_add(lr, g, p), step);
    });
}

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
    const V eps = broadcast<V>(C(task.eps)), weight_decay = broadcast<V>(C(task.weight_decay));
    const V shrink = broadcast<V>(C(task.shrink));
    for_columns<native<C>>(begin, end, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
        const V p = load_columns<V>(parameter + i, step);
        const V g = load_gradient<T>(task, p, weight_decay, i, step);
        const V m = mul_add(beta1, load_columns<V>(first + i, step), rest1 * g);
        const V v = mul_add(beta2, load_columns<V>(second + i, step), rest2 * g * g);
        store_columns(first + i, m, step);
        store_columns(second + i, v, step);
        const V denominator = mul_add(sqrt(v), second_scale, eps);
        store_columns(parameter + i, shrink * p - step_size * m / denominator, step);
    });
}

FASTNORM_TARGET_END
