// What becomes of rows of z = A B in the first-level cache: bias, activation, and what Finish says.
#pragma once

#include "kernels/linear/gated_linear.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/packing.h"

FASTNORM_TARGET_BEGIN

// What becomes of rows of z = A B: bias, activation, and what Finish says.
template <class C>
class RowFinish {
public:
    RowFinish(const Product& task, Pack<C> pack) : task_(task), pack_(pack) {
        const bool activates = task.finish == Finish::activate || task.finish == Finish::multiply;
        forward_ = linear_finish<C>(task, activates);
        backward_ = linear_gradient<C>(task);
    }

    // rows x cols elements, `step` between rows, which begin at (row, col) of C.
    void apply(
        C* z, std::int64_t step, std::int64_t rows, std::int64_t cols, std::int64_t row, std::int64_t col
    ) const {
        if (forward_) {
            const C* col_bias = static_cast<const C*>(task_.col_bias);
            const C* row_bias = static_cast<const C*>(task_.row_bias);
            forward_(
                {z, z, step, rows, cols, col_bias ? col_bias + col : nullptr,
                 row_bias ? row_bias + row : nullptr, C(task_.beta)}
            );
        }
        if (task_.finish == Finish::activate) return;
        for (std::int64_t i = 0; i < rows; ++i) combine(z + i * step, row + i, col, cols);
    }

private:
    void combine(C* z, std::int64_t row, std::int64_t col, std::int64_t cols) const {
        constexpr std::int64_t piece = 128;
        C with[piece];
        for (std::int64_t first = 0; first < cols; first += piece) {
            const std::int64_t count = smaller(piece, cols - first);
            C* c = z + first;
            pack_(task_.other, row, 1, col + first, count, with, piece);
            if (task_.finish == Finish::gradient) {
                backward_(with, c, c, count, C(task_.beta));
                continue;
            }
            combine_columns(c, static_cast<const C*>(with), count, task_.finish == Finish::multiply);
        }
    }

    const Product& task_;
    const Pack<C> pack_;
    Activate<C> forward_ = nullptr;
    ActivateBackward<C> backward_ = nullptr;
};

FASTNORM_TARGET_END
