// What the kernels of networks of dense layers are given.
//
// Everything between input and result is of the compute type, in rows padded to whole registers: `step`
// elements apart. Weights are copied into panels first (mlp_pack), once for all rows of a call.
#pragma once

#include "tasks/linear.h"

namespace fastnorm {

// Whether the backward needs z beside a = f(z).
FASTNORM_INLINE constexpr bool mlp_keeps_z(Activation activation) {
    return activation != Activation::none && activation != Activation::relu;
}

// Rows that go through all layers together: a multiple of the six rows of a tile.
constexpr std::int64_t mlp_block_rows = 48;

// Gradients of parameters are summed over groups of rows, each from its first row to its last, and the
// groups' sums are added in their order. Groups depend on the number of rows alone: at most eight, of at
// least 96 rows.
FASTNORM_INLINE constexpr std::int64_t mlp_group_rows(std::int64_t rows) {
    const std::int64_t blocks = (rows + mlp_block_rows - 1) / mlp_block_rows;
    const std::int64_t in_group = (blocks + 7) / 8;
    return mlp_block_rows * (in_group < 2 ? 2 : in_group);
}

// Rows are padded to whole vectors of the widest registers, so that sizes do not depend on the target.
FASTNORM_INLINE constexpr std::int64_t mlp_cols(std::int64_t cols, std::int64_t compute_size) {
    const std::int64_t lanes = 64 / compute_size;
    return (cols + lanes - 1) / lanes * lanes;
}

// From one row of a block to the next: not a multiple of 2 KiB, which would put the rows into the same sets
// of the first-level cache.
FASTNORM_INLINE constexpr std::int64_t mlp_step(std::int64_t cols, std::int64_t compute_size) {
    const std::int64_t padded = mlp_cols(cols, compute_size);
    return padded * compute_size % 2048 == 0 ? padded + 64 / compute_size : padded;
}

// Fewer columns than fill two registers: the gradient of such a weight is summed transposed, lanes along its
// rows.
FASTNORM_INLINE constexpr bool mlp_is_narrow(std::int64_t in, std::int64_t out, std::int64_t compute_size) {
    return out * compute_size <= 64 && in > out;
}

struct MlpLayer {
    std::int64_t in, out;
    const void* weight;      // panels of (in, out)
    const void* transposed;  // panels of (out, in); null in the first layer where dx is not wanted
    const void* bias;        // padded; or null
    Activation activation;
    std::int64_t
        dweight;  // where in a group's partial sums: (in, mlp_cols of out), narrow ones (out, mlp_cols of in)
    std::int64_t dbias;
};

// Copies a matrix into panels. Strides in bytes; units are blocks of depth_block rows.
struct MlpPack {
    std::int64_t rows, cols;
    const char* source;
    std::int64_t row_stride, col_stride;
    void* panels;
};

// dL/dy of some rows of the batch from y, `step` elements between the rows of both, of the compute type; adds
// the rows' losses to *loss.
using MlpLoss = void (*)(
    const void* context, std::int64_t first, std::int64_t rows, std::int64_t step, const void* y, void* dy,
    double* loss
);

// Rows of a batch through all layers. Units are groups of rows, or blocks where only the output is wanted.
struct MlpRows {
    const MlpLayer* layers;
    std::int64_t count;
    std::int64_t rows, group_rows;
    std::int64_t widest;  // step of the widest layer, input included

    const char* x;
    std::int64_t x_row_stride, x_col_stride;
    const std::int64_t* order;  // the rows of x to take, or null: as they stand

    void* y;  // contiguous, or null

    const char* dy;  // gradient of the output, or null: then it is that of the loss
    std::int64_t dy_row_stride, dy_col_stride;
    MlpLoss loss;
    const void* context;
    double* losses;  // one for each group
    void* dx;        // contiguous, or null
    void* partials;  // one block of partial sums for each group
    std::int64_t partial_elements;
};

// Scratch of one thread: the input, and two buffers that take turns; for the backward, which uses those for
// gradients, what the layers keep too.
FASTNORM_INLINE std::int64_t mlp_scratch_elements(
    const MlpRows& task, std::int64_t compute_size, bool backward
) {
    std::int64_t steps = mlp_step(task.layers[0].in, compute_size) + 2 * task.widest;
    for (std::int64_t l = 0; backward && l < task.count; ++l) {
        const MlpLayer& layer = task.layers[l];
        steps += mlp_step(layer.out, compute_size) * (mlp_keeps_z(layer.activation) ? 2 : 1);
    }
    return steps * (task.rows < mlp_block_rows ? task.rows : mlp_block_rows);
}

// The gradient of one parameter from the groups' partial sums, plus `penalty` times the parameter. Units are
// its rows.
struct MlpMerge {
    const void* partials;  // at the parameter's place in the first group
    std::int64_t groups, partial_elements;
    std::int64_t cols;
    std::int64_t row_step, col_step;  // within a group
    double penalty;
    const char* parameter;  // strides in bytes
    std::int64_t row_stride, col_stride;
    void* gradient;  // contiguous
};

}  // namespace fastnorm
