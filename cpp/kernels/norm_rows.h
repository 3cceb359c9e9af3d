// What the norms over rows share: parameters, how a row is centred and scaled, and how results are written.
#pragma once

#include "simd/rows.h"

FASTNORM_TARGET_BEGIN

// Rows whose statistics are taken together, for independent chains of additions: what the registers hold.
constexpr int forward_rows_together = native<float> >= 16 ? 2 : 1;
constexpr int backward_rows_together = native<float> >= 16 ? 4 : 1;

FASTNORM_INLINE bool in_range(double value, double least, double most) { return value >= least && value <= most; }

// Whether a row can be centred and scaled in float: rstd, x - mean and their products stay far from its limits.
FASTNORM_INLINE bool fits_float(double mean, double rstd) {
    return in_range(rstd, 0x1p-100, 0x1p100) && in_range(mean, -0x1p120, 0x1p120);
}

// The power of two below `value`, kept within what has an inverse.
FASTNORM_INLINE double power_of_two_near(double value) {
    const int exponent = __builtin_ilogb(value);
    return __builtin_ldexp(1.0, exponent > 1000 ? 1000 : exponent < -1000 ? -1000 : exponent);
}

// A power of two that brings the larger of sqrt(eps) and the row's largest magnitude near 1; 1 where that is zero or not
// finite.
FASTNORM_INLINE double normalising_scale(const double* x, std::int64_t cols, double eps) {
    double most = __builtin_sqrt(eps);
    for (std::int64_t j = 0; j < cols; ++j) {
        const double magnitude = x[j] < 0 ? -x[j] : x[j];
        if (!(magnitude <= most)) most = magnitude;
    }
    return in_range(most, 0x1p-1074, 0x1.fffffffffffffp1023) ? 1 / power_of_two_near(most) : 1;
}

// How a row is centred and scaled: xhat = fma(x * scale - mean, rstd, shift) in compute type C. scale is 1 but for
// float64 rows near the ends of its range; shift carries the part of the mean that rounding it to C left out.
template <class C>
struct Centre {
    C mean, rstd, shift;
    C scale;
};

// The same in every lane, for loops whose stores the compiler could not tell from a change of Centre.
template <class V>
struct CentreLanes {
    V mean, rstd, shift, scale;

    FASTNORM_INLINE explicit CentreLanes(const Centre<element_t<V>>& centre)
        : mean(broadcast<V>(centre.mean)),
          rstd(broadcast<V>(centre.rstd)),
          shift(broadcast<V>(centre.shift)),
          scale(broadcast<V>(centre.scale)) {}
};

// xhat of a vector of columns. Centred: layer_norm; else rms_norm, whose rows have no mean.
template <class V, bool Centred, class T, class Step>
FASTNORM_INLINE V normalised(const T* x, Step step, const CentreLanes<V>& centre) {
    V value = load_columns<V>(x, step);
    if constexpr (sizeof(compute_t<T>) == 8) value = value * centre.scale;
    if constexpr (Centred) {
        return mul_add(value - centre.mean, centre.rstd, centre.shift);
    } else {
        return value * centre.rstd;
    }
}

// weight and bias, either of which may be absent, applied to a vector of columns.
template <class C, bool HasWeight, bool HasBias>
struct Parameters {
    const C* weight;
    const C* bias;

    template <class V, class Step>
    FASTNORM_INLINE V affine(V xhat, std::int64_t j, Step step) const {
        if constexpr (HasWeight && HasBias) {
            return mul_add(xhat, load_columns<V>(weight + j, step), load_columns<V>(bias + j, step));
        } else if constexpr (HasWeight) {
            return xhat * load_columns<V>(weight + j, step);
        } else if constexpr (HasBias) {
            return xhat + load_columns<V>(bias + j, step);
        } else {
            return xhat;
        }
    }
};

// Writes value(j, step, parameters), a vector of columns of the result, for the whole row; past the caches if `streaming`,
// whole lines at a time, for types that are stored as computed.
template <class T, class V, class Value>
FASTNORM_INLINE void write_row(T* target, std::int64_t cols, bool streaming, Value value) {
    std::int64_t j = 0;
    if constexpr (sizeof(T) == sizeof(element_t<V>)) {
        if (streaming) {
            j = columns_to_alignment(target, cols);
            if (j > 0) store_columns(target, value(0, Partial{int(j)}), Partial{int(j)});
            for (; j + row_lanes <= cols; j += row_lanes) stream(target + j, value(j, Whole{}));
        }
    }
    for_columns<row_lanes>(j, cols, [&](std::int64_t k, auto step) FASTNORM_INLINE_LAMBDA {
        store_columns(target + k, value(k, step), step);
    });
}

// y = affine(xhat) of a row whose statistics are known. Centred: layer_norm; else rms_norm, whose rows have no mean.
template <class T, class C, bool Centred, bool HasWeight, bool HasBias>
void apply_row(const NormForward& task, const T* x, T* y, const Centre<C>& centre) {
    using S = compute_t<T>;
    using V = Vec<C, row_lanes>;
    const Parameters<S, HasWeight, HasBias> parameters{
        static_cast<const S*>(task.weight), static_cast<const S*>(task.bias)};
    const CentreLanes<V> lanes(centre);
    write_row<T, V>(y, task.shape.cols, task.stream, [=](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        return parameters.affine(normalised<V, Centred>(x + j, step, lanes), j, step);
    });
}

template <class T, class C>
using ApplyRow = void (*)(const NormForward& task, const T* x, T* y, const Centre<C>& centre);

template <class T, class C, bool Centred>
FASTNORM_INLINE ApplyRow<T, C> choose_apply_row(const NormForward& task) {
    if (task.weight) {
        return task.bias ? apply_row<T, C, Centred, true, true> : apply_row<T, C, Centred, true, false>;
    }
    return task.bias ? apply_row<T, C, Centred, false, true> : apply_row<T, C, Centred, false, false>;
}

FASTNORM_TARGET_END
