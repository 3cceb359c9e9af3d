// Sums of rows: summed = x + alpha * residual, one fused multiply-add in the compute type, rounded once more
// to `summed` where that is a half type.
//
// Accuracy, float32. Rounding the sum moves it by 2^-24 |summed|, and xhat by 2^-24 (|xhat| + |mean * rstd|):
// one rounding more than the norm has while the mean is near. Rows whose mean is further away than far_mean
// deviations are summed again in double, so that the bound of the norm holds whatever the mean. rms_norm has
// no such rows.
#pragma once

#include <cmath>

#include "kernels/norms/centring.h"
#include "tasks/residual_norms.h"

FASTNORM_TARGET_BEGIN

// x + alpha * residual, rounded once. The contract of the norms has no room for the rounding of the product,
// which counts by |alpha * residual| where the sum cancels: without fused multiply-add float goes through
// double.
template <class V>
FASTNORM_INLINE V add_scaled(V alpha, V residual, V x) {
    if constexpr (has_fma || sizeof(element_t<V>) == 8) {
        return mul_add(alpha, residual, x);
    } else {
        return to_float(mul_add(to_double(alpha), to_double(residual), to_double(x)));
    }
}

// total = x + alpha * residual, in the compute type, and the same as a row of `summed` where that is another
// row. Meanwhile fetches the row `ahead`.
template <class T>
void add_row(
    const T* x, const T* residual, compute_t<T> alpha, compute_t<T>* total, T* summed, const T* ahead,
    std::int64_t cols, bool streaming
) {
    using C = compute_t<T>;
    using V = Vec<C, row_lanes>;
    const V factor = broadcast<V>(alpha);
    const bool streams = streaming && summed && sizeof(T) == sizeof(C);
    const std::int64_t head = streams ? columns_to_alignment(summed, cols) : 0;
    for_columns_after<row_lanes>(head, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        prefetch_read(ahead + j);
        const V sum = add_scaled(factor, load_columns<V>(residual + j, step), load_columns<V>(x + j, step));
        store_columns(total + j, sum, step);
        if (summed) write_columns(summed + j, sum, step, streams);
    });
}

// The same in double.
template <class T>
void add_row_in_double(const T* x, const T* residual, double alpha, double* total, std::int64_t cols) {
    using V = Vec<double, row_lanes>;
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V sum =
            mul_add(broadcast<V>(alpha), load_columns<V>(residual + j, step), load_columns<V>(x + j, step));
        store_columns(total + j, sum, step);
    });
}

template <class C, class T>
FASTNORM_INLINE void copy_row(const C* source, T* target, std::int64_t cols) {
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        store_columns(target + j, load_columns<Vec<C, row_lanes>>(source + j, step), step);
    });
}

constexpr double far_mean = 2;

// Whether the rounding of the sums of a row shows when its mean is subtracted, or one of them overflowed.
template <class T>
FASTNORM_INLINE bool is_far_mean(double mean, double rstd) {
    return sizeof(compute_t<T>) == 4 && !(std::fabs(mean) * rstd <= far_mean);
}

// The sums of one row in double and those of a few, in what is left of the scratch.
template <class C>
class TotalRows {
public:
    FASTNORM_INLINE TotalRows(std::int64_t cols, char* scratch)
        : in_double_(reinterpret_cast<double*>(scratch)),
          rows_(reinterpret_cast<C*>(scratch + packed_row_bytes(cols, sizeof(double)))),
          step_(packed_row_bytes(cols, sizeof(C)) / std::int64_t(sizeof(C))) {}
    FASTNORM_INLINE C* row(int k) const { return rows_ + k * step_; }
    FASTNORM_INLINE double* in_double() const { return in_double_; }

private:
    double* in_double_;
    C* rows_;
    std::int64_t step_;
};

FASTNORM_TARGET_END
