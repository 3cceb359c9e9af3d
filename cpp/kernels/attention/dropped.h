// Dropout of weights: P becomes mask P / (1 - p), and its gradient dP likewise.
//
// The mask is that of dropout for an array of (heads, queries / 16, slots / 16, 16 slots, 16 queries),
// rounded up.
#pragma once

#include "kernels/attention/tiles.h"
#include "kernels/loops/dropped_squares.h"

FASTNORM_TARGET_BEGIN

static_assert(attention_block % square_side == 0, "blocks begin with a square");

template <class C>
class DroppedWeights {
public:
    FASTNORM_INLINE DroppedWeights(const Attention& task, std::int64_t head)
        : squares_(task.seed, task.dropped, task.dropout_scale),
          slot_squares_((task.slots + square_side - 1) / square_side),
          first_(head * ((task.queries + square_side - 1) / square_side) * slot_squares_) {}

    // Drops weights, or gradients, of a tile and a block, whose lanes are queries from `lane` on and whose
    // rows are slots from `row` on, or, where `turned`, the other way round. Both begin with a square. NaN
    // stays, as it does in what a query whose weights are NaN reads.
    FASTNORM_INLINE void drop(
        LaneRows<C> weights, std::int64_t lane, std::int64_t lanes, std::int64_t row, std::int64_t rows,
        bool turned
    ) const {
        if (!squares_.are_any()) return;
        const std::int64_t lane_step = turned ? 1 : slot_squares_, row_step = turned ? slot_squares_ : 1;
        const std::int64_t first = first_ + lane / square_side * lane_step + row / square_side * row_step;
        squares_.drop(weights.data, weights.step, rows, lanes, {first, row_step, lane_step, turned});
    }

private:
    DroppedSquares<C> squares_;
    std::int64_t slot_squares_, first_;
};

FASTNORM_TARGET_END
