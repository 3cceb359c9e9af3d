// Sums over rows for dweight and dbias, in an order that depends on the shape alone.
//
// Rows are added one after the other in the compute type for fold_rows rows, those sums in double within a
// row block, and the blocks' sums (the partials) in double in the order of the blocks. Threads take whole
// blocks, so their number does not matter. fold_rows additions err by at most fold_rows * 2^-24 of the sum of
// magnitudes, typically 6 * 2^-24.
#pragma once

#include <cstring>

#include "kernels/loops/folding.h"
#include "tasks/norms.h"

FASTNORM_TARGET_BEGIN

// The running sums of one row block: cols values of each gradient in the compute type S, from `scratch`.
template <class S>
class ParameterSums {
public:
    S* dweight;
    S* dbias;

    FASTNORM_INLINE ParameterSums(std::int64_t cols, char*& scratch)
        : dweight(reinterpret_cast<S*>(scratch)), dbias(dweight + cols), cols_(cols) {
        scratch += parameter_sums_bytes(cols, sizeof(S));
    }
    FASTNORM_INLINE void start(double* dweight_partial, double* dbias_partial) {
        partials_[0] = dweight_partial;
        partials_[1] = dbias_partial;
        for (std::int64_t j = 0; j < cols_; ++j) dweight_partial[j] = dbias_partial[j] = 0;
        clear();
    }
    FASTNORM_INLINE void clear() {
        std::memset(dweight, 0, std::size_t(2 * cols_) * sizeof(S));
        rows_ = 0;
    }
    FASTNORM_INLINE void rows_done(int count) {
        rows_ += count;
        if (rows_ >= fold_rows) fold();
    }
    FASTNORM_INLINE void finish() {
        if (rows_ > 0) fold();
    }

private:
    FASTNORM_INLINE void fold() {
        for (int k = 0; k < 2; ++k) {
            const S* sums = k == 0 ? dweight : dbias;
            double* partial = partials_[k];
            for_columns<row_lanes>(0, cols_, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                using V = Vec<double, row_lanes>;
                store_columns(
                    partial + j, load_columns<V>(partial + j, step) + load_columns<V>(sums + j, step), step
                );
            });
        }
        clear();
    }

    std::int64_t cols_;
    double* partials_[2] = {nullptr, nullptr};
    int rows_ = 0;
};

// sums[j] = partials[0][j] + partials[1][j] + ..., for columns [begin, end), rounded once to the compute
// type.
template <class T>
void sum_partials(const PartialSums& task, std::int64_t begin, std::int64_t end, void*) {
    using V = Vec<double, row_lanes>;
    using S = compute_t<T>;
    S* sums = static_cast<S*>(task.sums);
    for_columns<row_lanes>(begin, end, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        V total = broadcast<V>(0);
        for (std::int64_t block = 0; block < task.blocks; ++block) {
            total = total + load_columns<V>(task.partials + block * task.cols + j, step);
        }
        store_columns(sums + j, total, step);
    });
}

FASTNORM_TARGET_END
