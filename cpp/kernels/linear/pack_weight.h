// A weight into panels, for many products, and back.
#pragma once

#include "kernels/linear/packing.h"
#include "kernels/linear/tile.h"

FASTNORM_TARGET_BEGIN

// A matrix given by its strides in bytes, of elements of `size` bytes.
struct StridedMatrix {
    std::int64_t extent[2], stride[2];
    Matrix matrix;

    StridedMatrix(
        const void* data, std::int64_t rows, std::int64_t cols, std::int64_t row_stride,
        std::int64_t col_stride, std::int64_t size, bool wide
    )
        : extent{rows, cols}, stride{row_stride, col_stride} {
        const std::uintptr_t bits =
            reinterpret_cast<std::uintptr_t>(data) | std::uintptr_t(row_stride | col_stride);
        char* start = static_cast<char*>(const_cast<void*>(data));
        matrix = {
            start, {1, extent, stride}, {1, extent + 1, stride + 1}, wide, bits % std::uintptr_t(size) == 0
        };
    }
    StridedMatrix(const StridedMatrix&) = delete;
    StridedMatrix& operator=(const StridedMatrix&) = delete;
};

// Calls block(matrix, first row, rows, panels) for blocks of rows [begin, end) of the weight.
template <class T, class Block>
FASTNORM_INLINE void for_blocks(const WeightPanels& task, std::int64_t begin, std::int64_t end, Block block) {
    using C = compute_t<T>;
    constexpr bool wide = sizeof(T) == sizeof(C);
    const StridedMatrix weight(
        task.weight, task.rows, task.cols, task.row_stride, task.col_stride, sizeof(T), wide
    );
    for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t k = i * depth_block, depth = smaller(depth_block, task.rows - k);
        block(weight.matrix, k, depth, static_cast<C*>(task.panels) + k * padded_cols(task.cols, sizeof(C)));
    }
}

template <class T>
void pack_weight(const WeightPanels& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    for_blocks<T>(
        task, begin, end,
        [&](const Matrix& weight, std::int64_t k, std::int64_t depth, C* panels) FASTNORM_INLINE_LAMBDA {
            pack_panels<C>(
                pack<T>, weight, k, depth, 0, task.cols, padded_cols(task.cols, sizeof(C)), panels,
                panel_cols<C>
            );
        }
    );
}

template <class T>
void unpack_weight(const WeightPanels& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    const std::int64_t padded = padded_cols(task.cols, sizeof(C)), width = panel_cols<C>;
    for_blocks<T>(
        task, begin, end,
        [&](const Matrix& weight, std::int64_t k, std::int64_t depth, C* panels) FASTNORM_INLINE_LAMBDA {
            for (std::int64_t j = 0; j < task.cols; j += width) {
                unpack<T>(
                    panels + j * depth, smaller(width, padded - j), weight, k, depth, j,
                    smaller(width, task.cols - j)
                );
            }
        }
    );
}

FASTNORM_TARGET_END
