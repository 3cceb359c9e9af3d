// What the optimisers share. Each is one pass over a parameter, its gradient and its state, all in the
// compute type; a half parameter is rounded once.
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

FASTNORM_TARGET_END
