// What the element-wise kernels are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// out = f(a) or f(a, b), element by element. A call covers segments [begin, end): pieces of at most segment_elements
// elements of one row.
constexpr std::int64_t segment_elements = 4096;
struct Elementwise {
    Rows shape;
    Operand a, b, out;
    bool stream;
};

constexpr std::int64_t segments_per_row(const Elementwise& task) {
    return (task.shape.cols + segment_elements - 1) / segment_elements;
}

// Lines of 64 bytes from one aligned address to another.
constexpr std::int64_t copy_line = 64;
struct Copy {
    const char* source;
    char* target;
};

}  // namespace fastnorm
