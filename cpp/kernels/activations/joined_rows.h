// Short rows that follow each other in memory, taken as one run with a beta for each element: a call and the
// end of a vector for each row would cost more than its elements.
#pragma once

#include "kernels/loops/row_span.h"
#include "tasks/activations.h"

FASTNORM_TARGET_BEGIN

// Where rows from `row` on begin, by their steps along one operand.
class RowOffsets {
public:
    FASTNORM_INLINE RowOffsets(const Rows& shape, const Operand& operand, std::int64_t row)
        : shape_(shape), stride_(operand.outer_stride), row_(row) {
        find();
    }
    // The offset in bytes of the next row.
    FASTNORM_INLINE std::int64_t next() {
        if (left_ == 0) find();
        const std::int64_t result = offset_;
        offset_ += stride_[shape_.outer_axes - 1];
        ++row_, --left_;
        return result;
    }

private:
    FASTNORM_INLINE void find() {
        const std::int64_t extent = shape_.outer_extent[shape_.outer_axes - 1];
        offset_ = strided_offset(row_, shape_.outer_axes, shape_.outer_extent, stride_);
        left_ = extent - row_ % extent;
    }

    const Rows& shape_;
    const std::int64_t* const stride_;
    std::int64_t row_, offset_ = 0, left_ = 0;
};

// The betas of rows [first, first + count), one for each element; up to a vector beyond them is written.
template <class C>
FASTNORM_OUTLINE void spread_betas(
    const Rows& shape, const Operand& beta, std::int64_t first, std::int64_t count, C* betas
) {
    using V = Vec<C, row_lanes>;
    const std::int64_t cols = shape.cols;
    bool is_shared = true;
    for (int axis = 0; axis < shape.inner_axes; ++axis) is_shared = is_shared && beta.inner_stride[axis] == 0;
    RowOffsets offsets(shape, beta, first);
    for (std::int64_t row = 0; row < count; ++row, betas += cols) {
        char* const place = beta.data + offsets.next();
        if (is_shared) {
            const V value = broadcast<V>(read_element<C>(place));
            for (std::int64_t j = 0; j < cols; j += row_lanes) store(betas + j, value);
        } else {
            move_span<C, true>(shape, beta.inner_stride, place, betas, 0, cols);
        }
    }
}

FASTNORM_TARGET_END
