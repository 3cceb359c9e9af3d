// Sums over the rows of a matrix, one for each column: dbias of a dense layer.
//
// fold_rows rows are added in the compute type, one after the other, and their sums in double, in order; the
// result is rounded once. Relative to the sum of magnitudes it errs by at most fold_rows * 2^-24.
#pragma once

#include "kernels/linear/packing.h"
#include "kernels/loops/folding.h"

FASTNORM_TARGET_BEGIN

template <class T>
void column_sums(const ColumnSums& task, std::int64_t begin, std::int64_t end, void*) {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    using D = Vec<double, row_lanes>;
    constexpr std::int64_t strip = column_sums_strip;
    C packed[fold_rows * strip];
    double total[strip];
    for (std::int64_t first = begin; first < end; first += strip) {
        const std::int64_t cols = smaller(strip, end - first);
        for (std::int64_t j = 0; j < cols; ++j) total[j] = task.totals ? task.totals[first + j] : 0;
        for (std::int64_t row = 0; row < task.rows; row += fold_rows) {
            const std::int64_t rows = smaller(fold_rows, task.rows - row);
            pack<T>(task.matrix, row, rows, first, cols, packed, strip);
            for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto part) FASTNORM_INLINE_LAMBDA {
                V sum = broadcast<V>(0);
                for (std::int64_t i = 0; i < rows; ++i)
                    sum = sum + load_columns<V>(packed + i * strip + j, part);
                const D before = load_columns<D>(static_cast<const double*>(total) + j, part);
                if constexpr (sizeof(C) == 8) {
                    store_columns(total + j, before + sum, part);
                } else {
                    store_columns(total + j, before + to_double(sum), part);
                }
            });
        }
        C* sums = static_cast<C*>(task.sums) + first;
        for (std::int64_t j = 0; j < cols; ++j) {
            sums[j] = C(total[j]);
            if (task.totals) task.totals[first + j] = total[j];
        }
    }
}

FASTNORM_TARGET_END
