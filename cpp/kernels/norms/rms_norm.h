// rms_norm over the columns of each row: y = x * rstd * weight + bias, rstd = 1 / sqrt(mean(x^2) + eps), the
// mean over the first `counted` columns (all of them, or pRMSNorm's share). normalize: y = x * rstd, rstd = 1
// / max(sqrt(counted * mean(x^2)), eps). Backward: see backward.h.
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
        scale = normalising_scale(x, counted, std::sqrt(eps));
        mean_square = scaled_mean_square(x, counted, scale);
    }
    return 1 / std::sqrt(mean_square + eps * scale * scale);
}

// The same of normalize, rstd = 1 / max(|x|, eps); `clamped` where that is eps.
FASTNORM_OUTLINE double scaled_unit_rstd(
    const double* x, std::int64_t counted, double eps, double& scale, bool& clamped
) {
    scale = 1;
    double mean_square = scaled_mean_square(x, counted, scale);
    if (!in_range(mean_square, 0x1p-900, 0x1p900)) {
        scale = normalising_scale(x, counted, eps);
        mean_square = scaled_mean_square(x, counted, scale);
    }
    const double length = std::sqrt(mean_square * double(counted)), least = eps * scale;
    clamped = length < least;  // false for NaN
    return 1 / (clamped ? least : length);
}

// What forward.h and backward.h need to know about rms_norm, and about normalize, which is rms_norm but for
// rstd: tasks of `unit_length`.
struct RmsNorm {
    static constexpr bool centred = false;

    using Sums = SquareSums;

    static FASTNORM_INLINE double unit_rstd(
        double mean_square, std::int64_t counted, double eps, bool& clamped
    ) {
        const double length = std::sqrt(mean_square * double(counted));
        clamped = length < eps;  // false for NaN
        return 1 / (clamped ? eps : length);
    }
    static FASTNORM_INLINE double rstd_of(const NormForward& task, double mean_square) {
        bool clamped;
        if (task.unit_length) return unit_rstd(mean_square, task.counted, task.eps, clamped);
        return 1 / std::sqrt(mean_square + task.eps);
    }

    template <class X>
    static FASTNORM_INLINE Statistics finish(const NormForward& task, const Sums& sums, const X* x) {
        // Mean squares below `least` do not matter, or little.
        const double least = task.unit_length ? task.eps * task.eps / double(task.counted) : task.eps;
        return {0, rstd_of(task, sums.finish(x, task.counted, least))};
    }
    template <class X>
    static FASTNORM_INLINE Statistics exact(const NormForward& task, const X* x) {
        return {0, rstd_of(task, Sums::in_double(x, task.counted))};
    }
    static FASTNORM_INLINE Centre<double> centre(
        const NormForward& task, const double* x, double&, double& rstd
    ) {
        double scale;
        bool clamped;
        const double scaled_rstd = task.unit_length
                                       ? scaled_unit_rstd(x, task.counted, task.eps, scale, clamped)
                                       : scaled_rms_rstd(x, task.counted, task.eps, scale);
        rstd = scaled_rstd * scale;
        return {0, scaled_rstd, 0, scale};
    }

    // The statistic the forward would return for a row, rounded as it returns it; normalize returns none.
    template <class X>
    static FASTNORM_OUTLINE void returned(
        const NormBackward& task, const X* x, double&, double& rstd, double& n
    ) {
        if (task.unit_length) {
            bool clamped;
            if constexpr (sizeof(compute_t<X>) == 8) {
                double scale;
                rstd = scaled_unit_rstd(x, task.counted, task.eps, scale, clamped) * scale;
            } else {
                const double mean_square = SquareSums::in_double(x, task.counted);
                rstd = unit_rstd(mean_square, task.counted, task.eps, clamped);
            }
            n = clamped ? constant_rstd : 1;
        } else if constexpr (sizeof(compute_t<X>) == 8) {
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
