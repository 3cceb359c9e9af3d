// What the element-wise kernels are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// The arrays of an element-wise op on shared rows: its inputs in their order, then its results. A call covers
// segments [begin, end): pieces of at most segment_elements elements of one row.
constexpr std::int64_t segment_elements = 4096;
struct Elementwise {
    static constexpr int max_operands = 5;

    Rows shape;
    Operand operands[max_operands];
    bool stream;  // write the results past the caches
};

FASTNORM_INLINE constexpr std::int64_t segments_per_row(const Elementwise& task) {
    return (task.shape.cols + segment_elements - 1) / segment_elements;
}

}  // namespace fastnorm
