// What the optimisers share. Each is one pass over a parameter, its gradient and its state, all in the
// compute type; a half parameter is rounded once.
#pragma once

#include "simd/rows.h"
#include "tasks/optim.h"

FASTNORM_TARGET_BEGIN

// The gradient of elements from i on.
template <class T, class V, class Task, class Step>
FASTNORM_INLINE V load_gradient(const Task& task, std::int64_t i, Step step) {
    if (sizeof(T) == sizeof(compute_t<T>) || task.wide)
        return load_columns<V>(static_cast<const compute_t<T>*>(task.gradient) + i, step);
    return load_columns<V>(static_cast<const T*>(task.gradient) + i, step);
}

// The same with weight decay. Without it the parameter, which may be infinite, is not seen.
template <class Task, class V>
FASTNORM_INLINE V decayed(const Task& task, V g, V p) {
    return task.weight_decay != 0 ? mul_add(broadcast<V>(element_t<V>(task.weight_decay)), p, g) : g;
}

// State as it is kept: beta state + step, and 0 where that is subnormal. Without gradients a mean decays to
// subnormal numbers, on which it stays for good, 0.9 of a few of the smallest being rounded to as many.
template <class V>
FASTNORM_INLINE V advanced(V beta, V state, V step) {
    return without_subnormals(mul_add(beta, state, step));
}

FASTNORM_TARGET_END
