// What the kernels of networks of dense layers are given.
//
// Everything between input and result is of the compute type, in rows padded to whole registers: `step`
// elements apart. Weights are copied into panels first (pack_weight), once for all rows of a call.
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

// From one row of a block to the next: not a multiple of 2 KiB, which would put the rows into the same sets
// of the first-level cache.
FASTNORM_INLINE constexpr std::int64_t mlp_step(std::int64_t cols, std::int64_t compute_size) {
    const std::int64_t padded = padded_cols(cols, compute_size);
    return padded * compute_size % 2048 == 0 ? padded + 64 / compute_size : padded;
}

// Fewer columns than fill two registers: the gradient of such a weight is summed transposed, lanes along its
// rows.
FASTNORM_INLINE constexpr bool mlp_is_narrow(std::int64_t in, std::int64_t out, std::int64_t compute_size) {
    return out * compute_size <= 64 && in > out;
}

struct MlpLayer {
    std::int64_t in, out;
    const void* weight;      // panels of (in, out), or (weight_step > 0) the weight itself
    const void* transposed;  // panels of (out, in); null in the first layer where dx is not wanted
    const void* bias;        // padded; or null
    Activation activation;
    std::int64_t dweight;  // where in a group's partial sums: (in, padded_cols of out), narrow ones (out,
                           // padded_cols of in)
    std::int64_t dbias;
    std::int64_t weight_step;  // elements from row to row; 0: panels
};

// Rows of a batch through all layers, a unit being a block of them. mlp_backward takes a block back right
// after mlp_forward, in the same scratch: both are then called for one block at a time, in the order of the
// blocks of a group.
struct MlpRows {
    const MlpLayer* layers;
    std::int64_t count;
    std::int64_t rows, group_rows;
    std::int64_t widest;  // step of the widest layer, input included

    const char* x;
    std::int64_t x_row_stride, x_col_stride;
    const std::int64_t* order;  // the rows of x to take, or null: as they stand

    // Of what goes from a hidden layer to the next those are dropped, in a step of training, whose random
    // number under the seed is among the first `dropped` of dropout_levels; the others are multiplied by
    // dropout_scale.
    std::uint64_t seed;
    std::int64_t dropped;
    double dropout_scale;

    bool keeps;  // scratch keeps what the backward of a block needs
    void* y;     // contiguous, or null

    const char* dy;  // gradient of the output, or null: then it lies in scratch, where mlp_outputs tells
    std::int64_t dy_row_stride, dy_col_stride;
    void* dx;        // contiguous, or null
    void* partials;  // one block of partial sums for each group
    std::int64_t partial_elements;
};

// Elements from one row to the next of all that the backward needs of a layer: z, where it is kept, and a.
FASTNORM_INLINE std::int64_t mlp_kept_step(const MlpLayer& layer, std::int64_t compute_size) {
    return mlp_step(layer.out, compute_size) * (mlp_keeps_z(layer.activation) ? 2 : 1);
}
FASTNORM_INLINE std::int64_t mlp_kept_step(const MlpRows& task, std::int64_t compute_size) {
    std::int64_t steps = 0;
    for (std::int64_t l = 0; l < task.count; ++l) steps += mlp_kept_step(task.layers[l], compute_size);
    return steps;
}

// Scratch of one thread, for that many rows: the input, what the layers keep where there is a backward, and
// two buffers that take turns, for activations or for gradients.
FASTNORM_INLINE std::int64_t mlp_scratch_rows(const MlpRows& task) {
    return task.rows < mlp_block_rows ? task.rows : mlp_block_rows;
}
FASTNORM_INLINE std::int64_t mlp_scratch_elements(
    const MlpRows& task, std::int64_t compute_size, bool backward
) {
    const std::int64_t kept = backward ? mlp_kept_step(task, compute_size) : 0;
    return (mlp_step(task.layers[0].in, compute_size) + kept + 2 * task.widest) * mlp_scratch_rows(task);
}

// Where in scratch mlp_forward leaves the outputs of a block (if it keeps them) and mlp_backward looks for
// the gradient with respect to them, in elements; the rows of both are `step` apart, padding being 0.
struct MlpOutputs {
    std::int64_t y, dy, step;
};
FASTNORM_INLINE MlpOutputs mlp_outputs(const MlpRows& task, std::int64_t compute_size) {
    const std::int64_t rows = mlp_scratch_rows(task),
                       step = mlp_step(task.layers[task.count - 1].out, compute_size);
    const std::int64_t dy =
        rows * (mlp_step(task.layers[0].in, compute_size) + mlp_kept_step(task, compute_size));
    return {dy - rows * step, dy, step};
}

// The gradient of one parameter from the groups' partial sums, plus `penalty` times the parameter where its
// squares are asked for. Units are blocks of `unit_rows` of its rows.
struct MlpMerge {
    const void* partials;  // at the parameter's place in the first group
    std::int64_t groups, partial_elements;
    std::int64_t rows, cols, unit_rows;
    std::int64_t row_step, col_step;  // within a group
    double penalty;
    const char* parameter;  // strides in bytes
    std::int64_t row_stride, col_stride;
    double* squares;  // of each unit the sum of its squared elements; or null
    void* gradient;   // contiguous
};

// The rows of a unit: those of some 4096 elements, which stay in the first-level cache.
FASTNORM_INLINE constexpr std::int64_t mlp_merge_rows(std::int64_t cols) {
    return cols < 4096 ? 4096 / (cols > 1 ? cols : 1) : 1;
}

}  // namespace fastnorm
