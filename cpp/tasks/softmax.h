// What softmax and log_softmax are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// One row in the compute type, of `cols` elements of `size` bytes: whole lines.
FASTNORM_INLINE constexpr std::int64_t work_row_bytes(std::int64_t cols, std::int64_t size) {
    return (cols * size + 63) / 64 * 64;
}

// Rows of up to so many columns may be written while others are read, each having a work row.
constexpr std::int64_t columns_beside = 1536;
FASTNORM_INLINE constexpr int work_rows(const Rows& shape, std::int64_t size) {
    return size == 4 && shape.rows > 1 && shape.cols <= columns_beside ? 2 : 1;
}
FASTNORM_INLINE constexpr std::int64_t softmax_work_bytes(const Rows& shape, std::int64_t size) {
    return work_rows(shape, size) * work_row_bytes(shape.cols, size);
}

// y of each row from x. Scratch: softmax_work_bytes in the compute type, and packing space.
struct SoftmaxForward {
    Rows shape;
    Operand x, y;
    bool stream;  // write y past the caches
};

// dx of each row from dy and x.
struct SoftmaxBackward {
    Rows shape;
    Operand dy, x, dx;
    bool stream;
};

}  // namespace fastnorm
