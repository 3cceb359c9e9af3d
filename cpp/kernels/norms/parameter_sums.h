// Sums over rows for dweight and dbias, in an order that depends on the shape alone.
//
// Rows are added one after the other in the compute type for fold_rows rows, those sums in double within a
// row block, and the blocks' sums (the partials) in double in the order of the blocks. Threads take whole
// blocks, so their number does not matter. fold_rows additions err by at most fold_rows * 2^-24 of the sum of
// magnitudes, typically 6 * 2^-24.
#pragma once

#include <cstring>

#include "kernels/loops/folding.h"
#include "kernels/norms/centring.h"
#include "tasks/norms.h"

FASTNORM_TARGET_BEGIN

// The running sums of one row block, cols values of each gradient in the compute type S, and the weight (ones
// where there is none), all from `scratch`.
//
// They lie in whole lines, since a vector that lies across two takes half as long again to load, and each at
// its own place in a page: a load waits for an earlier store under way to the same place of another page, so
// sums that are a few lines ahead of the rows would hold up each of their vectors. NumPy's arrays begin at
// the start of a page, our results in its middle, and sums may begin where the rows do. layer_norm_backward
// at 384 x 1024, one Zen 4 core: 24.1 cycles a vector with sums that follow each other, 19.4 so.
template <class S>
class ParameterSums {
public:
    S* dweight;
    S* dbias;
    const S* weight;

    FASTNORM_INLINE ParameterSums(const void* given_weight, std::int64_t cols, char*& scratch) : cols_(cols) {
        char* const end = scratch + parameter_sums_bytes(cols, sizeof(S));
        dweight = place(scratch, 0);
        dbias = place(scratch, page_bytes / 2);
        S* const whole = place(scratch, page_bytes / 4);
        copy_parameter(given_weight, S(1), cols, whole);
        weight = whole;
        scratch = end;
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
        std::memset(dweight, 0, std::size_t(cols_) * sizeof(S));
        std::memset(dbias, 0, std::size_t(cols_) * sizeof(S));
        rows_ = 0;
    }
    // `count` more rows will be added.
    FASTNORM_INLINE void expect(int count) {
        if (rows_ >= fold_rows) fold(false);
        rows_ += count;
    }
    FASTNORM_INLINE void finish() { fold(true); }

private:
    // Room for a row of sums, `offset` bytes into a page.
    FASTNORM_INLINE S* place(char*& scratch, std::int64_t offset) const {
        if (sums_in_pages(cols_, sizeof(S))) {
            const std::int64_t past = std::int64_t(reinterpret_cast<std::uintptr_t>(scratch) % page_bytes);
            scratch += (offset - past + page_bytes) % page_bytes;
        }
        S* const room = reinterpret_cast<S*>(scratch);
        scratch += packed_row_bytes(cols_, sizeof(S));
        return room;
    }

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
