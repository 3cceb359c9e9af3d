// What a kernel is given: plain structures shared by the bindings and every target. Here the arrays, as rows
// and columns; beside it one file a family.
//
// Outputs are overwritten, never accumulated. Kernels neither allocate nor throw; `scratch` is theirs for one
// call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tasks/compiler.h"

namespace fastnorm {

enum class Element : int { float32, float64, float16, bfloat16 };
constexpr int element_count = 4;

FASTNORM_INLINE constexpr std::int64_t item_size(Element element) {
    return element == Element::float64 ? 8 : element == Element::float32 ? 4 : 2;
}

// A number that another thread may change meanwhile, read once: what is checked is what is used.
FASTNORM_INLINE std::int64_t read_once(const std::int64_t& number) {
    return *static_cast<const volatile std::int64_t*>(&number);
}

// Rows that do not lie contiguously are packed this many at a time: enough for one 64-byte line of float32
// when neighbouring rows are neighbours in memory (a norm over a non-trailing axis).
constexpr int tile_rows = 16;

// An array seen as rows x cols. The outer axes choose the row, the inner axes the column, both in C order;
// neighbouring axes that can be walked as one have been merged, so a contiguous array has one of each.
struct Rows {
    std::int64_t rows, cols;
    int outer_axes, inner_axes;
    const std::int64_t* outer_extent;
    const std::int64_t* inner_extent;
    std::int64_t packed_rows =
        tile_rows;  // space for so many is in the scratch: fewer than a tile where rows are
};

// One array on such rows: byte strides along the axes of Rows. `contiguous` rows lie in memory as cols
// neighbours.
struct Operand {
    char* data;
    const std::int64_t* outer_stride;
    const std::int64_t* inner_stride;
    bool contiguous;
};

// Distance between packed rows in bytes: whole lines and one more, so that power-of-two rows do not share
// cache sets.
FASTNORM_INLINE constexpr std::int64_t packed_row_bytes(std::int64_t cols, std::int64_t size) {
    return (cols * size + 63) / 64 * 64 + 64;
}
// Space for a tile of packed rows.
FASTNORM_INLINE constexpr std::int64_t packed_bytes(const Rows& shape, std::int64_t size) {
    return shape.packed_rows * packed_row_bytes(shape.cols, size);
}

}  // namespace fastnorm
