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
    // A block begins. The gradients of `task` are written in the end where this is the only one.
    FASTNORM_INLINE void start(const NormBackward& task, std::int64_t block) {
        partials_[0] = task.dweight_partials + block * cols_;
        partials_[1] = task.dbias_partials + block * cols_;
        totals_[0] = static_cast<S*>(task.dweight);
        totals_[1] = static_cast<S*>(task.dbias);
        folded_ = false;
        clear();
    }
    FASTNORM_INLINE void clear() {
        std::memset(dweight, 0, std::size_t(2 * cols_) * sizeof(S));
        rows_ = 0;
    }
    // `count` more rows will be added.
    FASTNORM_INLINE void expect(int count) {
        if (rows_ >= fold_rows) fold(false);
        rows_ += count;
    }
    FASTNORM_INLINE void finish() { fold(true); }

private:
    // Adds the running sums to the partials, and begins new ones unless these were the last.
    FASTNORM_OUTLINE void fold(bool last) {
        using V = Vec<double, row_lanes>;
        for (int k = 0; k < 2; ++k) {
            const S* sums = k == 0 ? dweight : dbias;
            double* const partial = partials_[k];
            S* const total = last ? totals_[k] : nullptr;
            for_columns<row_lanes>(0, cols_, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
                const V before = folded_ ? load_columns<V>(partial + j, step) : broadcast<V>(0);
                const V sum = before + load_columns<V>(sums + j, step);
                if (total) {
                    store_columns(total + j, sum, step);
                } else {
                    store_columns(partial + j, sum, step);
                }
            });
        }
        folded_ = true;
        if (!last) clear();
    }

    std::int64_t cols_;
    double* partials_[2] = {nullptr, nullptr};
    S* totals_[2] = {nullptr, nullptr};
    int rows_ = 0;
    bool folded_ = false;
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
