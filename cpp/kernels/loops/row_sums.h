// Sums over a row in lanes of the compute type, folded into doubles.
#pragma once

#include "kernels/loops/folding.h"

FASTNORM_TARGET_BEGIN

// sum of terms(j, step) over the columns, `row_lanes` lanes of the compute type folded into doubles.
template <class C, class Terms>
FASTNORM_INLINE double sum_columns(std::int64_t cols, Terms terms) {
    using V = Vec<C, row_lanes>;
    if constexpr (sizeof(C) == 8) {
        V total = broadcast<V>(0);
        for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
            total = total + terms(j, step);
        });
        return sum(total);
    } else {
        Vec<double, row_lanes> total = broadcast<Vec<double, row_lanes>>(0);
        for (std::int64_t begin = 0; begin < cols; begin += columns_together) {
            V part = broadcast<V>(0);
            for_columns<row_lanes>(
                begin, smaller(begin + columns_together, cols),
                [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA { part = part + terms(j, step); }
            );
            total = total + to_double(part);
        }
        return sum(total);
    }
}

// sum x_j, and sum x_j e_j.
template <class C, class T>
double row_sum(const T* x, std::int64_t cols) {
    using V = Vec<C, row_lanes>;
    return sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        return load_columns<V>(x + j, step);
    });
}
template <class C, class T>
double row_dot(const T* x, const C* e, std::int64_t cols) {
    using V = Vec<C, row_lanes>;
    return sum_columns<C>(cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        return load_columns<V>(x + j, step) * load_columns<V>(e + j, step);
    });
}

// The column of the first element equal to `value`; the last column where none is, as another thread may have
// changed the row since its maximum was taken.
template <class T>
std::int64_t column_of(const T* x, std::int64_t cols, compute_t<T> value) {
    using V = Vec<compute_t<T>, row_lanes>;
    const V values = broadcast<V>(value);
    std::int64_t j = 0;
    while (j + row_lanes <= cols && !any(load_row<V>(x + j) == values)) j += row_lanes;
    while (j < cols - 1 && widen(x[j]) != value) ++j;
    return j;
}

FASTNORM_TARGET_END
