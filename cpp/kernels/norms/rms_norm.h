// rms_norm over the columns of each row: y = x * rstd * weight + bias, rstd = 1 / sqrt(mean(x^2) + eps), the
// mean over the first `counted` columns (all of them, or pRMSNorm's share). Backward: see
// backward.h.
//
// Accuracy, float32. The mean square is that of kernels/loops/moments.h; three roundings remain in y. Rows
// whose rstd leaves float's comfortable range are applied in double; float64 rows whose squares overflow or
// vanish are scaled by a power of two. Source: Zhang and Sennrich, "Root Mean Square Layer Normalization",
// 2019.
#pragma once

#include <cmath>

#include "kernels/loops/moments.h"
#include "kernels/norms/backward.h"
#include "kernels/norms/forward.h"

FASTNORM_TARGET_BEGIN

// Mean square of the first `counted` elements of a float64 row, times scale^2.
FASTNORM_OUTLINE double scaled_mean_square(const double* x, std::int64_t counted, double scale) {
    using V = Vec<double, row_lanes>;
    const V scales = broadcast<V>(scale);
    V squares = broadcast<V>(0);
    for_columns<row_lanes>(0, counted, [&](std::int64_t j, auto step) FASTNORM_INLINE_LAMBDA {
        const V value = load_columns<V>(x + j, step) * scales;
        squares = mul_add(value, value, squares);
    });
    return sum(squares) / double(counted);
}

// xhat = (x * scale) * (rstd / scale); scale is 1 but for float64 rows near the ends of its range.
FASTNORM_OUTLINE double scaled_rms_rstd(const double* x, std::int64_t counted, double eps, double& scale) {
    scale = 1;
    double mean_square = scaled_mean_square(x, counted, scale);
    if (!in_range(mean_square + eps, 0x1p-900, 0x1p900)) {
        scale = normalising_scale(x, counted, eps);
        mean_square = scaled_mean_square(x, counted, scale);
    }
    return 1 / std::sqrt(mean_square + eps * scale * scale);
}

// What forward.h and backward.h need to know about rms_norm.
struct RmsNorm {
    static constexpr bool centred = false;

    using Sums = SquareSums;

    template <class X>
    static FASTNORM_INLINE Statistics finish(const NormForward& task, const Sums& sums, const X* x) {
        return {0, 1 / std::sqrt(sums.finish(x, task.counted, task.eps) + task.eps)};
    }
    template <class X>
    static FASTNORM_INLINE Statistics exact(const NormForward& task, const X* x) {
        return {0, 1 / std::sqrt(Sums::in_double(x, task.counted) + task.eps)};
    }
    static FASTNORM_INLINE Centre<double> centre(
        const NormForward& task, const double* x, double&, double& rstd
    ) {
        double scale;
        const double scaled_rstd = scaled_rms_rstd(x, task.counted, task.eps, scale);
        rstd = scaled_rstd * scale;
        return {0, scaled_rstd, 0, scale};
    }

    // The statistic the forward would return for a row, rounded as it returns it.
    template <class X>
    static FASTNORM_OUTLINE void returned(const NormBackward& task, const X* x, double&, double& rstd) {
        if constexpr (sizeof(compute_t<X>) == 8) {
            double scale;
            rstd = scaled_rms_rstd(x, task.counted, task.eps, scale) * scale;
        } else {
            rstd = float(1 / std::sqrt(SquareSums::in_double(x, task.counted) + task.eps));
        }
    }
};

template <class T>
void rms_norm_forward(const NormForward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    norm_forward<RmsNorm, T>(task, begin, end, scratch);
}

template <class T>
void rms_norm_backward(const NormBackward& task, std::int64_t begin, std::int64_t end, void* scratch) {
    norm_backward<RmsNorm, T>(task, begin, end, scratch);
}

FASTNORM_TARGET_END
