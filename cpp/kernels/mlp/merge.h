// The gradient of a parameter of a network from the partial sums of groups of rows, with the penalty's share.
#pragma once

#include "kernels/loops/elements.h"
#include "simd/rows.h"
#include "tasks/mlp.h"

FASTNORM_TARGET_BEGIN

// The groups' sums of rows [first, first + rows) of a parameter, in their order.
template <class C>
FASTNORM_OUTLINE void merge_groups(const MlpMerge& task, std::int64_t first, std::int64_t rows) {
    using V = Vec<C, native<C>>;
    const C* const partial = static_cast<const C*>(task.partials) + first * task.row_step;
    C* const gradient = static_cast<C*>(task.gradient) + first * task.cols;
    const auto sum_of = [&](const C* place, auto part) FASTNORM_INLINE_LAMBDA {
        V sum = load_columns<V>(place, part);
        for (std::int64_t g = 1; g < task.groups; ++g)
            sum = sum + load_columns<V>(place + g * task.partial_elements, part);
        return sum;
    };
    if (task.col_step == 1) {
        for (std::int64_t i = 0; i < rows; ++i) {
            for_columns<native<C>>(0, task.cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
                store_columns(
                    gradient + i * task.cols + j, sum_of(partial + i * task.row_step + j, part), part
                );
            });
        }
        return;
    }
    // Transposed, in padded lines.
    C column[native<C>];
    for (std::int64_t i = 0; i < rows; i += native<C>) {
        const std::int64_t count = smaller(native<C>, rows - i);
        for (std::int64_t j = 0; j < task.cols; ++j) {
            store(column, sum_of(partial + j * task.col_step + i, Whole{}));
            for (std::int64_t l = 0; l < count; ++l) gradient[(i + l) * task.cols + j] = column[l];
        }
    }
}

// Adds the penalty's share to the gradient of these rows, and returns the sum of the squared weights: element
// i of the rows, which follow one another, goes to lane i % row_lanes.
template <class T>
FASTNORM_OUTLINE double add_penalty(const MlpMerge& task, std::int64_t first, std::int64_t rows) {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    using D = Vec<double, row_lanes>;
    const char* line = task.parameter + first * task.row_stride;
    C* const gradient = static_cast<C*>(task.gradient) + first * task.cols;
    const std::int64_t size = sizeof(T);
    const bool dense = task.col_stride == size && task.row_stride == task.cols * size &&
                       reinterpret_cast<std::uintptr_t>(line) % sizeof(T) == 0;
    const C penalty = C(task.penalty);
    D squares = broadcast<D>(0);
    std::int64_t col = 0;
    for_columns<row_lanes>(0, rows * task.cols, [&](std::int64_t i, auto part) FASTNORM_INLINE_LAMBDA {
        V weight;
        if (dense) {
            weight = load_columns<V>(reinterpret_cast<const T*>(line) + i, part);
        } else {
            C lanes[row_lanes] = {};
            for (int l = 0; l < (part.partial ? part.count : row_lanes); ++l) {
                lanes[l] = read_widened<T>(line + col * task.col_stride);
                if (++col < task.cols) continue;
                col = 0;
                line += task.row_stride;
            }
            weight = load<V>(lanes);
        }
        const D wide = to_double(weight);
        squares = mul_add(wide, wide, squares);
        if (penalty != 0) {
            const V sum = load_columns<V>(static_cast<const C*>(gradient) + i, part);
            store_columns(gradient + i, sum + broadcast<V>(penalty) * weight, part);
        }
    });
    return sum(squares);
}

template <class T>
void mlp_merge(const MlpMerge& task, std::int64_t begin, std::int64_t end, void*) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t first = unit * task.unit_rows, rows = smaller(task.unit_rows, task.rows - first);
        merge_groups<compute_t<T>>(task, first, rows);
        if (task.squares) task.squares[unit] = add_penalty<T>(task, first, rows);
    }
}

FASTNORM_TARGET_END
