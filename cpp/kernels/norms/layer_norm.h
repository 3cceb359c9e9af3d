// layer_norm over the columns of each row: y = (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(variance +
// eps), variance = sum (x - mean)^2 / cols. Backward, with h = dy * weight and xhat = (x - mean) * rstd:
//   dx = rstd * (h - mean(h) - xhat * mean(h * xhat)),  dweight = sum over rows of dy * xhat,  dbias = sum of
//   dy.
//
// Accuracy, float32. The moments are those of kernels/loops/moments.h. The mean is applied as float + rest:
// xhat = fma(x - mean, rstd, -rest * rstd), three roundings; with weight and bias |error| <= 2^-24 * (4 |xhat
// * weight| + |bias|) to first order, and what the mean errs by. Rows whose rstd or mean leaves float's
// comfortable range are applied in double. float64 takes two passes, the second around the rounded mean, and
// rows that overflow are scaled by a power of two.
#pragma once

#include <cmath>

#include "kernels/loops/moments.h"
#include "kernels/norms/backward.h"
#include "kernels/norms/forward.h"

FASTNORM_TARGET_BEGIN

// The moments of one float64 row times `scale`, in two passes; mean + mean_rest is the mean.
struct DoubleMoments {
    double mean, mean_rest, variance;
};
FASTNORM_OUTLINE DoubleMoments double_moments(const double* x, std::int64_t cols, double scale) {
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
    DoubleMoments moments = double_moments(x, cols, scale);
    if (!in_range(moments.variance + eps, 0x1p-900, 0x1p900)) {
        scale = normalising_scale(x, cols, std::sqrt(eps));
        moments = double_moments(x, cols, scale);
    }
    const double scaled_rstd = 1 / std::sqrt(moments.variance + eps * scale * scale);
    mean = (moments.mean + moments.mean_rest) / scale;
    rstd = scaled_rstd * scale;
    return {moments.mean, scaled_rstd, -moments.mean_rest * scaled_rstd, scale};
}

// What forward.h and backward.h need to know about layer_norm.
struct LayerNorm {
    static constexpr bool centred = true;

    using Sums = MomentSums;

    template <class X>
    static FASTNORM_INLINE Statistics finish(const NormForward& task, const Sums& sums, const X* x) {
        const RowMoments moments = sums.finish(x, task.shape.cols, task.eps);
        return {moments.mean, 1 / std::sqrt(moments.variance + task.eps)};
    }
    template <class X>
    static FASTNORM_INLINE Statistics exact(const NormForward& task, const X* x) {
        const RowMoments moments = moments_in_double(x, task.shape.cols);
        return {moments.mean, 1 / std::sqrt(moments.variance + task.eps)};
    }
    static FASTNORM_INLINE Centre<double> centre(
        const NormForward& task, const double* x, double& mean, double& rstd
    ) {
        return double_centre(x, task.shape.cols, task.eps, mean, rstd);
    }

    // The statistics the forward would return for a row, rounded as it returns them.
    template <class X>
    static FASTNORM_OUTLINE void returned(
        const NormBackward& task, const X* x, double& mean, double& rstd, double&
    ) {
        const std::int64_t cols = task.shape.cols;
        if constexpr (sizeof(compute_t<X>) == 8) {
            double_centre(x, cols, task.eps, mean, rstd);
        } else {
            const RowMoments moments = moments_in_double(x, cols);
            mean = float(moments.mean);
            rstd = float(1 / std::sqrt(moments.variance + task.eps));
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
