// What softmax and log_softmax are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// One row in the compute type, of `cols` elements of `size` bytes: whole lines.
FASTNORM_INLINE constexpr std::int64_t work_row_bytes(std::int64_t cols, std::int64_t size) {
    return (cols * size + 63) / 64 * 64;
}

// y of each row from x. Scratch: a work row in the compute type, and packing space.
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
