// What the element-wise losses are given.
#pragma once

#include "tasks/arrays.h"

namespace fastnorm {

// A loss of each element of `x` (predictions or logits) against its target, and its gradient in the same
// pass.
//
// The arrays are a matrix of rows and columns, cut into blocks: the first block_cols columns of the first
// block_rows rows, the next columns of the same rows, ... A call covers blocks [begin, end).
//
// The order of a sum follows the elements, not memory, and depends on the shape alone. Where rows are whole
// vectors (`by_rows`) element (i, j) of a block is added to lane j mod 32 of set i mod 64, in a lane in the
// order of i / 64, then of j: walking along rows and walking along columns, 64 rows at a time, keep it both.
// Else the rows follow each other and element k of a block is added to lane k mod 64 of one set. Then the
// sets are added in their order, the lanes are folded, upper half onto lower, and whoever called adds the
// blocks' sums in their order. All this in double.
//
// Scratch: packed_elements() for each operand that is not dense in some block, weights first.
struct LossLanes {
    std::int64_t sets, width;
};
constexpr LossLanes lanes_by_rows{64, 32}, lanes_by_columns{32, 64}, lanes_flat{1, 64};

struct ElementwiseLoss {
    // dloss are gradients of the losses, `scale` being that of all where there are none. The weights, which
    // bce_with_logits alone has, are of the compute type and do not step where elements of x share one.
    enum Role { x, target, dloss, losses, gradient, roles, weight = roles, pos_weight, all_roles };

    Rows shape;
    Operand operands[all_roles];  // data is null for those after the target that are not given or wanted
    std::int64_t block_rows, block_cols;
    std::int64_t packed_rows;  // rows of a block that are packed together
    bool by_rows;
    bool along_columns;  // by_rows, and in all operands the elements of a column are neighbours, and aligned
    double scale;
    double* sums;  // of the losses of each block, or null
    bool stream;   // write the gradient past the caches
    // Of huber_loss: the slope is rise[0] rise[1] (x - t), at most `top` and at least -top.
    double top, bend, rise[2];
    bool of_logarithms;  // of kl_div: the targets are those of probabilities
    // Of sigmoid_focal_loss.
    double gamma;
    double epsilon;
    double alpha_of_one, alpha_of_zero;  // weights of the targets 1 and 0

    FASTNORM_INLINE std::int64_t blocks_per_row() const { return (shape.cols + block_cols - 1) / block_cols; }
    FASTNORM_INLINE std::int64_t blocks() const {
        return shape.cols == 0 ? 0 : (shape.rows + block_rows - 1) / block_rows * blocks_per_row();
    }
    // Whether the rows of a block lie one after another.
    FASTNORM_INLINE bool is_dense(
        const Operand& operand, std::int64_t rows, std::int64_t cols, std::int64_t size
    ) const {
        const bool follows = rows == 1 || (shape.outer_axes == 1 && operand.outer_stride[0] == cols * size);
        return operand.contiguous && follows;
    }
    FASTNORM_INLINE std::int64_t packed_elements() const {
        return (shape.rows < packed_rows ? shape.rows : packed_rows) *
               (shape.cols < block_cols ? shape.cols : block_cols);
    }
};

}  // namespace fastnorm
