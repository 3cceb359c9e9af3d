// What a kernel is given and what a target provides: plain structures shared by the bindings and every target.
//
// Outputs are overwritten, never accumulated. Kernels neither allocate nor throw; `scratch` is theirs for one call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastnorm {

enum class Element : int { float32, float64, float16, bfloat16 };
constexpr int element_count = 4;

constexpr std::int64_t item_size(Element element) {
    return element == Element::float64 ? 8 : element == Element::float32 ? 4 : 2;
}

// An array seen as rows x cols. The outer axes choose the row, the inner axes the column, both in C order; neighbouring
// axes that can be walked as one have been merged, so a contiguous array has one of each.
struct Rows {
    std::int64_t rows, cols;
    int outer_axes, inner_axes;
    const std::int64_t* outer_extent;
    const std::int64_t* inner_extent;
};

// One array on such rows: byte strides along the axes of Rows. `contiguous` rows lie in memory as cols neighbours.
struct Operand {
    char* data;
    const std::int64_t* outer_stride;
    const std::int64_t* inner_stride;
    bool contiguous;
};

// Rows that do not lie contiguously are packed this many at a time: enough for one 64-byte line of float32 when
// neighbouring rows are neighbours in memory (a norm over a non-trailing axis).
constexpr int tile_rows = 16;

// Distance between packed rows in bytes: whole lines and one more, so that power-of-two rows do not share cache sets.
constexpr std::int64_t packed_row_bytes(std::int64_t cols, std::int64_t size) {
    return (cols * size + 63) / 64 * 64 + 64;
}
constexpr std::int64_t packed_bytes(std::int64_t cols, std::int64_t size) {
    return tile_rows * packed_row_bytes(cols, size);
}

// Running sums of dweight and dbias over the rows of a block, in the compute type.
constexpr std::int64_t parameter_sums_bytes(std::int64_t cols, std::int64_t size) {
    return (2 * cols * size + 63) / 64 * 64;
}

// Norm over the columns of each row. Parameters and statistics are contiguous arrays of the compute type (float, or
// double for float64); those that may be absent are null.
struct NormForward {
    Rows shape;
    Operand x, y;
    const void* weight;
    const void* bias;
    double eps;
    std::int64_t counted;  // rms_norm: how many leading columns enter the mean square
    void* mean;            // one value a row
    void* rstd;
    bool stream;  // write y past the caches
};

// The gradient of the same. A call covers row blocks [begin, end) of block_rows rows each (block_rows depends on the
// shape alone); block b leaves its share of dweight and dbias in row b of the partials, which sum_partials then adds
// in the order of the blocks, whoever computed them.
struct NormBackward {
    Rows shape;
    Operand dy, x, dx;
    const void* weight;
    double eps;
    std::int64_t counted;
    const void* mean;  // statistics of the forward, or null: then they are computed from x
    const void* rstd;
    std::int64_t block_rows;
    double* dweight_partials;  // blocks x cols
    double* dbias_partials;
    bool stream;
};

struct PartialSums {
    const double* partials;  // blocks x cols
    std::int64_t blocks, cols;
    void* sums;  // cols, compute type
};

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

// One table a target. kernels.inc lists the kernels; each exists for every element type.
struct KernelTable {
#define FASTNORM_KERNEL(name, Task) \
    void (*name[element_count])(const Task& task, std::int64_t begin, std::int64_t end, void* scratch);
#include "kernels/kernels.inc"
#undef FASTNORM_KERNEL
    void (*copy)(const char* source, char* target, std::int64_t bytes);  // streaming copy: the yardstick of bandwidth
};

}  // namespace fastnorm
