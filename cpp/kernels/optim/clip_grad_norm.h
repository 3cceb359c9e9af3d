// Clipping by the norm of all gradients together:
//   norm = sqrt(sum g^2);  g *= min(1, max_norm / (norm + 1e-6))
// The squares are taken and added in double, a block at a time in row_lanes lanes, so the order of the sum
// follows the size alone. Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent
// neural networks", 2013.
#pragma once

#include "simd/rows.h"
#include "tasks/optim.h"

FASTNORM_TARGET_BEGIN

template <class T>
void gradient_squares(const GradientSquares& task, std::int64_t begin, std::int64_t end, void*) {
    using D = Vec<double, row_lanes>;
    const D scale = broadcast<D>(task.scale);
    for (std::int64_t block = begin; block < end; ++block) {
        const std::int64_t first = block * norm_block;
        const T* gradient = static_cast<const T*>(task.gradient) + first;
        D total = broadcast<D>(0);
        for_columns<row_lanes>(
            0, smaller(norm_block, task.size - first), [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
                const D g = load_columns<D>(gradient + i, step) * scale;
                total = mul_add(g, g, total);
            }
        );
        task.squares[block] = sum(total);
    }
}

template <class T>
void scale_gradient(const GradientScale& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    using V = Vec<C, native<C>>;
    T* gradient = static_cast<T*>(task.gradient);
    const V scale = broadcast<V>(C(task.scale));
    for_columns<native<C>>(begin, end, [&](std::int64_t i, auto step) FASTNORM_INLINE_LAMBDA {
        store_columns(gradient + i, load_columns<V>(gradient + i, step) * scale, step);
    });
}

FASTNORM_TARGET_END
