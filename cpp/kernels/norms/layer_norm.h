// layer_norm over the columns of each row: y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(variance +
// eps), variance = sum (x - mean)^2 / cols. Backward, with h = dy * weight and xhat = (x - mean) * rstd:
//   dx = rstd * (h - mean(h) - xhat * mean(h * xhat)),  dweight = sum over rows of dy * xhat,  dbias = sum of
//   dy.
//
// Accuracy, float32. The moments are taken in double, in one pass, of d = x - x[0]. The cancellation in
// sum d^2 - (sum d)^2 / n is bounded because x[0] is one of the values: (x[0] - mean)^2 <= n * variance, so
// the variance is good to a few n * 2^-53 whatever the mean, a constant row has variance 0, and squares of
// FLT_MAX do not overflow. The mean is applied as float + rest: xhat = fma(x - mean, rstd, -rest * rstd),
// three roundings; with weight and bias |error| <= 2^-24 * (4 |xhat * weight| + |bias|) to first order. Rows
// whose rstd or mean leaves float's comfortable range are applied in double. float64 takes two passes, the
// second around the rounded mean, and rows that overflow are scaled by a power of two.
#pragma once

#include <cmath>

#include "kernels/norms/backward.h"
#include "kernels/norms/forward.h"

FASTNORM_TARGET_BEGIN

// mean and variance of R rows of float or half elements: `row_lanes` double lanes each, R rows at once for
// independent sums. Meanwhile looks ahead.
template <int R, class T, class Ahead>
void row_moments(
    const T* const* x, const Ahead* const* ahead, std::int64_t cols, bool streaming, double* mean,
    double* variance
) {
    using V = Vec<double, row_lanes>;
    V shift[R], sums[R], squares[R];
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) {
        shift[r] = broadcast<V>(widen(*x[r]));
        sums[r] = squares[r] = broadcast<V>(0);
    }
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        FASTNORM_UNROLL
        for (int r = 0; r < R; ++r) {
            look_ahead(ahead[r], j, streaming);
            const V d = load_columns<V>(x[r] + j, step, widen(*x[r])) - shift[r];
            sums[r] = sums[r] + d;
            squares[r] = mul_add(d, d, squares[r]);
        }
    });
    const double one_in_n = 1 / double(cols);
    FASTNORM_UNROLL
    for (int r = 0; r < R; ++r) {
        const double total = sum(sums[r]), average = total * one_in_n;
        mean[r] = widen(*x[r]) + average;
        const double centred = sum(squares[r]) - total * average;
        // Rounding may leave a tiny negative number; NaN must stay.
        variance[r] = (centred < 0 ? 0 : centred) * one_in_n;
    }
}

// The same of one float64 row times `scale`, in two passes; mean + mean_rest is the mean.
struct DoubleMoments {
    double mean, mean_rest, variance;
};
FASTNORM_OUTLINE DoubleMoments row_moments(const double* x, std::int64_t cols, double scale) {
    using V = Vec<double, row_lanes>;
    const double n = double(cols), first = x[0] * scale;
    const V scales = broadcast<V>(scale), shift = broadcast<V>(first);
    V sums = broadcast<V>(0);
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        sums = sums + (load_columns<V>(x + j, step, x[0]) * scales - shift);
    });
    const double mean = first + sum(sums) / n;
    const V centre = broadcast<V>(mean);
    V rests = broadcast<V>(0), squares = broadcast<V>(0);
    for_columns<row_lanes>(0, cols, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V d = load_columns<V>(x + j, step, mean / scale) * scales - centre;
        rests = rests + d;
        squares = mul_add(d, d, squares);
    });
    const double rest = sum(rests) / n;
    const double variance = sum(squares) / n - rest * rest;
    return {mean, rest, variance < 0 ? 0 : variance};
}

FASTNORM_OUTLINE Centre<double> double_centre(
    const double* x, std::int64_t cols, double eps, double& mean, double& rstd
) {
    double scale = 1;
    DoubleMoments moments = row_moments(x, cols, scale);
    if (!in_range(moments.variance + eps, 0x1p-900, 0x1p900)) {
        scale = normalising_scale(x, cols, eps);
        moments = row_moments(x, cols, scale);
    }
    const double scaled_rstd = 1 / std::sqrt(moments.variance + eps * scale * scale);
    mean = (moments.mean + moments.mean_rest) / scale;
    rstd = scaled_rstd * scale;
    return {moments.mean, scaled_rstd, -moments.mean_rest * scaled_rstd, scale};
}

// What forward.h and backward.h need to know about layer_norm.
struct LayerNorm {
    static constexpr bool centred = true;

    template <int R, class X, class Ahead>
    static FASTNORM_INLINE void statistics(
        const NormForward& task, const X* const* x, const Ahead* const* ahead, double* mean, double* rstd
    ) {
        row_moments<R>(x, ahead, task.shape.cols, task.stream, mean, rstd);
        for (int r = 0; r < R; ++r) rstd[r] = 1 / std::sqrt(rstd[r] + task.eps);
    }
    static FASTNORM_INLINE Centre<double> centre(
        const NormForward& task, const double* x, double& mean, double& rstd
    ) {
        return double_centre(x, task.shape.cols, task.eps, mean, rstd);
    }

    // The statistics the forward would return for a row, rounded as it returns them. Meanwhile fetches the
    // lines of the row `target`.
    template <class X, class Target>
    static FASTNORM_INLINE void returned(
        const NormBackward& task, const X* x, const Target* target, double& mean, double& rstd
    ) {
        if constexpr (sizeof(compute_t<X>) == 8) {
            double_centre(x, task.shape.cols, task.eps, mean, rstd);
        } else {
            row_moments<1>(&x, &target, task.shape.cols, false, &mean, &rstd);
            mean = float(mean);
            rstd = float(1 / std::sqrt(rstd + task.eps));
        }
    }
};

template <class T>
void layer_norm_forward(const NormForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    norm_forward<LayerNorm, T>(task, begin, end, scratch);
}

template <class T>
void layer_norm_backward(const NormBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    norm_backward<LayerNorm, T>(task, begin, end, scratch);
}

FASTNORM_TARGET_END
