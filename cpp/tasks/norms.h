// What the kernels of layer_norm and rms_norm are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// Running sums of dweight and dbias over the rows of a block, and the weight, in the compute type. Longer
// rows have each its place in a page.
constexpr std::int64_t page_bytes = 4096;
FASTNORM_INLINE constexpr bool sums_in_pages(std::int64_t cols, std::int64_t size) {
    return cols * size >= page_bytes / 4;
}
FASTNORM_INLINE constexpr std::int64_t parameter_sums_bytes(std::int64_t cols, std::int64_t size) {
    return 3 * (packed_row_bytes(cols, size) + (sums_in_pages(cols, size) ? page_bytes : 0));
}

// Calls of fewer rows do without weight and bias in whole lines.
constexpr std::int64_t merged_rows = 4;
FASTNORM_INLINE constexpr std::int64_t whole_parameters_bytes(const Rows& shape, std::int64_t size) {
    return shape.rows < merged_rows ? 0 : 2 * packed_row_bytes(shape.cols, size);
}

// Norm over the columns of each row. Parameters and statistics are contiguous arrays of the compute type
// (float, or double for float64); those that may be absent are null.
struct NormForward {
    Rows shape;
    Operand x, y;
    const void* weight;
    const void* bias;
    double eps;
    std::int64_t counted;  // rms_norm: how many leading columns enter the mean square
    void* mean;            // one value a row
    void* rstd;
    bool stream;               // write y past the caches
    bool unit_length = false;  // normalize: x / max(|x|, eps)
};

// The gradient of the same. A call covers row blocks [begin, end) of block_rows rows each (block_rows depends
// on the shape alone); block b leaves its share of dweight and dbias in row b of the partials, which
// sum_partials then adds in the order of the blocks, whoever computed them. A single block can do without.
struct NormBackward {
    Rows shape;
    Operand dy, x, dx;
    const void* weight;
    double eps;
    std::int64_t counted;
    const void* mean;  // statistics of the forward, or null: then they are computed from x
    const void* rstd;
    bool stream;
    std::int64_t block_rows;
    double* dweight_partials;  // blocks x cols; where there is a weight, and where its gradient or dbias is
                               // wanted
    double* dbias_partials;
    // Where there is one block: the gradients themselves, cols, compute type; or null.
    void* dweight = nullptr;
    void* dbias = nullptr;
    bool unit_length = false;  // see NormForward
};

struct PartialSums {
    const double* partials;  // blocks x cols
    std::int64_t blocks, cols;
    void* sums;  // cols, compute type
};

}  // namespace fastnorm
