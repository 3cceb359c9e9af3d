// What the kernels of the element-wise activations are given.
#pragma once

#include "tasks/elementwise.h"

namespace fastnorm {

// Elements of which swish takes the betas, and the terms of their gradients, together: they stay in the
// first-level cache beside three arrays. There is room for a vector more. Sums of such terms are in at least
// swish_period lanes.
constexpr std::int64_t swish_run = 1024, swish_room = swish_run + 64, swish_period = 64;

// x, beta, which is of the compute type and does not step where elements of x share one, and y. Units are
// segments or, where rows_together is not 1, so many rows, which follow each other in x and in y; scratch is
// then swish_room betas.
struct SwishForward : Elementwise {
    std::int64_t rows_together = 1;
};

// The gradients of swish on rows of which `shared_rows` neighbours share a beta or, by columns, a row of
// them. beta and dbeta are of the compute type and do not step where elements of x share one. Units are
// segments of rows as in Elementwise or, by columns, strips of `strip` columns of blocks of `block_rows`
// rows.
//
// Where rows_together is not 1, rows follow each other in dy, x and dx. Not by columns, so many, of swish_run
// elements at most, are then a unit, in the order of memory, and dbeta says where the shares of rows are. By
// columns, where lane_rows is not 0 a strip is all columns, and so many rows, whole vectors of swish_run
// elements at most, have sums of their own.
struct SwishBackward {
    Rows shape;
    Operand dy, x, dx, beta, dbeta;
    std::int64_t shared_rows, block_rows, strip, rows_together = 1, lane_rows = 0;
    double* shares;  // of units in dbeta, which is written where this is null: one each or, by columns, a row
};

FASTNORM_INLINE constexpr std::int64_t segments_per_row(const SwishBackward& task) {
    return (task.shape.cols + segment_elements - 1) / segment_elements;
}

// x and y, or dy, x and dx, and the numbers that an op has beside x, in the order of its signature; they are
// rounded to the compute type.
struct ParametricActivation : Elementwise {
    double parameters[2] = {};
};

}  // namespace fastnorm
