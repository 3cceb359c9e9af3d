// What the kernels of regularisation are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// Elements whose random numbers are made at once.
constexpr std::int64_t dropout_group = 256;
// A number has 16 bits.
constexpr std::int64_t dropout_levels = 65536;

// x and y as one row, whose columns are the elements in C order. Units are groups of elements. Scratch: two
// groups of x's type where an operand is not contiguous, else none.
struct Dropout {
    Rows shape;
    Operand x, y;
    std::uint64_t seed;
    std::int64_t dropped;  // the levels below which a number drops its element
    double scale;          // of the others
    bool stream;           // y is written past the caches: contiguous, and aligned to lines
};

}  // namespace fastnorm
